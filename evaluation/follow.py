"""Follows a background process in a terminal until it ends."""

import time
from typing import Any

from common.command_line import printable, say
from common.language import _, joined
from common.words import duration
from evaluation.background import request_stop
from evaluation.run import Background, Progress, read_progress

POLL_SECONDS = 0.5
SHOW_SECONDS = 10.0


def follow(work: Background) -> Progress:
    """Print what it does until it ends, counts every SHOW_SECONDS; return its last progress. Ctrl-C stops it."""
    try:
        return _watch(work)
    except KeyboardInterrupt:
        print(_("Stopping ..."), flush=True)
        request_stop(work)
        return _watch(work)


def _watch(work: Background) -> Progress:
    activity, shown_at = "", 0.0
    while True:
        progress = read_progress(work)
        if not progress.is_running:
            return progress
        if progress.activity != activity or time.monotonic() - shown_at > SHOW_SECONDS:
            seconds = progress.eta_seconds
            left = _("about {time} left", time=duration(seconds)) if seconds is not None else ""
            print(printable(joined([progress.activity, count_of(progress), left], "  ")), flush=True)
            activity, shown_at = progress.activity, time.monotonic()
        time.sleep(POLL_SECONDS)


def progress_as_json(progress: Progress) -> dict[str, Any]:
    """Return a progress as `--json` prints it."""
    return {
        "status": progress.status,
        "message": progress.message,
        "hint": progress.hint,
        "done": progress.done,
        "total": progress.total,
    }


def count_of(progress: Progress) -> str:
    """Return '3/20', and "" where it is not known how many there will be."""
    return f"{progress.done:,}/{progress.total:,}" if progress.total else ""


def say_end(work: Background, progress: Progress) -> int:
    """Print the last word of a process; return its exit code: 0 unless it failed."""
    say(f"{progress.status}. {joined([progress.message, progress.hint])}".strip())
    if progress.status in ("failed", "interrupted"):
        print(_("The log is {file}", file=str(work.log_file)))
    return 0 if progress.status in ("done", "stopped") else 1
