"""Draws what `benchmarks.parallel` measured: bars of the speed-up, and the load of each device over time, as one SVG."""

from html import escape

WIDTH, BAR, GAP, LEFT = 760, 22, 8, 250
PLOT_HEIGHT, PLOT_GAP = 90, 34
COLOURS = ("#4f46e5", "#d97706", "#059669", "#db2777", "#0891b2", "#64748b", "#9333ea", "#a16207")


def picture(rows: list[dict], title: str) -> str:
    """An SVG document of the rows that ran."""
    ran = [row for row in rows if not row.get("not_run")]
    most = max([row["speed_up"] for row in ran], default=1.0)
    top = 50
    parts = [f'<text x="16" y="28" font-size="16">{escape(title)}</text>']
    for place, row in enumerate(ran):
        y = top + place * (BAR + GAP)
        width = max(1.0, (WIDTH - LEFT - 150) * row["speed_up"] / most)
        words = f"{row['speed_up']:.2f}x, {row['tokens_per_second']:,.0f} tokens/s"
        parts.append(f'<text x="{LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(row["name"])}</text>')
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[0]}"/>')
        parts.append(f'<text x="{LEFT + width + 8:.1f}" y="{y + 16}">{words}</text>')
    top += len(ran) * (BAR + GAP) + 30
    parts.append(f'<text x="16" y="{top}" font-size="14">Load of each device over time (0 to 100 %)</text>')
    top += 14
    for row in ran:
        parts += _load(row, top)
        top += PLOT_HEIGHT + PLOT_GAP
    frame = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" font-family="sans-serif" font-size="12">'
    )
    return "\n".join([frame, f'<rect width="{WIDTH}" height="{top}" fill="white"/>', *parts, "</svg>"]) + "\n"


def _load(row: dict, top: float) -> list[str]:
    """One small plot: a line for each device."""
    samples = row.get("load") or []
    right, bottom = WIDTH - 16, top + PLOT_HEIGHT
    parts = [f'<text x="{LEFT - 10}" y="{top + 40}" text-anchor="end">{escape(row["name"])}</text>']
    parts.append(
        f'<rect x="{LEFT}" y="{top}" width="{right - LEFT}" height="{PLOT_HEIGHT}" fill="none" stroke="#dddddd"/>'
    )
    if len(samples) < 2:
        return parts
    last = samples[-1][0] or 1.0
    for device in range(len(samples[0][1])):
        points = " ".join(
            f"{LEFT + (right - LEFT) * at / last:.1f},{bottom - PLOT_HEIGHT * loads[device] / 100:.1f}"
            for at, loads in samples
            if device < len(loads)
        )
        colour = COLOURS[device % len(COLOURS)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    parts.append(f'<text x="{right}" y="{bottom + 14}" text-anchor="end">{last:.0f} s</text>')
    return parts
