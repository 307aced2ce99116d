"""Draws the losses of a run as one small SVG file that any browser opens. For the bundle; the page has its own plot."""

import math
from collections.abc import Sequence
from html import escape

from trainer.state import RunState, thinned

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 40, 40
MOST_POINTS = 1000
CURVES = (("losses", "training", "#6366f1"), ("eval_losses", "held out", "#d97706"))

Points = Sequence[tuple[float, float]]


def loss_svg(state: RunState, title: str) -> str:
    """The training loss and the held-out loss over all stages, as an SVG document."""
    curves = [(_finite(thinned(state.curve(name), MOST_POINTS)), words, colour) for name, words, colour in CURVES]
    points = [point for curve, _, _ in curves for point in curve]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}: loss</text>',
    ]
    if not points:
        return "\n".join([*parts, f'<text x="{LEFT}" y="{HEIGHT / 2}">No step was trained.</text>', "</svg>"])
    last, low, high = max(step for step, _ in points) or 1, *_range([value for _, value in points])
    parts += _axes(last, low, high)
    for place, (curve, words, colour) in enumerate(curves):
        line = " ".join(f"{_x(step, last):.1f},{_y(value, low, high):.1f}" for step, value in curve)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{WIDTH - 170 + 85 * place}" y="22" fill="{colour}">{words}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _finite(points: Points) -> Points:
    return [point for point in points if isinstance(point[1], (int, float)) and math.isfinite(point[1])]


def _range(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _x(step: float, last: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * step / last


def _y(value: float, low: float, high: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)


def _axes(last: float, low: float, high: float) -> list[str]:
    """Five lines across with their losses, three steps below."""
    parts = []
    for part in range(5):
        value = low + (high - low) * part / 4
        y = _y(value, low, high)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for part in (0, 0.5, 1):
        x, y = _x(last * part, last), HEIGHT - BOTTOM + 18
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{last * part:.0f}</text>')
    return parts
