"""What an experiment says of the claims in notes.py: supported, not supported or undecided, of this base, data and settings.

    verdicts(experiment)                            all claims that its arms show
    settle(note, arms, entries, comparisons)        one of them

Differences are those of the table, corrected for their number. That one is not decided proves no equality: "as good" needs an
interval within a margin.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from common.language import Sentence, _, joined
from common.words import amount
from evaluation.experiments.arms import Arm, arms_of
from evaluation.experiments.config import Scalar
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.notes import LOSS, NOTES, RECALL, WITH_HISTORY, WITHOUT_HISTORY, Note, Says
from evaluation.experiments.table import ArmComparison, Entry, difference_between, read_table
from evaluation.results import Difference
from evaluation.scores import SCORES
from evaluation.statistics import verdict_sentence
from runs.config import TrainConfig

Finding = Literal["supported", "not supported", "undecided"]
FINDINGS: dict[Finding, Sentence] = {
    "supported": _("Supported here"),
    "not supported": _("Not supported here"),
    "undecided": _("Undecided here"),
}
MARGIN = 0.1  # of what the other arm changed: less of a difference is none
DEFAULTS = asdict(TrainConfig())


@dataclass(frozen=True)
class Settled:
    """What an experiment says of a claim, and the differences that say it, in words."""

    finding: Finding
    words: Sentence


def verdicts(experiment: Experiment) -> list[tuple[Note, Settled]]:
    """Return what an experiment says of each claim that its arms show, as far as they are compared already."""
    arms, table = arms_of(experiment.config()), read_table(experiment)
    found = [(note, settle(note, arms, table.entries, table.comparisons)) for note in NOTES]
    return [(note, settled) for note, settled in found if settled]


def settle(
    note: Note, arms: Sequence[Arm], entries: Sequence[Entry], comparisons: Sequence[ArmComparison]
) -> Settled | None:
    """Return what an experiment with these arms says of a claim; None where no two of them show it.

    Of several pairs it is what some say and none denies.
    """
    if note.test_set == WITH_HISTORY:
        found = [_of_history(arm, entries) for arm in arms]
    else:
        ones, others = ([arm for arm in arms if is_meant(arm)] for is_meant in (note.one, note.other))
        pairs = [(one, other) for one in ones for other in others if _agree(one, other, note.apart)]
        found = [_of_pair(note, one, other, arms, comparisons) for one, other in pairs]
    settled = [one for one in found if one]
    if not settled:
        return None
    findings = {one.finding for one in settled} - {"undecided"}
    return Settled(findings.pop() if len(findings) == 1 else "undecided", joined([one.words for one in settled]))


def judge(says: Says, between: Difference, margin: float, is_higher_better: bool) -> Finding:
    """Return whether a difference bears out that one arm is better, worse, different or as good; a `margin` of 0 is none."""
    low, high = sorted((between.low, between.high) if is_higher_better else (-between.low, -between.high))
    is_not_worse, is_not_better = margin > 0 and low >= -margin, margin > 0 and high <= margin
    is_said, is_denied = {
        "better": (between.verdict == "better", between.verdict == "worse" or is_not_better),
        "worse": (between.verdict == "worse", between.verdict == "better" or is_not_worse),
        "different": (between.verdict != "undecided", is_not_worse and is_not_better),
        "as good": (between.verdict == "better" or is_not_worse, between.verdict == "worse"),
    }[says]
    return "supported" if is_said else "not supported" if is_denied else "undecided"


def margin_of(change: Difference | None) -> float:
    """Return the difference that counts as none, by what an arm changed against the untouched base; 0 where that is undecided.

    It is MARGIN of the end of the change's interval that is nearer to 0: the fixed margin of trials of non-inferiority (FDA 2016,
    Non-Inferiority Clinical Trials to Establish Effectiveness).
    """
    if change is None or change.verdict == "undecided":
        return 0.0
    return MARGIN * min(abs(change.low), abs(change.high))


def _of_pair(
    note: Note, one: Arm, other: Arm, arms: Sequence[Arm], comparisons: Sequence[ArmComparison]
) -> Settled | None:
    """Return what the difference between two arms says of a claim; None where they are not compared yet."""
    between = difference_between(comparisons, one.id, other.id, note.test_set, LOSS)
    if between is None:
        return None
    bases = [arm for arm in arms if arm.method == "none" and _agree(arm, other, {*other.settings} - {*arm.settings})]
    change = difference_between(comparisons, other.id, bases[0].id, note.test_set, LOSS) if bases else None
    score, margin = SCORES[LOSS], margin_of(change)
    values = {"one": one.name, "other": other.name, "verdict": verdict_sentence(between, score)}
    told = _("Less than {margin} counts as no difference.", margin=amount(margin, score.unit)) if margin else ""
    return Settled(
        judge(note.says, between, margin, score.higher_is_better is True),
        joined([_("{one} beside {other}: {verdict}", **values), told]),
    )


def _agree(one: Arm, other: Arm, apart: Collection[str]) -> bool:
    """Return whether two arms have the same settings, those in `apart` left out; one that is not given has its default."""
    names = {*one.settings, *other.settings} - {*apart}
    return all(_value(one, name) == _value(other, name) for name in names)


def _value(arm: Arm, name: str) -> Scalar:
    found = arm.settings.get(name)
    return DEFAULTS[name] if found in (None, "") else found


def _of_history(arm: Arm, entries: Sequence[Entry]) -> Settled | None:
    """Return whether an arm recalls more with the history in its prompt; None where it was not asked both ways.

    No pairing is needed: with intervals that do not meet the difference is large.
    """
    both = [
        next(
            (one for one in entries if (one.arm, one.score) == (arm.id, RECALL) and one.test_set.startswith(name)), None
        )
        for name in (WITH_HISTORY, WITHOUT_HISTORY)
    ]
    told, alone = both
    if told is None or alone is None:
        return None
    text = SCORES[RECALL].text
    words = _(
        "{arm}: {told} ({told_low} to {told_high}) of 100 with the history, {alone} ({alone_low} to {alone_high}) without it.",
        arm=arm.name,
        told=text(told.mean),
        told_low=text(told.low),
        told_high=text(told.high),
        alone=text(alone.mean),
        alone_low=text(alone.low),
        alone_high=text(alone.high),
    )
    if told.low > alone.high:
        return Settled("supported", words)
    return Settled("not supported" if told.high < alone.low else "undecided", words)
