"""Sentences that a person reads, in English and Korean.

The English sentence in the code is the msgid of gettext: `_("{count} of {total} done", count=3, total=9)`. What comes back is a
`Sentence`: a str in the current language that still knows its msgid and values, so that it can be said again in another
language at the edge, by somebody else, or in another process (`packed`, `unpacked`). ui/words/ holds the translations.
"""

import gettext
import os
import re
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

NAMES = {"en": "English", "ko": "한국어"}  # one more is a line here and a catalogue in ui/words/
ENGLISH, KOREAN = LANGUAGES = tuple(NAMES)
FOLDER = Path(__file__).resolve().parents[1] / "ui" / "words"
_CURRENT: ContextVar[str] = ContextVar("language", default=ENGLISH)
# A placeholder with a small format: a msgid may come out of a stranger's file, so `{x.y}` and `{x:>999999999}` are none.
_FIELD = re.compile(r"\{\{|\}\}|\{(\w{1,60})(?::([+,]?(?:\.\d)?[defg%]?))?\}")
MAX_REPEATS = 4  # of one value in a stranger's sentence; of a sentence in it, 1: else a short line becomes endless text
MAX_DEPTH = 60  # of what is unpacked: a sentence that can be read here can be said from anywhere
_PLAIN = (
    str | int | float | None
)  # a value: a list that holds a sentence would be repeated as a plain one, again and again
_PACKED = ({"msgid", "values"}, {"msgid", "values", "plural"})


class Sentence(str):
    """A sentence in the language that was current when it was made; `str()` and f-strings say it in today's."""

    msgid: str
    values: Mapping[str, Any]
    plural: str

    def __new__(cls, msgid: str, values: Mapping[str, Any] | None = None, plural: str = "") -> "Sentence":
        """Make the sentence in the current language; with a plural, by its value `count`."""
        values = values or {}
        sentence = super().__new__(cls, _text(msgid, values, plural, current_language()))
        sentence.msgid, sentence.values, sentence.plural = msgid, values, plural
        return sentence

    def __str__(self) -> str:
        return _text(self.msgid, self.values, self.plural, current_language())

    def __format__(self, form: str) -> str:
        return format(str(self), form)

    def replace(self, *args, **kwargs) -> str:
        """Replace in what is said now: `html.escape` begins with it."""
        return str(self).replace(*args, **kwargs)

    def __getnewargs__(self) -> tuple:
        return self.msgid, self.values, self.plural


def _(msgid: str, /, **values: Any) -> Sentence:
    """Return a sentence; `{name}` in it stands for a value. The msgid is a literal: it is extracted from the code."""
    return Sentence(msgid, values)


def n_(singular: str, plural: str, count: int, /, **values: Any) -> Sentence:
    """Return a sentence whose words depend on `count`, which is its value `{count}`, too."""
    return Sentence(singular, {"count": count, **values}, plural)


def said(text: str) -> str:
    """Return a text in the current language: a Sentence, or a text that is marked elsewhere (a setting's help)."""
    return str(text) if isinstance(text, Sentence) else _text(text, {}, "", current_language())


def joined(parts: Iterable[str], separator: str = " ") -> Sentence:
    """Return one sentence of several; empty ones are left out."""
    values = {str(number): part for number, part in enumerate(part for part in parts if part)}
    return Sentence(separator.replace("{", "{{").replace("}", "}}").join(f"{{{number}}}" for number in values), values)


def english(text: str) -> str:
    """Return a text in English, as a plain str: for files, logs and model cards."""
    with language(ENGLISH):
        return str(text)


def packed(value: Any) -> Any:
    """Return a JSON value whose sentences are written as {"msgid", "values"}, and "plural" where they have one."""
    if isinstance(value, Sentence):
        found = {"msgid": value.msgid, "values": {name: packed(one) for name, one in value.values.items()}}
        return found | ({"plural": value.plural} if value.plural else {})
    if isinstance(value, dict):
        return {key: packed(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [packed(one) for one in value]
    return value


def unpacked(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return what `packed` wrote, with its sentences again. The value may be a stranger's: what is none stays as it is."""
    if isinstance(value, dict) and depth:
        inner = {key: unpacked(one, depth - 1) for key, one in value.items()}
        return Sentence(**inner) if set(inner) in _PACKED and _is_sentence(**inner) else inner
    return [unpacked(one, depth - 1) for one in value] if isinstance(value, list) and depth else value


def _is_sentence(msgid: object, values: object, plural: object = "") -> bool:
    """Return whether these make a sentence that is not much longer than they are."""
    if not (isinstance(msgid, str) and isinstance(values, dict) and isinstance(plural, str)):
        return False
    if not all(isinstance(one, _PLAIN) for one in values.values()):
        return False
    for text in (msgid, plural):
        for name, times in Counter(match[1] for match in _FIELD.finditer(text) if match[1]).items():
            if times > (1 if isinstance(values.get(name), Sentence) else MAX_REPEATS):
                return False
    return True


def current_language() -> str:
    """Return what this thread of work speaks, one of LANGUAGES."""
    return _CURRENT.get()


@contextmanager
def language(name: str) -> Generator[None]:
    """Speak a language inside; an unknown one is English."""
    token = _CURRENT.set(name if name in LANGUAGES else ENGLISH)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def speak(name: str) -> None:
    """Speak a language from now on, in this context; an unknown one is English."""
    _CURRENT.set(name if name in LANGUAGES else ENGLISH)


def language_of_system() -> str:
    """Return the language of the shell's locale, as gettext reads it."""
    names = (os.environ.get(name) for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"))
    first = next((name for name in names if name), "")
    return next((name for name in LANGUAGES if first.lower().startswith(name)), ENGLISH)


def _text(msgid: str, values: Mapping[str, Any], plural: str, name: str) -> str:
    """Return the text of a sentence in a language; without a translation it is English."""
    known = _catalogue(name)
    count = values.get("count")
    number = count if isinstance(count, int) else 0
    words = known.ngettext(msgid, plural, number) if plural else known.gettext(msgid) if msgid else ""
    if not values:
        return words

    def value(match: re.Match) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        found = values.get(match[1], match[0])
        try:
            return format(found, match[2] or "")
        except (TypeError, ValueError, OverflowError):
            return str(found)

    return _FIELD.sub(value, words)


@cache
def _catalogue(name: str) -> gettext.NullTranslations:
    """Return the translations of a language; English has none."""
    try:
        with (FOLDER / f"{name}.mo").open("rb") as file:
            return gettext.GNUTranslations(file)
    except FileNotFoundError:
        return gettext.NullTranslations()
