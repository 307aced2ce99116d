"""The plan before a start as HTML: steps, memory, time and cost, the cards of the presets, and the line beside Start."""

import html
from collections.abc import Mapping, Sequence

from common.language import _, joined, n_, said
from common.words import duration
from models.base import Base
from models.hub.errors import sign_in_words
from runs.fields import Problem, label_of
from runs.forecast.elsewhere import Elsewhere
from runs.forecast.estimate import Estimate
from runs.forecast.memory import Memory
from runs.forecast.presets import Forecast
from runs.machines.command import LaunchPlan
from runs.presets import HELP, PRESETS
from runs.resolve import TrainingWords
from ui.hints import hint_html
from ui.train.settings_form import field_id

KEEP_THEM = _("Checkpoints can be kept in your Hugging Face account.")
USED_AS_IT_IS = "# your own accelerate config, used as it is"
PART_COLOURS = ("#4f46e5", "#818cf8", "#0891b2", "#059669", "#d97706", "#db2777", "#64748b", "#a16207", "#9333ea")
PARTS = {  # of the memory of a training
    "weights": _("weights of the base"),
    "adapters": _("adapter"),
    "gradients": _("gradients"),
    "optimiser": _("optimizer"),
    "activations": _("activations"),
    "loss_head": _("output layer and loss"),
    "framework": _("libraries"),
    "loading": _("loading"),
}


def preset_choices(forecasts: Mapping[str, Forecast] | None) -> list[tuple[str, str]]:
    """Return (label, preset) of the cards: the name, time and memory on this machine in two lines, and what it is for.

    Without `forecasts` they are on their way.
    """
    choices = []
    for preset in PRESETS:
        takes = _("Time and memory\nnot known yet")
        if forecasts is None:
            takes = _("Estimating time\nand memory ...")
        elif forecast := forecasts.get(preset):
            time = duration(forecast.seconds)
            about = _("about {time}", time=time) if forecast.is_measured else _("{time}, estimated", time=time)
            takes = f"{about}\n{_('{size} of memory', size=_gib(forecast.memory.total))}"
        choices.append((f"{said(preset)}\n{takes}\n{said(HELP[preset])}", preset))
    return choices


def start_html(words: TrainingWords, base: Base, found: Estimate | None, is_preset: bool) -> str:
    """Return the line beside Start: the training in words, each a link to its settings; for changed settings also the time."""
    parts = {
        "base": _link("base", words.base, str(base)),
        "precision": _link("precision", words.precision),
        "trained": _link(words.chosen_by, words.trained),
        "processes": _link("num_processes", words.processes),
    }
    line = f"<p>{_('{base} in {precision}, {trained}, {processes}', **parts)}</p>"
    if is_preset or found is None:
        return line
    took = _("Your own settings: {size} of memory.", size=_gib(found.memory.total))
    if found.seconds is not None:
        time, size = duration(found.seconds), _gib(found.memory.total)
        took = _("Your own settings: about {time}, {size} of memory.", time=time, size=size)
    return line + hint_html(took)


def start_problems_html(problems: Sequence[Problem]) -> str:
    """Return what keeps a form from starting, each with a link to its field."""
    lines = []
    for problem in problems:
        link = f"{_link(problem.field, str(label_of(problem.field)))}: " if problem.field else ""
        lines.append(f"<p class='problem'>{link}{html.escape(str(problem.message))}</p>")
    return "".join(lines)


def proposals_html(
    job: Elsewhere | None, lost_seconds: float | None, is_signed_in: bool, keeps_checkpoints: bool = False
) -> str:
    """Return what is proposed before a long start: a job in the place of this machine; checkpoints where a restart loses all."""
    lines = []
    if job and is_signed_in:
        lines.append(job.sentence(f"<a href='#jobs' class='to-field'>{_('Hugging Face Jobs')}</a>"))
    elif job:
        lines.append(joined([job.sentence(), sign_in_words()]))
    if lost_seconds is not None and keeps_checkpoints:
        lines.append(_("A restart of this Space loses only the steps since the last checkpoint."))
    elif lost_seconds is not None:
        words = _("This Space loses a training of about {time} when it restarts.", time=duration(lost_seconds))
        lines.append(words if is_signed_in else joined([words, KEEP_THEM, sign_in_words()]))
    return "".join(f"<p class='hint'>{line}</p>" for line in lines)


def _link(field: str, words: str, title: str = "") -> str:
    """Return a link that opens the input of a setting."""
    about = f" title='{html.escape(title)}'" if title else ""
    return f"<a href='#{field_id(field)}' class='to-field'{about}>{html.escape(str(words))}</a>"


def plan_html(found: Estimate, memory_place: str = "") -> str:
    """Return steps, memory, time and cost of one config on this hardware; `memory_place` as 'on each card'."""
    plan, text = found.plan, found.text_plan
    words = _(
        "{plan}, {examples} per step, {checkpoints}.",
        plan=plan.sentence(),
        examples=n_("{count:,} example", "{count:,} examples", plan.effective_batch),
        checkpoints=n_("{count:,} checkpoint", "{count:,} checkpoints", plan.checkpoints),
    )
    lines = [f"<p>{words}</p>"]
    if text:
        count, rows = text.total_steps, text.effective_batch
        before = n_(
            "Before that, stage 1 reads the text in {count:,} step of {rows:,} rows.",
            "Before that, stage 1 reads the text in {count:,} steps of {rows:,} rows.",
            count,
            rows=rows,
        )
        lines.append(f"<p>{before}</p>")
    time = _('not measured on this machine yet. Press "Measure the time": it takes less than a minute.')
    if found.seconds is not None:
        time = _("about {time} ({source}).", time=duration(found.seconds), source=found.seconds_source)
    lines += [
        _fact(_("Trained"), _("{weights}.", weights=found.weights.words())),
        _memory_html(found.memory, memory_place),
        _fact(_("Gradient checkpointing"), _("{words}.", words=found.checkpointing)),
        _fact(_("Time"), time),
    ]
    if found.cost:
        lines.append(_fact(_("Cost"), _("about {cost}.", cost=found.cost.sentence())))
    return "".join(lines)


def _fact(name: str, words: str) -> str:
    """Return one fact of a plan as HTML."""
    return f"<p><b>{html.escape(str(name))}:</b> {html.escape(str(words))}</p>"


def launch_html(start: LaunchPlan, base: Base) -> str:
    """Return how it would be started: the base and why, the hardware found, the processes, the precision, the batch."""
    pairs = [(_("Base"), str(base)), *start.rows]
    rows = "".join(f"<dt>{html.escape(what)}</dt><dd>{html.escape(words)}</dd>" for what, words in pairs)
    return f"<dl class='launch'>{rows}</dl>"


def _memory_html(memory: Memory, place: str = "") -> str:
    """Return a bar of the parts of the memory against what is available, as HTML."""
    total, available = memory.total, memory.available
    width = max(total, available, 1)
    parts = sorted(memory.parts.items(), key=lambda part: -part[1])
    bars, legend = [], []
    for (name, size), colour in zip(parts, PART_COLOURS, strict=False):
        words = f"{PARTS.get(name, name)} {_gib(size)}"
        bars.append(f"<i style='width:{100 * size / width:.2f}%;background:{colour}' title='{html.escape(words)}'></i>")
        if size > 0.01 * total:
            legend.append(f"<span><u style='background:{colour}'></u>{html.escape(words)}</span>")
    verdict = _("fits") if memory.fits else _("does not fit")
    sentence = joined([_("about {size}", size=_gib(total)), place, _("({free} free)", free=_gib(available))])
    return (
        f"<p class='{'' if memory.fits else 'problem'}'><b>{_('Memory')}:</b> {html.escape(sentence)}: "
        f"<b>{verdict}</b>.</p>"
        f"<div class='memory' role='img' aria-label='{_('Memory by part')}'>{''.join(bars)}</div>"
        f"<div class='legend'>{''.join(legend)}</div>"
    )


def _gib(size: float) -> str:
    """Return bytes as GiB in words."""
    return f"{size / 2**30:.1f} GiB"


def problems_html(problems: Sequence[object]) -> str:
    """Return everything that keeps a config from starting, or is advised against."""
    return "".join(hint_html(problem, "problem") for problem in problems)
