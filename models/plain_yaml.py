"""Reads YAML from outside: bounded in depth, and without aliases.

A few aliases can stand for billions of values, and each level of nesting takes PyYAML longer than the one before.
"""

import yaml

MAX_SETTINGS_BYTES = 100_000  # of a file of settings
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in C, ten times as fast, where PyYAML has it
# what PyYAML raises besides its own errors, for `!!int ""`, `!!bool x`, dates that are none, nesting without end, and
# numbers to the base of sixty (1:59:59.5) that are too large for a float
ERRORS = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


class NestedYamlError(ValueError):
    """YAML with aliases, or nested more deeply than its reader allows."""


def check_yaml(text: str, max_depth: int) -> None:
    """Raise NestedYamlError for aliases or for nesting beyond `max_depth`, ValueError for what is no YAML.

    Reads no further than to the first of them.
    """
    depth = 0
    try:
        for event in yaml.parse(text, Loader=LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > max_depth or isinstance(event, yaml.AliasEvent):
                raise NestedYamlError("lists, tables or aliases within each other")
    except NestedYamlError:
        raise
    except ERRORS as error:
        raise ValueError(_first_line(error)) from error


def read_yaml(text: str, max_depth: int = 1) -> object:
    """Return the value of one YAML document; with `max_depth` 1, names and plain values. Raises as `check_yaml` does."""
    check_yaml(text, max_depth)
    try:
        return yaml.load(text, Loader=LOADER)
    except ERRORS as error:
        raise ValueError(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    """Return the first line of an error, at most 200 characters."""
    return (str(error).splitlines() or [""])[0][:200]
