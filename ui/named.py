"""What a person may name in settings: a base, a data set, a file of their own. Nothing of the server is a visitor's."""

from pathlib import Path

from common.errors import UserError
from common.files import exists, is_file
from common.language import _
from common.paths import REPOSITORY, contained, datasets_folder, home, runs_folder
from common.visitors import is_visitor
from models.base import AUTO, EMBEDDED
from runs.config import EXAMPLE, ROWS, TrainConfig, marked, named_in
from runs.fields import label_of
from runs.resolve import check_for_visitors


class FieldError(UserError):
    """A UserError about one setting of the form, by its name."""

    def __init__(self, field: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.field = field

    def __str__(self) -> str:
        return f"{label_of(self.field)}: {super().__str__()}"


def check_named(owner: str, config: TrainConfig) -> None:
    """Raise UserError for settings that did not come out of the form and name what `owner` may not name here."""
    for name in marked(ROWS):
        for one in named_in(config, name):
            if one.place != EXAMPLE:
                checked_hub_id(owner, one.place, name)
    checked_base(config.base)
    check_for_visitors(config)


def checked_base(base: str) -> str:
    """Return a base as typed. From a visitor only ids: a folder would be the server's. Raises UserError."""
    base = (base or AUTO).strip()
    if is_visitor() and base not in (AUTO, EMBEDDED) and (base.startswith((".", "/", "~")) or base.count("/") != 1):
        raise FieldError("base", _("'{name}' is not a model ID.", name=base[:80]), _("IDs look like owner/name."))
    return base


def checked_hub_id(owner: str, name: str | None, field: str = "data") -> str:
    """Return an id of a Hub data set, or a path: any for the owner of the machine, one's own files for a visitor; "" for nothing.

    Raises FieldError for the setting `field`.
    """
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    name = (name or "").strip()
    if not name or _is_own_file(owner, name) or (not is_visitor() and exists(name)):
        return name
    sentence = _("'{name}' is not the ID of a dataset.", name=name[:80])
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise FieldError(field, sentence, _("IDs look like owner/name.")) from error
    if exists(REPOSITORY / name):
        raise FieldError(field, sentence, _("It is the name of one of this program's own files."))
    return name


def _is_own_file(owner: str, name: str) -> bool:
    """Return whether `name` is a file inside the owner's own runs, pasted texts and data sets, links resolved."""
    if not is_file(name):
        return False
    path = Path(name).resolve()
    own = (runs_folder(owner), uploads_folder(owner), datasets_folder(owner))
    return any(path.is_relative_to(folder) for folder in own)


def uploads_folder(owner: str) -> Path:
    """Return where the newest pasted texts and copied uploads of `owner` lie; a run has its own copy."""
    return contained(home() / "uploads", owner)
