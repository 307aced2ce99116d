"""A file of settings: written, and read as anybody may have written it: bounded YAML, whose names are known.

Raises UserError, nothing else. TrainConfig has its own way: its problems stand at the fields of a form.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from common.errors import UserError
from common.language import Sentence, _, joined
from common.paths import as_title
from models.plain_yaml import MAX_SETTINGS_BYTES, NestedYamlError, read_yaml
from runs.fields import convert, short, value_problem

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


def as_yaml(config: Any) -> str:
    """Return a dataclass of settings as YAML."""
    return yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True, width=10_000)


def value_problems(config: Any) -> list[Sentence]:
    """Return what is wrong with single values of a dataclass of settings that has a title."""
    found = [
        _("{setting}: {problem}", setting=item.name, problem=problem)
        for item in fields(config)
        if item.metadata and (problem := value_problem(item, getattr(config, item.name)))
    ]
    words = _("{setting}: {problem}", setting="title", problem=_("Control characters are not allowed."))
    if config.title != as_title(config.title) and words not in found:
        found.append(words)
    return found


def refuse_if(problems: Sequence[Sentence]) -> None:
    """Raise one UserError that names every problem; return when there is none."""
    if problems:
        raise UserError(_("The settings cannot be used. {problems}", problems=joined(problems)))
