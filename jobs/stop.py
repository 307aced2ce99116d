"""Ends a job so that what it learned is kept: it is asked first, and cancelled when it does not end by itself.

The request is a file in the job's own private repository; the job looks for it every POLL_SECONDS. Cancelling is at once and
loses the steps since the last checkpoint.
"""

import logging
import threading
import time

from common.errors import UserError
from jobs.hf import Job, cancel_job, status_of
from jobs.upload import STOP_FILE, job_repo
from models.hub.client import Account, client, errors_explained
from runs.run import Run

POLL_SECONDS = 5.0
PATIENCE_SECONDS = 300.0  # for the step under way, a checkpoint, and the sending of both
log = logging.getLogger(__name__)


def ask_to_stop(repo_id: str, account: Account) -> None:
    """Ask the job that came from this repository to stop. Raises UserError."""
    if is_asked(repo_id, account):
        return
    with errors_explained(repo_id):
        client(account.token).upload_file(
            path_or_fileobj=b"A person asked this job to stop.\n",
            path_in_repo=STOP_FILE,
            repo_id=repo_id,
            commit_message="Stop",
        )


def is_asked(repo_id: str, account: Account) -> bool:
    """Return True when the job was asked to stop. Raises UserError when the Hub does not answer."""
    with errors_explained(repo_id):
        info = client(account.token).model_info(repo_id)
    return any(file.rfilename == STOP_FILE for file in info.siblings or [])


def listen(run: Run, repo_id: str, account: Account) -> None:
    """Start a thread, in the job, that hands a request on to the training. A Hub that does not answer is asked again."""

    def poll() -> None:
        while not run.stop_file.exists():
            try:
                if is_asked(repo_id, account):
                    run.request_stop()
            except UserError as error:
                log.warning("%s", error)
            time.sleep(POLL_SECONDS)

    threading.Thread(target=poll, name="stop-listener", daemon=True).start()


class Ending:
    """Ends the job of a run that was told to stop, or that was deleted; `advance` is called again and again."""

    def __init__(self, run: Run, job: Job, account: Account) -> None:
        self.run, self.job, self.account = run, job, account
        self.since: float | None = None  # when it was first asked
        self.is_asked = self.is_cancelled = False

    def advance(self, has_begun: bool) -> None:
        """Ask the job to stop, or cancel it. `has_begun`: the job has written something, so there may be something to keep.

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
                ask_to_stop(job_repo(self.run, self.account), self.account)
                self.is_asked = True
        except UserError as error:
            if status_of(error) in (401, 403):
                raise
            log.warning("%s", error)
