"""How far a run is, and its numbers, in words. Without Gradio: notebooks say the same."""

from common.language import Sentence, _, joined
from common.words import duration
from runs.forecast.estimate import predicted_memory
from runs.run import Run, RunState
from runs.state import UNREADABLE

STATUS_WORDS = {
    "queued": _("Waiting"),
    "preparing": _("Preparing"),
    "training": _("Training"),
    "evaluating": _("Evaluating on held-out examples"),
    "saving": _("Saving"),
    "done": _("Done"),
    "stopped": _("Stopped"),
    "failed": _("Failed"),
    "interrupted": _("Interrupted"),
    UNREADABLE: _("Cannot be read"),
}


def progress(state: RunState) -> list[Sentence]:
    """Return how far a run is: stage, step, time left."""
    found = []
    if state.stages > 1:
        stage = {"number": state.stage, "count": state.stages, "name": state.stage_name}
        found.append(_("stage {number} of {count}: {name}", **stage))
    if state.total_steps:
        found.append(_("step {step:,} of {total:,}", step=state.step, total=state.total_steps))
    if state.is_running and state.eta_seconds is not None:
        found.append(_("about {time} left", time=duration(state.eta_seconds)))
    return found


def numbers(run: Run, state: RunState) -> list[str]:
    """Return the numbers of a run in words: losses, speed, memory."""
    found: list[str] = []
    if state.losses:
        found.append(_("loss {loss:.3f}", loss=state.losses[-1][1]))
    if state.eval_losses:
        first, last = state.eval_losses[0], state.eval_losses[-1]
        parts = [_("held-out loss {loss:.3f}", loss=last[1])]
        parts += [_("(was {loss:.3f})", loss=first[1])] if first[0] == 0 and last[0] > 0 else []
        if (lowest := state.lowest) and lowest[1] < last[1]:
            parts.append(_("(lowest {loss:.3f} at step {step:,})", loss=lowest[1], step=lowest[0]))
        found.append(joined(parts))
    if state.tokens_per_second:
        found.append(_("{speed:,.0f} tokens per second", speed=state.tokens_per_second))
    memory = memory_words(run, state)
    if not memory and state.peak_memory_bytes:
        memory = _("{memory:.1f} GiB of memory", memory=state.peak_memory_bytes / 2**30)
    return [*found, memory] if memory else found


def memory_words(run: Run, state: RunState) -> str:
    """Return predicted and measured peak memory; "" while one of them is missing."""
    found = (predicted_memory(run.folder), state.metrics.get("peak_memory_bytes"))
    known = [value for value in found if isinstance(value, int | float) and 0 < value < 1e15]
    if len(known) < len(found):
        return ""
    predicted, measured = known
    values = {"predicted": predicted / 2**30, "measured": measured / 2**30, "error": predicted / measured - 1}
    return _("peak memory {measured:.2f} GiB, predicted {predicted:.2f} ({error:+.0%})", **values)
