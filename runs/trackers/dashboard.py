"""trackio's own page over a folder of runs, for this machine alone: a process that ends with the one that started it."""

import json
import subprocess
import sys
from pathlib import Path

from common.errors import UserError
from common.language import _
from common.paths import REPOSITORY
from runs.trackers.track import check_tracker, variables
from runs.trackers.writers import PROJECT

_processes: dict[Path, tuple[subprocess.Popen[str], str]] = {}


def open_dashboard(folder: Path) -> str:
    """Return the address of the dashboard over `folder`, started unless it runs. Raises UserError."""
    check_tracker("trackio")
    process, address = _processes.get(folder, (None, ""))
    if process is None or process.poll() is not None:
        process = subprocess.Popen(
            [sys.executable, "-m", "runs.trackers.dashboard"],
            cwd=REPOSITORY,
            env=variables(folder),
            stdin=subprocess.PIPE,  # ends with this process
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert process.stdout
        address = next((json.loads(line)["address"] for line in process.stdout if line.startswith('{"address"')), "")
        if not address:
            raise UserError(_("trackio's dashboard did not start."))
        _processes[folder] = process, address
    return f"{address}/?project={PROJECT}"


def close_dashboard(folder: Path) -> None:
    """End the dashboard over `folder`, if it runs."""
    process, _address = _processes.pop(folder, (None, ""))
    if process:
        process.communicate()


def main() -> None:
    """Serve on loopback without a tunnel until stdin ends; the address goes to stdout."""
    import trackio

    server, address, _share, _full = trackio.show(
        PROJECT, open_browser=False, block_thread=False, host="127.0.0.1", share=False
    )
    print(json.dumps({"address": address.rstrip("/")}), flush=True)
    sys.stdin.read()
    server.close()


if __name__ == "__main__":
    main()
