"""Curves over the steps of a training, and dots, as HTML: an SVG that stretches, and words over it that do not.

No script and no library: the page changes the points in place, and nothing moves. Colours are in ui/train/run.css.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.curves import Axes, axes_of, drawable, kept_label
from adapters.history import Points
from common.language import Sentence, _, joined
from runs.state import thinned

MAX_POINTS = 400  # of one line: more than a screen shows apart
UNITS = 1000  # of the SVG, across and down
MAX_NAMED_DOTS = 8
MIN_LABEL_DISTANCE = 0.09  # between two labels, of the height
MAX_LABEL_WIDTH = 0.35  # of a dot's label, of the width


@dataclass(frozen=True)
class Curve:
    """One line of a plot. `look` is its class: a colour; a curve without a name has no label; `dots` mark every point."""

    points: Points
    name: str = ""
    look: str = "main"
    dots: bool = False


def plot_html(title: str, curves: Sequence[Curve], total_steps: int = 0, kept_step: int | None = None) -> str:
    """Return a plot from step 0 to `total_steps`, at least to the last point; its frame alone before the first point."""
    curves = [Curve(thinned(drawable(one.points), MAX_POINTS), one.name, one.look, one.dots) for one in curves]
    curves = [curve for curve in curves if curve.points]
    axes = axes_of([curve.points for curve in curves], total_steps) or Axes(max(total_steps, 1), 0.0, 1.0)
    lines = "".join(_line(curve, axes) for curve in curves)
    words = _scale(axes, with_values=bool(curves)) + _labels([curve for curve in curves if curve.name], axes)
    if kept_step is not None and kept_step <= axes.last:
        x = axes.place(kept_step, axes.low)[0]
        lines += f"<path class='kept' d='M{_at(x)} 0V{UNITS}'/>"
        side = "left" if x > 0.6 else "right"
        words += f"<span class='kept {side}' style='left:{x:.2%}'>{html.escape(kept_label(kept_step))}</span>"
    return (
        f"<div class='plot' role='img' aria-label='{html.escape(_spoken(title, curves, axes, kept_step))}'>"
        f"<div class='plot-title'>{html.escape(title)}</div><div class='plot-area'>"
        f"<svg viewBox='0 0 {UNITS} {UNITS}' preserveAspectRatio='none' aria-hidden='true'>{_grid(axes)}{lines}</svg>"
        f"{words}</div></div>"
    )


@dataclass(frozen=True)
class Dot:
    """One point of a scatter plot, and whose it is."""

    x: float
    y: float
    name: str


def scatter_html(title: str, x_title: str, y_title: str, dots: Sequence[Dot]) -> str:
    """Return a plot of dots: the names of few are written beside them, the first one where two would lie over each other.

    All names are told to whoever points.
    """
    across, down = axes_of([[(0, dot.x) for dot in dots]]), axes_of([[(0, dot.y) for dot in dots]])
    if across is None or down is None:
        return ""
    marks, words = "", ""
    named: list[tuple[float, float]] = []
    for dot in dots:
        x, y = 1 - across.place(0, dot.x)[1], down.place(0, dot.y)[1]
        is_free = all(abs(x - left) > MAX_LABEL_WIDTH or abs(y - top) > MIN_LABEL_DISTANCE for left, top in named)
        told = html.escape(_dot_words(dot, x_title, y_title))
        marks += f"<path class='dot main' d='M{_at(x)} {_at(y)}h0'><title>{told}</title></path>"
        if len(dots) <= MAX_NAMED_DOTS and is_free:
            named.append((x, y))
            name = html.escape(dot.name)
            words += f"<span class='label main' style='left:{x:.2%};top:{y:.2%}' title='{told}'>{name}</span>"
    for value in down.values:
        words += f"<span class='value' style='top:{down.place(0, value)[1]:.2%}'>{value_words(value)}</span>"
    for value in across.values:
        words += f"<span class='step' style='left:{1 - across.place(0, value)[1]:.2%}'>{value_words(value)}</span>"
    spoken = joined([f"{title}.", *(_dot_words(dot, x_title, y_title) for dot in dots)])
    return (
        f"<div class='plot scatter' role='img' aria-label='{html.escape(spoken)}'>"
        f"<div class='plot-title'>{html.escape(title)}</div><div class='plot-axis'>↑ {html.escape(y_title)}</div>"
        f"<div class='plot-area'><svg viewBox='0 0 {UNITS} {UNITS}' preserveAspectRatio='none' aria-hidden='true'>"
        f"{_grid(down)}{marks}</svg>{words}</div><div class='plot-axis across'>{html.escape(x_title)} →</div></div>"
    )


def _dot_words(dot: Dot, x_title: str, y_title: str) -> Sentence:
    values = {"name": dot.name, "x": value_words(dot.x), "y": value_words(dot.y)}
    return _("{name}: {y_title} {y}, {x_title} {x}.", x_title=x_title, y_title=y_title, **values)


def value_words(value: float) -> str:
    """Return a value of a curve in four digits."""
    return f"{value:.4g}"


def _at(share: float) -> str:
    return f"{share * UNITS:.1f}"


def _grid(axes: Axes) -> str:
    places = (axes.place(0, value)[1] for value in axes.values)
    return "".join(f"<path class='grid' d='M0 {_at(y)}H{UNITS}'/>" for y in places)


def _line(curve: Curve, axes: Axes) -> str:
    """Return a curve as one path, and its dots: strokes of no length, which stay round when the SVG stretches.

    A dot tells its step and value to whoever points at it.
    """
    pairs = [f"{_at(x)} {_at(y)}" for x, y in (axes.place(*point) for point in curve.points)]
    line = f"<path class='line {curve.look}' d='M{'L'.join(pairs)}'/>"
    if not curve.dots and len(pairs) > 1:
        return line
    return line + "".join(
        f"<path class='dot {curve.look}' d='M{pair}h0'><title>{step:,}: {value_words(value)}</title></path>"
        for pair, (step, value) in zip(pairs, curve.points, strict=True)
    )


def _scale(axes: Axes, with_values: bool) -> str:
    """Return the round values beside the plot and the whole steps under it."""
    values = [(value_words(value), axes.place(0, value)[1]) for value in axes.values if with_values]
    steps = [(f"{step:,}", axes.place(step, axes.low)[0]) for step in axes.steps]
    return "".join(
        [
            *(f"<span class='value' style='top:{y:.2%}'>{text}</span>" for text, y in values),
            *(f"<span class='step' style='left:{x:.2%}'>{text}</span>" for text, x in steps),
        ]
    )


def _labels(curves: list[Curve], axes: Axes) -> str:
    """Return the name and the last value of each curve at its end, no two over each other."""
    ends = sorted(((axes.place(*curve.points[-1]), curve) for curve in curves), key=lambda end: end[0][1])
    found, lowest = "", -1.0
    for number, ((x, y), curve) in enumerate(ends):
        y = max(lowest + MIN_LABEL_DISTANCE, min(y, 1 - MIN_LABEL_DISTANCE * (len(ends) - 1 - number)))
        lowest = y
        text = html.escape(f"{curve.name} {value_words(curve.points[-1][1])}")
        found += f"<span class='label {curve.look}' style='left:{x:.2%};top:{y:.2%}' title='{text}'>{text}</span>"
    return found


def _spoken(title: str, curves: list[Curve], axes: Axes, kept_step: int | None) -> Sentence:
    """Return the plot in words for a screen reader."""
    parts: list[str] = [_("{title}, steps 0 to {last:,}.", title=title, last=axes.last)]
    for curve in curves:
        if curve.name or len(curves) == 1:
            (first, start), (last, end) = curve.points[0], curve.points[-1]
            values = {"first": first, "last": last, "start": value_words(start), "end": value_words(end)}
            parts.append(
                _("{name}: {start} at step {first:,}, {end} at step {last:,}.", name=curve.name or title, **values)
            )
    if not curves:
        parts.append(_("No points yet."))
    return joined([*parts, kept_label(kept_step) if kept_step is not None else ""])
