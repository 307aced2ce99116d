"""Curves over the steps of a training: what a plot of them spans, and the losses as a picture.

The page draws the same plots as SVG (ui/plot.py). The same numbers give the same bytes of a picture.
"""

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass

from adapters.fonts import font
from adapters.history import Points
from adapters.values import MAX_NUMBER
from common.language import ENGLISH, Sentence, _, language

COLOURS = {"training": (19, 118, 107), "held out": (180, 83, 9)}
LABELS = {"training": _("training loss"), "held out": _("held-out loss")}
INK, GRID, PAPER = (55, 65, 81), (229, 231, 235), (255, 255, 255)
SCALE = 2  # a picture is drawn twice as large as it is kept, so that its lines are smooth
LINES, MAX_STEPS = 5, 8  # round numbers beside a plot and under it, at most
MAX_DOTS = 20
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class Axes:
    """What a plot spans: steps from 0 to `last`, values from `low` to `high`."""

    last: int
    low: float
    high: float

    def place(self, step: float, value: float) -> tuple[float, float]:
        """Return a point as (x, y), from (0, 0) at the top left to (1, 1)."""
        return step / self.last, (self.high - value) / (self.high - self.low)

    @property
    def steps(self) -> list[int]:
        """Return the round steps to write under the plot, and the last one."""
        width = max(1, round(_round_width(self.last, MAX_STEPS)))
        return [step for step in range(0, self.last, width) if self.last - step > width / 2] + [self.last]

    @property
    def values(self) -> list[float]:
        """Return the round values to write beside the plot."""
        width = _round_width(self.high - self.low, LINES)
        first = math.ceil(self.low / width)
        return [number * width for number in range(first, math.floor(self.high / width) + 1)]


def axes_of(curves: Iterable[Points], last_step: int = 0) -> Axes | None:
    """Return axes that hold all points of `curves` and `last_step`, with room above and below; None without a point."""
    points = [point for curve in curves for point in drawable(curve)]
    if not points:
        return None
    low, high = min(value for _, value in points), max(value for _, value in points)
    room = (high - low) * 0.1 or abs(high) * 0.1 or 0.1
    lowest = low - room if low < 0 else max(0.0, low - room)
    return Axes(max(last_step, 1, *(step for step, _ in points)), lowest, high + room)


def drawable(curve: Points) -> Points:
    """Return the points of a curve that a plot can show: real numbers of a sane size."""
    return [point for point in curve if 0 <= point[0] < MAX_NUMBER and abs(point[1]) < MAX_NUMBER]


def _round_width(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 5, 10, ... (or a tenth of them, ...) that divides `span` into at most `most` parts."""
    unit = 10.0 ** math.floor(math.log10(span / most))
    return next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= span / most * 0.999)


def draw_losses(losses: Points, eval_losses: Points, kept_step: int | None = None) -> bytes | None:
    """Draw the training and the held-out loss over the steps as a PNG, in English; None when there are fewer than two points.

    `kept_step` is marked: the one whose weights are the adapter, where it is not the last.
    """
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (960 * SCALE, 480 * SCALE), PAPER)
    with language(ENGLISH):
        is_drawn = paint_losses(ImageDraw.Draw(image), (70, 60, 890, 410), losses, eval_losses, kept_step)
    return png(image) if is_drawn else None


def paint_losses(draw, box: Box, losses: Points, eval_losses: Points, kept_step: int | None) -> bool:
    """Paint the losses into `box` of a picture that is SCALE times as large; return whether there were two points."""
    curves = {"training": drawable(losses), "held out": drawable(eval_losses)}
    axes = axes_of(curves.values())
    if axes is None or sum(map(len, curves.values())) < 2:
        return False
    left, top, right, bottom = (SCALE * place for place in box)

    def pixel(step: float, loss: float) -> tuple[float, float]:
        x, y = axes.place(step, loss)
        return left + x * (right - left), top + y * (bottom - top)

    for loss in axes.values:
        y = pixel(0, loss)[1]
        draw.line((left, y, right, y), fill=GRID, width=SCALE)
        draw.text((left - 8 * SCALE, y), f"{loss:.4g}", fill=INK, font=font(16 * SCALE), anchor="rm")
    for step in axes.steps:
        draw.text((pixel(step, 0)[0], bottom + 10 * SCALE), str(step), fill=INK, font=font(16 * SCALE), anchor="mt")
    draw.text(((left + right) / 2, bottom + 42 * SCALE), str(_("steps")), fill=INK, font=font(16 * SCALE), anchor="mm")
    for number, (name, curve) in enumerate(curves.items()):
        places = [pixel(*point) for point in curve]
        if places:
            draw.line(places, fill=COLOURS[name], width=3 * SCALE, joint="curve")
            for x, y in places if len(places) < MAX_DOTS else []:
                draw.ellipse((x - 9, y - 9, x + 9, y + 9), fill=COLOURS[name])
            label = (left + number * 180 * SCALE, top - 34 * SCALE)
            draw.text(label, str(LABELS[name]), fill=COLOURS[name], font=font(20 * SCALE))
    if kept_step is not None and kept_step <= axes.last:
        x = pixel(kept_step, 0)[0]
        draw.line((x, top, x, bottom), fill=INK, width=2 * SCALE)
        draw.text((x + 5 * SCALE, top), str(kept_label(kept_step)), fill=INK, font=font(16 * SCALE))
    return True


def kept_label(step: int) -> Sentence:
    """Say which step's weights are the adapter, at its place in a plot."""
    return _("kept: step {step:,}", step=step)


def png(image) -> bytes:
    """Return a picture, made SCALE times smaller, as a PNG."""
    from PIL import Image

    stream = io.BytesIO()
    small = image.resize((image.width // SCALE, image.height // SCALE), Image.Resampling.LANCZOS)
    small.save(stream, "PNG", optimize=True)
    return stream.getvalue()
