"""The plan before a start as HTML: steps, memory, time and cost of an Estimate, and the processes of a LaunchPlan."""

import html
from collections.abc import Sequence

from common.words import counted, duration
from models.base import Base
from runs.forecast.estimate import Estimate
from runs.forecast.memory import Memory
from runs.machines.command import LaunchPlan
from ui.messages import hint_html

USED_AS_IT_IS = "# your own accelerate config, used as it is"
PART_COLOURS = ("#4f46e5", "#818cf8", "#0891b2", "#059669", "#d97706", "#db2777", "#64748b", "#a16207", "#9333ea")


def plan_html(found: Estimate, memory_place: str = "") -> str:
    """Return steps, memory, time and cost of one config on this hardware; `memory_place` as 'on each card'."""
    plan, text = found.plan, found.text_plan
    lines = [
        f"<p><b>{plan.total_steps:,} steps</b> of {plan.effective_batch:,} rows, {plan.steps_per_epoch:,} per epoch, with "
        f"{counted(plan.warmup_steps, 'warm-up step')}, {counted(plan.evaluations, 'evaluation')} on the held-out rows and "
        f"{counted(plan.checkpoints, 'checkpoint')}.</p>"
    ]
    if text:
        steps = f"{text.total_steps:,} steps of {text.effective_batch:,} rows"
        lines.append(f"<p>Before them, stage 1 reads the text: {steps}.</p>")
    time = "not measured on this machine yet. Press Measure: it takes less than a minute."
    if found.seconds is not None:
        time = f"about {duration(found.seconds)} ({found.seconds_source})."
    lines += [
        f"<p><b>Trained:</b> {html.escape(found.weights.words())}.</p>",
        _memory_html(found.memory, memory_place),
        f"<p><b>Gradient checkpointing:</b> {html.escape(found.checkpointing)}.</p>",
        f"<p><b>Time:</b> {html.escape(time)}</p>",
    ]
    if found.cost:
        lines.append(f"<p><b>Cost:</b> about {html.escape(found.cost.sentence())}.</p>")
    return "".join(lines)


def launch_html(start: LaunchPlan, base: Base) -> str:
    """Return how it would be started: the base and why, the hardware found, the processes, the precision, the batch."""
    pairs = [("Base", str(base)), *start.rows]
    rows = "".join(f"<dt>{html.escape(what)}</dt><dd>{html.escape(words)}</dd>" for what, words in pairs)
    return f"<dl class='launch'>{rows}</dl>"


def _memory_html(memory: Memory, place: str = "") -> str:
    """Return a bar of the parts of the memory against what is available, as HTML."""
    total, available = memory.total, memory.available
    width = max(total, available, 1)
    parts = sorted(memory.parts.items(), key=lambda part: -part[1])
    bars, legend = [], []
    for (name, size), colour in zip(parts, PART_COLOURS, strict=False):
        words = f"{name.replace('_', ' ')} {_gib(size)}"
        bars.append(f"<i style='width:{100 * size / width:.2f}%;background:{colour}' title='{html.escape(words)}'></i>")
        if size > 0.01 * total:
            legend.append(f"<span><u style='background:{colour}'></u>{html.escape(words)}</span>")
    verdict = "fits" if memory.fits else "does not fit"
    sentence = f"about {_gib(total)} {html.escape(place)} ({_gib(available)} free)".replace("  ", " ")
    return (
        f"<p class='{'' if memory.fits else 'problem'}'><b>Memory:</b> {sentence}: <b>{verdict}</b>.</p>"
        f"<div class='memory' role='img' aria-label='Memory by part'>{''.join(bars)}</div>"
        f"<div class='legend'>{''.join(legend)}</div>"
    )


def _gib(size: float) -> str:
    """Return bytes as GiB in words."""
    return f"{size / 2**30:.2f} GiB"


def problems_html(problems: Sequence[object]) -> str:
    """Return everything that keeps a config from starting, or is advised against."""
    return "".join(hint_html(problem, "problem") for problem in problems)
