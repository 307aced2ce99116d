# Install a requirements file into .venv, in the versions of constraints.txt; `make` calls this.
#
#     PYTHON=python3.12 sh setup.sh requirements.txt
#
# Safe to interrupt and to repeat. What goes wrong is one sentence on stderr.

python=${PYTHON:-python3}

fail() {
    echo "$1" >&2
    exit 1
}

# $1: what venv or pip printed when it failed
explain() {
    case $1 in
    *"No space left"*) fail "The disk is full. Free some gigabytes and run the same command again: it continues." ;;
    *ensurepip*) fail "This Python cannot make virtual environments. On Debian: apt-get install python3-venv" ;;
    *onnection* | *"timed out"* | *unreachable* | *incomplete-download*)
        fail "The package index cannot be reached. Check the network and run the same command again: it continues." ;;
    esac
    fail "The packages could not be installed. $1"
}

end_dots() {
    [ -z "$dots" ] || { kill "$dots" && wait "$dots"; } 2>/dev/null
    dots=
    echo
}

dots=
trap 'end_dots; echo "Interrupted. Run the same command again: it continues." >&2; exit 130' INT

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    found=$("$python" -V 2>&1) || found="not there"
    case $found in
    "Python 3."1[1-9]* | "Python 3."[2-9][0-9]*) ;;
    *) fail "Python 3.11 or newer is needed; $python is $found. Install it, then: make PYTHON=python3.12 run" ;;
    esac
    free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1e6) }')
    [ "$free" -ge 3 ] || fail "The packages need 3 GB of disk (6 with a GPU); $free GB are free here. Free some first."
    echo "Making .venv ..."
    printed=$("$python" -m venv --clear .venv 2>&1) || explain "$printed"
fi

printf "Installing packages (about 2 GB on a CPU, once) ..."
while sleep 5 >/dev/null && kill -0 $$; do printf .; done 2>/dev/null &
dots=$!
# kept in a variable, not in a log: a full disk has no room for one
printed=$(.venv/bin/python -m pip install --disable-pip-version-check -r "$1" -c constraints.txt 2>&1 >/dev/null)
failed=$?
end_dots
[ "$failed" = 0 ] || explain "$printed"

echo "Fetching and preparing the embedded base model (98 MB, half a minute, once) ..."
TQDM_DISABLE=1 .venv/bin/python -m models.embedded >/dev/null || echo "It will be made ready when it is first needed."
