"""Streams the log of a job of Hugging Face into its run: events into events.jsonl, the rest into train.log; pulls the adapter.

The page and `python -m trainer show` read the run's folder as ever. Whoever has the user's token may follow, again after any
restart: an event carries its number, so the replayed log adds nothing twice. A stop file, or a run that is deleted, ends the job.
"""

import json
import logging
import queue
import re
import threading
import time
from typing import Any

from filelock import FileLock

from adapters.library import list_adapters
from adapters.pull import look, pull
from common.errors import UserError
from common.files import append_json_line
from common.language import _, joined, n_
from common.paths import home
from jobs.hf import OVER, Job, job_words, note_job, read_job, status_of
from jobs.stop import Ending
from models.hub.client import Account, client
from runs.backup.backup import note_backup
from runs.events import read_events
from runs.run import EventLog, Run, RunState, read_state
from runs.state import FINISHED

MARK = "studio"  # {"studio": {"n": 3, "event": {...}}} is an event; every other line of the log is a word
POLL_SECONDS = 5.0
LOCK_SECONDS = 1.0
LAST_LINES_SECONDS = 20.0
CLOCK_SECONDS = 5.0  # by which two clocks may differ
TIME_OUT = re.compile(r"\btimed?[ -]?out\b|\btime limit\b|\bdeadline\b", re.IGNORECASE)
NEVER = -1
log = logging.getLogger(__name__)


def attach(run: Run, account: Account) -> bool:
    """Follow the job of `run` in a thread of this process, once. Returns whether it is followed (already)."""
    job = read_job(run)
    if job is None or job.is_over or job.namespace != account.name:
        return False
    name = f"job-{run.owner}-{run.id}"
    if all(thread.name != name for thread in threading.enumerate()):
        threading.Thread(target=_follow_quietly, args=(run, job, account), name=name, daemon=True).start()
    return True


def _follow_quietly(run: Run, job: Job, account: Account) -> None:
    for _attempt in range(2):
        try:
            _follow_alone(run, job, account)
            return
        except (UserError, OSError) as error:  # the next visit of the signed-in user follows again
            log.warning("%s is not followed any more: %s", run.id, error)
            if run.folder.exists() or isinstance(error, UserError):
                return  # else it was deleted in the middle of a write: once more, for its job must end


def follow(run: Run, account: Account) -> RunState:
    """Stream until the job is over; returns the last state. Raises UserError when the sign-in is not valid any more."""
    job = read_job(run)
    if job is None:
        raise UserError(_("'{run}' has no job on Hugging Face.", run=run.id))
    return _follow_alone(run, job, account)


def _follow_alone(run: Run, job: Job, account: Account) -> RunState:
    """Follow under a lock, so that one program writes; a second one waits, and goes on when the first ends."""
    folder = home() / "following"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{job.id}.lock", poll_interval=LOCK_SECONDS):
        known = read_job(run)
        if known is None or known.id != job.id or not known.is_over:  # without a folder there is still a job to end
            _stream(run, job, account)
    return read_state(run)


def _stream(run: Run, job: Job, account: Account) -> None:
    mirror = Mirror(run, job, account)
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=_read_log, args=(job, account, lines), daemon=True)
    reader.start()
    ending = Ending(run, job, account)
    while True:
        _consume(lines, mirror)
        ending.advance(has_begun=mirror.last != NEVER)
        stage, words, seconds = _stage(job, account)
        if stage in OVER:
            break
        mirror.tell_stage(stage)
        _consume(lines, mirror, POLL_SECONDS)
    reader.join(LAST_LINES_SECONDS)
    _consume(lines, mirror)
    mirror.finish(stage, words, is_out_of_time(job, words, seconds))
    mirror.tell_stage(stage)  # last: from now on nobody needs to follow it


def _read_log(job: Job, account: Account, lines: "queue.Queue[str]") -> None:
    """Put the job's log into `lines`, from its start; the client itself goes on after a broken connection."""
    try:
        with job_words():
            for line in client(account.token).fetch_job_logs(job_id=job.id, namespace=job.namespace, follow=True):
                lines.put(line)
    except UserError as error:
        log.warning("The log of job %s broke off: %s", job.id, error)


def is_out_of_time(job: Job, words: str, seconds: float | None) -> bool:
    """Return True when the job ended at its limit: by the Hub's words ("Job timeout", so far), else by its running time.

    A Hub that tells neither leaves the time since it was submitted, unless its program ended by itself.
    """
    if TIME_OUT.search(words):
        return True
    if seconds is not None:
        return seconds >= 60 * job.minutes - CLOCK_SECONDS
    return "exit code" not in words and time.time() - job.submitted >= 60 * job.minutes


def _stage(job: Job, account: Account) -> tuple[str, str, float | None]:
    """Return (stage, the Hub's message, seconds that it ran); stage "" when the Hub does not answer.

    Raises UserError when the sign-in has ended.
    """
    try:
        with job_words():
            info = client(account.token).inspect_job(job_id=job.id, namespace=job.namespace)
            status, seconds = info.status, info.durations.running_secs if info.durations else None
            return str(getattr(status.stage, "value", status.stage)), status.message or "", seconds
    except UserError as error:
        if status_of(error) == 404:
            return "DELETED", "", None
        if status_of(error) in (401, 403):
            raise
        log.warning("%s", error)
        return "", "", None


def _consume(lines: "queue.Queue[str]", mirror: "Mirror", seconds: float = 0) -> None:
    """Consume log lines for `seconds`, at least those that are there; return early when the run is told to stop."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            mirror.take(lines.get(timeout=min(left, 0.5)))
        except queue.Empty:
            if mirror.run.stop_file.exists():
                return
    for _line in range(lines.qsize()):
        mirror.take(lines.get_nowait())


class Mirror:
    """Writes one job's lines into the run, each event once."""

    def __init__(self, run: Run, job: Job, account: Account) -> None:
        self.run, self.job, self.account = run, job, account
        events = read_events(run.events_file)
        self.last = max((event["n"] for event in events if event.get("job") == job.id and "n" in event), default=NEVER)
        self.stage = ""
        if run.log_file.exists():  # the log comes again from its start
            with open(run.log_file, "ab") as file:
                file.truncate(job.log_bytes)

    def take(self, line: str) -> None:
        """Write one line of the job's log: a new event into events.jsonl, anything else into train.log."""
        if not self.run.folder.exists():
            return
        found = _event(line)
        if found is None:
            with open(self.run.log_file, "a", encoding="utf-8") as file:
                file.write(line.rstrip("\n") + "\n")
            return
        number, event = found
        if number <= self.last:
            return
        self.last = number
        if event.get("event") in FINISHED and event.get("adapter"):
            event["adapter"] = self._bring_home(str(event.get("adapter_repo") or self.job.adapter_repo))
        elif event.get("event") == "sent":  # a checkpoint: the page tells where it is
            kept = {name: str(event.get(name)) for name in ("checkpoint", "revision")}
            note_backup(
                self.run.folder, repo_id=self.job.checkpoints_repo, time=event.get("time", 0.0), problem="", **kept
            )
        append_json_line(self.run.events_file, {**event, "job": self.job.id, "n": number})

    def _bring_home(self, repo_id: str) -> str:
        """Pull the adapter into the owner's library; return its name there, "" when it stays on the Hub."""
        try:
            offer = look(repo_id, self.account.token)
            for adapter in list_adapters(self.run.owner):
                if (adapter.origin.repo_id, adapter.origin.revision) == (repo_id, offer.revision):
                    return adapter.name
            return pull(offer, self.account.token, self.run.owner, self.run.id).adapter.name
        except UserError as error:
            reason = joined([error.message, error.hint])
            words = _(
                "The adapter is in {repository}, but could not be downloaded: {reason}",
                repository=repo_id,
                reason=reason,
            )
            self._write("note", message=words)
            return ""

    def tell_stage(self, stage: str) -> None:
        """Keep the Hub's stage of the job in `job.json`, and tell the run when its machine is there."""
        if not stage or stage == self.stage or not self.run.folder.exists():
            return
        self.stage = stage
        note_job(self.run, stage=stage)
        if stage == "RUNNING" and self.last == NEVER:
            words = _("The machine {name} has started; installing what the training needs", name=self.job.flavor)
            self._write("preparing", message=words)

    def finish(self, stage: str, words: str, is_late: bool) -> None:
        """Write the last event of a run whose job ended without one."""
        if not self.run.folder.exists() or not read_state(self.run).is_running:
            return
        kept = _(
            "The last checkpoint is in {repository}; resuming starts a new job from there.",
            repository=self.job.checkpoints_repo,
        )
        if is_late and stage in ("ERROR", "CANCELED"):
            late = n_(
                "The job reached its time limit of {count} minute.",
                "The job reached its time limit of {count} minutes.",
                self.job.minutes,
            )
            self._write("stopped", message=late, hint=kept)
        elif stage == "CANCELED":
            self._write("stopped", message=_("The job was cancelled."), hint=kept)
        elif stage == "DELETED":
            self._write("stopped", message=_("The job is no longer on the Hugging Face Hub."), hint=kept)
        else:
            ended = _("The job ended with {stage}, without saying why.", stage=stage)
            self._write("failed", message=joined([ended, words]), hint=kept)

    def _write(self, event: str, **values) -> None:
        EventLog(self.run).write(event, **values)


def _event(line: str) -> tuple[int, dict[str, Any]] | None:
    """Return (number, event) of a line that holds an event; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)[MARK]
        return int(value["n"]), dict(value["event"])
    except (ValueError, TypeError, KeyError):
        return None
