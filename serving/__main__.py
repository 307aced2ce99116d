"""The API keys of this machine's owner, for programs that speak OpenAI's interface (STUDIO_API=1, docs/serving.md).

python -m serving keys new [--name NAME]     make a key; it is shown once
python -m serving keys list                  their ids, dates and names
python -m serving keys revoke ID             from now on it opens nothing
"""

import argparse
import sys
import time

from common.command_line import add_job, give, run_job, say
from common.language import _
from common.paths import LOCAL_OWNER
from serving.keys import list_keys, new_key, revoke


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do the job, and return the exit code."""
    return run_job(_parser, arguments)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all jobs."""
    parser = argparse.ArgumentParser(
        prog="python -m serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    keys = parser.add_subparsers(required=True, metavar="JOB").add_parser(
        "keys", help=_("make, list and revoke API keys")
    )
    jobs = keys.add_subparsers(required=True, metavar="JOB")
    add_job(jobs, "new", _new, _("make a key; it is shown once")).add_argument(
        "--name", default="", help=_("what it is for, to know it again")
    )
    add_job(jobs, "list", _list, _("list the keys"))
    add_job(jobs, "revoke", _revoke, _("revoke a key: from now on it opens nothing"), "ID")
    return parser


def _new(options: argparse.Namespace) -> None:
    """Print a new key, alone on stdout."""
    key = new_key(LOCAL_OWNER, options.name)
    give({"key": key})
    print(key)
    print(_("Keep it: it is not shown again. Only its hash is stored here."), file=sys.stderr)


def _list(options: argparse.Namespace) -> None:
    """Print the keys, the newest first."""
    found = list_keys(LOCAL_OWNER)
    give(found)
    for key in found:
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(key.created))
        say(f"{key.id}  {made}  {key.name}".rstrip())


def _revoke(options: argparse.Namespace) -> None:
    """Revoke the key that was named."""
    revoke(LOCAL_OWNER, options.name)
    print(_("Revoked."), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
