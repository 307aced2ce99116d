"""Reads the YAML of a training's settings, from whoever it comes: names and plain values, nothing nested, nothing repeated.

YAML can name a value once and repeat it a thousand times a thousand: a hundred kilobytes would become gigabytes. What does
so is not read at all.
"""

from pathlib import Path

import yaml

MOST_BYTES = 100_000
MOST_NUMBER = 1e15
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BROKEN = (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, yaml.YAMLError)


def read_settings(path: Path) -> dict | None:
    """{name: text, number, switch or None}; None for a file that is missing, too large, damaged or not of this kind."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        text = path.read_text(encoding="utf-8")
        for number, event in enumerate(yaml.parse(text, Loader=_LOADER)):
            if isinstance(event, yaml.AliasEvent) or (isinstance(event, yaml.CollectionStartEvent) and number != 2):
                return None
        values = yaml.load(text, Loader=_LOADER)
    except _BROKEN:
        return None
    if not isinstance(values, dict):
        return None
    return {name: value for name, value in values.items() if isinstance(name, str) and _is_plain(value)}


def _is_plain(value: object) -> bool:
    """False for dates and the like, and for numbers that nobody can print."""
    if isinstance(value, int | float):
        return abs(value) < MOST_NUMBER
    return value is None or isinstance(value, str)
