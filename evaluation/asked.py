"""What an evaluation asks: rows of test sets and held-out rows of runs, less those that a candidate was trained on.

A copy lies in the evaluation's folder, so that all candidates are asked the same, a resume goes on, and a test set or run that is
deleted takes nothing from the results.
"""

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from adapters.library import CONFIG, WEIGHTS, Adapter, find_adapter
from common.errors import UserError
from common.files import read_json_lines, write_json, write_text
from common.language import Sentence, _, packed
from data.conversations import Conversation
from data.intake import prepare, read_texts
from data.near_duplicates import overlap
from data.test_sets import Item, Kind, find_test_set, fingerprint, items_of, labels_of
from evaluation.config import FEW_SHOT, RUN, EvaluationConfig
from evaluation.run import AskedTestSet, Evaluation, Versions
from runs.history import run_of
from runs.labels import title_of
from runs.publish import versions
from runs.run import Run, find_run

MAX_ASKED = (
    100_000  # rows of all test sets together, of 7 kB of memory each while they are compared with the training data
)
PACKAGES = ("numpy", "scipy", "sacrebleu", "rouge-score")


@dataclass(frozen=True)
class Asked:
    """A test set as an evaluation asks it: `items` of every candidate, `shots` shown to the few-shot prompt.

    The shots are rows of the test set that are not asked, or the first ones of the evaluation's own file of shots.
    """

    id: str
    title: str
    kind: Kind
    labels: tuple[str, ...]
    items: list[Item]
    shots: list[Item]


class Drawn(NamedTuple):
    """Rows that were drawn of a test set, before any is left out; labels and fingerprint are those of all rows."""

    title: str
    kind: Kind
    labels: Sequence[str]
    fingerprint: str
    dataset: str
    revision: str
    rows: int
    items: list[Item]


def ask(evaluation: Evaluation, tell: Callable[[str], None]) -> list[Asked]:
    """Return what is asked, of each test set; read and kept the first time. What `tell` raises ends it.

    Raises UserError, also for an adapter that is another one since.
    """
    config, owner = evaluation.config(), evaluation.owner
    adapters = {name: find_adapter(name, owner) for name in config.adapters()}
    digests = {name: digest_of(adapter) for name, adapter in adapters.items()}
    if known := evaluation.versions():
        for name, adapter in adapters.items():
            if known["adapters"].get(name) != digests[name]:
                raise UserError(
                    _("The adapter '{name}' has changed since this evaluation began.", name=adapter.title),
                    _("Start a new evaluation."),
                )
        return [read_asked(evaluation, test_set) for test_set in config.test_sets]
    drawn = draw(config, owner, tell)
    unknown: list[str] = []

    def trained_on() -> Iterator[Conversation]:
        """Yield the rows that the adapters were trained on, as far as they are here."""
        for adapter in adapters.values():
            run = run_of(adapter.folder)
            try:
                for row in _trained_on(run) if run else ():
                    tell(_("Looking for test rows in the training data"))
                    yield row
            except UserError:  # a data set of the Hub that cannot be reached, for one
                run = None
            if run is None:
                unknown.append(adapter.title)

    asked = keep(evaluation, config, drawn, trained_on())
    made: Versions = {
        "base": config.base,
        "base_revision": config.base_revision,
        "adapters": digests,
        "unknown_data": unknown,
        "test_sets": asked,
        "packages": packages(),
        "seed": config.seed,
    }
    write_json(evaluation.versions_file, packed(made))
    return [read_asked(evaluation, test_set) for test_set in config.test_sets]


def draw(config: EvaluationConfig, owner: str, tell: Callable[[str], None]) -> dict[str, Drawn]:
    """Draw of each test set as many rows as are asked. Raises UserError for one that is not there, and for too many together."""
    drawn: dict[str, Drawn] = {}
    for test_set in config.test_sets:
        tell(_("Reading the test set {name}", name=test_set))
        drawn[test_set] = _draw(test_set, config, owner)
        check_count(drawn)
    return drawn


def check_count(drawn: Mapping[str, Drawn]) -> None:
    """Raise UserError for more questions than can be compared with the training data."""
    if sum(len(one.items) for one in drawn.values()) > MAX_ASKED:
        words = _("An evaluation asks at most {most:,} questions.", most=MAX_ASKED)
        raise UserError(words, _("Choose fewer test sets, or fewer questions of each (max_items)."))


def keep(
    evaluation: Evaluation, config: EvaluationConfig, drawn: Mapping[str, Drawn], rows: Iterable[Conversation]
) -> dict[str, AskedTestSet]:
    """Write what is asked of each test set into the evaluation's folder, less what stands among `rows`, which are trained on."""
    items = chain.from_iterable(one.items for one in drawn.values())
    numbered = (Item(**{**item, "number": place}) for place, item in enumerate(items))
    known = overlap(numbered, rows)
    evaluation.items_folder.mkdir(exist_ok=True)
    asked: dict[str, AskedTestSet] = {}
    first = 0
    for test_set, one in drawn.items():
        places = range(first, first + len(one.items))
        exact, near = ([place - first for place in places if place in found] for found in (known.exact, known.near))
        asked[test_set] = _keep(evaluation, config, test_set, one, exact, near)
        first = places.stop
    return asked


def packages() -> dict[str, str]:
    """Return the versions of Python and of the libraries that train, answer and score."""
    return versions() | {name: version(name) for name in PACKAGES}


def read_asked(evaluation: Evaluation, test_set: str) -> Asked:
    """Return a test set as it was kept. Raises UserError where it is not there."""
    known = evaluation.known()["test_sets"].get(test_set)
    if known is None:
        raise UserError(_("There is no test set '{name}' in this evaluation.", name=test_set))
    items = _read_items(evaluation.items_file(test_set))
    labels, taken = tuple(known["labels"]), {*known["shots"]}
    shots = [item for item in items if item["number"] in taken]
    if evaluation.shots_file.is_file() and known["kind"] == "conversations":
        config = evaluation.config()
        shots = _read_items(evaluation.shots_file)[: config.shots] if _has_own_shots(evaluation, config) else shots
    left = [item for item in items if item["number"] not in taken]
    if labels:  # a classification is multiple choice among its labels
        left = [Item(**{**item, "choices": [*labels], "answer": item["answer"].strip()}) for item in left]
    return Asked(test_set, known["title"], known["kind"], labels, left, shots)


def _read_items(file: Path) -> list[Item]:
    return [Item(**item) for item in read_json_lines(file)]


def _has_own_shots(evaluation: Evaluation, config: EvaluationConfig) -> bool:
    """Return whether the few-shot prompt shows rows of its own file; a test set that is called like it has its rows there."""
    return evaluation.shots_file.is_file() and evaluation.shots_file.stem not in config.test_sets


def not_asked(evaluation: Evaluation) -> list[Sentence]:
    """Return a sentence for each test set of which nothing is asked."""
    return [
        _("All rows of '{name}' are in the training data: none of them is asked.", name=one["title"])
        if one["rows"]
        else _("'{name}' has no rows.", name=one["title"])
        for one in evaluation.known()["test_sets"].values()
        if not one["asked"]
    ]


def check_test_set(test_set: str, owner: str) -> None:
    """Raise UserError unless `owner` has this test set, or the run that held it out ('run:ID')."""
    if test_set.startswith(RUN):
        find_run(test_set.removeprefix(RUN), owner)
    else:
        find_test_set(test_set, owner)


def held_out_set(adapter: Adapter) -> str:
    """Return the test set of the rows that the training of `adapter` held out, 'run:ID'; "" where it was not trained here."""
    run = run_of(adapter.folder)
    return f"{RUN}{run.id}" if run else ""


def held_out_rows(run: Run) -> tuple[str, Iterator[Item]]:
    """Return the title and the items of the rows that a run held out."""
    title = _("Held-out rows of {run}", run=title_of(run))
    return title, items_of(prepare(run.config().data_settings(), run.folder).held_out)


def _draw(test_set: str, config: EvaluationConfig, owner: str) -> Drawn:
    """Read the rows of a test set, or those that a run held out, and draw as many as are asked."""
    if test_set.startswith(RUN):
        return drawn_of(test_set, config, *held_out_rows(find_run(test_set.removeprefix(RUN), owner)))
    found = find_test_set(test_set, owner)
    drawn = drawn_of(test_set, config, found.title, found.items())
    dataset = found.source if found.revision else ""
    return drawn._replace(kind=found.kind, labels=found.labels, dataset=dataset, revision=found.revision)


def drawn_of(test_set: str, config: EvaluationConfig, title: str, rows: Iterable[Item]) -> Drawn:
    """Draw of rows that were held out as many as are asked."""
    items = list(rows)
    kind: Kind = "text" if items and all("text" in item for item in items) else "conversations"
    labels = labels_of((item.get("answer", "") for item in items), len(items))
    asked = items
    if 0 < config.max_items < len(items):
        asked = _random(config, test_set).sample(items, config.max_items)
        asked.sort(key=lambda item: item["number"])
    return Drawn(title, kind, labels, fingerprint(items), "", "", len(items), asked)


def _keep(
    evaluation: Evaluation,
    config: EvaluationConfig,
    test_set: str,
    drawn: Drawn,
    exact: Sequence[int],
    near: Sequence[int],
) -> AskedTestSet:
    """Write what is asked, less the rows at these places, into the evaluation's folder."""
    gone = {*exact, *near}
    left = [item for place, item in enumerate(drawn.items) if place not in gone]
    shots: list[Item] = []
    if FEW_SHOT in config.candidates and drawn.kind == "conversations" and not _has_own_shots(evaluation, config):
        fit = [item for item in left if "messages" in item]
        shots = _random(config, test_set).sample(fit, min(config.shots, len(fit) // 2))
        left = [item for item in left if item not in shots]
    lines = (json.dumps(item, ensure_ascii=False) for item in shots + left)
    write_text(evaluation.items_file(test_set), "".join(f"{line}\n" for line in lines))
    return {
        "title": drawn.title,
        "kind": drawn.kind,
        "labels": list(drawn.labels),
        "fingerprint": drawn.fingerprint,
        "dataset": drawn.dataset,
        "revision": drawn.revision,
        "rows": drawn.rows,
        "asked": len(left),
        "exact": len(exact),
        "near": len(near),
        "shots": [item["number"] for item in shots],
    }


def _random(config: EvaluationConfig, test_set: str) -> random.Random:
    """Return what draws of a test set: other test sets and an order of theirs change nothing."""
    return random.Random(f"{config.seed} {test_set}")


def _trained_on(run: Run) -> Iterator[Conversation]:
    """Yield the rows that a run was trained on, and the plain texts of its first stage."""
    settings = run.config().data_settings()
    if settings.text_data:
        yield from read_texts(settings, run.folder).conversations.part()
    yield from prepare(settings, run.folder).train


def digest_of(adapter: Adapter) -> str:
    """Return the SHA-256 over an adapter's weights and their settings."""
    digest = hashlib.sha256()
    for name in (WEIGHTS, CONFIG):
        digest.update((adapter.folder / name).read_bytes())
    return digest.hexdigest()
