"""What evaluations found of an adapter: `evaluation.json` in its folder, for the list, the card and whoever pulls it.

    {"test_sets": [{"kind", "name", "title", "dataset", "revision", "fingerprint", "time", "versions",
                    "scores": [{"name", "title", "unit", "adapter", "base", "difference", "verdict"}]}]}

A number is {"value", "low", "high", "n"}, with its interval; without one it is not kept. Anybody may have written the file of an
adapter from elsewhere: values of a wrong type are ignored, and what is left is shown as stated by its author.
"""

import re
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from adapters.library import Adapter, update_record
from adapters.values import number, text
from common.files import read_object, write_json
from common.language import Sentence, _, joined
from common.paths import LOCAL_OWNER, adapters_folder, as_title
from common.words import UNITS, Unit, amount, in_unit

EVALUATION = "evaluation.json"
MAX_EVALUATION_BYTES = 200_000
LIST = ".list.json"  # beside the adapters of an owner: what their list shows
MAX_LIST_BYTES = 10_000
MAX_TEST_SETS, MAX_SCORES, MAX_VERSIONS = 16, 20, 20
MAX_N = 10**9
VERDICTS = {
    "better": _("better than the base"),
    "worse": _("worse than the base"),
    "different": _("different from the base"),
    "undecided": _("not decided"),
}
STATED = _("Stated by its author, not measured here.")
DATASET = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
HASH = re.compile(r"[0-9a-f]{7,64}")

# a test set of the program, a task of lm-eval, the rows that its training held out, or another
Kind = Literal["bundled", "lm-eval", "held-out", "own"]


@dataclass(frozen=True)
class Number:
    """A value over `n` items with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    def words(self, unit: Unit, is_difference: bool = False) -> Sentence:
        """Return '0.412 (0.371 to 0.455), n 60'; a difference has a sign."""
        sign = "+" if is_difference and self.value > 0 else ""
        low, high = in_unit(self.low, unit), in_unit(self.high, unit)
        return _(
            "{value} ({low} to {high}), n {n:,}",
            value=f"{sign}{in_unit(self.value, unit)}",
            low=low,
            high=high,
            n=self.n,
        )


@dataclass(frozen=True)
class Measured:
    """One score on a test set: of the adapter, of its base, and adapter minus base over the same items, paired.

    `base` and `difference` are there where the base was what the adapter was compared with; `verdict` is "" else.
    """

    name: str  # as evaluation.scores has it
    title: str  # in English
    unit: Unit
    adapter: Number
    base: Number | None = None
    difference: Number | None = None
    verdict: str = ""

    def row(self) -> tuple[str, ...]:
        """Return what stands under each of HEADS."""
        of_base = self.base.words(self.unit) if self.base else ""
        beside = self.difference.words(self.unit, is_difference=True) if self.difference else ""
        score = _("{score} ({unit})", score=Sentence(self.title), unit=UNITS[self.unit])
        return score, of_base, self.adapter.words(self.unit), beside, VERDICTS.get(self.verdict, "")


HEADS = (_("Score"), _("Base"), _("This adapter"), _("Difference"), _("Verdict"))


@dataclass(frozen=True)
class Evaluated:
    """A test set, and what was measured on it. `dataset` and `revision` are the Hub's where it is from there, "" else."""

    kind: Kind
    name: str  # what an evaluation calls it
    title: str
    fingerprint: str  # SHA-256 over all its rows
    time: float  # in seconds since 1970
    versions: dict[str, str]
    scores: tuple[Measured, ...]
    dataset: str = ""
    revision: str = ""

    def words(self) -> Sentence:
        """Return what the test set is called."""
        if self.kind == "held-out":
            return _("Held-out rows")
        return Sentence(self.title) if self.title else _("A test set of its owner")

    @property
    def day(self) -> str:
        """Return the day, in UTC, on which it was measured; times out of range are moved into it."""
        return time.strftime("%Y-%m-%d", time.gmtime(min(max(self.time, 0), 4e9)))


def read_evaluated(folder: Path) -> list[Evaluated]:
    """Return what was measured of the adapter in `folder`, the last evaluation first; [] where nothing was."""
    found = read_object(folder / EVALUATION, MAX_EVALUATION_BYTES).get("test_sets")
    return [one for value in _objects(found, MAX_TEST_SETS) if (one := _evaluated(value)).scores]


def is_stated(adapter: Adapter) -> bool:
    """Return whether nothing but its file says so: it is from elsewhere, and nothing was measured here."""
    return adapter.origin.kind in ("pulled", "imported") and adapter.record.get("is_evaluated") is not True


def keep_evaluated(adapter: Adapter, found: Sequence[Evaluated]) -> None:
    """Write what was measured here into the adapter's folder, in the place of what is there of the same test sets.

    What its author stated is dropped.
    """
    names = {one.name for one in found}
    others = [] if is_stated(adapter) else [one for one in read_evaluated(adapter.folder) if one.name not in names]
    write_evaluated(adapter.folder, [*found, *others][:MAX_TEST_SETS])
    if is_stated(adapter):
        update_record(adapter.folder, is_evaluated=True)


def write_evaluated(folder: Path, found: Sequence[Evaluated]) -> None:
    """Write `evaluation.json` of the adapter in `folder`."""
    write_json(folder / EVALUATION, {"test_sets": [asdict(one) for one in found]})


def for_others(found: Sequence[Evaluated], public: Collection[str] = ()) -> list[Evaluated]:
    """Return the same without the names of test sets that are private: neither bundled nor lm-eval's, nor `public`."""
    return [
        one
        if one.kind in ("bundled", "lm-eval")
        else replace(one, name="", title=one.dataset)
        if one.dataset in public
        else replace(one, name="", title="", dataset="", revision="")
        for one in found
    ]


def is_any_evaluated(owner: str = LOCAL_OWNER) -> bool:
    """Return whether an adapter of `owner` has scores to show."""
    return any(adapters_folder(owner).glob(f"*/{EVALUATION}"))


def chosen_score(owner: str = LOCAL_OWNER) -> str:
    """Return the name of the score that the list of `owner` shows."""
    return text(read_object(adapters_folder(owner) / LIST, MAX_LIST_BYTES).get("score")) or "loss"


def choose_score(name: str, owner: str = LOCAL_OWNER) -> None:
    """Show the score of this name in the list of `owner` from now on, where there is a list."""
    if adapters_folder(owner).is_dir():
        write_json(adapters_folder(owner) / LIST, {"score": as_title(name)})


def score_words(adapter: Adapter, name: str) -> Sentence | Literal[""]:
    """Return one score of an adapter with its interval and n, on the first test set that has it; "" without one."""
    for one in read_evaluated(adapter.folder):
        for score in one.scores:
            if score.name == name:
                value = joined([Sentence(score.title), score.adapter.words(score.unit)])
                parts = [value, one.words(), VERDICTS.get(score.verdict, "")]
                return joined([*parts, _("stated by its author") if is_stated(adapter) else ""], ", ")
    return ""


def decided_words(found: Sequence[Evaluated]) -> Sentence | None:
    """Return the first difference from the base that is decided, either way; None where none is."""
    for one in found:
        for score in one.scores:
            if score.difference and score.verdict in ("better", "worse"):
                low, high = sorted(abs(end) for end in (score.difference.low, score.difference.high))
                values = {
                    "test_set": one.words(),
                    "score": Sentence(score.title),
                    "by": amount(abs(score.difference.value), score.unit),
                    "low": in_unit(low, score.unit),
                    "high": in_unit(high, score.unit),
                    "n": score.difference.n,
                }
                if score.verdict == "better":
                    return _(
                        "{score}, {test_set}: better than the base by {by} (95 %: {low} to {high}) on {n:,} rows",
                        **values,
                    )
                return _(
                    "{score}, {test_set}: worse than the base by {by} (95 %: {low} to {high}) on {n:,} rows", **values
                )
    return None


def _objects(value: object, most: int) -> list[dict[str, Any]]:
    """Return the objects among the first `most` values of a JSON list; [] of anything else."""
    return [one for one in value[:most] if isinstance(one, dict)] if isinstance(value, list) else []


def _evaluated(value: dict[str, Any]) -> Evaluated:
    kind, versions = value.get("kind"), value.get("versions")
    named = list(versions.items())[:MAX_VERSIONS] if isinstance(versions, dict) else []
    dataset, fingerprint, revision = (text(value.get(name)) for name in ("dataset", "fingerprint", "revision"))
    return Evaluated(
        kind=cast("Kind", kind) if kind in get_args(Kind) else "own",
        name=as_title(text(value.get("name"))),
        title=as_title(text(value.get("title"))),
        fingerprint=fingerprint if HASH.fullmatch(fingerprint) else "",
        time=number(value.get("time")) or 0.0,
        versions={as_title(name): as_title(text(version)) for name, version in named},
        scores=tuple(one for score in _objects(value.get("scores"), MAX_SCORES) if (one := _measured(score))),
        dataset=dataset if DATASET.fullmatch(dataset) else "",
        revision=revision if HASH.fullmatch(revision) else "",
    )


def _measured(value: dict[str, Any]) -> Measured | None:
    """Return a score, None without a number of the adapter."""
    name, unit, verdict = as_title(text(value.get("name"))), value.get("unit"), value.get("verdict")
    of_adapter, of_base, difference = (_number(value.get(key)) for key in ("adapter", "base", "difference"))
    if not name or of_adapter is None or unit not in get_args(Unit):
        return None
    told = cast("str", verdict) if of_base and difference and verdict in [*VERDICTS] else ""
    title = as_title(text(value.get("title"))) or name
    return Measured(name, title, cast("Unit", unit), of_adapter, of_base, difference, told)


def _number(value: object) -> Number | None:
    """Return a number whose interval and n make sense, None for anything else."""
    found = value if isinstance(value, dict) else {}
    middle, low, high, n = (number(found.get(key)) for key in ("value", "low", "high", "n"))
    if middle is None or low is None or high is None or n is None:
        return None
    return Number(middle, low, high, int(n)) if low <= high and n == int(n) and 1 < n <= MAX_N else None
