"""The losses of a training as a picture, for the model card and the bundle of a run. The same numbers give the same bytes."""

import io
import math
from dataclasses import dataclass

from adapters.history import Points

WIDTH, HEIGHT, MARGIN = 1920, 960, 140  # drawn twice as large as it is kept, so that its lines are smooth
COLOURS = {"training": (99, 102, 241), "held out": (217, 119, 6)}
INK, GRID, PAPER = (75, 85, 99), (229, 231, 235), (255, 255, 255)
LINES = 5
MAX_STEPS = 8  # numbers under the picture, besides 0
MAX_DOTS = 20


@dataclass(frozen=True)
class _Axes:
    """What the plot spans: steps from 0 to `last`, losses from `low` to `high`."""

    last: int
    low: float
    high: float

    def place(self, step: float, loss: float) -> tuple[float, float]:
        """Return the pixel (x, y) of a point."""
        x = MARGIN + step / self.last * (WIDTH - 2 * MARGIN)
        return x, HEIGHT - MARGIN - (loss - self.low) / (self.high - self.low) * (HEIGHT - 2 * MARGIN)


def draw_losses(losses: Points, eval_losses: Points, kept_step: int | None = None) -> bytes | None:
    """Draw the training and the held-out loss over the steps as a PNG; None when there are fewer than two points.

    `kept_step` is marked: the one whose weights are the adapter, where it is not the last.
    """
    curves = {"training": losses, "held out": eval_losses}
    points = [point for curve in curves.values() for point in curve if math.isfinite(point[1])]
    if len(points) < 2:
        return None
    from PIL import Image, ImageDraw

    low, high = min(loss for _, loss in points), max(loss for _, loss in points)
    room = (high - low) * 0.1 or 0.1
    axes = _Axes(max(step for step, _ in points) or 1, max(0.0, low - room), high + room)
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    _draw_frame(draw, axes)
    for number, (name, curve) in enumerate(curves.items()):
        places = [axes.place(*point) for point in curve if math.isfinite(point[1])]
        if places:
            draw.line(places, fill=COLOURS[name], width=6, joint="curve")
            for x, y in places if len(places) < MAX_DOTS else []:
                draw.ellipse((x - 9, y - 9, x + 9, y + 9), fill=COLOURS[name])
            draw.text((MARGIN + 20 + number * 360, 50), f"{name} loss", fill=COLOURS[name], font=_font(40))
    if kept_step is not None and kept_step <= axes.last:
        x, top = axes.place(kept_step, axes.high)
        draw.line((x, top, x, HEIGHT - MARGIN), fill=INK, width=4)
        draw.text((x + 10, top), f"kept: step {kept_step}", fill=INK, font=_font(32))
    stream = io.BytesIO()
    image.resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.LANCZOS).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _draw_frame(draw, axes: _Axes) -> None:
    """Draw horizontal lines labelled with their loss, and the steps below."""
    for line in range(LINES + 1):
        loss = axes.low + line / LINES * (axes.high - axes.low)
        _, y = axes.place(0, loss)
        draw.line((MARGIN, y, WIDTH - MARGIN, y), fill=GRID, width=2)
        draw.text((MARGIN - 16, y), f"{loss:.2f}", fill=INK, font=_font(32), anchor="rm")
    for step in range(0, int(axes.last) + 1, max(1, math.ceil(axes.last / MAX_STEPS))):
        draw.text((axes.place(step, 0)[0], HEIGHT - MARGIN + 20), str(step), fill=INK, font=_font(32), anchor="mt")
    draw.text((WIDTH / 2, HEIGHT - 36), "optimiser steps", fill=INK, font=_font(32), anchor="mm")


def _font(size: int):
    """Return Pillow's own font in this size."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
