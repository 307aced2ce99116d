"""Sends checkpoints to the owner's own repository while a run trains: one thread of the app checks every half minute.

The account is only in this process's memory: the training process never gets a token. After a restart of the app, or a new
sign-in, the owner's open page passes it on again. Failures are tried again and never affect the run.
"""

import logging
import threading
import time

from common.errors import UserError
from common.language import _, joined
from common.words import duration
from models.hub.client import Account, account_of, sign_in_words
from runs.backup.backup import find_repo, note_backup, read_backup, send_checkpoint
from runs.checkpoints import last_checkpoint
from runs.run import TEXT, Run, read_state
from ui.hints import hint_html
from ui.owner import Visitor

POLL_SECONDS = 30.0
MAX_PAUSE_SECONDS = 600.0
SENDER = "checkpoint-sender"
log = logging.getLogger(__name__)

_accounts: dict[Run, Account] = {}  # whose token sends the checkpoints of a run
_pauses: dict[Run, tuple[float, float]] = {}  # after a failure: (not before, the pause in seconds)


def backup_account(visitor: Visitor) -> Account:
    """Return the account that may send checkpoints. Raises UserError when nobody is signed in, or only to read."""
    account = account_of(visitor.hub_token)
    if not account.can_write:
        raise UserError(_("This sign-in can only read."), _("Saving checkpoints needs one with write access."))
    return account


def keep_sending(run: Run, account: Account) -> None:
    """Send the checkpoints of `run` from now on, until it has ended and the last one is there."""
    note_backup(run.folder, problem="")
    _accounts[run] = account
    _pauses.pop(run, None)
    _start_sender()


def forget(run: Run) -> None:
    """Stop sending checkpoints of `run`, also of a later run of the same name."""
    _accounts.pop(run, None)
    _pauses.pop(run, None)


def renew(run: Run, visitor: Visitor) -> None:
    """Go on sending with the account that is signed in now, if `run` was to be sent and has not ended."""
    known = _accounts.get(run)
    if not visitor.hub_token or (known and known.token == visitor.hub_token) or read_backup(run.folder) is None:
        return
    if run.is_alive() or run.is_queued():
        try:
            keep_sending(run, backup_account(visitor))
        except UserError:
            return  # the run's own line says that nobody is signed in


def _start_sender() -> None:
    """Start the sending thread, once in a process."""
    if not any(thread.name == SENDER for thread in threading.enumerate()):
        threading.Thread(target=_send_for_ever, name=SENDER, daemon=True).start()


def _send_for_ever() -> None:
    """Check all runs every POLL_SECONDS: the target of the sending thread."""
    while True:
        for run, account in list(_accounts.items()):
            if _pauses.get(run, (0.0, 0.0))[0] <= time.monotonic():
                send_when_new(run, account)
        time.sleep(POLL_SECONDS)


def send_when_new(run: Run, account: Account) -> None:
    """Send the newest checkpoint unless it is there already; forget the account when the run has ended.

    Errors are kept in the run's folder, for its page; the pause after them doubles with each failure.
    """
    try:
        is_running = read_state(run).is_running
        _send(run, account)
        _pauses.pop(run, None)
        if not is_running:
            _accounts.pop(run, None)
    except Exception as error:  # the edge of this thread: the next run's checkpoints wait for it
        pause = min(MAX_PAUSE_SECONDS, 2 * _pauses.get(run, (0.0, POLL_SECONDS / 2))[1])
        _pauses[run] = (time.monotonic() + pause, pause)
        if not isinstance(error, UserError):
            log.exception("A checkpoint of %s could not be sent", run.id)
        words = _("Something went wrong inside the app. Its log has the details.")
        if isinstance(error, UserError):
            words = joined([error.message, error.hint])
        if run.folder.is_dir():
            note_backup(run.folder, problem=words)
        else:
            _accounts.pop(run, None)  # deleted meanwhile


def _send(run: Run, account: Account) -> None:
    """Send the newest checkpoint unless the repository has it already. Raises UserError."""
    # the text of stage 1 has checkpoints of its own; those of stage 2 are newer
    checkpoint = last_checkpoint(run.checkpoints_folder) or last_checkpoint(run.checkpoints_folder / TEXT)
    known = read_backup(run.folder)
    if checkpoint is None or (known and known.checkpoint == checkpoint.relative_to(run.folder).as_posix()):
        return
    repo_id = find_repo(run.folder, account)
    known = read_backup(run.folder)
    send_checkpoint(run.folder, checkpoint, account, repo_id, known.revision if known else None)


def backup_html(run: Run) -> str:
    """Return where the checkpoints of a run are, or why not, as HTML; "" for a run that is not sent."""
    known = read_backup(run.folder)
    if known is None:
        return ""
    step = known.checkpoint.rsplit("-", 1)[-1]
    words = _("Checkpoints go to Hugging Face; none is there yet.")
    if step:
        words = _("Checkpoint {step} is in {repo}.", step=step, repo=known.repo_id)
    problem = ""
    if known.problem:
        problem = joined([_("The newest checkpoint is not on Hugging Face yet:"), known.problem, _("Trying again.")])
    elif run not in _accounts and (run.is_alive() or run.is_queued()):
        problem = joined([_("No newer one is sent because nobody is signed in."), sign_in_words()])
    return hint_html(words) + (hint_html(problem, "problem") if problem else "")


def sign_in_note(expires_at: float | None, seconds: float | None, now: float) -> str | None:
    """Return how long the sign-in lasts against the training's time; None for a sign-in that does not end.

    `expires_at` and `now` in seconds since 1970; `seconds` of the training, None while it is not measured.
    """
    if not expires_at:
        return None
    left = expires_at - now
    if left <= 0:
        return _("Your sign-in has expired. Sign in again first.")
    if seconds is None:
        return _(
            "Your sign-in ends in {left}. Measure the time to see if the training is shorter.", left=duration(left)
        )
    if seconds < 0.9 * left:
        return _(
            "Your sign-in lasts {left}; the training takes about {time}.", left=duration(left), time=duration(seconds)
        )
    return _(
        "Your sign-in ends in {left}; the training takes about {time}. Sign in again on this page before that, or later "
        "checkpoints will not be saved. The training itself continues either way.",
        left=duration(left),
        time=duration(seconds),
    )
