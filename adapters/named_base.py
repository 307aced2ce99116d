"""The base that an adapter names: looked for before anything large is downloaded, and named by a person where it cannot be had.

Adapters from elsewhere name a path of another machine, a revision that the Hub has no longer, or a base that is quantised in a
way that does not run here. The base that a person names (`owner/name`, `owner/name@revision`, on one's own machine a folder) is
written into adapter_config.json, so that PEFT finds it everywhere; what the file said before stays in studio.json, which is
never sent.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.trust.check import known_base_shape
from adapters.trust.config import check_config
from adapters.trust.layers import AdapterConfig
from common.errors import UserError
from common.language import _, joined
from models.base import DEFAULT_BASE, check_folder
from models.family import ModelShape, shape_from
from models.hub.client import parse_repo
from models.hub.transfer import base_config_of
from models.quantised import quantised_of

BASE, REVISION = "base_model_name_or_path", "revision"
SAY_IT = _("Say which base it needs: in the field for it on the page, with --base on the command line.")


@dataclass(frozen=True)
class NamedBase:
    """The base of an adapter. `config` is its checked adapter_config.json with this base in it, `shape` None where nobody has it.

    `problem` says why it cannot be had; then `proposal` is the base that a person may name instead, "" where none is known.
    """

    config: AdapterConfig
    shape: ModelShape | None = None
    problem: UserError | None = None
    proposal: str = ""


def look_at_base(config: dict[str, Any], base: str, may_be_folder: bool = False) -> NamedBase:
    """Return the base that `config` names, or that a person names by `base`; with `may_be_folder` the file may name a folder too.

    Raises UserError for a config that is no plain LoRA, and for a base of an unknown family.
    """
    if base:
        model_id, wanted = (base, None) if Path(base).is_absolute() else parse_repo(base)
        config = {**config, BASE: model_id, REVISION: wanted}
    named, revision = config.get(BASE), config.get(REVISION) or None
    if isinstance(named, str) and Path(named).is_absolute() and (base or may_be_folder) and Path(named).is_dir():
        check_folder(Path(named))
    elif not _is_id(named):
        checked = check_config({**config, BASE: DEFAULT_BASE, REVISION: None})  # what else is wrong is said before
        is_path = isinstance(named, str) and (
            Path(named).is_absolute() or named[:1] in ("/", ".", "~") or "\\" in named
        )
        short = str(named)[:80]
        words = (
            _("Its base is '{base}', a path of another machine.", base=short)
            if is_path
            else _("Its base is '{base}', which is not a Hugging Face ID.", base=short)
        )
        return NamedBase(checked, problem=UserError(words, SAY_IT))
    checked = check_config({**config, REVISION: revision})
    shape = known_base_shape(str(named))
    if shape and (not revision or _is_cached(str(named), revision)):
        return NamedBase(checked, shape)
    return _ask_hub(checked, str(named), revision, shape)


def _ask_hub(config: AdapterConfig, named: str, revision: str | None, shape: ModelShape | None) -> NamedBase:
    """Return the base as the Hub has it; `shape` is what this machine knows of it, should the Hub not answer."""
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        found = base_config_of(named, revision)
    except UserError as error:
        if shape and not isinstance(error.__cause__, RevisionNotFoundError):  # no longer there, but here
            return NamedBase(config, shape)
        if isinstance(error.__cause__, RevisionNotFoundError):
            short = str(revision)[:60]
            words = _("The Hub does not have the revision '{revision}' of its base {base}.", revision=short, base=named)
            hint = joined([_("Name {base} without a revision to use its main version.", base=named), SAY_IT])
            return NamedBase(config, None, UserError(words, hint), named)
        words = _("Its base {base} is not on the Hugging Face Hub, or it is private.", base=named)
        return NamedBase(config, None, UserError(words, SAY_IT))
    if found is None:
        return NamedBase(config, shape)
    quantised = quantised_of(found, named)
    if quantised and quantised.precision is None:
        refusal = quantised.refusal(named)
        return NamedBase(config, None, UserError(refusal.message, joined([refusal.hint, SAY_IT])), quantised.twin)
    return NamedBase(config, shape_from(found, named))


def _is_id(named: object) -> bool:
    """Return whether `named` is an id of the Hub as it stands, neither an address nor a path."""
    try:
        return isinstance(named, str) and parse_repo(named) == (named, None)
    except UserError:
        return False


def _is_cached(model_id: str, revision: str) -> bool:
    """Return whether this machine has the config.json of a base at this revision."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(model_id, "config.json", revision=revision), str)
