"""What a start would mean, before it: steps, memory, time and cost, and how it is started, as HTML of what
`trainer.forecast.estimate` and `trainer.machines.launch_plan` found.
"""

import html

from common.words import duration
from trainer.config import Problem
from trainer.forecast.estimate import Estimate
from trainer.forecast.memory import Memory
from trainer.machines.launch_plan import LaunchPlan

USED_AS_IT_IS = "# your own accelerate config, used as it is"
PART_COLOURS = ("#4f46e5", "#818cf8", "#0891b2", "#059669", "#d97706", "#db2777", "#64748b", "#a16207", "#9333ea")


def plan_html(found: Estimate, memory_place: str = "") -> str:
    """Return steps, memory and time of one configuration on this hardware; `memory_place`: 'on each card'."""
    plan, text = found.plan, found.text_plan
    lines = [
        f"<p><b>{plan.total_steps:,} steps</b> of {plan.effective_batch:,} rows, "
        f"{plan.steps_per_epoch:,} an epoch; the learning rate rises for {plan.warmup_steps:,}; "
        f"{counted(plan.evaluations, 'look')} at the held-out rows, {counted(plan.checkpoints, 'checkpoint')}.</p>"
    ]
    if text:
        steps = f"{text.total_steps:,} steps of {text.effective_batch:,} rows"
        lines.append(f"<p>Before them, stage 1 reads the text: {steps}.</p>")
    lines += [
        memory_html(found.memory, memory_place),
        f"<p><b>Gradient checkpointing:</b> {html.escape(found.checkpointing)}.</p>",
        f"<p><b>Time:</b> {html.escape(time_words(found))}</p>",
    ]
    if found.cost:
        lines.append(f"<p><b>Cost:</b> about {html.escape(found.cost.sentence())}.</p>")
    return "".join(lines)


def launch_html(start: LaunchPlan) -> str:
    """How it would be started: the hardware found, the processes, the precision, the batch."""
    rows = "".join(f"<dt>{html.escape(what)}</dt><dd>{html.escape(words)}</dd>" for what, words in start.rows)
    return f"<dl class='launch'>{rows}</dl>"


def counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def time_words(found: Estimate) -> str:
    """Return the time with where it comes from, or that nothing was measured."""
    if found.seconds is None:
        return "not measured on this machine yet. Press Measure: it takes less than a minute."
    return f"about {duration(found.seconds)} ({found.seconds_source})."


def memory_html(memory: Memory, place: str = "") -> str:
    """Return a bar of the parts, against what is there."""
    total, available = memory.total, memory.available
    width = max(total, available, 1)
    parts = sorted(memory.parts.items(), key=lambda part: -part[1])
    bars, legend = [], []
    for (name, size), colour in zip(parts, PART_COLOURS, strict=False):
        words = f"{name.replace('_', ' ')} {gib(size)}"
        bars.append(f"<i style='width:{100 * size / width:.2f}%;background:{colour}' title='{html.escape(words)}'></i>")
        if size > 0.01 * total:
            legend.append(f"<span><u style='background:{colour}'></u>{html.escape(words)}</span>")
    verdict = "fits" if memory.fits else "does not fit"
    sentence = f"about {gib(total)} {html.escape(place)} ({gib(available)} free)".replace("  ", " ")
    return (
        f"<p class='{'' if memory.fits else 'problem'}'><b>Memory:</b> {sentence}: <b>{verdict}</b>.</p>"
        f"<div class='memory' role='img' aria-label='Memory by part'>{''.join(bars)}</div>"
        f"<div class='legend'>{''.join(legend)}</div>"
    )


def gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"


def problems_html(problems: list[Problem] | list[str]) -> str:
    """Everything that keeps this configuration from starting."""
    return "".join(f"<p class='problem'>{html.escape(str(problem))}</p>" for problem in problems)
