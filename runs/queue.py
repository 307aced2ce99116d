"""Who trains next on this machine's one accelerator: a queue that is fair among users and survives every restart.

A run waits while its folder has `queued.json`; nothing else keeps the queue, so there is nothing that could disagree.
`advance` starts the next one when nobody trains; on a machine with several cards runs of experiments take one each. Whoever lives
may call it: the page's dispatcher, a command line that follows its run, the launch itself. One file lock lets one of them decide
at a time.

A program may die between any two steps. It marks the run as `starting` before it starts the process, writes
`process.json` after it, and takes `queued.json` away last; whoever comes next looks at what is there and goes on.

An evaluation holds a second file lock while it computes (`accelerator`): the system takes it back from a process that dies.
"""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

import psutil
from filelock import FileLock, Timeout

from common.errors import UserError, as_user_error
from common.files import read_object, write_json
from common.language import _
from common.paths import GUEST_PREFIX, LOCAL_OWNER, home
from models.hardware import find_gpus, on_zero_gpu
from runs.closing import check_open, is_closing
from runs.config import TrainConfig
from runs.labels import Labels, labels_of
from runs.launcher import ALL_CARDS, create_run, start
from runs.limits import check_room
from runs.machines.parallel import mode_of
from runs.processes import this_process
from runs.resolve import ResolvedConfig
from runs.run import EventLog, Run, active_run, list_runs, read_state, runs_with
from runs.trackers.names import trackers_in
from runs.trackers.track import track_in_background

POLL_SECONDS = 0.5
LOCK_SECONDS = 60
REMEMBERED_SECONDS = 86400.0  # whose turn it was longer ago counts as never
DISPATCHER = "queue-dispatcher"
ACCELERATOR_LOCK = "accelerator.lock"
# polls at which an evaluation leaves a free accelerator to a run whose turn it is; nobody may live to start it
MAX_PASSED = 6


def launch(config: TrainConfig | ResolvedConfig, owner: str = LOCAL_OWNER, labels: Labels | None = None) -> Run:
    """Create a run and queue it; it starts at once when the machine is idle. Raises UserError, leaving nothing.

    Raises NoRoom, which is one, when it may not join for now.
    """
    check_open()
    check_room(*_counts(owner))  # before the data is copied; again under the lock
    run = create_run(config, owner, labels)
    try:
        enqueue(run)
    except BaseException:
        shutil.rmtree(run.folder, ignore_errors=True)
        raise
    return run


def enqueue(run: Run) -> None:
    """Queue a new run, or one to resume; it starts at once when the machine is idle. Raises UserError when it may not.

    On ZeroGPU it is not queued: its owner's page trains it in slices (`runs.slices`).
    """
    with lock():
        if run.is_queued():
            raise UserError(_("'{name}' is already in the queue.", name=run.id))
        if _trains(run):
            words = _("The run '{name}' is already training.", name=run.id)
            raise UserError(words, _("Wait for it, or stop it first."))
        if run.job_file.exists():
            words = _("'{name}' is a job on another machine.", name=run.id)
            raise UserError(words, _("Submit it there again to continue it."))
        check_open()
        check_room(*_counts(run.owner))
        config = run.config()
        run.stop_file.unlink(missing_ok=True)
        EventLog(run).write("queued", base=config.base, base_reason=config.base_reason)
        if on_zero_gpu():
            return
        last = max((at for at, _run in _waiting()), default=0.0)
        write_json(run.queued_file, {"time": max(time.time(), last + 0.001)})  # also when the clock went back
    advance_if_possible()  # it is queued now, whatever happens


def stop(run: Run) -> None:
    """Take a waiting run out of the queue, or ask one that trains to save what it learned and end."""
    if not cancel(run):
        run.request_stop()


def cancel(run: Run) -> bool:
    """Take `run` out of the queue; it can be resumed. Returns False when it does not wait (any more)."""
    with lock():
        if not run.is_queued() or _process_of(run):
            return False
        run.queued_file.unlink(missing_ok=True)
        EventLog(run).write("stopped", message=_("Removed from the queue."), hint=_("Press Resume to queue it again."))
        return True


def position(run: Run) -> tuple[int, int]:
    """Return (place, length): 1 is the next to start, 0 one that does not wait. Tells nothing of the others but their number."""
    waiting = order()
    return (waiting.index(run) + 1 if run in waiting else 0), len(waiting)


def order() -> list[Run]:
    """Return all waiting runs, the next one first: owners take turns, who trained longest ago first; of one in their order.

    All guests take turns as one owner: a key in a browser costs nothing, and would buy a turn.
    """
    waiting: dict[str, list[Run]] = {}
    for _at, run in sorted(_waiting(), key=lambda pair: (pair[0], pair[1].id)):
        waiting.setdefault(_who(run.owner), []).append(run)
    turns = {owner: (_turns().get(owner, 0.0), place) for place, owner in enumerate(waiting)}
    found: list[Run] = []
    while waiting:
        owner = min(waiting, key=turns.__getitem__)
        found.append(waiting[owner].pop(0))
        turns[owner] = (float("inf"), len(found))
        if not waiting[owner]:
            del waiting[owner]
    return found


def _who(owner: str) -> str:
    """Return the name under which `owner` takes turns: one for all guests."""
    return GUEST_PREFIX if owner.startswith(GUEST_PREFIX) else owner


def _waiting() -> list[tuple[float, Run]]:
    """Return (queued at, run) of every run that waits."""
    found = []
    for run in runs_with("queued.json"):
        if run.is_queued():
            at = read_object(run.queued_file).get("time")
            found.append((float(at) if isinstance(at, int | float) and 0 <= at < 1e11 else 0.0, run))
    return found


def _counts(owner: str) -> tuple[int, int, int]:
    """Count: runs of `owner` that wait or train, runs of everyone that wait, those of guests when `owner` is one."""
    waiting = order()
    mine = {run.id for run in waiting if run.owner == owner} | {run.id for run in list_runs(owner) if _trains(run)}
    is_guest = _who(owner) == GUEST_PREFIX
    return len(mine), len(waiting), sum(is_guest and _who(run.owner) == GUEST_PREFIX for run in waiting)


def advance() -> Run | None:
    """Start the next run when nobody trains, or when it may train beside those that do. Returns it, or None when none may."""
    if not order() or (active_run() and len(find_gpus()) < 2):
        return None
    with lock():
        if is_closing():
            return None
        _finish_starts()
        for run in order():
            card = None if _is_evaluating() else _card_for(run)
            if card is None:
                return None
            if _start(run, card):
                return run
    return None


def _card_for(run: Run) -> int | None:
    """Return the card on which `run` may start now, or ALL_CARDS; None while it has to wait.

    Where there are several cards, runs of experiments that need no more take one each; any other run has the machine alone.
    """
    cards = range(len(find_gpus()))
    can_share = len(cards) > 1 and _needs_one_card(run)
    if not _is_training():
        return cards[0] if can_share else ALL_CARDS
    training = [one for one in runs_with("process.json") if one.is_alive()]
    taken = {max((mark.get("card", ALL_CARDS) for mark in one.processes()), default=ALL_CARDS) for one in training}
    is_known = {*_training_processes()} <= {str(one.folder) for one in training}
    if not (can_share and is_known) or ALL_CARDS in taken:
        return None
    return min({*cards} - taken, default=None)


def _needs_one_card(run: Run) -> bool:
    """Return whether `run` is of an experiment and trains in one process."""
    config = run.config_or_none() if labels_of(run).experiment else None
    return config is not None and mode_of(config) == "single" and not config.accelerate_config


def _start(run: Run, card: int) -> bool:
    """Start `run` on a card, or with all. Returns False when it cannot start (it has failed then) or is gone."""
    try:
        run.process_file.unlink(missing_ok=True)
        write_json(run.queued_file, {**read_object(run.queued_file), "starting": time.time(), "card": card})
        start(run, card)
        run.queued_file.unlink(missing_ok=True)
    except (OSError, UserError) as error:
        if run.config_file.is_file():  # else it was deleted in this moment
            logging.getLogger(__name__).warning("%s could not be started: %s", run.id, error)
            run.queued_file.unlink(missing_ok=True)
            known = as_user_error(error) or UserError(f"{error}")
            message = _("It could not be started: {why}", why=known.message)
            EventLog(run).write("failed", message=message, hint=known.hint or _("Press Resume to try again."))
        return False
    _take_turn(run.owner)
    config = run.config_or_none()
    if names := trackers_in(config.report_to) if config else []:
        with suppress(OSError):  # the training goes on without
            track_in_background(run, names)
    return True


def _finish_starts() -> None:
    """Go on where a program died while it started a run: adopt the process that it started, if it did."""
    for run in runs_with("queued.json"):
        if "starting" not in read_object(run.queued_file):
            continue
        process = _process_of(run)
        if process and not run.process_file.exists():
            card = read_object(run.queued_file).get("card", ALL_CARDS)
            write_json(run.process_file, {"launcher": this_process(process) | {"card": card}})
        if run.process_file.exists():
            run.queued_file.unlink(missing_ok=True)
            _take_turn(run.owner)


@contextmanager
def accelerator(wait: Callable[[], None]) -> Generator[None]:
    """Hold the accelerator for an evaluation: no training starts meanwhile.

    While a training or another evaluation has it `wait` is called every POLL_SECONDS; what it raises ends the waiting. After an
    evaluation a run that waits comes first, however many evaluations wait.
    """
    held, passed = FileLock(home() / ACCELERATOR_LOCK, timeout=0), 0
    while not held.is_locked:
        with lock():  # not while a training is being started
            if not _is_training():
                with suppress(Timeout):
                    held.acquire()
            if held.is_locked and passed < MAX_PASSED and _is_a_runs_turn():
                held.release()
                passed += 1
            elif held.is_locked:
                _take_turn(ACCELERATOR_LOCK)
        if not held.is_locked:
            wait()
            time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        held.release()


def _is_a_runs_turn() -> bool:
    """Return whether a run waits, and the last one who had the accelerator was an evaluation."""
    turns = _turns()
    return bool(order()) and max(turns, key=turns.__getitem__, default="") == ACCELERATOR_LOCK


def _is_evaluating() -> bool:
    """Return whether an evaluation holds the accelerator."""
    try:
        with FileLock(home() / ACCELERATOR_LOCK, timeout=0):
            return False
    except Timeout:
        return True


def _is_training() -> bool:
    """Return whether any run trains on this machine, also one whose start nobody could write down."""
    return active_run() is not None or bool(_training_processes())


def _training_processes() -> dict[str, int]:
    """Return run folder to process id, of every training process on this machine that works in our data folder."""
    found: dict[str, int] = {}
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "--run" in words[:-1] and "trainer.train" in words:
            folder = words[words.index("--run") + 1]
            if folder.startswith(f"{home().resolve()}{os.sep}"):
                found.setdefault(folder, process.pid)
    return found


def _process_of(run: Run) -> int | None:
    """Return the process that trains `run`, also one whose start nobody could write down."""
    return _training_processes().get(str(run.folder))


def _trains(run: Run) -> bool:
    """Return whether `run` trains. One that has written its last event no longer does; `advance` waits for its end."""
    return run.is_alive() and read_state(run, with_curves=False).is_running


def _turns() -> dict[str, float]:
    """Return for each owner when a run was started last, within a day (seconds since 1970; none in the future)."""
    now = time.time()
    turns = read_object(home() / "turns.json").items()
    return {who: at for who, at in turns if isinstance(at, int | float) and now - REMEMBERED_SECONDS < at <= now}


def _take_turn(owner: str) -> None:
    write_json(home() / "turns.json", {**_turns(), _who(owner): time.time()})


@contextmanager
def lock() -> Generator[None]:
    """Hold the lock for changes of the queue, across processes. Raises UserError when it cannot be had."""
    home().mkdir(parents=True, exist_ok=True)
    held = FileLock(home() / "start.lock", timeout=LOCK_SECONDS)
    try:
        held.acquire()
    except Timeout as error:
        raise UserError(_("Another program is starting a run and does not finish."), _("Try again.")) from error
    try:
        yield
    finally:
        held.release()


def start_dispatcher() -> threading.Thread:
    """Start the thread that advances the queue of this machine while the page runs; once in a process."""
    running = [thread for thread in threading.enumerate() if thread.name == DISPATCHER]
    if running:
        return running[0]

    def dispatch() -> None:
        while True:
            advance_if_possible()
            time.sleep(POLL_SECONDS)

    thread = threading.Thread(target=dispatch, name=DISPATCHER, daemon=True)
    thread.start()
    return thread


def advance_if_possible() -> None:
    """Advance for a caller that must go on: a full disk or a busy lock passes, and is only written to the log."""
    try:
        advance()
    except (OSError, UserError, psutil.Error) as error:
        logging.getLogger(__name__).warning("The queue could not go on now: %s", error)
