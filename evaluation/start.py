"""Starts and resumes evaluations. Light: no torch; all that takes long is done in a process of its own.

What is evaluated is looked up and checked here, once, among its owner's things; the base that was chosen stands in config.yaml:
a resume takes the same one.
"""

from dataclasses import replace
from pathlib import Path

from adapters.library import adapter_names, find_adapter
from adapters.pull import open_adapter
from common.errors import UserError
from common.files import is_file
from common.language import _, n_
from common.limits import limit
from common.paths import LOCAL_OWNER, as_title, evaluations_folder
from data.settings import DataSettings
from data.test_sets import delete_test_set, keep_test_set, list_test_sets
from evaluation.asked import check_test_set, held_out_set
from evaluation.background import check_turn, has_ended, make_and_start, start_process
from evaluation.config import ADAPTER, BASE, EvaluationConfig
from evaluation.run import Evaluation, all_evaluations, list_evaluations
from evaluation.scores import scores_with
from models.adapter_fit import check_base
from models.base import AUTO, choose_base
from models.hub.client import Token
from runs.disk import check_room_on_disk
from runs.fields import short
from runs.limits import limits
from runs.queue import lock

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
    """Raise UserError when `owner` has to wait: STUDIO_MAX_EVALUATIONS_PER_USER."""
    check_turn(
        owner,
        all_evaluations,
        Evaluation,
        limit("STUDIO_MAX_EVALUATIONS_PER_USER", 1),
        lambda count: n_(
            "{count} evaluation is under way here, the maximum.",
            "{count} evaluations are under way here, the maximum.",
            count,
        ),
        lambda most: n_(
            "{limit} evaluation of yours is under way, the maximum here.",
            "{limit} evaluations of yours are under way, the maximum here.",
            most,
            limit=most,
        ),
        _("An evaluation of another guest is under way; guests take turns here."),
    )
