"""Ends a job so that what it learned is kept: it is asked first, and cancelled when it does not end by itself.

The request is a file in the job's own private repository; the job looks for it every few seconds. Cancelling is at once and
loses the steps since the last checkpoint.
"""

import logging
import threading
import time

from adapters.hub import Account, client, in_words
from common.errors import UserError
from jobs.hf import Job, job_words
from jobs.parcel import REQUEST, SUFFIX
from trainer.run import Run

LOOK_SECONDS = 5.0
PATIENCE_SECONDS = 300.0  # for the step under way, a checkpoint, and the sending of both
log = logging.getLogger(__name__)


def repo_of(run: Run, account: Account) -> str:
    """The repository that the job of `run` came from."""
    return f"{account.name}/{run.id}{SUFFIX}"


def ask(repo_id: str, account: Account) -> None:
    """Ask the job of this repository to stop. Raises UserError."""
    if is_asked(repo_id, account):
        return
    with in_words("ask the job to stop", repo_id):
        client(account.token).upload_file(
            path_or_fileobj=b"A person asked this job to stop.\n",
            path_in_repo=REQUEST,
            repo_id=repo_id,
            commit_message="Stop",
        )


def is_asked(repo_id: str, account: Account) -> bool:
    """Raises UserError when the Hub does not answer."""
    with in_words("look for a request to stop", repo_id):
        info = client(account.token).model_info(repo_id)
    return any(file.rfilename == REQUEST for file in info.siblings or [])


def cancel_job(job: Job, account: Account) -> None:
    """End it at once. Raises UserError."""
    with job_words("cancel the job"):
        client(account.token).cancel_job(job_id=job.id, namespace=job.namespace)


def listen(run: Run, repo_id: str, account: Account) -> None:
    """In the job: a thread that hands a request on to the training. A Hub that does not answer is asked again."""

    def look() -> None:
        while not run.stop_file.exists():
            try:
                if is_asked(repo_id, account):
                    run.request_stop()
            except UserError as error:
                log.warning("%s", error)
            time.sleep(LOOK_SECONDS)

    threading.Thread(target=look, name="stop-listener", daemon=True).start()


class Ending:
    """What the follower of a job does about a stop file, or about a run that is deleted; called again and again."""

    def __init__(self, run: Run, job: Job, account: Account) -> None:
        self.run, self.job, self.account = run, job, account
        self.since: float | None = None  # when it was first asked
        self.is_asked = self.is_cancelled = False

    def advance(self, has_begun: bool) -> None:
        """One step further; `has_begun`: the job has said something, so there may be something to keep.

        Raises UserError when the sign-in has ended; a Hub that does not answer is asked again.
        """
        is_deleted = not self.run.folder.exists()
        if self.is_cancelled or not (is_deleted or self.run.stop_file.exists()):
            return
        self.since = self.since or time.monotonic()
        try:
            if is_deleted or not has_begun or time.monotonic() - self.since > PATIENCE_SECONDS:
                cancel_job(self.job, self.account)
                self.is_cancelled = True
            elif not self.is_asked:
                ask(repo_of(self.run, self.account), self.account)
                self.is_asked = True
        except UserError as error:
            if getattr(getattr(error.__cause__, "response", None), "status_code", 0) in (401, 403):
                raise
            log.warning("%s", error)
