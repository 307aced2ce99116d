"""What the results say: scores with intervals beside the first candidate's, the rows that differ most, two evaluations together.

Scipy is imported when something is computed; reading a table that was written imports nothing.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from adapters.library import find_adapter
from common.errors import UserError
from common.files import read_json, read_json_lines, read_object, write_json
from common.language import Sentence, _, n_, packed, unpacked
from common.made_by import name_teachers, read_made_by, teachers_of
from data.test_sets import Item
from evaluation.asked import read_asked
from evaluation.config import ADAPTER, FEW_SHOT
from evaluation.results import Difference, Line, Needs, Result, ScoreEstimate
from evaluation.run import Evaluation
from evaluation.scores import Parts, Score, scores_with, wanted_scores

MAX_TABLE_BYTES = 10_000_000
MAX_DIFFERING_ROWS = 50  # of a candidate in a score on a test set
Results = dict[int, Result]  # by the item's number
PartsOfAll = dict[str, dict[int, Parts]]  # by candidate and the item's number
Differing = dict[str, dict[str, list[tuple[int, float, float]]]]  # by score and candidate


class ResultLine(Result):
    """A result as it lies in a file: one of up to three of an item."""

    needs: Needs


@dataclass(frozen=True)
class DifferingRow:
    """An item at which a candidate and the reference differ: the question, the right answer, and both answers with their scores.

    Where no answers were written these are the likeliest choices; for losses "".
    """

    item: int
    prompt: str
    expected: str
    reference_answer: str
    candidate_answer: str
    reference_value: float
    candidate_value: float


def read_lines(evaluation: Evaluation, test_set: str, candidate: str) -> list[ResultLine]:
    """Return the results of a candidate one by one, as they came; a line that a kill cut off is not among them."""
    found = read_json_lines(evaluation.results_file(test_set, candidate))
    return [cast(ResultLine, line) for line in found if isinstance(line.get("item"), int) and "needs" in line]


def read_results(evaluation: Evaluation, test_set: str, candidate: str) -> Results:
    """Return all that is known of a candidate's answers, by the number of the item."""
    found: dict[int, dict[str, Any]] = {}
    for line in read_lines(evaluation, test_set, candidate):
        found.setdefault(line["item"], {}).update(line)
    return cast(Results, found)


def write_table(evaluation: Evaluation) -> None:
    """Compute all scores of what is there, and keep them in the evaluation's folder, with the rows that differ most."""
    config = evaluation.config()
    lines: list[Line] = []
    rows: dict[str, Differing] = {}
    for test_set in evaluation.known()["test_sets"]:
        asked = read_asked(evaluation, test_set)
        results = {one: read_results(evaluation, test_set, one) for one in config.candidates}
        notes = {one: _notes(evaluation, test_set, one, results[one]) for one in config.candidates}
        wanted = wanted_scores(config, asked.kind, asked.labels)
        parts = {score.name: parts_of(asked.items, results, score) for score in wanted}
        lines += compute_lines(test_set, wanted, parts, config.seed, notes)
        rows[test_set] = {score.name: _most_different(score, parts[score.name]) for score in wanted}
    write_json(evaluation.rows_file, rows)
    write_json(evaluation.table_file, packed([asdict(line) for line in lines]))


def read_table(evaluation: Evaluation) -> list[Line]:
    """Return the scores of an evaluation that has ended; [] before."""
    found: Any = unpacked(read_json(evaluation.table_file, [], MAX_TABLE_BYTES))
    try:
        return [_line(**one) for one in found]
    except TypeError:  # damaged, or of another version of this program
        return []


def _line(
    test_set: str,
    score: str,
    candidate: str,
    estimate: dict[str, Any],
    difference: dict[str, Any] | None,
    notes: list[Sentence],
) -> Line:
    beside = Difference(**difference) if difference else None
    return Line(test_set, score, candidate, ScoreEstimate(**estimate), beside, tuple(notes))


def compute_lines(
    test_set: str,
    scores: Sequence[Score],
    parts: dict[str, PartsOfAll],
    seed: int,
    notes: dict[str, tuple[Sentence, ...]],
) -> Iterator[Line]:
    """Yield a line for each score and candidate that has results; each is compared with the first on what both were asked."""
    from evaluation.statistics import difference, estimate

    for score in scores:
        first, reference = next(iter(parts[score.name].items()))
        for candidate, own in parts[score.name].items():
            both = [number for number in reference if number in own] if candidate != first else []
            pair = ([found[number] for number in both] for found in (reference, own))
            if own:
                shown = difference(*pair, score, seed) if both else None
                value = estimate(list(own.values()), score, seed)
                yield Line(test_set, score.name, candidate, value, shown, notes.get(candidate, ()))


def parts_of(items: Sequence[Item], results: dict[str, Results], score: Score) -> PartsOfAll:
    """Return what each item adds to a score, by candidate and the item's number, in the order of the items."""
    found: PartsOfAll = {candidate: {} for candidate in results}
    for candidate, known in results.items():
        for item in items:
            result = known.get(item["number"])
            part = score.per_item(item, result) if result else None
            if part is not None:
                found[candidate][item["number"]] = part
    return found


def _most_different(score: Score, parts: PartsOfAll) -> dict[str, list[tuple[int, float, float]]]:
    """Return by candidate (item, the reference's value, its own) of the items at which it differs most, the largest first."""
    (_first, reference), *others = parts.items()
    found = {}
    for candidate, own in others:
        differing = [number for number in own if number in reference and own[number] != reference[number]]
        values = [(number, score.value([reference[number]]), score.value([own[number]])) for number in differing]
        found[candidate] = sorted(values, key=lambda value: -abs(value[2] - value[1]))[:MAX_DIFFERING_ROWS]
    return found


def _notes(evaluation: Evaluation, test_set: str, candidate: str, results: Results) -> tuple[Sentence, ...]:
    """Return what is to be known of a candidate's scores on a test set."""
    known, notes = evaluation.known(), []
    asked = known["test_sets"][test_set]
    if left_out := asked["exact"] + asked["near"]:
        notes.append(
            n_(
                "{count:,} row that is in the training data is left out, {near:,} of them in other words.",
                "{count:,} rows that are in the training data are left out, {near:,} of them in other words.",
                left_out,
                near=asked["near"],
            )
        )
    items = read_asked(evaluation, test_set).items
    if made := Counter(item["teacher"] for item in items if "teacher" in item):
        notes.append(
            n_(
                "{made:,} of {count:,} question was written by {teachers}.",
                "{made:,} of {count:,} questions were written by {teachers}.",
                len(items),
                made=made.total(),
                teachers=name_teachers([name for name, _count in made.most_common()]),
            )
        )
    if same := [name for name in _teachers(candidate, evaluation.owner) if name in made]:
        notes.append(
            _(
                "{teachers} also wrote rows that it was trained on: to write like this teacher is part of what is measured.",
                teachers=name_teachers(same),
            )
        )
    for name in known["unknown_data"]:
        notes.append(_("What '{name}' was trained on is not here: no row was left out for it.", name=name))
    if candidate == FEW_SHOT:
        shown = len(read_asked(evaluation, test_set).shots)
        notes.append(n_("{count} example is shown.", "{count} examples are shown.", shown))
    cut = [result for result in results.values() if result.get("is_cut")]
    too_long = sum(not {"loss", "choice_losses", "answer"} & {*result} for result in cut)
    if too_long:
        words = n_(
            "{count:,} row is longer than the window and counts for nothing.",
            "{count:,} rows are longer than the window and count for nothing.",
            too_long,
        )
        notes.append(words)
    if len(cut) > too_long:
        words = n_(
            "Of {count:,} row the earliest turns did not fit.",
            "Of {count:,} rows the earliest turns did not fit.",
            len(cut) - too_long,
        )
        notes.append(words)
    return tuple(notes)


def _teachers(candidate: str, owner: str) -> list[str]:
    """Return who wrote rows that a candidate was trained on; [] for one that is no adapter, or is gone."""
    try:
        adapter = find_adapter(candidate.removeprefix(ADAPTER), owner) if candidate.startswith(ADAPTER) else None
    except UserError:
        adapter = None
    return [*teachers_of(read_made_by(adapter.metrics.get("made")))] if adapter else []


def rows_that_differ(
    evaluation: Evaluation, test_set: str, candidate: str, score: str, count: int = MAX_DIFFERING_ROWS
) -> list[DifferingRow]:
    """Return the items at which a candidate differs most from the first one in a score, the largest difference first.

    At most MAX_DIFFERING_ROWS are known, and none before the evaluation has ended.
    """
    config = evaluation.config()
    known = read_object(evaluation.rows_file, MAX_TABLE_BYTES).get(test_set, {}).get(score, {}).get(candidate, [])
    if not known:
        return []
    used = scores_with(config.format_rule)[score]
    items = {item["number"]: item for item in read_asked(evaluation, test_set).items}
    first, second = (read_results(evaluation, test_set, one) for one in (config.candidates[0], candidate))
    return [
        DifferingRow(
            number,
            items[number]["messages"][-1]["content"] if "messages" in items[number] else items[number]["text"],
            items[number].get("answer", ""),
            _shown(items[number], first[number], used),
            _shown(items[number], second[number], used),
            *values,
        )
        for number, *values in known[:count]
    ]


def _shown(item: Item, result: Result, score: Score) -> str:
    """Return a candidate's answer, or the choice that it found the likeliest: the one with which it would be right."""
    if score.needs != "choices":
        return result.get("answer", "")
    for choice in item.get("choices", []):
        part = score.per_item({**item, "answer": choice}, result)
        if part is not None and score.value([part]) == 1:
            return choice
    return ""


def compare(first: Evaluation, second: Evaluation) -> list[Line]:
    """Return the scores of all candidates of two evaluations on the rows that both asked; names are 'EVALUATION/CANDIDATE'.

    The reference is the first candidate of the first evaluation. Raises UserError when no test set is in both, by its
    fingerprint.
    """
    config = first.config()
    others = {one["fingerprint"]: name for name, one in second.known()["test_sets"].items()}
    lines: list[Line] = []
    for test_set, known in first.known()["test_sets"].items():
        if known["fingerprint"] not in others:
            continue
        places = {first: test_set, second: others[known["fingerprint"]]}
        asked, beside = (read_asked(one, name) for one, name in places.items())
        numbers = {item["number"] for item in beside.items}
        items = [item for item in asked.items if item["number"] in numbers]
        results = {
            f"{one.id}/{candidate}": read_results(one, name, candidate)
            for one, name in places.items()
            for candidate in one.config().candidates
        }
        wanted = wanted_scores(config, asked.kind, asked.labels)
        parts = {score.name: parts_of(items, results, score) for score in wanted}
        lines += compute_lines(test_set, wanted, parts, config.seed, {})
    if not lines:
        raise UserError(
            _("'{first}' and '{second}' asked nothing that is the same.", first=first.id, second=second.id),
            _("Compare evaluations on the same test sets."),
        )
    return lines
