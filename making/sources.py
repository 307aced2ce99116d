"""What a teacher is asked, request after request: from passages, seed rows or topics, spread evenly, always the same ones.

    for request in requests_of(made, config): ...      streamed: of 10,000 passages one is in memory

A request's key is made of the recipe, what it is about, and its number there: a row with this key is not asked for again.
"""

import json
import random
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from common.files import JSON_ERRORS, write_json
from common.language import _, packed
from data.check import write_conversations
from data.settings import DataSettings
from making.config import DOCUMENTS, SEEDS, TOPICS, MakingConfig
from making.made import MadeSet, read_summary
from making.recipes import LANGUAGE_WORDS, fill, find_recipe, source_of
from models.messages import Message

MAX_SEEDS = 10_000  # of more a sample is taken
EXAMPLES_SHOWN = 4  # of the seed rows, where new ones are made like them
MAX_EXAMPLES = 200  # that are drawn from; self-instruct began with 175 (Wang et al., arXiv 2212.10560)
MAX_EXAMPLE_CHARACTERS = 1_500
MAX_SEED_CHARACTERS = 8_000  # a longer row is not rewritten, translated or labelled
MAX_SEED_BYTES = 2**20  # of a line
MAX_ASKED = 10  # earlier questions of the same passage that are shown
MAX_ASKED_CHARACTERS = 200


@dataclass(frozen=True)
class Request:
    """One row that is asked for: what it is made from, and where that stands."""

    key: str
    unit: str  # the id of what it is made from: equal for requests about the same
    passage: str = ""
    document: str = ""
    start: int = 0
    end: int = 0
    topic: str = ""
    messages: list[Message] = field(default_factory=list)  # the seed row, or what is to be labelled


class Unit(NamedTuple):
    """One thing that rows are made from."""

    id: str
    passage: str = ""
    document: str = ""
    start: int = 0
    end: int = 0
    topic: str = ""
    messages: tuple[Message, ...] = ()


def read_sources(
    made: MadeSet, config: MakingConfig, tell: Callable[[str], None], stop: threading.Event | None = None
) -> None:
    """Read documents and seed rows into the made set, once. Raises UserError when there is nothing in them."""
    from data.documents.parse import parse_documents

    if config.documents and not made.documents_folder.exists():
        tell(_("Reading documents"))
        partial = made.folder / "documents.partial"
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        partial.mkdir()
        found = parse_documents([Path(one) for one in config.documents], partial, lambda what, part: tell(what), stop)
        write_json(made.summary_file, packed({**read_summary(made), "notes": found.notes}))
        partial.rename(made.documents_folder)
    if config.seed_rows and not made.seeds_file.exists():
        tell(_("Reading rows"))
        partial = made.folder / "seeds.partial"
        settings = DataSettings(data=config.seed_rows, max_rows=MAX_SEEDS, seed=config.seed)
        write_conversations(settings, partial, stop)
        partial.rename(made.seeds_file)


def count_units(made: MadeSet, config: MakingConfig) -> int:
    """Count the passages, seed rows or topics that rows are made from; 1 where each row is made from all seeds."""
    return sum(1 for _unit in units_of(made, config))


def wanted_rows(config: MakingConfig, units: int) -> int:
    """Return how many rows are asked for, of so many units: a seed row is rewritten, translated or labelled once."""
    return min(config.rows, units) if source_of(find_recipe(config), config) == SEEDS else config.rows if units else 0


def requests_of(made: MadeSet, config: MakingConfig) -> Iterator[Request]:
    """Yield all requests: each passage, seed or topic once before one comes a second time; of too many an even selection."""
    recipe, units = find_recipe(config), count_units(made, config)
    left, number = wanted_rows(config, units), 0
    while left > 0:
        wanted = min(left, units)
        for place, unit in enumerate(units_of(made, config)):
            if (place + 1) * wanted // units > place * wanted // units:
                asked = json.dumps([recipe.name, recipe.version, unit.id, number])
                yield Request(sha256(asked.encode()).hexdigest()[:16], *unit[:-1], list(unit.messages))
        left, number = left - wanted, number + 1


def units_of(made: MadeSet, config: MakingConfig) -> Iterator[Unit]:
    """Yield what rows are made from, in its order."""
    from data.documents.parse import read_chunks

    recipe = find_recipe(config)
    source = source_of(recipe, config)
    if source == DOCUMENTS:
        for chunk in read_chunks(made.documents_folder):
            where = chunk["document"], chunk["start"], chunk["end"]
            passage = "\n".join(filter(None, [chunk["heading"], chunk["text"]]))
            asked = (Message(role="user", content=chunk["text"]),)
            yield Unit(_id(*where, chunk["text"]), passage, *where, "", asked)
    elif source == SEEDS:
        for messages in read_seeds(made.seeds_file):
            is_fit = recipe.name in ("label", "own") or messages[-1]["role"] == "assistant"
            passage = "\n".join(f"{one['role']}: {one['content']}" for one in messages)
            if is_fit and len(passage) <= MAX_SEED_CHARACTERS:
                text = messages[-1]["content"] if len(messages) == 1 else passage
                yield Unit(_id(passage), text, messages=tuple(messages))
    elif source == TOPICS:
        for topic in dict.fromkeys(one.strip() for one in config.topics):
            yield Unit(_id(topic), topic=topic)
    elif config.seed_rows:
        yield Unit("")


def _id(*parts: object) -> str:
    return sha256(json.dumps(parts).encode()).hexdigest()


def read_seeds(file: Path) -> Iterator[list[Message]]:
    """Yield the seed rows as messages, one after the other; a plain text is a message of the user's."""
    with open(file, "rb") as lines:
        while line := lines.readline(MAX_SEED_BYTES):
            try:
                row = json.loads(line)
            except JSON_ERRORS:  # cut, as one that is too long
                continue
            messages = row.get("messages") or [Message(role="user", content=row["text"])]
            yield [Message(role=one["role"], content=one["content"]) for one in messages]


def question_of(messages: Iterable[Message]) -> str:
    """Return the beginning of what a row asks first."""
    question = next((one["content"] for one in messages if one["role"] == "user"), "")
    return " ".join(question[: 2 * MAX_ASKED_CHARACTERS].split())[:MAX_ASKED_CHARACTERS]


class Prompts:
    """Makes the prompt of each request, with examples of the seed rows and what was asked of the same passage before."""

    def __init__(self, made: MadeSet, config: MakingConfig) -> None:
        self.config = config
        self.recipe = find_recipe(config)
        self._asked: dict[str, list[str]] = {}  # by unit
        self._examples = _drawn(read_seeds(made.seeds_file), config.seed) if config.seed_rows else []

    def of(self, request: Request) -> str:
        """Return the prompt of a request. Examples are drawn by its key: the same ones after a resume."""
        config = self.config
        drawn = random.Random(f"{config.seed} {request.key}")
        examples = drawn.sample(self._examples, min(EXAMPLES_SHOWN, len(self._examples)))
        values = {
            "passage": request.passage,
            "topic": request.topic,
            "examples": "\n\n".join(examples),
            "manner": config.manner,
            "language": LANGUAGE_WORDS[config.language],
            "labels": ", ".join(config.labels),
            "asked": "\n".join(self._asked.get(request.unit, [])[-MAX_ASKED:]),
        }
        return fill(self.recipe, values)

    def add(self, unit: str, question: str) -> None:
        """Remember what a row asks, so that the next one about the same asks something else."""
        self._asked.setdefault(unit, []).append(question)


def _drawn(seeds: Iterable[list[Message]], seed: int) -> list[str]:
    """Return at most MAX_EXAMPLES of the seed rows as texts, each as likely as any other (reservoir sampling, algorithm R)."""
    draw, found = random.Random(seed), list[str]()
    for count, messages in enumerate(seeds, 1):
        text = "\n".join(f"{one['role']}: {one['content']}" for one in messages)[:MAX_EXAMPLE_CHARACTERS]
        if len(found) < MAX_EXAMPLES:
            found.append(text)
        elif (place := draw.randrange(count)) < MAX_EXAMPLES:
            found[place] = text
    return found
