"""The plots of one run, and of several for a comparison."""

import math
from collections.abc import Iterable

from adapters.forgotten import GENERAL, general_nats, test_set_words
from adapters.history import Points
from adapters.values import number
from common.language import _
from runs.events import Metrics
from runs.state import RunState
from ui.plot import Curve, Dot, plot_html, scatter_html

SMOOTHING = 0.9  # of an exponential moving average, as TensorBoard draws it
MIN_SMOOTHED_POINTS = 12
MORE = {  # a curve of RunState, its title
    "learning_rates": _("Learning rate"),
    "grad_norms": _("Gradient norm"),
    "speeds": _("Tokens per second"),
    "memories": _("Memory (GiB)"),
}
LOSS = _("Loss over the steps (lower is better)")
FORGETTING = _("Learned against forgotten (nats per token)")


def loss_plot(state: RunState) -> str:
    """Return the plot of the training and the held-out loss, from step 0 to the last one that will come."""
    losses, held_out = state.curve("losses"), state.curve("eval_losses")
    curves = [Curve(losses, str(_("training")), "training")]
    if len(losses) >= MIN_SMOOTHED_POINTS:
        curves = [Curve(losses, "", "raw"), Curve(smoothed(losses), str(_("training")), "training")]
    curves.append(Curve(held_out, str(_("held-out")), "held-out", dots=True))
    return plot_html(str(LOSS), curves, _total_steps(state), state.kept_place)


def forgetting_plot(state: RunState) -> str:
    """Return the plot of what was learned, the fall of the held-out loss, against what was forgotten, the rise on each test set.

    Learned is what this stage has, forgotten is of all stages; "" before the first evaluation after step 0.
    """
    tested, begun = state.curve("tested"), state.steps_before(state.stage)
    if len(tested) < 2 or tested[0][0] > 0:
        return ""
    base = tested[0][1]
    learned = [(step + begun, state.eval_losses[0][1] - loss) for step, loss in state.eval_losses]
    curves = [Curve(learned, str(_("learned")), "c0", dots=True)] if learned and state.eval_losses[0][0] == 0 else []
    for place, name in enumerate(base, 1):
        points = [(step, losses[name]["loss"] - base[name]["loss"]) for step, losses in tested if name in losses]
        words = _("forgotten") if name == GENERAL else test_set_words(name)
        curves.append(Curve(points, str(words), f"c{place}", dots=True))
    return plot_html(str(FORGETTING), curves, _total_steps(state), state.kept_place)


def more_plots(state: RunState) -> str:
    """Return the plots of the other curves that have points."""
    plots = []
    for name, title in MORE.items():
        scale = 2**30 if name == "memories" else 1
        if points := [(step, value / scale) for step, value in state.curve(name)]:
            plots.append(plot_html(str(title), [Curve(points)], _total_steps(state)))
    return f"{forgetting_plot(state)}<div class='plots'>{''.join(plots)}</div>"


def comparison_plot(curves: dict[str, Points]) -> str:
    """Return the smoothed losses of several runs, by their names, in one plot."""
    lines = [Curve(smoothed(losses), name, f"c{number}") for number, (name, losses) in enumerate(curves.items())]
    return plot_html(str(_("Loss, smoothed")), lines)


def learned_against_forgotten(runs: Iterable[tuple[str, Metrics]]) -> str:
    """Return a dot for each (name, metrics): what the held-out loss fell by, against what the loss on general text rose by.

    "" where fewer than two have measured both.
    """
    dots = []
    for name, metrics in runs:
        before, after = (number(metrics.get(key)) for key in ("loss_before", "loss_after"))
        nats = general_nats(metrics)
        if before is not None and after is not None and nats is not None:
            dots.append(Dot(nats, before - after, name))
    axes = str(_("forgotten of general text")), str(_("learned on held-out examples"))
    return scatter_html(str(FORGETTING), *axes, dots) if len(dots) > 1 else ""


def smoothed(values: Points) -> Points:
    """Return the exponential moving average without the pull to zero at its start (Adam's bias correction)."""
    average, weight, result = 0.0, 0.0, []
    for step, value in values:
        if value is not None and math.isfinite(value):
            average = SMOOTHING * average + (1 - SMOOTHING) * value
            weight = SMOOTHING * weight + (1 - SMOOTHING)
        if weight:
            result.append((step, average / weight))
    return result


def _total_steps(state: RunState) -> int:
    return state.steps_before(state.stage) + state.total_steps
