"""The rule that an answer's form is checked by: a regular expression, or a JSON schema. Anybody may have written it.

A regular expression may take exponential time: each match has a limit. Of JSON Schema the keywords are read whose check takes
no more time than schema times answer; `$ref`, `allOf`, `pattern` and the like are refused: a short schema can ask for endless
work.
"""

import json
import math
import re
import time
from collections.abc import Callable
from typing import Any

from common.errors import UserError
from common.language import _

MAX_SCHEMA_CHARACTERS = 4_000
MAX_PATTERN_CHARACTERS = (
    500  # regex prepares a literal in cubic time, outside of its limit: 0.02 s here, 1.3 s for 2,000
)
MAX_REPEATED_CHARACTERS = 500_000  # regex writes `a{1000}` out, at up to 300 bytes a time: 1e9 took all memory
REPEATS, SPACED = (
    re.compile(r"\{0*(\d+)"),
    re.compile(r"\(\?[\w-]*x"),
)  # (?x) lets spaces and comments stand in a number
MAX_ANSWER_CHARACTERS = 20_000  # a longer answer follows no rule
MAX_SCHEMA_DEPTH = 20
MATCH_SECONDS = 0.05
MAX_RULE_SECONDS = 20  # of all matches of a rule, after which it is given up: an evaluation has many answers

Json = Any  # what json.loads returns
NUMBER, SCHEMA = (int, float), (dict, bool)
IGNORED = {"$schema", "$id", "$comment", "title", "description", "default", "examples"}  # annotations


def _is_number(value: Json) -> bool:
    return isinstance(value, NUMBER) and not isinstance(value, bool)


TYPES: dict[str, Callable[[Json], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def _is_same(value: Json, wanted: Json) -> bool:
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _fits_others(value: Json, wanted: Json, schema: dict[str, Json]) -> bool:
    """Return whether the keys that `properties` does not name fit `additionalProperties`."""
    named = schema.get("properties", {})
    return not isinstance(value, dict) or all(_fits(one, wanted) for key, one in value.items() if key not in named)


# keyword: the type of its value, and whether (value, keyword's value, schema) fit
KEYWORDS: dict[str, tuple[type | tuple[type, ...], Callable[[Json, Json, dict], bool]]] = {
    "type": ((str, list), lambda value, types, _: any(TYPES[one](value) for one in _listed(types))),
    "enum": (list, lambda value, several, _: any(_is_same(value, one) for one in several)),
    "const": (object, lambda value, one, _: _is_same(value, one)),
    "required": (list, lambda value, keys, _: not isinstance(value, dict) or all(key in value for key in keys)),
    "properties": (
        dict,
        lambda value, schemas, _: (
            not isinstance(value, dict) or all(_fits(value[key], one) for key, one in schemas.items() if key in value)
        ),
    ),
    "additionalProperties": (SCHEMA, _fits_others),
    "items": (SCHEMA, lambda value, one, _: not isinstance(value, list) or all(_fits(item, one) for item in value)),
    "minItems": (int, lambda value, least, _: not isinstance(value, list) or len(value) >= least),
    "maxItems": (int, lambda value, most, _: not isinstance(value, list) or len(value) <= most),
    "minLength": (int, lambda value, least, _: not isinstance(value, str) or len(value) >= least),
    "maxLength": (int, lambda value, most, _: not isinstance(value, str) or len(value) <= most),
    "minimum": (NUMBER, lambda value, least, _: not _is_number(value) or value >= least),
    "maximum": (NUMBER, lambda value, most, _: not _is_number(value) or value <= most),
    "exclusiveMinimum": (NUMBER, lambda value, least, _: not _is_number(value) or value > least),
    "exclusiveMaximum": (NUMBER, lambda value, most, _: not _is_number(value) or value < most),
}


def read_rule(text: str) -> Callable[[str], bool | None]:
    """Return what says of an answer whether it follows the rule, None where that takes too long. Raises UserError.

    A rule that begins with a brace is a JSON schema: the answer is JSON that it fits. Any other is a regular expression: it
    fits the whole answer; `.` is a line's end, too.
    """
    text = text.strip()
    is_schema = text.startswith("{")
    most = MAX_SCHEMA_CHARACTERS if is_schema else MAX_PATTERN_CHARACTERS
    if len(text) > most:
        raise UserError(_("The format rule has more than {most:,} characters.", most=most))
    fits = _schema(text) if is_schema else _pattern(text)
    return lambda answer: len(answer) <= MAX_ANSWER_CHARACTERS and fits(answer)


def _pattern(text: str) -> Callable[[str], bool | None]:
    """Return what says whether a regular expression fits a whole text. Raises UserError for what is none."""
    import regex

    repeats = math.prod(max(1, int(count)) for count in REPEATS.findall(text))
    if len(text) * repeats > MAX_REPEATED_CHARACTERS or SPACED.search(text):
        words = _("The format rule repeats too much, or is written with (?x).")
        raise UserError(words, _("Write smaller numbers in braces, and no (?x)."))
    try:
        pattern = regex.compile(text, flags=regex.DOTALL)
    except (regex.error, RecursionError, OverflowError) as error:
        words = _("'{pattern}' is not a regular expression: {problem}.", pattern=text[:80], problem=str(error)[:200])
        raise UserError(words, _("It must fit the whole answer, like `(yes|no)\\.?`.")) from error

    left = float(MAX_RULE_SECONDS)

    def fits(answer: str) -> bool | None:
        nonlocal left
        if left <= 0:
            return None
        began = time.monotonic()
        try:
            return pattern.fullmatch(answer, timeout=MATCH_SECONDS) is not None
        except TimeoutError:
            return None
        finally:
            left -= time.monotonic() - began

    return fits


def _schema(text: str) -> Callable[[str], bool]:
    """Return what says whether a text is JSON that fits a schema. Raises UserError for what is none, or is not read here."""
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            _("The format rule begins like a JSON schema, but is not JSON."),
            _("In a regular expression a brace at the start is written \\{."),
        ) from error
    _check_schema(schema)

    def fits(answer: str) -> bool:
        try:
            value = json.loads(answer)
        except (ValueError, RecursionError):
            return False
        return _fits(value, schema)

    return fits


def _fits(value: Json, schema: Json) -> bool:
    """Return whether a JSON value fits a schema that was checked."""
    if isinstance(schema, bool):
        return schema
    return all(KEYWORDS[name][1](value, wanted, schema) for name, wanted in schema.items() if name in KEYWORDS)


def _check_schema(schema: Json, depth: int = MAX_SCHEMA_DEPTH) -> None:
    """Raise UserError for the first keyword that is not known, or whose value cannot be used."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict) or not depth:
        raise UserError(_("A part of the JSON schema is not a schema, or is nested too deeply."))
    for name, wanted in schema.items():
        if name in IGNORED:
            continue
        if name not in KEYWORDS:
            words = _("'{keyword}' of a JSON schema is not checked here.", keyword=name[:40])
            raise UserError(words, _("These are: {names}.", names=", ".join(KEYWORDS)))
        is_known = name != "type" or all(isinstance(one, str) and one in TYPES for one in _listed(wanted))
        if not isinstance(wanted, KEYWORDS[name][0]) or not is_known:
            raise UserError(_("The JSON schema's '{keyword}' has a value that cannot be used.", keyword=name))
        inner = wanted.values() if name == "properties" else [wanted] if KEYWORDS[name][0] == SCHEMA else []
        for one in inner:
            _check_schema(one, depth - 1)


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]
