"""Trains inside a job of Hugging Face: prepares the run, trains it, prints its events, and sends what it learned.

    python -m jobs.inside --run ID --seconds N --checkpoints REPO --adapter REPO --source REPO [--restore REPO]

The training is the launcher's own process, without the token. Each of its events is printed as one JSON line, its log as it is;
each checkpoint goes to the user's private repository, the adapter at the end. Shortly before the time limit the training is
asked to stop, so that what it learned is sent while there is time.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from adapters.library import find_adapter
from adapters.package import PushOptions
from adapters.push import plan_push
from common.errors import UserError
from common.files import write_text
from common.language import Sentence, _, joined, packed
from common.paths import LOCAL_OWNER, runs_folder
from jobs.follow import MARK
from jobs.stop import listen
from models.hub.client import Account, account_of
from runs.backup.backup import read_backup, restore, send_checkpoint
from runs.checkpoints import last_checkpoint
from runs.events import Event, read_events
from runs.launcher import start
from runs.run import EventLog, Run, read_state
from runs.state import FINISHED

POLL_SECONDS = 0.5
RUN_FOLDER = Path("..") / "run"  # where the job's script has unpacked it, seen from the source's folder


def main() -> int:
    """Train the run that came with the job; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--checkpoints", required=True)
    parser.add_argument("--adapter", required=True)
    parser.add_argument("--source", required=True, help=_("the repository that this job came from"))
    parser.add_argument("--restore", default="")
    options = parser.parse_args()
    reserve = min(300.0, max(30.0, options.seconds / 10))  # at the end, for saving and sending
    deadline = float(os.environ.get("STUDIO_JOB_BEGAN", time.time())) + options.seconds - reserve
    try:
        account = account_of(os.environ.pop("HF_TOKEN", ""))  # out of the environment: the training must not inherit it
        run = _prepare_run(options.run, options.restore, account)
    except UserError as error:
        event = {"time": time.time(), "event": "failed", "message": error.message, "hint": error.hint}
        print(json.dumps({MARK: {"n": 0, "event": packed(event)}}), flush=True)
        return 1
    return work(run, account, options, deadline)


def _prepare_run(run_id: str, repo_id: str, account: Account) -> Run:
    """Make the run's folder: from its checkpoint on the Hub where there is one, else as it came with the job."""
    folder = runs_folder(LOCAL_OWNER)
    if not repo_id:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(RUN_FOLDER, folder / run_id)
        return Run(folder / run_id)
    run = Run(restore(repo_id, account, folder))
    # the new machine may have more GPUs
    write_text(run.config_file, (RUN_FOLDER / "config.yaml").read_text(encoding="utf-8"))
    return run


def work(run: Run, account: Account, options: argparse.Namespace, deadline: float) -> int:
    """Train, print and send until the run has ended. The exit code: 0 when it is done or was stopped."""
    printer = Printer(run)
    sender = Sender(run, account, options.checkpoints)
    signal.signal(signal.SIGTERM, lambda number, frame: run.request_stop())
    start(run)
    listen(run, options.source, account)
    is_late = False
    while run.is_alive():
        if time.time() > deadline and not is_late:
            is_late = True
            run.request_stop()
        printer.print_new()
        sender.send_new()
        time.sleep(POLL_SECONDS)
    state = read_state(run)
    if state.status not in FINISHED:
        EventLog(run).write("failed", message=state.message, hint=state.hint, code=state.code)
        state = read_state(run)
    sender.finish(with_last=state.status != "done")  # a run that is done needs no checkpoint
    pushed = push(run, state.adapter, account, options.adapter) if state.adapter else {}
    if is_late:
        pushed["message"] = _(
            "The job reached its time limit and stopped at step {step} of {total}; what was learned is kept.",
            step=state.step,
            total=state.total_steps,
        )
    printer.print_new(is_over=True, **pushed)
    return 0 if state.status in ("done", "stopped") else 1


def push(run: Run, name: str, account: Account, repo_id: str) -> dict[str, str]:
    """Send the adapter to its private repository. Returns the fields of the last event that name it."""
    try:
        done = plan_push(find_adapter(name), account, PushOptions(repo_name=repo_id, private=True)).push()
        return {"adapter": name, "adapter_repo": done.repo_id}
    except UserError as error:
        EventLog(run).write("note", message=_not_sent(_("The adapter"), repo_id, error))
        return {"adapter": ""}


def _not_sent(what: str, repo_id: str, error: UserError) -> Sentence:
    reason = joined([error.message, error.hint])
    return _("{what} could not be sent to {repository}: {reason}", what=what, repository=repo_id, reason=reason)


class Printer:
    """Prints the new events of a run with their numbers, and the new lines of its log."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.number = 0
        self.known = len(read_events(run.events_file))  # what a restored run knew already, the page knows too
        self.log_bytes = 0
        self.last: Event | None = None

    def print_new(self, is_over: bool = False, **changes) -> None:
        """Print new events and lines; the last event only when `is_over`, with `changes`: what it speaks of is then sent."""
        self._print_log()
        events = read_events(self.run.events_file)
        for event in events[self.known :]:
            if event.get("event") in FINISHED:
                self.last = event
            else:
                self._print(event)
        self.known = len(events)
        if is_over and self.last:
            self._print({**self.last, **changes})

    def _print(self, event: Mapping[str, object]) -> None:
        print(json.dumps({MARK: {"n": self.number, "event": packed(event)}}, ensure_ascii=False), flush=True)
        self.number += 1

    def _print_log(self) -> None:
        if not self.run.log_file.exists():
            return
        with open(self.run.log_file, "rb") as file:
            file.seek(self.log_bytes)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self.log_bytes += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            print(f" {line}" if line.startswith("{") else line, flush=True)  # a log line is never an event


class Sender:
    """Sends the newest checkpoint in a thread, one at a time. A failure becomes one note, and the next checkpoint is tried."""

    def __init__(self, run: Run, account: Account, repo_id: str) -> None:
        self.run, self.account, self.repo_id = run, account, repo_id
        self.sent: str = ""
        known = read_backup(run.folder)
        self.parent = known.revision if known else None  # of a restored run: the commit that it came from
        self.thread: threading.Thread | None = None

    def send_new(self) -> None:
        """Start sending when there is a checkpoint that was not sent, and nothing is on its way."""
        newest = last_checkpoint(self.run.checkpoints_folder) or last_checkpoint(self.run.checkpoints_folder / "text")
        if newest is None or str(newest) == self.sent or (self.thread and self.thread.is_alive()):
            return
        self.sent = str(newest)
        self.thread = threading.Thread(target=self._send, args=(newest,), daemon=True)
        self.thread.start()

    def _send(self, checkpoint: Path) -> None:
        try:
            self.parent = send_checkpoint(self.run.folder, checkpoint, self.account, self.repo_id, self.parent)
            inside = checkpoint.relative_to(self.run.folder).as_posix()
            EventLog(self.run).write("sent", checkpoint=inside, revision=self.parent)
        except UserError as error:
            EventLog(self.run).write("note", message=_not_sent(checkpoint.name, self.repo_id, error))

    def finish(self, with_last: bool) -> None:
        """Wait for what is on its way, and send what came meanwhile."""
        if self.thread:
            self.thread.join()
        if with_last:
            self.send_new()
            if self.thread:
                self.thread.join()


if __name__ == "__main__":
    sys.exit(main())
