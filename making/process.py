"""The process of one made set: `python -m making.process --making FOLDER`. making.start starts it, without a token.

It reads the documents and seed rows, then asks the teacher for one row after the other, several at a time. Each row is kept as it
comes: after a stop or a kill it goes on with those that are missing. A key comes through standard input and stays in memory.
"""

import argparse
import json
import os
import sys
import threading
import traceback
from contextlib import nullcontext
from pathlib import Path

from common.command_line import printable
from common.errors import as_user_error
from common.files import write_json
from common.language import Sentence, _, joined, n_
from evaluation.pace import Pace, Work, watch
from evaluation.run import Status
from making.asking import Asking
from making.config import LOCAL
from making.made import GO_ON, MadeSet, read_rows, read_summary
from making.review import check_beside
from making.sources import count_units, read_sources, requests_of, wanted_rows
from making.teacher import Secret, Stopped, open_teacher
from runs.limits import limits
from runs.processes import this_process
from runs.queue import accelerator

MAX_SECRET_BYTES = 20_000
ROW = Work("", "row")


def main(arguments: list[str] | None = None) -> int:
    """Make rows; return 0 unless it failed."""
    parser = argparse.ArgumentParser(prog="python -m making.process")
    parser.add_argument("--making", type=Path, required=True, metavar="FOLDER")
    made = MadeSet(parser.parse_args(arguments).making)
    write_json(made.process_file, {"process": this_process(os.getpid())})  # whoever started it may be gone already
    pace, stop, ended = Pace(made), threading.Event(), threading.Event()
    threading.Thread(target=watch, args=(made, limits().minutes, stop, ended), daemon=True).start()
    try:
        given = json.loads(sys.stdin.buffer.read(MAX_SECRET_BYTES) or b"{}")
        make(made, Secret(url=given.get("url", ""), key=given.get("key", "")), pace, stop)
        pace.end("done", last_words(made))
        return 0
    except Exception as error:
        known = as_user_error(error)
        if stop.is_set():  # then it is what a library made of the stop
            words = _("Its limit of {minutes:,} minutes is over.", minutes=limits().minutes)
            pace.end("stopped", _("Stopped.") if made.stop_file.exists() else words, GO_ON)
            return 0
        if known is None:
            traceback.print_exc()
        message = known.message if known else printable(f"{type(error).__name__}: {error}"[:500])
        pace.end("failed", message, known.hint if known else GO_ON)
        return 1
    finally:
        ended.set()


def make(made: MadeSet, secret: Secret, pace: Pace, stop: threading.Event) -> None:
    """Ask for the rows that are missing, each kept as it comes. Raises Stopped, and UserError when the teacher fails."""
    config = made.config()

    def tell(activity: str, status: Status = "running") -> None:
        if stop.is_set():
            raise Stopped
        pace.tell(activity, status)

    read_sources(made, config, tell, stop)
    there = sum(1 for _row in read_rows(made))
    left = wanted_rows(config, count_units(made, config)) - there
    pace.plan([ROW] * left, there)
    if left <= 0:
        return
    waiting = _("Waiting for the end of another training or evaluation on this machine")
    with accelerator(lambda: tell(waiting, "waiting")) if config.teacher == LOCAL else nullcontext():
        teacher = open_teacher(config, secret, made.owner, tell, stop)
        try:
            pace.begin(_("The teacher writes rows"))
            for _outcome in Asking(made, config, teacher, stop).keep(requests_of(made, config)):
                pace.add(ROW)
        finally:
            teacher.close()
    tell(_("Looking for rows that repeat others, or are in your test sets"))
    check_beside(made)


def last_words(made: MadeSet) -> Sentence:
    """Say how many rows the teacher's answers could not be read for, and what was left out of the documents."""
    summary = read_summary(made)
    words = n_(
        "Of {count:,} row the teacher's answers could not be read; 'Resume making' asks for it again.",
        "Of {count:,} rows the teacher's answers could not be read; 'Resume making' asks for them again.",
        summary["lost"],
    )
    return joined([words if summary["lost"] else "", *summary["notes"]])


if __name__ == "__main__":
    sys.exit(main())
