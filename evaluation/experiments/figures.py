"""The figures of an experiment, each as PDF, SVG and PNG: scores, learning curve, learned against forgotten, rates.

Drawn with matplotlib, without pyplot and its state, in English; names are shown as they are, never read as mathematics. The same
numbers give the same bytes.
"""

import math
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from common.files import publish
from common.words import UNITS
from evaluation.experiments.arms import Arm, arms_of
from evaluation.experiments.config import HELD_OUT
from evaluation.experiments.experiment import Experiment, Search, Split
from evaluation.experiments.paper import columns_of, plain
from evaluation.experiments.table import Entry, Table, difference_between
from evaluation.results import Difference
from evaluation.scores import SCORES, Score

if TYPE_CHECKING:  # it takes a second to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = "figures"
FORMATS: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}
SETTINGS: dict[str, Any] = {
    "text.parse_math": False,  # a name with two dollar signs is a name
    "svg.hashsalt": "studio",
    "pdf.fonttype": 42,  # outlines that journals take
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
# Okabe and Ito's, which colour-blind readers tell apart
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*X"
MAX_PANELS_IN_ROW = 4
FORGETTING = "general"  # the test set on which is seen what was forgotten


def write_figures(experiment: Experiment, table: Table) -> None:
    """Draw all figures for which there are numbers, and replace those that were there before."""
    from matplotlib import style

    partial = experiment.results_folder / f"{FOLDER}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with style.context(SETTINGS):
        for name, figure in figures_of(experiment, table):
            for ending, metadata in FORMATS.items():
                figure.savefig(partial / f"{name}.{ending}", dpi=200, metadata=metadata)
    publish(partial, experiment.results_folder / FOLDER)


def figures_of(experiment: Experiment, table: Table) -> Iterator[tuple[str, "Figure"]]:
    """Yield each figure with the name of its file."""
    arms = [arm for arm in arms_of(experiment.config()) if arm.id in table.arms]
    for test_set, title in table.test_sets.items():
        if columns := columns_of(table, test_set):
            yield f"scores-{test_set}", scores(table, columns, title)
    if curves := curves_of(arms, experiment.split()):
        yield "learning-curve", learning_curve(table, arms, curves)
    points = {arm.id: both for arm in arms if (both := learned_and_forgotten(table, arm.id))}
    if points:
        yield "learned-forgotten", trade(table, points)
    found = experiment.searches().items()
    if searches := {id: one for id, one in found if id in table.arms and {*one["losses"].values()} - {None}}:
        yield "learning-rates", rates(table, searches)


def scores(table: Table, columns: dict[str, dict[str, Entry]], title: str) -> "Figure":
    """Draw each score of a test set in a panel: an arm a line, its mean with the 95 % interval, its seeds as small points."""
    names = list(table.arms)
    figure, panels = _panels(len(columns), 0.24 * len(names) + 0.9, share_y=True)
    for panel, (name, column) in zip(panels, columns.items(), strict=True):
        score = SCORES[name]
        for place, arm in enumerate(names):
            if entry := column.get(arm):
                colour = COLOURS[1] if entry.is_best else COLOURS[0]
                mean, error = _shown(entry, score)
                panel.errorbar(mean, place, xerr=error, fmt="o", color=colour, capsize=2, markersize=4)
                if entry.seeds > 1:
                    values = _scaled(np.array(entry.values), score)
                    panel.plot(values, np.full(len(values), place), "|", color=colour, markersize=6)
                if entry.is_reference:
                    panel.axvline(mean, color="0.7", linewidth=0.8, linestyle=":", zorder=0)
        panel.set_yticks(range(len(names)), [plain(table.arms[arm]) for arm in names])
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.set_title(_axis(score), fontsize=9)
    figure.suptitle(plain(title), fontsize=10)
    return figure


def curves_of(arms: Sequence[Arm], split: Split | None) -> dict[str, list[tuple[int, str]]]:
    """Return (rows, arm) of the arms that differ in their rows alone, the fewest first, by what they have in common."""
    found: dict[str, list[tuple[int, str]]] = {}
    for arm in arms:
        if split and arm.is_trained:
            others = {name: value for name, value in arm.settings.items() if name not in ("max_rows", "learning_rate")}
            data = split["train"].get(str(others.get("data"))) or next(iter(split["train"].values()))
            rows = min(int(arm.settings.get("max_rows") or data["rows"]), data["rows"])
            found.setdefault(f"{arm.method} {sorted(others.items())}", []).append((rows, arm.id))
    return {name: sorted(points) for name, points in found.items() if len({rows for rows, _arm in points}) > 1}


def learning_curve(table: Table, arms: Sequence[Arm], curves: dict[str, list[tuple[int, str]]]) -> "Figure":
    """Draw the first score of each test set over the rows of the training, on a logarithmic axis; untrained arms as lines."""
    firsts = {test_set: next(iter(columns)) for test_set in table.test_sets if (columns := columns_of(table, test_set))}
    figure, panels = _panels(len(firsts), 2.6)
    rows = sorted({rows for points in curves.values() for rows, _arm in points})
    for panel, (test_set, name) in zip(panels, firsts.items(), strict=True):
        column, score = columns_of(table, test_set)[name], SCORES[name]
        for number, points in enumerate(curves.values()):
            entries = [(count, column[arm]) for count, arm in points if arm in column]
            shown = [_shown(entry, score) for _count, entry in entries]
            panel.errorbar(
                [count for count, _entry in entries],
                [mean for mean, _error in shown],
                yerr=np.hstack([error for _mean, error in shown]) if shown else None,
                label=plain(table.arms[points[-1][1]]),
                **_style(number),
            )
        for number, arm in enumerate(arm for arm in arms if not arm.is_trained and arm.id in column):
            mean, _error = _shown(column[arm.id], score)
            panel.axhline(mean, label=plain(arm.name), color="0.5", linestyle=("--", ":")[number % 2], linewidth=1)
        _logarithmic(panel, rows, [f"{count:,}" for count in rows])
        panel.set_xlabel("Rows")
        panel.set_ylabel(_axis(score))
        panel.set_title(plain(table.test_sets[test_set]), fontsize=9)
    panels[0].legend(fontsize=7)
    return figure


def learned_and_forgotten(table: Table, arm: str) -> list[Difference]:
    """Return an arm's loss less the reference's, on the held-out rows and on general text; [] where it is not known."""
    reference = next((entry.arm for entry in table.entries if entry.is_reference), "")
    found = [
        difference_between(table.comparisons, arm, reference, test_set, "loss") for test_set in (HELD_OUT, FORGETTING)
    ]
    known = [one for one in found if one and math.isfinite(one.low)]
    return known if len(known) == len(found) else []


def trade(table: Table, points: dict[str, list[Difference]]) -> "Figure":
    """Draw what each arm has learned against what it has forgotten, in nats per token beside the reference."""
    figure, (panel,) = _panels(1, 3.2)
    reference = next(entry.arm for entry in table.entries if entry.is_reference)
    for number, (arm, (learned, forgotten)) in enumerate(points.items()):
        style = _style(number, linestyle="none", label=plain(table.arms[arm]))
        across, up = ([[one.value - one.low], [one.high - one.value]] for one in (learned, forgotten))
        panel.errorbar(learned.value, forgotten.value, xerr=across, yerr=up, **style)
    for line in (panel.axhline, panel.axvline):
        line(0, color="0.7", linewidth=0.8, linestyle=":", zorder=0)
    panel.set_xlabel(f"Held-out loss beside {plain(table.arms[reference])} (nats; left: learned)")
    panel.set_ylabel("Loss on general text (nats; up: forgotten)")
    panel.legend(fontsize=7)
    return figure


def rates(table: Table, searches: dict[str, Search]) -> "Figure":
    """Draw the loss on the validation rows over the learning rate, an arm a line; the chosen rate is filled."""
    figure, (panel,) = _panels(1, 2.8)
    for number, (arm, search) in enumerate(searches.items()):
        points = sorted((float(rate), loss) for rate, loss in search["losses"].items() if loss is not None)
        tried, losses = zip(*points, strict=True)
        panel.errorbar(tried, losses, **_style(number, markerfacecolor="white", label=plain(table.arms[arm])))
        for rate, loss in points:
            if rate == search["chosen"]:
                panel.errorbar(rate, loss, **_style(number))
    ticks = sorted({float(rate) for search in searches.values() for rate in search["losses"]})
    _logarithmic(panel, ticks, [f"{rate:g}" for rate in ticks])
    panel.set_xlabel("Learning rate")
    panel.set_ylabel("Validation loss (nats)")
    panel.legend(fontsize=7)
    return figure


def _panels(count: int, height: float, share_y: bool = False) -> tuple["Figure", list["Axes"]]:
    """Return a figure with so many panels, each so many inches high."""
    from matplotlib.figure import Figure

    columns = min(count, MAX_PANELS_IN_ROW)
    rows = -(-count // columns)
    width = 4.2 if count == 1 else 2.4 * columns
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
    panels = list(grid.flat)
    for empty in panels[count:]:
        empty.set_visible(False)
    return figure, panels[:count]


def _scaled(values: np.ndarray, score: Score) -> np.ndarray:
    """Return values of a score as they are shown: shares of 100."""
    return 100 * values if score.unit == "share" else values


def _shown(entry: Entry, score: Score) -> tuple[float, np.ndarray]:
    """Return the mean of an entry as it is shown, and its errors `(2, 1)` below and above; none where nothing is known."""
    low, mean, high = _scaled(np.array([entry.low, entry.mean, entry.high]), score)
    error = np.array([[mean - low], [high - mean]])
    return float(mean), np.where(np.isfinite(error), np.maximum(error, 0), 0)


def _axis(score: Score) -> str:
    """Return the title of a score with its unit, and an arrow to where it is better."""
    arrow = {True: " ↑", False: " ↓", None: ""}[score.higher_is_better]
    return f"{score.title} ({UNITS[score.unit]}){arrow}"


def _style(number: int, **other: Any) -> dict[str, Any]:
    """Return how the arm with this number is drawn."""
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    return {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1, "capsize": 2, **other}


def _logarithmic(panel: "Axes", ticks: Sequence[float], labels: Sequence[str]) -> None:
    """Make the horizontal axis logarithmic, with these ticks alone."""
    panel.set_xscale("log")
    panel.set_xticks(ticks, labels, rotation=45)
    panel.set_xticks([], minor=True)
