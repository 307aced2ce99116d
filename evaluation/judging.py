"""Blind judging of answers in pairs: what is shown in which order, what was chosen, win rates and the agreement of judges.

    pairs = pairs_of(evaluation, "questions", "adapter:mine")
    pair = next_pair(pairs, read_judgements(folder), "Mina")      the page shows its two answers, not who gave them
    keep_judgement(folder, pair, "left", "Mina")                  one line more in judgements.jsonl
    win_rate(read_judgements(folder), "base", "adapter:mine")

A judge is a person, or a model that was asked in both orders (evaluation/model_judge.py): its lines name the prompt.
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Literal, NotRequired, TypedDict, cast, get_args

from common.errors import UserError
from common.files import append_json_line, read_json_lines
from common.language import Sentence, _, n_
from common.paths import as_title
from data.test_sets import Item
from evaluation.asked import read_asked
from evaluation.results import Result, ScoreEstimate, Verdict
from evaluation.run import Evaluation
from evaluation.statistics import LEVEL, SIGNIFICANCE
from evaluation.table import read_results
from models.messages import Message

JUDGEMENTS_FILE = "judgements.jsonl"
MAX_JUDGEMENTS_BYTES = 10_000_000  # of one evaluation; a line has about 200
MAX_JUDGES = 20  # whose agreement is told: 190 pairs of them; anybody can judge under any number of names

Choice = Literal["left", "right", "tie"]
Key = tuple[str, int]  # test set and item
ShownKey = tuple[str, int, str, str]  # these, and who stood left and right


@dataclass(frozen=True)
class Pair:
    """Two different answers to one question in the order in which they are shown. `left` and `right`, who gave them, are not."""

    test_set: str
    item: int
    messages: list[Message]
    left: str
    right: str
    left_answer: str
    right_answer: str

    @property
    def key(self) -> ShownKey:
        """What a judgement of it in this order names."""
        return self.test_set, self.item, self.left, self.right

    def swapped(self) -> "Pair":
        """Return the pair in the other order."""
        return replace(
            self,
            left=self.right,
            right=self.left,
            left_answer=self.right_answer,
            right_answer=self.left_answer,
        )


class Judgement(TypedDict):
    """One choice, as a line of judgements.jsonl. `prompt` is the version of what a model was asked; a person has none."""

    test_set: str
    item: int
    left: str
    right: str
    choice: Choice
    judge: str
    at: float  # seconds since 1970
    prompt: NotRequired[str]


@dataclass(frozen=True)
class WinRate:
    """How many pairs the candidate won, lost and tied, one vote a pair. `share` is of those that it won or lost."""

    wins: int
    losses: int
    ties: int
    share: ScoreEstimate | None  # None where all are ties
    p: float
    verdict: Verdict


@dataclass(frozen=True)
class Agreement:
    """How often two judges chose the same of `n` pairs that both judged; `kappa` is None where both always chose one thing."""

    first: str
    second: str
    n: int
    share: float
    kappa: float | None


def pairs_to_judge(
    test_set: str,
    items: Iterable[Item],
    reference: tuple[str, Mapping[int, Result]],
    candidate: tuple[str, Mapping[int, Result]],
    seed: int = 0,
) -> list[Pair]:
    """Return the pairs of answers in the order in which they are judged, each side as often left; the same for every judge.

    `reference` and `candidate` are names with results by item. Answers that are equal are left out: a tie without a look.
    """
    pairs = []
    draw = random.Random(f"{seed} {test_set} {reference[0]} {candidate[0]}")
    for item in items:
        results = [found.get(item["number"], {}) for _name, found in (reference, candidate)]
        given = [result["answer"].strip() for result in results if "answer" in result]
        if "messages" in item and len({*given}) == 2:
            pairs.append(Pair(test_set, item["number"], item["messages"], reference[0], candidate[0], *given))
    draw.shuffle(pairs)
    swaps = [place % 2 == 0 for place in range(len(pairs))]
    draw.shuffle(swaps)
    return [pair.swapped() if swap else pair for pair, swap in zip(pairs, swaps, strict=True)]


def pairs_of(evaluation: Evaluation, test_set: str, candidate: str) -> list[Pair]:
    """Return the pairs of answers of an evaluation's first candidate and another one. Raises UserError for no test set of it."""
    config = evaluation.config()
    reference, other = ((name, read_results(evaluation, test_set, name)) for name in (config.candidates[0], candidate))
    return pairs_to_judge(test_set, read_asked(evaluation, test_set).items, reference, other, config.seed)


def next_pair(pairs: Sequence[Pair], judgements: Iterable[Judgement], judge: str) -> Pair | None:
    """Return the first pair that this judge has not judged yet, in whichever order; None after the last."""
    name = as_title(judge)
    done = {key_of(one) for one in judgements if one["judge"] == name}
    return next((pair for pair in pairs if pair.key not in done and pair.swapped().key not in done), None)


def keep_judgement(folder: Path, pair: Pair, choice: Choice, judge: str, prompt: str = "") -> None:
    """Append a choice to the evaluation's record; of one judge and order the last counts. Raises UserError."""
    file, name = folder / JUDGEMENTS_FILE, as_title(judge)
    if choice not in get_args(Choice) or not name:
        raise UserError(_("Choose an answer, or a tie, and say who judges."))
    if file.exists() and file.stat().st_size > MAX_JUDGEMENTS_BYTES:
        raise UserError(_("This evaluation can keep no more judgements."))
    line: Judgement = {
        "test_set": pair.test_set,
        "item": pair.item,
        "left": pair.left,
        "right": pair.right,
        "choice": choice,
        "judge": name,
        "at": round(time.time(), 1),
    }
    append_json_line(file, line | {"prompt": prompt} if prompt else line)


def read_judgements(folder: Path) -> list[Judgement]:
    """Return all judgements of an evaluation in the order in which they were made; damaged lines are left out."""
    texts = ("test_set", "left", "right", "choice", "judge")
    return [
        cast(Judgement, line)
        for line in read_json_lines(folder / JUDGEMENTS_FILE)
        if all(isinstance(line.get(name), str) for name in texts)
        and isinstance(line.get("item"), int)
        and line.get("choice") in get_args(Choice)
    ]


def win_rate(judgements: Iterable[Judgement], reference: str, candidate: str) -> WinRate:
    """Return how often the candidate's answer was preferred; where several judged a pair, the majority of their votes.

    Give it the judgements of people, or of one model. The interval is Clopper and Pearson's, p of the exact binomial test against
    1/2; ties count for neither (sign test).
    """
    from scipy.stats import binomtest

    votes: Counter[Key] = Counter()
    for preferred in _preferences(judgements, reference, candidate).values():
        for key, name in preferred.items():
            votes[key] += {candidate: 1, reference: -1}.get(name, 0)
    wins, losses = sum(vote > 0 for vote in votes.values()), sum(vote < 0 for vote in votes.values())
    n, ties = wins + losses, len(votes) - wins - losses
    if not n:
        return WinRate(0, 0, ties, None, 1.0, "undecided")
    test = binomtest(wins, n)
    low, high = test.proportion_ci(LEVEL, "exact")
    verdict: Verdict = "undecided" if test.pvalue >= SIGNIFICANCE else "better" if wins > losses else "worse"
    return WinRate(wins, losses, ties, ScoreEstimate(wins / n, float(low), float(high), n), float(test.pvalue), verdict)


def win_sentence(found: WinRate) -> Sentence:
    """Return a win rate in words."""
    ties = n_("{count:,} tie", "{count:,} ties", found.ties)
    if found.share is None:
        return _("No pair decided, {ties}.", ties=ties)
    values = {
        "wins": found.wins,
        "pairs": n_("{count:,} decided pair", "{count:,} decided pairs", found.share.n),
        "low": 100 * found.share.low,
        "high": 100 * found.share.high,
        "ties": ties,
    }
    if found.verdict == "undecided":
        return _("Preferred in {wins:,} of {pairs} ({low:.0f} % to {high:.0f} %), {ties}: not decided yet.", **values)
    return _("Preferred in {wins:,} of {pairs} ({low:.0f} % to {high:.0f} %), {ties}.", **values)


def agreements(judgements: Iterable[Judgement], reference: str, candidate: str) -> list[Agreement]:
    """Return for each two of the MAX_JUDGES who judged most, and the same pairs, how far they agree, with Cohen's kappa.

    kappa = (share of equal choices - share expected by chance) / (1 - share expected by chance), of candidate, reference and
    tie (Cohen 1960, Educational and Psychological Measurement 20, 37-46).
    """
    found, judges = [], _preferences(judgements, reference, candidate).items()
    most = sorted(judges, key=lambda judge: (-len(judge[1]), judge[0]))[:MAX_JUDGES]
    for (first, one), (second, other) in combinations(sorted(most), 2):
        both = [(one[key], other[key]) for key in one if key in other]
        if not both:
            continue
        n = len(both)
        share = sum(mine == theirs for mine, theirs in both) / n
        counts = Counter(mine for mine, _theirs in both), Counter(theirs for _mine, theirs in both)
        chance = sum(counts[0][name] * counts[1][name] for name in counts[0]) / n**2
        found.append(Agreement(first, second, n, share, (share - chance) / (1 - chance) if chance < 1 else None))
    return found


def agreement_of_orders(judgements: Iterable[Judgement], judge: str) -> tuple[int, int]:
    """Return of how many pairs a judge saw both orders, and in how many of these it chose the same both times.

    `judge` is a name as `judge_of` and `agreements` give it.
    """
    orders: dict[tuple, dict[str, str]] = defaultdict(dict)
    for one in judgements:
        if judge_of(one) == judge:
            orders[one["test_set"], one["item"], *sorted((one["left"], one["right"]))][one["left"]] = _preferred(one)
    both = [[*found.values()] for found in orders.values() if len(found) == 2]
    return len(both), sum(one == other for one, other in both)


def key_of(judgement: Judgement) -> ShownKey:
    """Return which pair was judged, in which order: the `key` of that pair."""
    return judgement["test_set"], judgement["item"], judgement["left"], judgement["right"]


def judge_of(judgement: Judgement) -> str:
    """Return who judged; of a model with the version of its prompt: with another one it is another judge."""
    return f"{judgement['judge']} ({judgement['prompt']})" if "prompt" in judgement else judgement["judge"]


def _preferred(judgement: Judgement) -> str:
    """Return whose answer was chosen; "" for a tie."""
    return "" if judgement["choice"] == "tie" else judgement[judgement["choice"]]


def _preferences(judgements: Iterable[Judgement], reference: str, candidate: str) -> dict[str, dict[Key, str]]:
    """Return for each judge what was preferred of each pair of these two; "" for a tie.

    A judge who chose differently in the two orders preferred neither; a model that was asked in one order only is left out.
    """
    orders: dict[str, dict[Key, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    models = set()
    for one in judgements:
        if {one["left"], one["right"]} == {reference, candidate}:
            orders[judge_of(one)][one["test_set"], one["item"]][one["left"]] = _preferred(one)
            models |= {judge_of(one)} if "prompt" in one else set()
    return {
        judge: {
            key: next(iter(names)) if len(names := {*found.values()}) == 1 else ""
            for key, found in pairs.items()
            if len(found) == 2 or judge not in models
        }
        for judge, pairs in orders.items()
    }
