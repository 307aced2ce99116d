"""Starts, resumes, stops and deletes evaluations. Light: no torch; all that takes long is done in a process of its own.

What is evaluated is looked up and checked here, once, among its owner's things; the base that was chosen stands in config.yaml:
a resume takes the same one.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import psutil

from adapters.library import adapter_names, find_adapter
from adapters.pull import open_adapter
from common.errors import UserError
from common.files import is_file, sweep, write_json, write_text
from common.language import _, n_
from common.limits import limit
from common.paths import GUEST_PREFIX, LOCAL_OWNER, REPOSITORY, as_title, evaluations_folder, free_name, slug
from common.visitors import working_for
from data.settings import DataSettings
from data.test_sets import delete_test_set, keep_test_set, list_test_sets
from evaluation.asked import check_test_set, held_out_set
from evaluation.config import ADAPTER, BASE, EvaluationConfig
from evaluation.run import Background, Evaluation, all_evaluations, list_evaluations, read_progress
from evaluation.scores import scores_with
from models.adapter_fit import check_base
from models.base import AUTO, choose_base
from models.hub.client import Token
from models.hub.errors import child_environment
from runs.closing import check_open
from runs.disk import check_room_on_disk
from runs.fields import short
from runs.limits import limits
from runs.processes import this_process
from runs.queue import lock
from runs.run import UNFINISHED

LAST_MOMENT_SECONDS = 20
B = TypeVar("B", bound=Background)
DEFAULT_TEST_SETS = ["questions", "general"]


def default_config(owner: str = LOCAL_OWNER, adapter: str = "") -> EvaluationConfig:
    """Return an evaluation of an adapter, the newest unless named, beside its base: on its held-out rows and what is bundled."""
    names = adapter_names(owner)
    found = find_adapter(adapter or (names[0] if names else ""), owner)
    held_out = held_out_set(found)
    test_sets = ([held_out] if held_out else []) + DEFAULT_TEST_SETS
    return EvaluationConfig(found.title, [BASE, f"{ADAPTER}{found.name}"], test_sets)


def keep_file(name: str, owner: str = LOCAL_OWNER) -> str:
    """Return the id of a test set; a file on this machine becomes one first, the same rows only once. Raises UserError."""
    if not is_file(name):
        return name
    kept = keep_test_set(DataSettings(data=name), Path(name).stem, owner)
    for other in list_test_sets(owner):
        if other.fingerprint == kept.fingerprint and other.id != kept.id:
            delete_test_set(kept.id, owner)
            return other.id
    return kept.id


def start(config: EvaluationConfig, owner: str = LOCAL_OWNER, token: Token = False) -> Evaluation:
    """Make an evaluation's folder, start its process, and return at once. Raises UserError, leaving nothing.

    `token` opens adapters from private repositories; it goes no further.
    """
    config = resolve(config, owner, token)
    _check_kept(owner)
    check_room_on_disk(owner)
    root = evaluations_folder(owner)
    return make_and_start(Evaluation, root, config.title, config.to_yaml(), lambda: _check_turn(owner))


def make_and_start(
    kind: type[B],
    root: Path,
    title: str,
    settings: str,
    check_turn: Callable[[], None],
    fill: Callable[[Path], None] = lambda folder: None,
    secret: str = "",
) -> B:
    """Make a folder in `root` that is named by `title`, with settings and whatever `fill` puts into it, and start its process.

    `check_turn` is called under the lock; what it raises leaves nothing. The `secret` is in no file: see `start_process`.
    """
    root.mkdir(parents=True, exist_ok=True)
    sweep(*root.glob(f"*{UNFINISHED}"))
    with lock():
        made = kind(root / free_name(slug(title), root))
        partial = kind(root / f"{made.id}{UNFINISHED}")
        partial.folder.mkdir()
        try:
            write_text(partial.config_file, settings)
            fill(partial.folder)
            check_turn()
            partial.folder.rename(made.folder)
            start_process(made, secret)
        except BaseException:
            shutil.rmtree(partial.folder, ignore_errors=True)
            shutil.rmtree(made.folder, ignore_errors=True)
            raise
    return made


def resolve(config: EvaluationConfig, owner: str, token: Token) -> EvaluationConfig:
    """Check what is evaluated, on what, and choose the base. Raises UserError, also where adapters do not share one base."""
    config.check()
    known = scores_with(config.format_rule)
    if unknown := [short(name) for name in config.scores if name not in known]:
        words = _("There is no score '{name}'.", name=unknown[0])
        raise UserError(words, _("Choose among these: {names}.", names=", ".join(known)))
    for name in config.test_sets:
        check_test_set(name, owner)
    adapters = [open_adapter(name, owner, token) for name in config.adapters()]
    for other in adapters[1:]:
        if other.base != adapters[0].base:
            values = {
                "one": adapters[0].title,
                "base": adapters[0].base,
                "other": other.title,
                "other_base": other.base,
            }
            raise UserError(
                _("'{one}' was trained on {base}, '{other}' on {other_base}.", **values),
                _("Evaluate adapters of one base together; evaluations of two bases can be compared afterwards."),
            )
    choice, revision = config.base or AUTO, config.base_revision or None
    if adapters and not config.base:
        choice, revision = adapters[0].base_choice, adapters[0].base_revision
    base = choose_base(choice, revision)
    if adapters:
        check_base(adapters[0].title, adapters[0].base, base)
    titles = [adapter.title for adapter in adapters] or [base.model_id.rstrip("/").rpartition("/")[2]]
    return _capped(
        replace(
            config,
            title=config.title or as_title(", ".join(titles)),
            base=base.choice,
            base_revision=base.revision or "",
        )
    )


def _capped(config: EvaluationConfig) -> EvaluationConfig:
    """Return `config` with this machine's limits in it. Raises UserError when it asks for more."""
    allowed = limits()
    for name, most in (("max_items", allowed.rows), ("max_minutes", allowed.minutes)):
        wanted = getattr(config, name)
        if most and wanted > most:
            words = _("{value:,} is too high; the maximum on this machine is {limit:,}.", value=wanted, limit=most)
            raise UserError(_("{setting}: {problem}", setting=name, problem=words))
        config = replace(config, **{name: wanted or most})
    return config


def resume(evaluation: Evaluation, token: Token = False) -> None:
    """Go on where an evaluation stopped, and return at once; `token` opens adapters from private repositories, as in `start`.

    Raises UserError while it is running, and for an adapter that is gone.
    """
    for name in evaluation.config().adapters():
        open_adapter(name, evaluation.owner, token)
    with lock():
        if not has_ended(evaluation):
            raise UserError(_("'{name}' is already running.", name=evaluation.id))
        check_room_on_disk(evaluation.owner)
        _check_turn(evaluation.owner)
        start_process(evaluation)


def request_stop(work: Background) -> None:
    """Ask the process to end and keep the results that are there; it can be resumed."""
    work.stop_file.touch()


def delete_work(work: Background) -> None:
    """Delete an evaluation, or what else is computed in a folder, for good. Raises UserError while it is running."""
    with lock():
        if not has_ended(work):
            raise UserError(_("'{name}' is still running.", name=work.id), _("Stop it first."))
        gone = work.folder.with_name(f"{work.id}{UNFINISHED}")
        work.folder.rename(gone)  # what is deleted in part is in no list
        shutil.rmtree(gone, ignore_errors=True)


def has_ended(work: Background) -> bool:
    """Return whether its process is gone; one that has said its last word gets a moment to end."""
    deadline = time.monotonic() + LAST_MOMENT_SECONDS
    while work.is_alive():
        if read_progress(work).is_running or time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def start_process(work: Background, secret: str = "") -> None:
    """Start the process that computes, in its own session, with its output in a file and no token in its environment.

    A `secret`, as short as a token is, reaches it through its standard input alone.
    """
    work.stop_file.unlink(missing_ok=True)
    work.progress_file.unlink(missing_ok=True)
    write_json(work.process_file, {"starter": this_process(os.getpid())})  # so that it counts as alive meanwhile
    try:
        with open(work.log_file, "ab") as log, working_for(work.owner):
            process = subprocess.Popen(
                [sys.executable, "-m", work.module, f"--{work.kind}", str(work.folder)],
                cwd=REPOSITORY,
                env=child_environment(),
                stdin=subprocess.PIPE if secret else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError:
        work.process_file.unlink()
        raise
    write_json(work.process_file, {"process": this_process(process.pid)})
    if secret and process.stdin:
        with suppress(BrokenPipeError), process.stdin:  # it has ended already
            process.stdin.write(secret.encode())
    threading.Thread(target=process.wait, daemon=True).start()  # reaps it; nothing else depends on this thread


def processes_of(module: str) -> int:
    """Count the processes of a module on this machine, of everyone."""
    return sum(module in (process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))


def _check_kept(owner: str) -> None:
    """Raise UserError when `owner` keeps as many evaluations as are allowed: STUDIO_MAX_KEPT_EVALUATIONS."""
    most, kept = limit("STUDIO_MAX_KEPT_EVALUATIONS", 50), len(list_evaluations(owner))
    if most and kept >= most:
        words = n_(
            "You have {count} evaluation; at most {limit} are allowed here.",
            "You have {count} evaluations; at most {limit} are allowed here.",
            kept,
            limit=most,
        )
        raise UserError(words, _("Delete old evaluations."))


def _check_turn(owner: str) -> None:
    """Raise UserError when `owner`, or all guests together, have as many under way as STUDIO_MAX_EVALUATIONS_PER_USER allows, or
    everybody together as many as runs may wait (STUDIO_MAX_QUEUE): one that waits is a process, too.
    """
    check_open()
    allowed, under_way = limits().queue, processes_of(Evaluation.module)
    if allowed and under_way >= allowed:
        words = n_(
            "{count} evaluation is under way here, the maximum.",
            "{count} evaluations are under way here, the maximum.",
            under_way,
        )
        raise UserError(words, _("Try again later."))
    most = limit("STUDIO_MAX_EVALUATIONS_PER_USER", 1)
    if is_busy(owner, most, all_evaluations):
        words = n_(
            "{limit} evaluation of yours is under way, the maximum here.",
            "{limit} evaluations of yours are under way, the maximum here.",
            most,
            limit=most,
        )
        if owner.startswith(GUEST_PREFIX):
            words = _("An evaluation of another guest is under way; guests take turns here.")
        raise UserError(words, _("Wait for its end, then try again."))


def is_busy(owner: str, most: int, everyone: Callable[[], Sequence[Background]]) -> bool:
    """Return whether `owner`, or all guests together, have `most` under way; 0 is no limit."""
    is_guest = owner.startswith(GUEST_PREFIX)
    mine = (
        [one for one in everyone() if one.owner == owner or (is_guest and one.owner.startswith(GUEST_PREFIX))]
        if most
        else []
    )
    return bool(most) and sum(read_progress(one).is_running for one in mine) >= most
