"""The plots of one run, and of several for a comparison."""

import math

from adapters.history import Points
from common.language import _
from runs.state import RunState
from ui.plot import Curve, plot_html

SMOOTHING = 0.9  # of an exponential moving average, as TensorBoard draws it
MIN_SMOOTHED_POINTS = 12
MORE = {  # a curve of RunState, its title
    "learning_rates": _("Learning rate"),
    "grad_norms": _("Gradient norm"),
    "speeds": _("Tokens per second"),
    "memories": _("Memory (GiB)"),
}
LOSS = _("Loss over the steps (lower is better)")


def loss_plot(state: RunState) -> str:
    """Return the plot of the training and the held-out loss, from step 0 to the last one that will come."""
    losses, held_out = state.curve("losses"), state.curve("eval_losses")
    curves = [Curve(losses, str(_("training")), "training")]
    if len(losses) >= MIN_SMOOTHED_POINTS:
        curves = [Curve(losses, "", "raw"), Curve(smoothed(losses), str(_("training")), "training")]
    curves.append(Curve(held_out, str(_("held-out")), "held-out", dots=True))
    return plot_html(str(LOSS), curves, _total_steps(state), state.kept_place)


def more_plots(state: RunState) -> str:
    """Return the plots of the other curves that have points."""
    plots = []
    for name, title in MORE.items():
        scale = 2**30 if name == "memories" else 1
        if points := [(step, value / scale) for step, value in state.curve(name)]:
            plots.append(plot_html(str(title), [Curve(points)], _total_steps(state)))
    return f"<div class='plots'>{''.join(plots)}</div>"


def comparison_plot(curves: dict[str, Points]) -> str:
    """Return the smoothed losses of several runs, by their names, in one plot."""
    lines = [Curve(smoothed(losses), name, f"c{number}") for number, (name, losses) in enumerate(curves.items())]
    return plot_html(str(_("Loss, smoothed")), lines)


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
