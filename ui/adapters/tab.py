"""The Adapters tab: the library as a table, one adapter in detail, and the sections for export, push, import and pull.

The sections have files of their own (`export.py`, `push.py`, `get.py`). Every handler looks its adapter up anew for the caller's
owner; the page holds only a name.
"""

from dataclasses import dataclass

import gradio as gr

from adapters.edit import delete_adapter, rename_adapter, set_notes, set_template, undo_delete
from adapters.facts import COLUMNS, template_choice
from adapters.history import read_history
from adapters.library import adapter_names, find_adapter, read_some
from common.errors import UserError
from models.templates.choice import choices
from ui.adapters.export import build_export, on_line
from ui.adapters.get import build_get
from ui.adapters.push import build_push, on_account
from ui.adapters.view import PIXELS_A_CHARACTER, answers_html, curve_points, facts_html
from ui.events import Wiring
from ui.long_lists import MAX_LISTED_ENTRIES, how_many
from ui.messages import hint_html, shown
from ui.owner import owner_of

COLOURS = {"training": "#6366f1", "held out": "#d97706"}
NOTHING = "Nothing here yet. Train an adapter, import a zip, or pull one from the Hub below."
NOT_PICKED = "Pick an adapter in the table to see it whole."
HIDDEN: Wiring = {"show_progress": "hidden"}
TEMPLATE_HINT = "What it was trained with. The one it brings is not known here."


@dataclass
class AdaptersTab:
    """The parts that the page wires: loading, and the button that opens the chat."""

    load: object
    load_wiring: Wiring
    chat_button: gr.Button
    adapter_name: gr.Dropdown
    account: object
    account_wiring: Wiring


def build_adapters_tab(browser_key: gr.BrowserState) -> AdaptersTab:
    """Lay out the tab and wire its events."""
    with gr.Row():
        search_box = gr.Textbox(
            show_label=False, placeholder="Search names, bases, data, notes", scale=3, container=False
        )
        undo_button = gr.Button("Undo delete", visible=False, scale=1)
    empty_html = gr.HTML(hint_html(NOTHING))
    table = gr.Dataframe(
        headers=[column.title for column in COLUMNS],
        interactive=False,
        wrap=True,
        visible=False,
        label="Adapters, the newest first",
        max_height=320,
        column_widths=[PIXELS_A_CHARACTER * column.width for column in COLUMNS],
    )
    # custom values reach the handlers, whose sentence says more than the component's
    adapter_dropdown = gr.Dropdown([], label="Adapter", interactive=True, allow_custom_value=True)
    deleted = gr.State("")
    with gr.Tabs():
        with gr.Tab("Details"):
            details = _build_details()
        with gr.Tab("Export"):
            vllm_box = build_export(browser_key, adapter_dropdown)
        with gr.Tab("Push to the Hub"):
            push = build_push(browser_key, adapter_dropdown)
        with gr.Tab("Import and pull"):
            get = build_get(browser_key)
    library = [table, empty_html, adapter_dropdown]
    inputs = [browser_key, search_box, adapter_dropdown]
    load_wiring: Wiring = {"inputs": inputs, "outputs": library, **HIDDEN}
    search_box.change(on_load, **load_wiring, api_visibility="undocumented")
    table.select(on_row, browser_key, adapter_dropdown, **HIDDEN, api_visibility="undocumented")
    _wire_details(details, inputs, library)
    details.delete_button.click(
        on_delete, inputs, [*library, deleted, undo_button], api_name="delete_adapter", **HIDDEN
    )
    undo_button.click(
        on_undo, [browser_key, search_box, deleted], [*library, deleted, undo_button], api_name="undo_delete", **HIDDEN
    )
    for event in get.arrivals:  # what has arrived is shown and picked
        event.success(on_load, [browser_key, search_box, get.arrived_name], library, **HIDDEN)
    event = push.pushed.success(on_load, **load_wiring)
    event.success(on_line, [browser_key, adapter_dropdown], vllm_box, api_visibility="undocumented", **HIDDEN)
    account_wiring: Wiring = {"inputs": browser_key, "outputs": push.account_html, **HIDDEN}
    return AdaptersTab(on_load, load_wiring, details.chat_button, adapter_dropdown, on_account, account_wiring)


@shown
def on_load(token: gr.OAuthToken | None, key, words, name):
    """Return the library as it is now."""
    return _library(owner_of(key, token), words, name)


@shown
def on_row(token: gr.OAuthToken | None, key, event: gr.SelectData):
    """Return the name of the adapter whose row was clicked."""
    return find_adapter(str(event.row_value[0]), owner_of(key, token)).name


@shown
def on_pick(token: gr.OAuthToken | None, key, name):
    """Return the details of the picked adapter."""
    return _details(name, owner_of(key, token))


@shown
def on_rename(token: gr.OAuthToken | None, key, words, name, new_name):
    """Rename the adapter, and keep it picked."""
    owner = owner_of(key, token)
    renamed = rename_adapter(name or "", new_name, owner).name
    gr.Info(f"It is called {renamed} now.")
    return _library(owner, words, renamed)


@shown
def on_notes(token: gr.OAuthToken | None, key, name, notes):
    """Keep the note."""
    set_notes(name or "", notes, owner_of(key, token))
    gr.Info("The note is kept.")


@shown
def on_template(token: gr.OAuthToken | None, key, name, choice):
    """Read the adapter in this chat template from now on."""
    owner = owner_of(key, token)
    # gradio's dropdown sends `input` again when it loses the focus, whether something was chosen or not
    if (choice or "") != template_choice(find_adapter(name or "", owner))[0]:
        set_template(name, choice or "", owner)
        gr.Info("The chat template is chosen.")


@shown
def on_delete(token: gr.OAuthToken | None, key, words, name):
    """Delete the adapter, and show the button that brings it back."""
    owner = owner_of(key, token)
    deletion = delete_adapter(name or "", owner)
    button = gr.Button(f"Undo delete of {deletion.name}", visible=True)
    return *_library(owner, words, None), deletion.entry, button


@shown
def on_undo(token: gr.OAuthToken | None, key, words, entry):
    """Bring the deleted adapter back, and pick it."""
    owner = owner_of(key, token)
    return *_library(owner, words, undo_delete(str(entry or ""), owner).name), "", gr.Button(visible=False)


@dataclass
class _Details:
    """The widgets of one adapter; `view` are those that a pick fills."""

    view: list
    rename_box: gr.Textbox
    rename_button: gr.Button
    notes_box: gr.Textbox
    notes_button: gr.Button
    template_dropdown: gr.Dropdown
    delete_button: gr.Button
    chat_button: gr.Button


def _build_details() -> _Details:
    """Lay out the details of one adapter."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            facts = gr.HTML(hint_html(NOT_PICKED))
            answers = gr.HTML("")
        with gr.Column(scale=2, min_width=320):
            chat_button = gr.Button("Chat with it", variant="primary", interactive=False)
            plot = gr.LinePlot(
                x="step",
                y="loss",
                color="rows",
                color_map=COLOURS,
                title="Loss (lower is better)",
                height=240,
                visible=False,
            )
            template_dropdown = gr.Dropdown(choices(), label="Chat template", info=TEMPLATE_HINT, visible=False)
            notes_box = gr.Textbox(label="Notes (they stay here)", lines=2, max_length=4000)
            notes_button = gr.Button("Keep the note", interactive=False)
            rename_box = gr.Textbox(label="New name", max_length=80)
            with gr.Row():
                rename_button = gr.Button("Rename", interactive=False, min_width=100)
                delete_button = gr.Button("Delete", variant="stop", interactive=False, min_width=100)
    view = [facts, answers, plot, notes_box, rename_box, notes_button, rename_button, delete_button, chat_button]
    buttons = (rename_box, rename_button, notes_box, notes_button, template_dropdown, delete_button, chat_button)
    return _Details([*view, template_dropdown], *buttons)


def _wire_details(details: _Details, inputs: list, library: list) -> None:
    """Wire the choice of an adapter, its new name, its notes and its template."""
    browser_key, _, adapter_dropdown = inputs
    picked: Wiring = {"fn": on_pick, "inputs": [browser_key, adapter_dropdown], "outputs": details.view, **HIDDEN}
    adapter_dropdown.change(**picked, api_name="adapter")
    details.rename_button.click(on_rename, [*inputs, details.rename_box], library, api_name="rename_adapter", **HIDDEN)
    details.notes_button.click(
        on_notes, [browser_key, adapter_dropdown, details.notes_box], None, api_name="note_adapter"
    ).success(**picked)
    details.template_dropdown.input(
        on_template,
        [browser_key, adapter_dropdown, details.template_dropdown],
        api_name="choose_template",
        concurrency_limit=1,  # the second `input` of a choice comes at once: it has to see the first one's work
    ).success(**picked)


def _library(owner: str, words: str, wanted: str | None) -> list:
    """Return updates for the table, the line under it, and the dropdown; keep `wanted` picked if it is there."""
    names = adapter_names(owner, words or "")
    adapters = read_some(names, owner, MAX_LISTED_ENTRIES)
    listed = [adapter.name for adapter in adapters]
    listed += [wanted] if wanted in names and wanted not in listed else []
    more = how_many(len(names), "the search above")
    empty = f"No adapter with '{words[:60]}'." if words else NOTHING
    return [
        gr.Dataframe([[column.value(adapter) for column in COLUMNS] for adapter in adapters], visible=bool(adapters)),
        gr.HTML(hint_html(more or empty), visible=bool(more) or not adapters),
        gr.Dropdown(listed, value=wanted if wanted in listed else next(iter(listed), None)),
    ]


def _details(name: str | None, owner: str) -> list:
    """Return updates for the details of an adapter; a hint without one."""
    try:
        adapter = find_adapter(name, owner) if name else None
    except UserError:  # deleted in another tab a moment ago
        adapter = None
    if adapter is None:
        off = [gr.Button(interactive=False)] * 4
        return [hint_html(NOT_PICKED), "", gr.LinePlot(visible=False), "", "", *off, gr.Dropdown(visible=False)]
    history = read_history(adapter)
    points = curve_points(history)
    on = [gr.Button(interactive=True)] * 4
    plot = gr.LinePlot(points, visible=points is not None)
    choice, is_open = template_choice(adapter)
    template = gr.Dropdown(choices(), value=choice or None, visible=is_open)
    return [facts_html(adapter), answers_html(history), plot, adapter.notes, adapter.name, *on, template]
