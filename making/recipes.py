"""What a teacher is asked, and how its answer is read: a recipe is a text file with a version and placeholders.

    recipes/question-answer.txt     version: 1, then what is asked, with placeholders: {passage} {topic} {manner} ...

Texts of others (a passage, examples, what was asked before) stand between marks that are drawn anew for each request: no document
can know them, so none can end its own. A line whose placeholder has no value is left out. An answer is JSON, read leniently and
within bounds; what cannot be read is None, and nothing of it is ever executed.
"""

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.language import Sentence, _
from making.config import DOCUMENTS, RECIPES, SEEDS, TOPICS, MakingConfig, Recipe
from models.messages import Message
from runs.fields import MAX_LONG_TEXT_CHARACTERS

FOLDER = Path(__file__).with_name("recipes")
MAX_REPLY_CHARACTERS = 50_000  # of a teacher; what is more is not read
MAX_OBJECTS = 100  # beginnings of JSON in a reply that are tried
MAX_TURNS = 20
MAX_MESSAGE_CHARACTERS = 20_000
LANGUAGE_WORDS = {"": "the language of what is given here", "en": "English", "ko": "Korean"}  # as a teacher reads them
_FIELD = re.compile(r"\{(passage|examples|topic|manner|language|labels|asked|first|second)\}")
_MARKED = ("passage", "examples", "asked", "first", "second")
_VERSION = re.compile(r"version: *(\S{1,40})\s*\n")


def find_recipe(config: MakingConfig) -> Recipe:
    """Return the recipe that the settings name, with its text. A version of one's own is the start of its SHA-256."""
    known = RECIPES[config.recipe]
    text = config.recipe_text if known.name == "own" else read_recipe(known.name)
    stated = _VERSION.match(text)
    version = stated[1] if stated else sha256(text.encode()).hexdigest()[:8]
    return Recipe(
        known.name, known.title, known.sources, known.needs, version, text[stated.end() :] if stated else text
    )


def support_recipe() -> Recipe:
    """Return what a teacher is asked that checks an answer against its passage: not a recipe for rows."""
    text = _VERSION.sub("", read_recipe("support"), 1)
    return Recipe("support", _("Does the passage support the answer"), (), text=text)


def read_recipe(name: str) -> str:
    """Return the text of one of the recipes here, to read or to begin one of one's own with."""
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def source_of(recipe: Recipe, config: MakingConfig) -> str:
    """Return the setting whose things are gone through one by one: documents before seed rows before topics; "" for none.

    Where new instructions are made, seeds are drawn as examples instead.
    """
    order = (TOPICS,) if recipe.name == "instruction" else (DOCUMENTS, SEEDS, TOPICS)
    return next((name for name in order if name in recipe.sources and getattr(config, name)), "")


def recipe_problem(config: MakingConfig) -> Sentence | None:
    """Return what keeps a recipe from being asked with these settings; None when nothing does."""
    recipe = find_recipe(config)
    if not any(getattr(config, name) for name in recipe.sources):
        return {
            (DOCUMENTS,): _("Add documents: this recipe asks about what they say."),
            (SEEDS,): _("Choose the rows that this recipe starts from."),
            (DOCUMENTS, TOPICS): _("Add documents or topics: this recipe needs one of them."),
            (SEEDS, TOPICS): _("Choose rows as examples, or enter topics: this recipe needs one of them."),
            (DOCUMENTS, SEEDS): _("Add documents or choose rows: this recipe needs one of them."),
        }.get(recipe.sources, _("Add documents, choose rows, or enter topics: a recipe needs something to start from."))
    if missing := next((name for name in recipe.needs if not getattr(config, name)), ""):
        return {
            "manner": _("Say in which manner the answers are to be written anew."),
            "language": _("Choose the language to translate into."),
            "labels": _("Enter the labels to choose from."),
            "recipe_text": _("Write your recipe, or choose a file with it."),
        }[missing]
    if recipe.name == "own" and not {"passage", "examples", "topic"} & set(_FIELD.findall(recipe.text)):
        return _(
            "Your recipe uses nothing of what is given: write {{passage}}, {{examples}} or {{topic}} where it belongs."
        )
    return None


def fill(recipe: Recipe, values: Mapping[str, str]) -> str:
    """Return the prompt: placeholders filled at once, so that no value is read as one; lines without their value left out."""
    mark = secrets.token_hex(8)
    while any(mark in value for value in values.values()):
        mark = secrets.token_hex(8)

    def value(match: re.Match) -> str:
        text = values.get(match[1], "")
        return f"<<<TEXT {mark}\n{text}\nTEXT {mark}>>>" if match[1] in _MARKED else " ".join(text.split())

    lines = [
        line for line in recipe.text.splitlines() if all(values.get(name, "").strip() for name in _FIELD.findall(line))
    ]
    return _FIELD.sub(value, re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip())


def read_row(recipe: Recipe, reply: str, source: Sequence[Message], config: MakingConfig) -> list[Message] | None:
    """Return the messages of a row as a teacher's reply makes them of the `source`'s; None where it makes none."""
    readers = {
        "rewrite": lambda found: _rewritten(found, source),
        "translate": lambda found: _translated(found, source),
        "label": lambda found: _labelled(found, source, config.labels),
    }
    read = readers.get(recipe.name, lambda found: _conversation(found) or _pair(found))
    rows = [row for found in _objects(reply[:MAX_REPLY_CHARACTERS]) if (row := read(found))]
    return rows[-1] if rows else None  # a model that thinks aloud tries first


def read_supported(reply: str) -> bool | None:
    """Return whether a teacher says that a claim is supported; None where it says nothing that can be read."""
    said = [found.get("supported") for found in _objects(reply[:MAX_REPLY_CHARACTERS])]
    return next((one for one in reversed(said) if isinstance(one, bool)), None)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects in a text, those in others left out; newlines inside of a string are allowed."""
    decoder, at = json.JSONDecoder(strict=False), text.find("{")
    for _attempt in range(MAX_OBJECTS):
        if at < 0:
            return
        try:
            found, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = text.find("{", at + 1)
            continue
        at = text.find("{", end)
        if isinstance(found, dict):
            yield found


def _text(value: object) -> str:
    """Return a text of a reply without white space around it and half characters in it; "" for anything else."""
    if not isinstance(value, str) or len(value) > MAX_MESSAGE_CHARACTERS:
        return ""
    return value.strip().replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _pair(found: Mapping[str, Any]) -> list[Message] | None:
    question, answer = _text(found.get("question", found.get("instruction"))), _text(found.get("answer"))
    if not question or not answer:
        return None
    return [Message(role="user", content=question), Message(role="assistant", content=answer)]


def _conversation(found: Mapping[str, Any]) -> list[Message] | None:
    """Return messages in which the user and the assistant take turns, and the assistant has the last word."""
    turns = found.get("messages")
    if not isinstance(turns, list) or not 2 <= len(turns) <= MAX_TURNS or len(turns) % 2:
        return None
    messages = []
    for place, turn in enumerate(turns):
        role = ("user", "assistant")[place % 2]
        content = _text(turn.get("content")) if isinstance(turn, dict) and turn.get("role") == role else ""
        if not content:
            return None
        messages.append(Message(role=role, content=content))
    return messages


def _rewritten(found: Mapping[str, Any], source: Sequence[Message]) -> list[Message] | None:
    answer = _text(found.get("answer"))
    return [*source[:-1], Message(role="assistant", content=answer)] if answer and source else None


def _translated(found: Mapping[str, Any], source: Sequence[Message]) -> list[Message] | None:
    """Return the source's messages with their texts in the other language, when there is one for each."""
    turns = found.get("messages")
    if not isinstance(turns, list) or len(turns) != len(source):
        return None
    texts = [_text(turn.get("content")) if isinstance(turn, dict) else "" for turn in turns]
    if not texts or not all(texts):
        return None
    return [Message(role=one["role"], content=text) for one, text in zip(source, texts, strict=True)]


def _labelled(found: Mapping[str, Any], source: Sequence[Message], labels: Sequence[str]) -> list[Message] | None:
    """Return what is labelled with its label as the answer, when it is one of those that were given."""
    said = _text(found.get("label")).casefold()
    label = next((one for one in labels if one.strip().casefold() == said), None)
    asked = [one for one in source if one["role"] == "user"]
    return [asked[-1], Message(role="assistant", content=label.strip())] if label and asked else None


def own_recipe(path: Path) -> str:
    """Return the text of a recipe in a file, as much of it as shows that it is too long. Raises UserError."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(MAX_LONG_TEXT_CHARACTERS + 1)
    except (OSError, ValueError) as error:
        raise UserError(
            _("The recipe '{file}' cannot be read.", file=path.name), _("A recipe is a text file.")
        ) from error
