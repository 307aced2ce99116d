"""What may be wrong with made rows, found without a model. A finding is an id in `FINDINGS`; a person decides on the row.

    check_row(row, passage, config)     of one row: does its passage support it, is it whole, does it obey, has it personal data
    check_set(rows, owner)              of all together: what says the same as an earlier row, or stands in a test set

Thresholds are measured on the rows of tests/making/checked_rows.py, English and Korean. Words and patterns are in phrases.py.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import pairwise

from chat.repetition import repeats_itself
from common.language import _
from common.paths import LOCAL_OWNER
from common.secret_patterns import SECRETS
from data.near_duplicates import NearTexts, text_of
from data.scripts import RANGES
from data.test_sets import list_test_sets
from making.config import MakingConfig
from making.made import MadeRow
from making.phrases import (
    BOILERPLATE,
    EXAMPLE_MAIL,
    HANGING,
    INSTRUCTION,
    MAIL,
    PHONE,
    REFUSAL,
    RESIDENT,
    STOP_STEMS,
    STOP_WORDS,
)
from models.messages import Message

FINDINGS = {
    "ungrounded": _("The answer says what its passage does not say."),
    "unsupported": _("Asked again, the teacher does not find the answer in its passage."),
    "language": _("It is not in the language that was asked for."),
    "length": _("It is too short or too long."),
    "refusal": _("The answer refuses."),
    "boilerplate": _("It speaks of itself or of a text that nobody sees, as in 'According to the passage'."),
    "truncated": _("The answer ends in the middle of a sentence."),
    "repeats": _("The answer repeats itself, or its question."),
    "injected": _("The document told the teacher what to say, and it did."),
    "duplicate": _("It says nearly the same as an earlier row, or asks the same."),
    "leaked": _("It is in a test set, nearly word for word."),
    "personal": _("It has a mail address, a phone or resident number, or a key."),
}
GROUNDED = ("question-answer", "conversation")  # recipes whose answers may say nothing but what the passage says
MIN_SUPPORT = 0.5  # of the content words of an answer that stand in its passage
MIN_LETTERS = 12  # of a text whose language is told by its letters
MAX_FOREIGN = 0.2  # of the letters: names and terms are written in Latin letters in Korean, too
MIN_HANGUL = 0.2  # a syllable is one letter, and says as much as two or three Latin ones
MAX_ANSWER_CHARACTERS, MAX_QUESTION_CHARACTERS = 4_000, 2_000
MIN_CUT_WORDS = 12  # an answer of fewer words may be no sentence
MAX_CHECKED_CHARACTERS = 20_000  # of a text
MAX_INDEXED = 20_000  # rows with which others are compared, of 22 kB of memory each; more rows are compared with these
STEM = 5  # letters of an English word that are compared; of a Korean one 2 syllables: endings and particles follow

WORD = re.compile(r"\d+(?:[.,:]\d+)*|[a-z]+|[가-힣]+")
CODE = re.compile(r"```.{0,4000}?```|`[^`\n]{1,200}`", re.DOTALL)
SENTENCE = re.compile(r"[^.!?\n]*[.!?\n]?")
WHOLE_ENDS = tuple(".!?。！？…)]}\"'`”’>*|~다요죠음함임됨까니네오라자기것")
LIST_LINE = re.compile(r"\s*(?:[-*•]|\d{1,3}[.)])\s")
SCRIPTS = {name: re.compile(f"[{letters}]+") for name, (_name, letters) in RANGES.items()}
KEYS = tuple(re.compile(pattern) for pattern in SECRETS.values())


def check_row(row: MadeRow, passage: str, config: MakingConfig) -> list[str]:
    """Return what may be wrong with a row that was made of `passage`; "" where it was made of none."""
    messages = [Message(role=one["role"], content=one["content"][:MAX_CHECKED_CHARACTERS]) for one in row["messages"]]
    found = ["personal"] * any(has_personal_data(one["content"]) for one in messages)
    if config.recipe == "label":  # the text is not made, and the label is one of those that were given
        return found
    written = messages[-1:] if config.recipe == "rewrite" else messages
    answers = [one["content"] for one in written if one["role"] == "assistant"]
    source = passage if config.recipe in GROUNDED else ""
    checks = {
        "injected": is_injected(written, passage, is_grounded=bool(source)),
        "ungrounded": bool(source) and not all(is_supported(answer, source) for answer in answers),
        "language": any(not is_in_language(one["content"], _language(config, passage)) for one in written),
        "length": any(not _is_of_length(one) for one in written),
        "refusal": any(_says(REFUSAL, answer, passage) for answer in answers),
        "boilerplate": any(_says(BOILERPLATE, one["content"], passage) for one in written),
        "truncated": any(map(is_truncated, answers)),
        "repeats": any(_repeats(one, before) for before, one in pairwise(messages)),
    }
    return [name for name, is_found in checks.items() if is_found] + found


def check_set(rows: Iterable[MadeRow], owner: str = LOCAL_OWNER) -> dict[str, list[str]]:
    """Return by key what is wrong with rows beside others: near duplicates among them, and what a test set of `owner` asks.

    A question that is asked twice counts as well as a row that says the same: a made answer is worded anew each time. Rows are
    compared with the first MAX_INDEXED of them.
    """
    found: dict[str, list[str]] = {}
    keys: list[str] = []
    whole, questions = NearTexts(), NearTexts()
    for place, row in enumerate(rows):
        keys.append(row["key"])
        text, question = text_of({"messages": row["messages"]}), _question(row["messages"])
        if whole.find(text) or (question and questions.find(question)):
            found[row["key"]] = ["duplicate"]
        if place < MAX_INDEXED:
            whole.add(place, text)
            questions.add(place, question or text)
    leaked: set[int] = set()
    for item in (item for test_set in list_test_sets(owner) if test_set.rows for item in test_set.items()):
        asked = item["text"] if "text" in item else _question(item["messages"])
        leaked.update(whole.find(text_of(item)), questions.find(asked))
    for place in sorted(leaked):
        found.setdefault(keys[place], []).append("leaked")
    return found


def is_supported(answer: str, passage: str) -> bool:
    """Return whether a passage says what an answer says, as far as words tell: no number of its own, and at least MIN_SUPPORT.

    Of an answer in another language than its passage only the numbers are compared. A changed name or a "not" is not found.
    """
    said, known = _words(answer), _words(passage)
    if _numbers(said) - _numbers(known):
        return False
    return _is_hangul(answer) != _is_hangul(passage) or support(answer, passage) >= MIN_SUPPORT


def support(answer: str, passage: str) -> float:
    """Return the part of an answer's content words, each once, that stand in a passage; 1 for an answer without any.

    Words are compared by their beginnings. After the coverage of Grusky et al. 2018, Newsroom, https://arxiv.org/abs/1804.11283.
    """
    known = {_stem(word) for word in _words(passage)}
    syllables = "".join(word for word in _words(passage) if word[0] >= "가")
    said = {_stem(word) for word in _words(answer) if _is_content(word)}
    there = [stem for stem in said if stem in known or (stem[0] >= "가" and stem in syllables)]
    return len(there) / len(said) if said else 1.0


def is_injected(written: Sequence[Message], passage: str, is_grounded: bool) -> bool:
    """Return whether a row does what its document tells the teacher to do, or repeats such an instruction."""
    if any(INSTRUCTION.search(one["content"].casefold()) for one in written):
        return True
    sentences = SENTENCE.findall(passage)
    told = [place for place, one in enumerate(sentences) if INSTRUCTION.search(one.casefold())]
    if not told:
        return False
    orders = {*told, *(place + 1 for place in told)}
    rest = "".join(one for place, one in enumerate(sentences) if place not in orders)
    order = "".join(one for place, one in enumerate(sentences) if place in orders)
    answers = [one["content"] for one in written if one["role"] == "assistant"]
    if not is_grounded:
        return any(support(answer, order) >= MIN_SUPPORT > support(answer, rest) for answer in answers)
    return any(support(answer, rest) < MIN_SUPPORT for answer in answers)


def is_in_language(text: str, language: str) -> bool:
    """Return whether a text is in English ('en') or Korean ('ko'), by its letters outside of code; True where few tell."""
    plain = CODE.sub(" ", text)
    letters = {name: sum(map(len, pattern.findall(plain))) for name, pattern in SCRIPTS.items()}
    total = sum(letters.values())
    if not language or total < MIN_LETTERS:
        return True
    foreign = total - letters["Hangul"] - letters["Latin"]
    if language == "ko":
        return letters["Hangul"] >= MIN_HANGUL * total and foreign <= MAX_FOREIGN * total
    return letters["Latin"] >= (1 - MAX_FOREIGN) * total


def is_truncated(answer: str) -> bool:
    """Return whether an answer ends in the middle of a sentence, or of a block of code."""
    text = answer.rstrip()
    if text.count("```") % 2:
        return True
    last = text.rsplit("\n", 1)[-1]
    words = last.casefold().split()
    if not words or text.endswith(WHOLE_ENDS):
        return False
    if words[-1] in HANGING or text[-1] in ",;:(-–—":
        return len(text.split()) > 2
    has_sentences = re.search(r"[.!?다요]\s", text) is not None
    return not LIST_LINE.match(last) and (has_sentences or len(words) >= MIN_CUT_WORDS)


def has_personal_data(text: str) -> bool:
    """Return whether a text has a mail address, a phone number, a Korean resident number, or a key; examples of them are none."""
    if any(not EXAMPLE_MAIL.search(match[0]) for match in MAIL.finditer(text)):
        return True
    if any(is_resident_number(*match.groups()) for match in RESIDENT.finditer(text)):
        return True
    return PHONE.search(text) is not None or any(key.search(text) for key in KEYS)


def is_resident_number(birth: str, between: str, rest: str) -> bool:
    """Return whether these are a Korean resident registration number: a date of birth, then a check digit that fits.

    Numbers that were given since October 2020 have no check digit: those count when they are written in two parts.
    """
    century = {"1": 1900, "2": 1900, "5": 1900, "6": 1900}.get(rest[0], 2000)
    try:
        born = date(century + int(birth[:2]), int(birth[2:4]), int(birth[4:6]))
    except ValueError:
        return False
    digits = [int(digit) for digit in birth + rest]
    weights = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
    check = (11 - sum(digit * weight for digit, weight in zip(digits, weights, strict=False)) % 11) % 10
    return digits[-1] == check or (bool(between) and born >= date(2020, 10, 1))


def _language(config: MakingConfig, passage: str) -> str:
    """Return the language that was asked for; without one that of the passage, where that is English or Korean."""
    if config.language or not passage:
        return config.language
    fits = [name for name in ("ko", "en") if is_in_language(passage, name)]
    return fits[0] if len(fits) == 1 else ""  # both fit what has few letters


def _is_of_length(message: Message) -> bool:
    """Return whether a message says anything, and no more than MAX_ANSWER_CHARACTERS or MAX_QUESTION_CHARACTERS."""
    most = MAX_ANSWER_CHARACTERS if message["role"] == "assistant" else MAX_QUESTION_CHARACTERS
    return any(letter.isalnum() for letter in message["content"]) and len(message["content"]) <= most


def _says(pattern: re.Pattern, text: str, passage: str) -> bool:
    """Return whether a text has such words, and not because its passage has the very ones."""
    match = pattern.search(text.strip().casefold())
    return match is not None and match[0] not in passage.casefold()


def _repeats(message: Message, before: Message) -> bool:
    """Return whether an answer repeats itself without end, or says no more than its question."""
    if message["role"] != "assistant":
        return False
    words = message["content"].split()
    said, asked = ("".join(filter(str.isalnum, one["content"].casefold())) for one in (message, before))
    return said == asked or repeats_itself(words, " ".join)


def _question(messages: Sequence[Message]) -> str:
    """Return all that the person says in a conversation."""
    return "\n".join(one["content"] for one in messages if one["role"] == "user")


def _words(text: str) -> list[str]:
    """Return the words, numbers and Korean words of a text, in Unicode NFC."""
    return WORD.findall(unicodedata.normalize("NFC", text[:MAX_CHECKED_CHARACTERS]).casefold())


def _stem(word: str) -> str:
    if word[0] >= "가":
        return word[:2]
    return word if word[0].isdigit() else word.rstrip("s")[:STEM] or word


def _is_content(word: str) -> bool:
    if word[0] >= "가":
        return len(word) > 1 and word[:2] not in STOP_STEMS
    return not word[0].isdigit() and len(word) > 1 and word not in STOP_WORDS


def _numbers(words: Iterable[str]) -> set[str]:
    """Return the numbers of two digits and more: smaller ones are counts, which people write in words."""
    plain = {word.replace(",", "").rstrip(".:") for word in words if word[0].isdigit()}
    return {number for number in plain if len(number) > 1}


def _is_hangul(text: str) -> bool:
    return len(SCRIPTS["Hangul"].findall(text)) > len(SCRIPTS["Latin"].findall(text))
