"""The Repair section: what an adapter knows and what its base forgot at each point of two sliders; a point becomes an adapter."""

import html
from dataclasses import dataclass

import gradio as gr
from gradio.events import Dependency

from adapters.library import Adapter, find_adapter
from adapters.pull import open_adapter
from common.errors import UserError
from common.language import Sentence, _, joined
from data.test_sets import list_test_sets
from evaluation.asked import held_out_set
from evaluation.repair import Point, Sweep, interval, keep_point, measure, read_sweep
from models.hub.client import sign_in_words, token_of
from ui.background import with_progress
from ui.events import QUIET
from ui.hints import hint_html
from ui.messages import shown
from ui.owner import is_signed_in, owner_of
from ui.plot import Dot, scatter_html

HEARTBEAT_SECONDS = 1.0  # after which a stop is noticed
ABOUT = _(
    "A training makes its base forget a little of everything else. Two ways take some of that back, and with it some of what "
    "was learned: a smaller alpha, and less of the “intruder dimensions” (directions that the base has nothing like). Each point "
    "is measured on the same rows and texts."
)


@dataclass
class RepairSection:
    """The parts that the tab wires: the event after which a point was kept, and the state with its adapter's name."""

    kept: Dependency
    kept_name: gr.State


def build_repair(browser_key: gr.BrowserState, picked: gr.Textbox) -> RepairSection:
    """Lay out the section and wire its events."""
    gr.Markdown(ABOUT)
    with gr.Row():
        test_set_dropdown = gr.Dropdown(
            [],
            label=_("What it should know"),
            info=_("Rows that it was not trained on. General text is read beside them."),
            scale=3,
            min_width=220,
        )
        measure_button = gr.Button(_("Measure"), scale=1, min_width=100)
        stop_button = gr.Button(_("Stop"), variant="stop", visible=False, scale=1, min_width=100)
    said_html = gr.HTML("")
    curve_html = gr.HTML("")
    with gr.Row(visible=False) as keep_row:
        point_dropdown = gr.Dropdown([], label=_("Point"), scale=3, min_width=220)
        keep_button = gr.Button(_("Keep as a new adapter"), scale=1, min_width=160)
    kept_name = gr.State("")
    views = [curve_html, keep_row, point_dropdown]
    measuring = measure_button.click(
        on_measure,
        [browser_key, picked, test_set_dropdown],
        [said_html, stop_button, *views],
        api_name="measure_repairs",
        concurrency_id="measure",  # it may wait for a training
        concurrency_limit=1,
        **QUIET,
    )
    stop_button.click(on_stop, None, [said_html, stop_button], cancels=measuring, queue=False, **QUIET)
    measuring.then(lambda: gr.Button(visible=False), None, stop_button, **QUIET)
    keeping = [browser_key, picked, point_dropdown]
    kept = keep_button.click(on_keep, keeping, kept_name, api_name="keep_repair", **QUIET)
    picked.change(on_pick, [browser_key, picked], [test_set_dropdown, said_html, *views], **QUIET)
    return RepairSection(kept, kept_name)


@shown
def on_pick(token: gr.OAuthToken | None, key, name):
    """Return the test sets to measure the picked adapter on, and what was measured of it before."""
    owner = owner_of(key, token)
    if not name:
        return gr.Dropdown([], value=None), "", *_views(None)
    adapter = find_adapter(name, owner)
    own = held_out_set(adapter)
    choices = [(str(_("Rows that its training held out")), own)] if own else []
    choices += [(one.title, one.id) for one in list_test_sets(owner) if one.kind == "conversations"]
    return gr.Dropdown(choices, value=own or None), "", *_views(read_sweep(adapter))


@shown
def on_measure(token: gr.OAuthToken | None, key, name, test_set):
    """Measure all points of the picked adapter; say how far it is, then show them."""
    adapter = _readable(token, key, name)
    if not is_signed_in(token):
        raise UserError(_("You have to be signed in to measure."), sign_in_words())
    chosen = test_set if isinstance(test_set, str) else ""
    work = with_progress(lambda say, stop: measure(adapter, chosen, tell=say, stop=stop), HEARTBEAT_SECONDS)
    for state, value in work:
        if state == "says":
            yield hint_html(value or _("Starting")), gr.Button(visible=True), *[gr.skip()] * 3
        else:
            yield "", gr.Button(visible=False), *_views(value)


@shown
def on_keep(token: gr.OAuthToken | None, key, name, chosen):
    """Make the chosen point an adapter of its own, and return its name."""
    adapter = _readable(token, key, name)
    sweep = read_sweep(adapter)
    if sweep is None:
        raise UserError(_("Nothing was measured yet."), _("Press Measure first."))
    point = next((one for one in sweep.points if _value(one) == chosen), None)
    if point is None:
        raise UserError(_("No point is chosen."), _("Choose one in the list."))
    kept = keep_point(adapter, point).adapter
    gr.Info(html.escape(str(_("Kept as “{name}”.", name=kept.title)), quote=False))
    return kept.name


def on_stop() -> list:
    """Say that it was stopped."""
    return [hint_html(_("Stopped. The intruder dimensions are kept once they are found.")), gr.Button(visible=False)]


def _readable(token: gr.OAuthToken | None, key: str, name: str | None) -> Adapter:
    """Return the visitor's adapter; one that was pulled only while the Hub lets them read its repository."""
    return open_adapter(name or "", owner_of(key, token), token_of(token.token if token else None))


def _value(point: Point) -> str:
    """Return a point as the value of a choice."""
    return f"{point.repair.kind} {point.repair.value:g}"


def _views(sweep: Sweep | None) -> list:
    """Return updates for the curve, and for the points that may be kept, the best one chosen."""
    if sweep is None:
        return ["", gr.Row(visible=False), gr.Dropdown([], value=None)]
    changed = [point for point in sweep.points if not point.is_base]
    choices = [
        (str(joined([point.words(), _("(best)") if point == sweep.best else ""])), _value(point)) for point in changed
    ]
    best = _value(sweep.best) if sweep.best else None
    return [sweep_html(sweep), gr.Row(visible=True), gr.Dropdown(choices, value=best)]


def sweep_html(sweep: Sweep) -> str:
    """Return the points as a plot of forgotten against known, and as a table with intervals."""
    # the base would squeeze the others into a corner; the names of the first are written before those that lie near them
    shown_points = sorted((one for one in sweep.points if not one.is_base), key=lambda one: one != sweep.best)
    dots = [Dot(one.forgotten.value, one.held_out.value, str(one.words())) for one in shown_points]
    plot = scatter_html(
        str(_("Towards the lower left: knows more, forgot less")),
        str(_("Forgotten: rise of the loss on general text (nats)")),
        str(_("Held-out loss")),
        dots,
    )
    heads = (_("Point"), _("Held-out loss"), _("General text"), _("Forgotten (nats)"))
    rows = "".join(f"<th scope='col'>{html.escape(head)}</th>" for head in heads)
    rows = f"<tr>{rows}</tr>"
    for point in sweep.points:
        cells = (point.words(), *(interval(one) for one in (point.held_out, point.general, point.forgotten)))
        words = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells)
        rows += f"<tr class='{'best' if point == sweep.best else ''}'>{words}</tr>"
    about: Sentence = joined(
        [
            _("{rows}; the base in {precision}; 95 % intervals.", rows=sweep.held_out_title, precision=sweep.precision),
            *sweep.notes,
        ]
    )
    return f"{plot}<table class='plan points'>{rows}</table>{hint_html(sweep.best_words())}{hint_html(about)}"
