"""What the cells of an experiment say: the scores of each arm with intervals, and every two arms beside each other.

    results/table.json      written after each cell; scipy is imported for that, and for nothing that is read

An arm with several seeds has the interval of its mean over them; any other the interval over the rows. Two arms are compared on
the rows and seeds that both have, and a column (a score on a test set) is corrected for all its pairs.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from common.files import read_object, write_json
from common.language import Sentence, _, n_, packed, unpacked
from evaluation.asked import read_asked
from evaluation.experiments.arms import ONE_RATE, arms_of, has_one_rate
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Cell, Experiment
from evaluation.results import Difference, Verdict
from evaluation.scores import SCORES, Parts, Score, wanted_scores
from evaluation.table import parts_of, read_results

FILE = "table.json"
MAX_TABLE_BYTES = 50_000_000  # 64 arms, all pairs, 12 scores on 16 test sets
FEW_SEEDS = 4  # with so many an interval is wide: t is 2.8 times the error, with three 4.3 times, with two 12.7
Column = tuple[str, str]  # a test set, and a score
PartsOfArm = dict[int | None, dict[int, Parts]]  # by seed, and by the item's number


@dataclass(frozen=True)
class Entry:
    """A score of an arm on a test set: the mean of its `values`, one for each seed, with its 95 % interval.

    `seeds` is 0 for an arm that has none. Best is what is decided to be better than every other arm.
    """

    arm: str
    test_set: str
    score: str
    mean: float
    low: float
    high: float
    seeds: int
    items: int
    is_best: bool
    is_reference: bool
    values: list[float]


@dataclass(frozen=True)
class ArmComparison:
    """An arm minus one that stands before it; `difference` agrees with `verdict`, which is corrected for all pairs."""

    arm: str
    other: str
    test_set: str
    score: str
    difference: Difference
    p_holm: float
    verdict: Verdict


@dataclass(frozen=True)
class Table:
    """All of it: `arms` are names by id and `test_sets` titles by id, in the order of the experiment."""

    arms: dict[str, str] = field(default_factory=dict)
    test_sets: dict[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    comparisons: list[ArmComparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_table(experiment: Experiment) -> Table:
    """Return what is known so far; an empty table before the first cell is there, and for a damaged file."""
    found: Any = unpacked(read_object(experiment.results_folder / FILE, MAX_TABLE_BYTES))
    try:
        comparisons = [
            ArmComparison(**one | {"difference": Difference(**one["difference"])}) for one in found["comparisons"]
        ]
        return Table(**found | {"entries": [Entry(**one) for one in found["entries"]], "comparisons": comparisons})
    except (KeyError, TypeError):
        return Table()


def read_entries(experiment: Experiment) -> list[Entry]:
    """Return the score of each arm on each test set, as far as cells are there."""
    return read_table(experiment).entries


def write_table(experiment: Experiment, cells: Sequence[Cell]) -> Table:
    """Compute the table of the cells that are done, and keep it."""
    config = experiment.config()
    order = [arm.id for arm in arms_of(config)]
    done = sorted((cell for cell in cells if cell.status == "done"), key=lambda cell: order.index(cell.arm.id))
    arms = {cell.arm.id: cell.arm.name for cell in done}
    titles: dict[str, str] = {}
    for cell in done:
        titles |= {id: one["title"] for id, one in cell.evaluation.known()["test_sets"].items()}
    untrained = [cell.arm.id for cell in done if cell.arm.method == "none"]
    reference = (untrained or [*arms, ""])[0]
    entries: list[Entry] = []
    comparisons: list[ArmComparison] = []
    for column, parts in read_parts(done).items():
        score = SCORES[column[1]]
        pairs = compare_all(column, parts, score, config.split_seed)
        comparisons += pairs
        entries += entries_of(column, parts, score, config.split_seed, best_of(pairs, list(parts)), reference)
    split = experiment.split()
    notes = [*(split["notes"] if split else []), *notes_of(config, cells)]
    table = Table(arms, titles, entries, comparisons, notes)
    experiment.results_folder.mkdir(exist_ok=True)
    write_json(experiment.results_folder / FILE, packed(asdict(table)))
    return table


def read_parts(cells: Sequence[Cell]) -> dict[Column, dict[str, PartsOfArm]]:
    """Return what each row adds to each score, of cells that are done, by column and arm."""
    found: dict[Column, dict[str, PartsOfArm]] = {}
    for cell in cells:
        config = cell.evaluation.config()
        candidate = config.candidates[0]
        for test_set in cell.evaluation.known()["test_sets"]:
            asked = read_asked(cell.evaluation, test_set)
            results = {candidate: read_results(cell.evaluation, test_set, candidate)}
            for score in wanted_scores(config, asked.kind, asked.labels):
                if parts := parts_of(asked.items, results, score)[candidate]:
                    column = found.setdefault((test_set, score.name), {})
                    column.setdefault(cell.arm.id, {})[cell.seed] = parts
    return found


def entries_of(
    column: Column, parts: dict[str, PartsOfArm], score: Score, seed: int, best: str, reference: str
) -> Iterator[Entry]:
    """Yield the entry of each arm in a column."""
    from evaluation.experiments.statistics import seeds_interval
    from evaluation.statistics import estimate

    for arm, by_seed in parts.items():
        of_seeds = [list(one.values()) for one in by_seed.values()]
        values = [score.value(one) for one in of_seeds]
        if len(values) > 1:
            low, high = seeds_interval(values)
        else:
            found = estimate(of_seeds[0], score, seed)
            low, high = found.low, found.high
        low, high = max(low, 0.0), min(high, 1.0 if score.unit == "share" else math.inf)
        seeds, items = len(values) - (None in by_seed), max(map(len, of_seeds))
        mean = float(np.mean(values))
        yield Entry(arm, *column, mean, low, high, seeds, items, arm == best, arm == reference, values)


def compare_all(column: Column, parts: dict[str, PartsOfArm], score: Score, seed: int) -> list[ArmComparison]:
    """Return every two arms of a column beside each other, as far as they have a seed and rows in common."""
    from evaluation.experiments.statistics import compare_arms, holm, spread_of
    from evaluation.statistics import SIGNIFICANCE

    paired = [(arm, other, _paired(parts[arm], parts[other])) for other, arm in combinations(parts, 2)]
    paired = [one for one in paired if one[2][0]]
    spread = spread_of([score.value([*one.values()]) for one in by_seed.values()] for by_seed in parts.values())
    found = [(arm, other, compare_arms(*pair, score, spread, seed, len(paired))) for arm, other, pair in paired]
    comparisons = []
    raised = holm([difference.p for _arm, _other, difference in found]) if found else []
    for (arm, other, difference), p in zip(found, raised, strict=True):
        if p >= SIGNIFICANCE:
            low, high = min(difference.low, 0.0), max(difference.high, 0.0)
            difference = replace(difference, low=low, high=high, verdict="undecided")
        comparisons.append(ArmComparison(arm, other, *column, difference, p, difference.verdict))
    return comparisons


def _paired(arm: PartsOfArm, other: PartsOfArm) -> tuple[list[list[Parts]], list[list[Parts]]]:
    """Return the parts of two arms by seed and item, of the seeds and items that both have; an arm without seeds has one."""
    sides = [arm, other]
    if None not in arm and None not in other:
        sides = [{seed: one[seed] for seed in arm if seed in other} for one in sides]
    common = [{*parts} for side in sides for parts in side.values()]
    items = sorted(set.intersection(*common)) if common else []
    first, second = ([[parts[item] for item in items] for parts in side.values()] if items else [] for side in sides)
    return first, second


def best_of(comparisons: Sequence[ArmComparison], arms: Sequence[str]) -> str:
    """Return the arm that is decided to be better than every other one in a column, "" where there is none."""
    won = [
        one.arm if one.verdict == "better" else one.other for one in comparisons if one.verdict in ("better", "worse")
    ]
    return next((arm for arm in arms if won.count(arm) == len(arms) - 1 > 0), "")


def difference_between(
    comparisons: Sequence[ArmComparison], arm: str, other: str, test_set: str, score: str
) -> Difference | None:
    """Return an arm minus another one, whichever of them stands first; None where they were not compared."""
    for one in comparisons:
        if (one.test_set, one.score) == (test_set, score) and {one.arm, one.other} == {arm, other}:
            found = one.difference
            if one.arm == arm:
                return found
            turned: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}
            verdict = turned.get(found.verdict, found.verdict)
            return replace(found, value=-found.value, low=-found.high, high=-found.low, verdict=verdict)
    return None


def notes_of(config: ExperimentConfig, cells: Sequence[Cell]) -> list[Sentence]:
    """Return what is to be known before anybody believes the table."""
    notes = []
    if missing := sum(cell.status != "done" for cell in cells):
        notes.append(
            n_(
                "{count} cell of {total} is not there yet: the table is of the others.",
                "{count} cells of {total} are not there yet: the table is of the others.",
                missing,
                total=len(cells),
            )
        )
    trained = [cell for cell in cells if cell.arm.is_trained]
    if trained and len(config.seeds) == 1:
        notes.append(_("With one seed the intervals are over the rows: what another seed would give is not known."))
    elif trained:
        notes.append(_("An interval is over the seeds; that of an arm without seeds is over the rows."))
    if trained and 1 < len(config.seeds) <= FEW_SEEDS:
        notes.append(
            _(
                "With {seeds} seeds an interval is wide: what is not decided may differ all the same.",
                seeds=len(config.seeds),
            )
        )
    notes.append(
        _(
            "Bold is what is better than every other arm: paired over rows and seeds, and corrected for all pairs of "
            "a column (Holm)."
        )
    )
    return [*notes, ONE_RATE] if has_one_rate(config) else notes
