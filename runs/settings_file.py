"""Reads a file of settings that anybody may have written: bounded YAML, whose names are known. Raises UserError, nothing else."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.language import _
from models.plain_yaml import MAX_SETTINGS_BYTES, NestedYamlError, read_yaml
from runs.fields import convert, short

ONE_A_LINE = _("Write one `name: value` per line.")


def read_text(path: Path) -> str:
    """Return the text of a file of settings, cut off behind what `settings_in` allows."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(MAX_SETTINGS_BYTES + 1)
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise UserError(_("'{file}' cannot be read as YAML.", file=short(Path(path).name)), why) from error


def settings_in(text: str, name: str, max_depth: int) -> dict[Any, Any]:
    """Return the settings in the text of the file `name`; with `max_depth` 2 a value may be a list or a table."""
    if len(text) > MAX_SETTINGS_BYTES:
        raise UserError(
            _("'{file}' is too large for a file of settings.", file=name),
            _("It may have at most {limit:,} characters.", limit=MAX_SETTINGS_BYTES),
        )
    try:
        values = read_yaml(text, max_depth)
    except NestedYamlError as error:
        raise UserError(_("'{file}' is nested too deeply, or has aliases.", file=name), ONE_A_LINE) from error
    except ValueError as error:
        raise UserError(_("'{file}' cannot be read as YAML.", file=name), str(error)) from error
    if not isinstance(values, dict):
        raise UserError(_("'{file}' holds no settings.", file=name), ONE_A_LINE)
    return values


def refuse_unknown(values: Mapping[Any, Any], known: Collection[str]) -> None:
    """Raise UserError when one of the names is none of those known."""
    if unknown := sorted(short(name) for name in set(values) - set(known)):
        raise UserError(
            _("Unknown settings: {names}.", names=", ".join(unknown[:10])),
            _("Known settings: {names}.", names=", ".join(sorted(known))),
        )


def converted(values: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values as these types, of which a list of names is one. Raises UserError for another type or name."""
    refuse_unknown(values, types)
    found: dict[str, Any] = {}
    for name, value in values.items():
        if types[name] != list[str]:
            found[name] = convert(name, types[name], value)
        elif isinstance(value, list | tuple):
            found[name] = [str(one) for one in value]
        else:
            raise UserError(_("{setting}: Enter a list of names.", setting=name))
    return found
