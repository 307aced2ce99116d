"""Writes what an evaluation found into the folders of its adapters, where the list and the model card read it."""

import math
import time

from adapters.evaluated import Evaluated, Kind, Measured, Number, keep_evaluated
from adapters.library import find_adapter
from common.errors import UserError
from common.language import english
from data.test_sets import BUNDLED
from evaluation.asked import digest_of, held_out_set
from evaluation.config import ADAPTER, BASE
from evaluation.results import Difference, Line, ScoreEstimate
from evaluation.run import Evaluation
from evaluation.scores import SCORES, Score
from evaluation.table import read_table


def keep_scores(evaluation: Evaluation) -> None:
    """Write the scores of each adapter of an evaluation into its folder; not of one that was deleted or changed since.

    The base stands beside them where it was what the adapter was compared with.
    """
    config, known = evaluation.config(), evaluation.known()
    lines = read_table(evaluation)
    of_base = [line for line in lines if line.candidate == BASE == config.candidates[0]]
    for name in config.adapters():
        try:
            adapter = find_adapter(name, evaluation.owner)
        except UserError:
            continue
        if digest_of(adapter) != known["adapters"].get(name):
            continue
        held_out, found = held_out_set(adapter), []
        for test_set, asked in known["test_sets"].items():
            own = [line for line in lines if (line.test_set, line.candidate) == (test_set, f"{ADAPTER}{name}")]
            base = {line.score: line for line in of_base if line.test_set == test_set}
            kind: Kind = "bundled" if test_set in BUNDLED else "held-out" if test_set == held_out else "own"
            one = Evaluated(
                kind=kind,
                name=test_set,
                title=english(asked["title"]),
                fingerprint=asked["fingerprint"],
                time=time.time(),
                versions=known["packages"],
                scores=tuple(
                    score for line in own if (score := measured(SCORES[line.score], line, base.get(line.score)))
                ),
                dataset=asked["dataset"],
                revision=asked["revision"],
            )
            found += [one] if one.scores else []
        if found:
            keep_evaluated(adapter, found)


def measured(score: Score, line: Line, base: Line | None) -> Measured | None:
    """Return an adapter's score with its base's beside it; None where so few rows give no interval."""
    value = _number(line.estimate)
    if value is None:
        return None
    before, beside = _number(base.estimate if base else None), _number(line.difference if base else None)
    verdict = line.difference.verdict if line.difference and before and beside else ""
    return Measured(score.name, english(score.title), score.unit, value, before, beside, verdict)


def _number(found: ScoreEstimate | Difference | None) -> Number | None:
    """Return a number of which the interval is known."""
    is_known = found and math.isfinite(found.low) and math.isfinite(found.high)
    return Number(found.value, found.low, found.high, found.n) if found and is_known else None
