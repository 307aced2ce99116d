"""From the values of the form to a config and back, by the names of the inputs, without components.

Inputs beside the fields of TrainConfig: `data_kind` says which of `data_file`, `data_paste`, `data_hub` and `data_chat` holds the
data (MADE: none yet, rows are being made); `data_mix` names the files of `data_file` with their shares, and more data sets.
`text_file` or `text_hub` holds the text of stage 1, `eval_file` or `eval_hub` the held-out rows.
"""

import hashlib
import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import Field, fields, replace
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from common.errors import UserError
from common.files import is_file, write_text
from common.language import _
from common.mix import DataShare, as_text, data_sets, split_line
from data.feedback import find_dataset
from data.kinds import paste_suffix
from runs.config import EXAMPLE, READING, ROWS, SOURCE, WRITTEN, TrainConfig, marked, named_in
from runs.resolve import check_for_visitors
from ui.named import FieldError, checked_base, checked_hub_id, uploads_folder

FormValues = dict[str, Any]  # what the inputs hold, by name; or only some of them, changed

KINDS = EXAMPLE_DATA, UPLOAD, PASTE, HUB, CHAT, MADE = ("example", "upload", "paste", "hub", "chat", "made")  # of data
FORM_ONLY = ("data_kind", "data_file", "data_mix", "data_paste", "data_hub", "data_chat")
FORM_ONLY += ("text_file", "text_hub", "eval_file", "eval_hub")
MAX_KEPT_FILES = 5  # of one owner's pasted texts and copied uploads
MAX_PASTED_CHARACTERS = 5_000_000


def shown_fields() -> list[Field]:
    """Return the fields of TrainConfig that are inputs of their own."""
    hidden = marked(ROWS, WRITTEN)  # made from the inputs above, or written by the launcher
    return [item for item in fields(TrainConfig) if item.name not in hidden]


def make_config(owner: str, values: FormValues) -> TrainConfig:
    """Return the form as a config. Raises UserError for what is missing, unknown, or not allowed to a visitor."""
    files = values.get("data_file") or []
    files = files if isinstance(files, list) else [files]
    if not all(isinstance(file, str) for file in files):
        raise UserError(
            _("data_file holds something that is not a file."), _("Enter the path of one upload or of several.")
        )
    for name in (*[name for name in FORM_ONLY if name != "data_file"], "base", "name", "accelerate_config"):
        text = values.get(name)
        if text is not None and not isinstance(text, str):  # only an API can send it
            raise UserError(_("{name} is not text.", name=name), _("Enter text."))
        values = {**values, name: text or ""}
    settings = {item.name: values[item.name] for item in shown_fields() if item.name in values}
    optional = [item.name for item in shown_fields() if item.default is None or item.default == ""]
    optional += ["name", "base"]
    empty = next((name for name, value in settings.items() if value in (None, "") and name not in optional), None)
    if empty:
        raise FieldError(empty, _("It is empty."), _("Enter a value."))
    settings |= {
        "name": values["name"],
        "base": checked_base(values["base"]),
        "data": _data(owner, {**values, "data_file": files}),
        "text_data": values["text_file"] or checked_hub_id(owner, values["text_hub"], "text_data") or None,
        "eval_data": values["eval_file"] or checked_hub_id(owner, values["eval_hub"], "eval_data") or None,
    }
    config = TrainConfig.from_dict(settings)
    check_for_visitors(config)
    return config


def form_config(names: tuple[str, ...], owner: str, values: Sequence) -> TrainConfig:
    """Return the config of the form as it is filled in. Raises UserError."""
    return make_config(owner, dict(zip(names, values, strict=True)))


def _data(owner: str, values: FormValues) -> str:
    """Return `TrainConfig.data` for the chosen kind of data. Raises UserError for what is missing."""
    kind = values["data_kind"]
    if kind not in KINDS:
        kinds = ", ".join(KINDS)
        raise UserError(_("'{kind}' is not a kind of data.", kind=kind[:80]), _("Choose one of {kinds}.", kinds=kinds))
    check_given(values)
    if kind == EXAMPLE_DATA:
        return EXAMPLE
    if kind == UPLOAD:
        return _uploaded(owner, values["data_file"], values["data_mix"])
    if kind == PASTE:
        return _pasted_file(owner, values["data_paste"])
    if kind == CHAT:
        return str(find_dataset(values["data_chat"], owner).path)
    named = data_sets(values["data_hub"].strip())
    return as_text(replace(one, place=checked_hub_id(owner, one.place)) for one in named)


def check_given(values: FormValues) -> None:
    """Raise FieldError while the chosen kind of data is not given yet."""
    kind = values["data_kind"]
    if kind == UPLOAD and not values["data_file"]:
        raise FieldError("data", _("No file was uploaded."), _("Drop one here, or choose the example."))
    if kind == PASTE and not (values["data_paste"] or "").strip():
        raise FieldError("data", _("Nothing was pasted."), _("Paste JSON lines, a table, or plain text."))
    if kind == HUB and not data_sets((values["data_hub"] or "").strip()):
        raise FieldError("data", _("No dataset was named."), _("IDs look like owner/name."))
    if kind == MADE:
        raise FieldError("data", _("No made rows are used yet."), _("Make rows, look at them, then use them."))
    if kind == CHAT and not values["data_chat"]:
        raise FieldError(
            "data", _("None of your datasets was chosen."), _("Rate or correct answers in the Chat tab first.")
        )


def _uploaded(owner: str, files: list[str], line: str) -> str:
    """Return the line of data sets for uploaded files, which `line` calls by their names, with shares and more data sets.

    Without a line they are all files. Raises UserError for a file that it leaves out.
    """
    left, found = list(files), []
    for one in split_line(line):
        file = next((file for file in left if Path(file).name == one.place), None)
        if file:
            left.remove(file)
        found.append(replace(one, place=file or checked_hub_id(owner, one.place)))
    if found and left:
        sentence = _("'{file}' was uploaded, but its share is not given.", file=Path(left[0]).name[:80])
        raise FieldError("data_mix", sentence, _("Name every file, or leave the field empty to use all of them."))
    return as_text(found or map(DataShare, files))


def uploaded_names(files: list[str] | None) -> str:
    """Return the line that names several uploaded files, for shares to be added; "" for one file and none."""
    return ", ".join(Path(file).name for file in files) if files and len(files) > 1 else ""


def _pasted_file(owner: str, text: str) -> str:
    """Write the pasted text to a file named after its content; return its path. Raises FieldError for too much.

    The last few are kept: a run has a copy of its own.
    """
    if len(text) > MAX_PASTED_CHARACTERS:
        sentence = _("{count:,} characters; {most:,} is the maximum.", count=len(text), most=MAX_PASTED_CHARACTERS)
        raise FieldError("data", sentence, _("Upload a file instead."))
    name = f"pasted-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}{paste_suffix(text)}"
    if not is_file(file := uploads_folder(owner) / name):
        _make_room(file.parent)
        write_text(file, text.encode("utf-8", "replace").decode())
    return str(file)


def _make_room(folder: Path) -> None:
    """Make the folder of pasted texts and copied uploads, and remove all but the newest of them."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for old in folder.iterdir():
        with suppress(OSError):  # another handler may remove it at the same moment
            if ".partial-" not in old.name:
                written[old] = old.stat().st_mtime
    for old in sorted(written, key=written.__getitem__)[:-MAX_KEPT_FILES]:
        old.unlink(missing_ok=True)


def lasting_config(names: tuple[str, ...], owner: str, values: Sequence) -> TrainConfig:
    """Return the config of the form with copies of its uploads among the owner's files: a YAML may name those, and no upload."""
    config = form_config(names, owner, values)
    for name in marked(ROWS):
        places = [replace(one, place=_own_copy(owner, one.place)) for one in named_in(config, name)]
        if places:
            config = replace(config, **{name: as_text(places) if name == "data" else places[0].place})
    return config


def _own_copy(owner: str, place: str) -> str:
    """Return where a copy of an upload lies; whatever else is named stays as it is."""
    if not is_file(place) or not Path(place).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        return place
    # Gradio keeps an upload in a folder that is named after its content
    name = f"upload-{hashlib.sha256(place.encode()).hexdigest()[:16]}{''.join(Path(place).suffixes[-2:])}"
    if not is_file(copy := uploads_folder(owner) / name):
        _make_room(copy.parent)
        partial = copy.with_name(f"{name}.partial-{secrets.token_hex(4)}")
        shutil.copyfile(place, partial)
        partial.replace(copy)
    return str(copy)


def form_values(config: TrainConfig) -> FormValues:
    """Return the values of the inputs for which `make_config` gives `config`. Files become paths in the field for ids."""
    values = {item.name: getattr(config, item.name) for item in shown_fields()}
    is_example = config.data == EXAMPLE
    return values | {
        "init_adapter": config.init_adapter or "",
        "accelerate_config": None,  # the page takes an upload; its numbers are in the other fields
        "data_kind": EXAMPLE_DATA if is_example else HUB,
        "data_file": None,
        "data_mix": "",
        "data_paste": "",
        "data_hub": "" if is_example else config.data,
        "data_chat": None,
        "text_file": None,
        "text_hub": config.text_data or "",
        "eval_file": None,
        "eval_hub": config.eval_data or "",
    }


def loaded_values(owner: str, config: TrainConfig) -> tuple[FormValues, list[str]]:
    """Return the inputs' values after a config.yaml was loaded, and the names of files that must be chosen again.

    A config that was saved after an upload names a file of the server; the rest of it is still loaded.
    """
    gone = []
    for name in marked(ROWS):
        places = [one.place for one in named_in(config, name) if one.place != EXAMPLE]
        lost = [Path(place).name[:80] for place in places if not _is_there(owner, place)]
        if lost:
            gone += lost
            config = replace(config, **{name: EXAMPLE if name == "data" else None})
    values = form_values(config)
    if gone and config.data == EXAMPLE:
        values["data_kind"] = UPLOAD
    if config.accelerate_config:
        gone.append(Path(config.accelerate_config).name[:80])
    return values, gone


def _is_there(owner: str, place: str) -> bool:
    """Return whether `place` is a file that may be read, or may be the id of a data set."""
    try:
        return checked_hub_id(owner, place).count("/") <= 1 or is_file(place)
    except UserError:
        return False


def data_key(config: TrainConfig) -> tuple:
    """Return a key that is equal for configs whose data gives the same check; a file's time and size are part of it."""
    return (*rows_key(config), *(getattr(config, name) for name in marked(READING)))


def rows_key(config: TrainConfig) -> tuple:
    """Return a key that is equal for configs that read the same rows, however they are used."""
    values = [getattr(config, name) for name in marked(SOURCE)]
    files = [one.place for name in marked(ROWS) for one in named_in(config, name) if is_file(one.place)]
    return (*values, *((os.stat(file).st_mtime_ns, os.stat(file).st_size) for file in files))
