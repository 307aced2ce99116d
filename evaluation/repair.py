"""The repair slider: what an adapter still knows, and what its base forgot, at each point of two repairs; the best point.

    python -m evaluation.repair NAME                              measure all points, minutes; --keep makes the best an adapter
    python -m evaluation.repair NAME --keep --point reduce 0.5    another point, as soon as it is measured

Every point answers the same held-out rows and reads the same general text. The best is the one that forgot least among those
whose held-out loss is not measurably above the lowest (paired, 95 %). The curve is kept beside the adapter, in repair.json.
Light: `evaluation.repair_process` computes in a process of its own.
"""

import argparse
import sys
import threading
from dataclasses import dataclass
from typing import Any, get_args

from adapters.intake import Imported
from adapters.library import Adapter, find_adapter
from adapters.pull import open_adapter
from adapters.repair import Kind, Repair, keep_repaired
from common.child import Tell, ask_child
from common.command_line import progress_on_stderr, run_job, say
from common.errors import UserError
from common.files import read_object
from common.language import Sentence, _, joined, unpacked
from common.paths import LOCAL_OWNER
from evaluation.asked import check_test_set, held_out_set
from evaluation.results import Difference, ScoreEstimate
from models.base import choose_base, fetch_base
from models.hardware import find_hardware
from models.hub.client import token_of
from models.hub.errors import child_environment
from models.precision import PRECISIONS, resolve_precision
from runs.limits import limits

FILE = "repair.json"
MAX_FILE_BYTES = 1_000_000


@dataclass(frozen=True)
class Point:
    """What was measured with one repair; losses are in nats per token, differences paired with the base's.

    `is_as_good` says that the held-out loss is not measurably above the lowest of all points.
    """

    repair: Repair
    held_out: ScoreEstimate
    general: ScoreEstimate
    learned: Difference
    forgotten: Difference
    is_as_good: bool

    @property
    def is_base(self) -> bool:
        """Return whether nothing is left of the adapter."""
        return self.repair == Repair("scale", 0)

    def words(self) -> Sentence:
        """Return what this point is."""
        if self.is_base:
            return _("the base")
        return _("as it is") if self.repair == Repair("scale", 1) else self.repair.words()


@dataclass(frozen=True)
class Sweep:
    """All points of an adapter, on which rows and in which precision they were measured, and what was found on the way."""

    points: tuple[Point, ...]
    held_out_title: str
    precision: str
    intruders: int | None  # None where they could not be looked for
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Point | None:
        """Return the point that forgot least among those that know as much; None where too few rows say how much that is."""
        fit = [point for point in self.points if point.is_as_good and not point.is_base]
        knows = any(point.learned.verdict == "better" for point in fit)
        return min(fit, key=lambda point: point.general.value) if knows else None

    def at(self, kind: str, value: float) -> Point:
        """Return the point of a repair. Raises UserError for one that was not measured."""
        for point in self.points:
            if (point.repair.kind, point.repair.value) == (kind, value) and not point.is_base:
                return point
        raise UserError(_("This point was not measured."), _("Choose one of those in the table."))

    def best_words(self) -> Sentence:
        """Return which point is the best, and what that means."""
        if self.best is None:
            return _("No point is the best: these rows do not show that the adapter learned anything.")
        return _(
            "The best: {point}. It forgot least of all whose held-out loss is not measurably above the lowest ({rows} rows, "
            "paired, 95 %).",
            point=self.best.words(),
            rows=self.best.held_out.n,
        )


def measure(
    adapter: Adapter,
    test_set: str = "",
    precision: str = "auto",
    tell: Tell = lambda what, fraction: None,
    stop: threading.Event | None = None,
) -> Sweep:
    """Measure all points of `adapter` on a test set of its owner, its training's held-out rows unless named, and keep the curve.

    Setting `stop` ends it, and so do as many minutes as a run may take; intruder dimensions are kept as soon as they are found.
    Raises UserError.
    """
    owner, test_set = adapter.folder.parent.name, test_set or held_out_set(adapter)
    if not test_set:
        words = _("It is not known which rows '{name}' was not trained on.", name=adapter.title)
        raise UserError(words, _("Name a test set that shows what it should know."))
    precision = resolve_precision(precision, find_hardware().has_gpu)
    check_test_set(test_set, owner)
    base_folder = fetch_base(choose_base(adapter.base_choice, adapter.base_revision), tell, stop)
    request = {
        "adapter": str(adapter.folder),
        "base": str(base_folder),
        "test_set": test_set,
        "precision": precision,
    }
    ask_child("evaluation.repair_process", request, child_environment(), tell, stop, limits().minutes)
    found = read_sweep(adapter)
    assert found
    return found


def read_sweep(adapter: Adapter) -> Sweep | None:
    """Return what was measured last of an adapter; None where nothing was."""
    try:
        found: dict[str, Any] = unpacked(read_object(adapter.folder / FILE, MAX_FILE_BYTES))
        points, notes = tuple(_point(**point) for point in found["points"]), tuple(found["notes"])
        return Sweep(points, found["held_out_title"], found["precision"], found["intruders"], notes)
    except (KeyError, TypeError):
        return None


def _point(repair: dict[str, Any], is_as_good: bool, **numbers: dict[str, Any]) -> Point:
    """Return a point as `repair_process` wrote it. Raises KeyError or TypeError for another JSON value."""
    held_out, general = (ScoreEstimate(**numbers[name]) for name in ("held_out", "general"))
    learned, forgotten = (Difference(**numbers[name]) for name in ("learned", "forgotten"))
    return Point(Repair(**repair), held_out, general, learned, forgotten, is_as_good)


def keep_point(adapter: Adapter, point: Point, title: str = "") -> Imported:
    """Make a measured point an adapter of its own, with its numbers as a note. Raises UserError."""
    notes = _(
        "Held-out loss {held_out:.3f} ({held_low:.3f} to {held_high:.3f}, {rows} rows), general text {general:.3f} "
        "({general_low:.3f} to {general_high:.3f}, {texts} texts).",
        held_out=point.held_out.value,
        held_low=point.held_out.low,
        held_high=point.held_out.high,
        rows=point.held_out.n,
        general=point.general.value,
        general_low=point.general.low,
        general_high=point.general.high,
        texts=point.general.n,
    )
    return keep_repaired(adapter, point.repair, title, str(notes))


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, measure, print the points, and return the exit code."""
    return run_job(_parser, arguments)


def _parser() -> argparse.ArgumentParser:
    words = _(
        "Measure what an adapter knows and what its base forgot, with alpha scaled and intruder dimensions reduced."
    )
    parser = argparse.ArgumentParser(prog="python -m evaluation.repair", description=words)
    parser.add_argument("name")
    parser.add_argument("--test-set", default="", help=_("[the rows that its training held out]"))
    parser.add_argument(
        "--precision", default="auto", choices=PRECISIONS, help=_("of the base [{default}]", default="auto")
    )
    parser.add_argument("--again", action="store_true", help=_("measure again what was measured before"))
    parser.add_argument("--keep", action="store_true", help=_("make a point an adapter of its own"))
    kinds = "|".join(get_args(Kind))
    parser.add_argument("--point", nargs=2, metavar=(kinds, "VALUE"), help=_("the point to keep [the best]"))
    parser.set_defaults(work=_work)
    return parser


def _work(options: argparse.Namespace) -> None:
    """Measure unless that was done, print all points, and keep one."""
    adapter = open_adapter(options.name, LOCAL_OWNER, token_of(None))
    sweep = None if options.again else read_sweep(adapter)
    sweep = sweep or measure(adapter, options.test_set, options.precision, progress_on_stderr())
    for line in lines_of(sweep):
        say(line)
    if options.keep or options.point:
        point = sweep.at(options.point[0], _number(options.point[1])) if options.point else sweep.best
        if point is None:
            raise UserError(sweep.best_words(), _("Name a point with --point."))
        kept = keep_point(find_adapter(adapter.name), point)
        say(_("Kept as '{name}'.", name=kept.adapter.title))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UserError(_("'{text}' is not a number.", text=text[:40])) from error


def lines_of(sweep: Sweep) -> list[str]:
    """Return the points as lines of a table, and what they say."""
    heads = (_("point"), _("held-out loss"), _("general text"), _("forgotten, in nats"))
    rows = [[str(head) for head in heads]]
    for point in sweep.points:
        marks = "*" if point == sweep.best else ""
        rows.append(
            [f"{point.words()}{marks}", *(interval(one) for one in (point.held_out, point.general, point.forgotten))]
        )
    widths = [max(len(row[place]) for row in rows) + 2 for place in range(len(heads))]
    lines = ["".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, "", str(joined([sweep.best_words(), *sweep.notes]))]


def interval(found: ScoreEstimate | Difference) -> str:
    """Return a value with its interval and n."""
    sign = "+" if isinstance(found, Difference) else ""
    return f"{found.value:{sign}.3f} ({found.low:{sign}.3f} … {found.high:{sign}.3f}), n {found.n}"


if __name__ == "__main__":
    sys.exit(main())
