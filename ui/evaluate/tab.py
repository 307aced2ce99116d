"""The Evaluate tab: the form at the left, one evaluation at the right; and its events."""

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from adapters.library import adapter_names, find_adapter
from common.language import _
from common.visitors import is_visitor
from evaluation.background import delete_work, request_stop
from evaluation.run import list_evaluations
from evaluation.start import resume, start
from ui.chosen import Watched, wire_chosen
from ui.downloads import build_download, clicking
from ui.evaluate.downloads import write_answers, write_csv
from ui.evaluate.form import EvaluateForm, adapter_choices, build_form, form_config, plan_html, set_views
from ui.evaluate.judge import build_judging, wire_judging
from ui.evaluate.own_sets import own_choices, wire_own_sets
from ui.evaluate.result import (
    ResultView,
    build_result,
    comparison,
    evaluation_choices,
    own_evaluation,
    render,
    rows_of,
    status_html,
)
from ui.events import QUIET, Wiring
from ui.long_lists import find_while_typing, names_in
from ui.messages import shown
from ui.owner import owner_of, visitor_of

WATCHED = Watched(
    "evaluation",
    own_evaluation,
    evaluation_choices,
    ("table.json", "stop"),
    lambda evaluation: [status_html(evaluation)],
    render,
)


@dataclass
class EvaluateTab:
    """The parts that the page wires: filling the lists, and what the buttons elsewhere lead to."""

    load: Callable
    load_wiring: Wiring
    open_adapter: Callable
    open_outputs: list


def build_evaluate_tab(browser_key: gr.BrowserState) -> EvaluateTab:
    """Lay out the tab and wire its events."""
    with gr.Row(equal_height=False, elem_classes="train evaluate"):
        with gr.Column(scale=5, min_width=340, elem_classes="train-form"):
            form = build_form()
        with gr.Column(scale=7, min_width=340, elem_classes="train-run"):
            view = build_result()
            with view.found_column:
                judging = build_judging()
    on_load, load_wiring = _wire_form(form, view, browser_key)
    picked = wire_chosen(view.chosen, WATCHED, browser_key, [view.status_html], view.outputs)
    _wire_run(form, view, browser_key, picked)
    _wire_found(view, browser_key)
    wire_judging(judging, view, browser_key)
    wire_own_sets(form.own_sets, browser_key, {"fn": on_load, **load_wiring})
    return EvaluateTab(on_load, load_wiring, on_adapter, [form.adapters, form.test_sets, form.plan_html])


@shown
def on_adapter(token: gr.OAuthToken | None, key, name):
    """Return updates of the form for one adapter: a button elsewhere leads to it."""
    owner = owner_of(key, token)
    names = [find_adapter(name if isinstance(name, str) else "", owner).name]
    return [gr.Dropdown(adapter_choices(owner, picked=names), value=names), *set_views(owner, names, False, [], 0)]


def _wire_form(form: EvaluateForm, view: ResultView, browser_key: gr.BrowserState) -> tuple[Callable, Wiring]:
    """Wire the form's lists and the line beside its button; return the event that fills all lists."""

    @shown
    def on_load(token: gr.OAuthToken | None, key, evaluation_id, adapters, few_shot, test_sets, max_items):
        if not key and is_visitor():  # the tab is shown before the browser has its key
            return [gr.skip()] * len(lists)
        owner = owner_of(key, token)
        known = adapter_names(owner)
        names = [name for name in names_in(adapters) if name in known] or known[:1]
        choices = evaluation_choices(owner, picked=evaluation_id)
        ids = [value for _label, value in choices]
        return [
            gr.Dropdown(adapter_choices(owner, picked=names), value=names),
            *set_views(owner, names, few_shot, names_in(test_sets), max_items),
            gr.Dropdown(own_choices(owner), value=None),
            gr.Dropdown(choices, value=evaluation_id if evaluation_id in ids else next(iter(ids), None)),
        ]

    @shown
    def on_adapters(token: gr.OAuthToken | None, key, adapters, few_shot, test_sets, max_items):
        return set_views(owner_of(key, token), names_in(adapters), few_shot, names_in(test_sets), max_items)

    @shown
    def on_plan(token: gr.OAuthToken | None, key, adapters, few_shot, test_sets, max_items):
        return plan_html(owner_of(key, token), names_in(adapters), few_shot, names_in(test_sets), max_items)

    max_items = form.settings["max_items"]
    choice = [form.adapters, form.few_shot, form.test_sets, max_items]
    newest: Wiring = {"inputs": [browser_key, *choice], "trigger_mode": "always_last", **QUIET}
    # what a person changes: a dropdown also tells a change when it comes on the page, before its list does
    form.adapters.input(on_adapters, outputs=[form.test_sets, form.plan_html], **newest)
    gr.on([one.input for one in (form.few_shot, form.test_sets, max_items)], on_plan, outputs=form.plan_html, **newest)
    find_while_typing(form.adapters, browser_key, adapter_choices)
    inputs = [browser_key, view.chosen.dropdown, *choice]
    lists = [form.adapters, form.test_sets, form.plan_html, form.own_sets.sets_dropdown, view.chosen.dropdown]
    return on_load, {"inputs": inputs, "outputs": lists, **QUIET}


def _wire_run(form: EvaluateForm, view: ResultView, browser_key: gr.BrowserState, picked: Wiring) -> None:
    """Wire start, stop, resume and delete."""
    inputs = [browser_key, view.chosen.dropdown]

    @shown
    def on_start(token: gr.OAuthToken | None, key, *values):
        visitor = visitor_of(key, token)
        started = start(form_config(visitor.owner, *values), visitor.owner, visitor.hub_token)
        return gr.Dropdown(evaluation_choices(visitor.owner), value=started.id)

    @shown
    def on_stop(token: gr.OAuthToken | None, key, evaluation_id):
        request_stop(own_evaluation(evaluation_id, owner_of(key, token)))
        gr.Info(str(_("Stopping; the results so far are kept.")))

    @shown
    def on_resume(token: gr.OAuthToken | None, key, evaluation_id):
        visitor = visitor_of(key, token)
        resume(own_evaluation(evaluation_id, visitor.owner), visitor.hub_token)

    @shown
    def on_delete(token: gr.OAuthToken | None, key, evaluation_id):
        owner = owner_of(key, token)
        delete_work(own_evaluation(evaluation_id, owner))
        return gr.Dropdown(evaluation_choices(owner), value=next((one.id for one in list_evaluations(owner)), None))

    form.start_button.click(
        on_start,
        [browser_key, *form.inputs],
        view.chosen.dropdown,
        api_name="start_evaluation",
        concurrency_id="start",
        concurrency_limit=1,
        show_progress="hidden",
    )
    view.stop_button.click(on_stop, inputs, None, api_name="stop_evaluation").success(**picked)
    view.resume_button.click(on_resume, inputs, None, api_name="resume_evaluation").success(**picked)
    view.chosen.delete_yes.click(on_delete, inputs, view.chosen.dropdown, api_name="delete_evaluation", **QUIET)


def _wire_found(view: ResultView, browser_key: gr.BrowserState) -> None:
    """Wire the rows that differ, the comparison with another evaluation, and the downloads."""
    inputs = [browser_key, view.chosen.dropdown]
    download = build_download("evaluation-made")

    @shown
    def on_rows(token: gr.OAuthToken | None, key, evaluation_id, *choice):
        return rows_of(own_evaluation(evaluation_id, owner_of(key, token)), *choice)

    @shown
    def on_other(token: gr.OAuthToken | None, key, evaluation_id, other_id):
        owner = owner_of(key, token)
        return comparison(own_evaluation(evaluation_id, owner), own_evaluation(other_id, owner))

    @shown
    def on_table(token: gr.OAuthToken | None, key, evaluation_id):
        return str(write_csv(own_evaluation(evaluation_id, owner_of(key, token))))

    @shown
    def on_answers(token: gr.OAuthToken | None, key, evaluation_id):
        return str(write_answers(own_evaluation(evaluation_id, owner_of(key, token))))

    gr.on(
        [one.input for one in view.choice],
        on_rows,
        [*inputs, *view.choice],
        view.rows_html,
        api_name="differing_rows",
        **QUIET,
    )
    others = [*inputs, view.other_dropdown]  # takes seconds: all scores of both are computed on what both asked
    view.other_dropdown.input(on_other, others, view.other_html, api_name="compare_evaluations")
    click = clicking(download)
    view.table_button.click(on_table, inputs, download, api_name="evaluation_table", **QUIET).success(**click)
    view.answers_button.click(on_answers, inputs, download, api_name="evaluation_answers", **QUIET).success(**click)
