"""Values in the files of an adapter, which anyone may have written: one of a wrong type, or beyond sense, counts as missing."""

from dataclasses import dataclass
from pathlib import Path

from common.files import plain_value
from models.plain_yaml import MAX_SETTINGS_BYTES, read_yaml

MAX_NUMBER = 1e15


@dataclass(frozen=True)
class ToldSetting:
    """A setting of a training that may be published: its name, its label, and whether the card shows it."""

    name: str
    label: str
    value: int | float | str
    on_card: bool


Setting = str | float | None


def number(value: object) -> float | None:
    """Return `value` as a float, None for anything but a number of a sane size."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_NUMBER
    return float(value) if usable else None


def text(value: object) -> str:
    """Return `value` if it is text, else ""."""
    return value if isinstance(value, str) else ""


def read_settings(path: Path) -> dict[str, Setting] | None:
    """Return a training's settings, {name: plain value}; None for a file that is missing, too large, damaged or none."""
    try:
        values = read_yaml(_content(path).decode())
    except ValueError:
        return None
    if not isinstance(values, dict):
        return None
    return {name: value for name, value in values.items() if isinstance(name, str) and _is_setting(value)}


def read_setting(path: Path, name: str) -> str:
    """Return the words of one setting, read from its own line; "" when it has none. All of a file may take a YAML reader long."""
    content = _content(path)
    plain = plain_value(content, name)
    line = next((line for line in content.split(b"\n") if line.startswith(f"{name}:".encode())), b"")
    try:
        values = {} if plain else read_yaml(line.decode())
    except ValueError:
        return ""
    return plain or (text(values.get(name)) if isinstance(values, dict) else "")


def _is_setting(value: object) -> bool:
    """Return whether a value of YAML is a plain setting: no date, no list, no number beyond MAX_NUMBER."""
    return value is None or isinstance(value, str) or (isinstance(value, int | float) and abs(value) < MAX_NUMBER)


def _content(path: Path) -> bytes:
    """Return the bytes of a training's settings; b"" without a file, and for one of more than MAX_SETTINGS_BYTES."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_SETTINGS_BYTES + 1)
    except OSError:
        return b""
    return content if len(content) <= MAX_SETTINGS_BYTES else b""
