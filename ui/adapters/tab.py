"""The Adapters tab: the library as one list, one adapter in detail with what can be done with it, and how to add one.

What can be done with one, and adding, have files of their own (`push.py`, `export.py`, `mix.py`, `repair.py`, `get.py`).
"""

from dataclasses import dataclass

import gradio as gr

from adapters.library import MAX_NOTES_CHARACTERS
from common.language import _
from evaluation.scores import SCORES
from models.templates.choice import template_choices
from serving.api import is_on
from ui.adapters.api_keys import build_api_keys
from ui.adapters.export import build_export, on_line
from ui.adapters.get import GetSection, build_get
from ui.adapters.handlers import (
    nothing,
    on_card,
    on_delete,
    on_load,
    on_notes,
    on_pick,
    on_rename,
    on_score,
    on_template,
    on_undo,
)
from ui.adapters.mix import build_mix
from ui.adapters.push import build_push, on_account
from ui.adapters.repair import build_repair
from ui.adapters.view import CARDS_SCRIPT, cards_html
from ui.events import QUIET, Wiring, ask_first
from ui.hints import hint_html
from ui.toast import Toast, build_toast


@dataclass
class AdaptersTab:
    """The parts that the page wires: loading, and the buttons that lead elsewhere, and what a run's buttons open."""

    load: object
    load_wiring: Wiring
    chat_button: gr.Button
    evaluate_button: gr.Button
    adapter_name: gr.Textbox
    account: object
    account_wiring: Wiring
    share_section: gr.Accordion
    export_section: gr.Accordion


@dataclass
class _Details:
    """The components of one adapter; `view` are those that a pick fills."""

    body: gr.Column
    view: list
    title_box: gr.Textbox
    rename_button: gr.Button
    notes_box: gr.Textbox
    notes_button: gr.Button
    template_dropdown: gr.Dropdown
    chat_button: gr.Button
    share_button: gr.Button
    evaluate_button: gr.Button
    export_button: gr.Button
    delete_button: gr.Button
    question: gr.Row
    delete_yes: gr.Button
    delete_no: gr.Button


def build_adapters_tab(browser_key: gr.BrowserState) -> AdaptersTab:
    """Lay out the tab and wire its events."""
    picked = gr.Textbox("", label=_("Adapter"), visible="hidden")
    with gr.Row(equal_height=False, elem_classes="adapters"):
        with gr.Column(scale=4, min_width=300):
            search_box, score_dropdown, cards, get = _build_list(browser_key)
        with gr.Column(scale=7, min_width=340):
            empty_html = gr.HTML(hint_html(nothing()), elem_classes="no-adapter")
            details = _build_details()
            with details.body:
                with gr.Accordion(_("Share on the Hugging Face Hub"), open=False) as share_section:
                    push = build_push(browser_key, picked)
                with gr.Accordion(_("Export"), open=False) as export_section:
                    vllm_box = build_export(browser_key, picked)
                with gr.Accordion(_("Mix with others"), open=False):
                    mixed = build_mix(browser_key, picked)
                with gr.Accordion(_("Forgot too much? Repair it"), open=False):
                    repaired = build_repair(browser_key, picked)
    toast = build_toast()
    library = [cards, picked]
    inputs = [browser_key, search_box, picked]
    listed = [*library, score_dropdown]
    load_wiring: Wiring = {"inputs": inputs, "outputs": listed, **QUIET}
    shown_now: Wiring = {
        "fn": on_pick,
        "inputs": [browser_key, picked],
        "outputs": [empty_html, *details.view],
        **QUIET,
    }
    search_box.change(on_load, **load_wiring)
    score_dropdown.input(on_score, [*inputs, score_dropdown], library, api_name="choose_score", **QUIET)
    cards.click(on_card, browser_key, picked, **QUIET)
    picked.change(**shown_now, api_name="adapter")
    _wire_details(details, inputs, library, shown_now)
    _wire_delete(details, inputs, library, toast)
    details.share_button.click(lambda: gr.Accordion(open=True), None, share_section, **QUIET)
    details.export_button.click(lambda: gr.Accordion(open=True), None, export_section, **QUIET)
    for event in get.arrivals:  # what has arrived is shown and picked
        event.success(on_load, [browser_key, search_box, get.arrived_name], listed, **QUIET)
    mixed.made.success(on_load, [browser_key, search_box, mixed.made_name], listed, **QUIET)
    repaired.kept.success(on_load, [browser_key, search_box, repaired.kept_name], listed, **QUIET)
    event = push.pushed.success(**shown_now)
    event.success(on_line, [browser_key, picked], vllm_box, **QUIET)
    account_wiring: Wiring = {"inputs": browser_key, "outputs": push.account_outputs, **QUIET}
    return AdaptersTab(
        on_load,
        load_wiring,
        details.chat_button,
        details.evaluate_button,
        picked,
        on_account,
        account_wiring,
        share_section,
        export_section,
    )


def _build_list(browser_key: gr.BrowserState) -> tuple[gr.Textbox, gr.Dropdown, gr.HTML, GetSection]:
    """Lay out the library, and what adds to it; return the box for words, the choice of a score, the cards, and the arrivals."""
    search_box = gr.Textbox(
        show_label=False,
        label=_("Search adapters"),
        placeholder=_("Search adapters"),
        container=False,
    )
    score_dropdown = gr.Dropdown(
        [(score.title, name) for name, score in SCORES.items()],
        value="loss",
        label=_("Score in the list"),
        info=_("Of what was evaluated, with its 95 % interval and the number of rows."),
        visible=False,
    )
    cards = gr.HTML(cards_html([], None, ""), js_on_load=CARDS_SCRIPT)
    with gr.Accordion(_("Add an adapter"), open=False):
        get = build_get(browser_key)
    if is_on():
        build_api_keys(browser_key)
    return search_box, score_dropdown, cards, get


def _build_details() -> _Details:
    """Lay out the details of one adapter: what it is, what can be done with it, and what it learned."""
    with gr.Column(visible=False) as body:
        heading = gr.HTML()
        with gr.Row():
            chat_button = gr.Button(_("Chat"), variant="primary", min_width=90)
            share_button = gr.Button(_("Share"), min_width=90)
            evaluate_button = gr.Button(_("Evaluate"), min_width=90)
            export_button = gr.Button(_("Export"), min_width=90)
            delete_button = gr.Button(_("Delete"), variant="stop", min_width=90)
            with gr.Row(visible=False, elem_classes="question") as question:
                delete_yes = gr.Button(_("Yes, delete it"), variant="stop", min_width=110)
                delete_no = gr.Button(_("Keep it"), min_width=90)
        template_dropdown = gr.Dropdown(
            template_choices(),
            label=_("Chat template"),
            info=_("Choose the template that it was trained with: the one in its files is not known here."),
            visible=False,
        )
        plot, answers = gr.HTML(), gr.HTML()
        with gr.Accordion(_("All details"), open=False):
            facts = gr.HTML()
        with gr.Accordion(_("Name and notes"), open=False):
            with gr.Row():
                title_box = gr.Textbox(label=_("Name"), max_length=80, scale=3, min_width=200)
                rename_button = gr.Button(_("Rename"), scale=1, min_width=90)
            with gr.Row():
                notes_box = gr.Textbox(
                    label=_("Private notes"), lines=2, max_length=MAX_NOTES_CHARACTERS, scale=3, min_width=200
                )
                notes_button = gr.Button(_("Save note"), scale=1, min_width=90)
    return _Details(
        body,
        [body, heading, plot, answers, facts, title_box, notes_box, template_dropdown, delete_button, question],
        title_box,
        rename_button,
        notes_box,
        notes_button,
        template_dropdown,
        chat_button,
        share_button,
        evaluate_button,
        export_button,
        delete_button,
        question,
        delete_yes,
        delete_no,
    )


def _wire_details(details: _Details, inputs: list, library: list, shown_now: Wiring) -> None:
    """Wire the new name, the notes and the template of the picked adapter."""
    browser_key, _search, picked = inputs
    gr.on(
        [details.rename_button.click, details.title_box.submit],
        on_rename,
        [*inputs, details.title_box],
        library,
        api_name="rename_adapter",
        **QUIET,
    ).success(**shown_now)
    details.notes_button.click(
        on_notes, [browser_key, picked, details.notes_box], None, api_name="note_adapter"
    ).success(**shown_now)
    details.template_dropdown.input(
        on_template,
        [browser_key, picked, details.template_dropdown],
        api_name="choose_template",
        concurrency_limit=1,  # the second `input` of a choice comes at once: it has to see the first one's work
    ).success(**shown_now)


def _wire_delete(details: _Details, inputs: list, library: list, toast: Toast) -> None:
    """Wire Delete: a question in the place of its button, then a line that undoes it."""
    browser_key, search_box, _picked = inputs
    ask_first(details.delete_button, details.question, details.delete_no)
    outputs = [*library, *toast.outputs]
    details.delete_yes.click(on_delete, inputs, outputs, api_name="delete_adapter", **QUIET)
    toast.undo_button.click(on_undo, [browser_key, search_box, toast.entries], outputs, api_name="undo_delete", **QUIET)
