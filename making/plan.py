"""What making rows takes, before the start: requests, tokens, time where it is known, dollars where the provider tells a price.

Documents and seed rows are read for it, in processes with limits; what was counted is remembered until the files change.
"""

import json
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from common.errors import UserError
from common.files import stamps
from common.language import Sentence, _, joined, n_
from common.mix import data_sets
from common.paths import LOCAL_OWNER
from common.words import duration
from evaluation.experiments.facts import turn_to_read
from making.config import LOCAL, PROVIDER, SEEDS, MakingConfig
from making.made import MadeSet, list_made, read_summary
from making.recipes import find_recipe, source_of
from making.sources import read_sources, units_of
from making.start import resolve
from making.teacher import teacher_name

ROUTER_MODELS = "https://router.huggingface.co/v1/models"  # of Inference Providers, with prices for a million tokens
PRICE_SECONDS = 3600
ASK_SECONDS = 5
CHARACTERS_A_TOKEN = {"": 3, "en": 4, "ko": 2}  # of the tokenizers of larger models, rather too few
USUAL_ANSWER_TOKENS = 150
LABEL_TOKENS = VERDICT_TOKENS = 12
MAX_OF_ONE = 5  # rows of one passage or topic, above which they begin to resemble each other
FEWEST_ANSWERS = 10  # that say how long one takes


@dataclass(frozen=True)
class MakingPlan:
    """What it takes to make rows; `words` says it all. `seconds` and `dollars` are None where they are not known.

    With `problems` it cannot start.
    """

    requests: int
    tokens: int
    seconds: float | None
    dollars: float | None
    problems: list[Sentence]
    words: Sentence


class Counted(NamedTuple):
    """What rows are made from: how many passages, rows or topics, their characters, and sentences on what was left out."""

    units: int
    characters: int
    notes: list[str]


class Price(NamedTuple):
    """US dollars for a million tokens that are read, and that are written."""

    read: float
    written: float


def plan(config: MakingConfig, owner: str = LOCAL_OWNER) -> MakingPlan:
    """Return what it takes to make these rows. Raises nothing for settings that cannot be used: they are its problems."""
    try:
        config = resolve(config, owner)
        counted = _counted(config)
    except UserError as error:
        problem = joined([error.message, error.hint])
        return MakingPlan(0, 0, None, None, [problem], problem)
    recipe = find_recipe(config)
    rows = min(config.rows, counted.units) if source_of(recipe, config) == SEEDS else config.rows
    shown = counted.characters // max(1, counted.units) // CHARACTERS_A_TOKEN[config.language]  # tokens of a passage
    read = rows * (len(recipe.text) // CHARACTERS_A_TOKEN["en"] + shown)
    answer = {"label": LABEL_TOKENS, "rewrite": shown, "translate": shown}.get(recipe.name, USUAL_ANSWER_TOKENS)
    written = rows * min(config.max_new_tokens, answer)
    requests = rows
    if config.check_answers:
        requests, read, written = 3 * rows, 3 * read, written + 2 * rows * VERDICT_TOKENS
    pace = _seconds_an_answer(config, owner)
    seconds = None if pace is None else requests * pace
    provider = config.teacher.removeprefix(PROVIDER) if config.teacher.startswith(PROVIDER) else ""
    price = _price(provider, config.model, int(time.time() // PRICE_SECONDS)) if provider else None
    dollars = (read * price.read + written * price.written) / 1e6 if price else None
    name, unknown = teacher_name(config), _("the price is not known")
    facts = [
        n_("{count:,} request to {teacher}", "{count:,} requests to {teacher}", requests, teacher=name),
        _("about {count:,} tokens", count=read + written),
        _("how long shows after the first rows") if seconds is None else _("about {time}", time=duration(seconds)),
        _("about ${dollars:.2f}", dollars=dollars) if dollars is not None else unknown if provider else "",
    ]
    words = joined([_("{facts}.", facts=joined(facts, ", ")), *counted.notes, *_warnings(config, counted.units)])
    return MakingPlan(requests, read + written, seconds, dollars, [], words)


def _warnings(config: MakingConfig, units: int) -> list[Sentence]:
    """Return what a person should know before the start."""
    found = []
    if source_of(find_recipe(config), config) == SEEDS and units < config.rows:
        found.append(
            n_("There is only {count:,} row to start from.", "There are only {count:,} rows to start from.", units)
        )
    elif units > 1 and config.rows > MAX_OF_ONE * units:
        words = _("There are only {count:,} passages or topics: many rows will be much alike.", count=units)
        found.append(words)
    if config.teacher == LOCAL:
        found.append(_("This teacher is small: look at what it writes, and expect to reject much of it."))
    if not config.licence:
        found.append(_("State the licence of what the teacher writes: some forbid training on it."))
    return found


def _counted(config: MakingConfig) -> Counted:
    """Read what rows are made from, unless it was read before and its files are the same. Raises UserError."""
    names = ("recipe", "documents", "seed_rows", "topics", "labels", "recipe_text", "manner", "language")
    files = [*config.documents, *(one.place for one in data_sets(config.seed_rows))]
    asked = json.dumps({name: getattr(config, name) for name in names})
    return _count(asked, tuple(stamps(Path(file).parent, Path(file).name) for file in files))


@lru_cache(64)
def _count(asked: str, files: tuple) -> Counted:
    """Read what rows with these settings are made from; `files` tell when they have changed."""
    config = MakingConfig.from_dict(json.loads(asked))
    turn = turn_to_read() if config.documents or config.seed_rows else nullcontext()
    with turn, tempfile.TemporaryDirectory(prefix="studio-making-") as folder:
        made = MadeSet(Path(folder))
        read_sources(made, config, lambda words: None)
        sizes = [len(unit.passage) for unit in units_of(made, config)]
        return Counted(len(sizes), sum(sizes), read_summary(made)["notes"])


def _seconds_an_answer(config: MakingConfig, owner: str) -> float | None:
    """Return how long this teacher took for an answer in the newest made set that it wrote; None where it wrote none."""
    for made in list_made(owner):
        summary = read_summary(made)
        try:
            known = made.config()
        except UserError:
            continue
        alike = (known.teacher, known.model, known.parallel) == (config.teacher, config.model, config.parallel)
        if alike and summary["answers"] >= FEWEST_ANSWERS:
            return summary["seconds"] / summary["answers"]
    return None


@lru_cache(64)
def _price(provider: str, model: str, hour: int) -> Price | None:
    """Return what a provider takes by the Hub's list, the highest of all where the Hub chooses; None where it is not told."""
    import httpx2
    from huggingface_hub.utils import get_session

    try:
        answer = get_session().get(ROUTER_MODELS, timeout=ASK_SECONDS)
        answer.raise_for_status()
        offers = next(one["providers"] for one in answer.json()["data"] if one["id"] == model)
        prices = [
            Price(float(one["pricing"]["input"]), float(one["pricing"]["output"]))
            for one in offers
            if one.get("pricing") and provider in ("auto", one["provider"])
        ]
    except (httpx2.HTTPError, OSError, ValueError, TypeError, LookupError, StopIteration, AttributeError):
        return None
    return max(prices, key=sum, default=None)
