"""The components of the Chat tab, without events: the list of chats, the answers with the message box, and the settings."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from chat.conversation import MAX_PANES, MAX_TITLE_CHARACTERS
from common.language import _
from ui.chat.models import BESIDE_BASE, CHOICES, EXAMPLES, said_choices
from ui.chat.settings import Settings, lay_out_settings
from ui.chat.store import BrowserStore
from ui.chat.view import EMPTY, seen_later

SIDES = LIST, SETTINGS = "list", "settings"
NONE_YET = _("Your chats are kept in this browser and appear here.")


@dataclass
class Panes:
    """Up to four answers side by side; the first is always there."""

    columns: list[gr.Column]
    chatbots: list[gr.Chatbot]
    meters: list[gr.HTML]
    better_buttons: list[gr.Button]


@dataclass
class Layout:
    """The components that events read or write."""

    conversation: gr.HTML
    store: gr.HTML
    draft: gr.HTML
    model_dropdown: gr.Dropdown
    beside_dropdown: gr.Dropdown
    panes: Panes
    message_box: gr.Textbox
    send_button: gr.Button
    stop_button: gr.Button
    continue_button: gr.Button
    settings: Settings
    seen_html: gr.HTML
    side: gr.Column
    side_buttons: list[tuple[str, gr.Button]]  # (side, a button that opens or closes it)


def lay_out(kept: BrowserStore) -> Layout:
    """Draw the answers and the settings; returns their components."""
    with gr.Column(elem_classes="chat-main", min_width=0):
        with gr.Row(elem_classes="chat-top"):
            list_button = _side_button(_("Chats"), LIST)
            model_dropdown, beside_dropdown = _lay_out_models()
            settings_button = _side_button(_("Settings"), SETTINGS)
        panes = _lay_out_panes()
        message_box, buttons = _lay_out_message()
    with gr.Column(elem_classes=["chat-side", f"chat-{SETTINGS}"], min_width=0) as side:
        close_button = gr.Button(str(_("Close settings")), size="sm", elem_classes="chat-close")
        settings = lay_out_settings()
        with gr.Accordion(str(_("What the model saw")), open=False):
            seen_html = gr.HTML(seen_later(), padding=False)
    return Layout(
        kept.open_one,
        kept.conversations,
        kept.draft,
        model_dropdown,
        beside_dropdown,
        panes,
        message_box,
        *buttons,
        settings,
        seen_html,
        side,
        [(LIST, list_button), (SETTINGS, settings_button), (SETTINGS, close_button)],
    )


def _side_button(label: str, side: str) -> gr.Button:
    """Return a button that opens and closes a side of the chat."""
    return gr.Button(str(label), size="sm", min_width=0, elem_id=f"chat-{side}-button", elem_classes="chat-toggle")


def _lay_out_models() -> tuple[gr.Dropdown, gr.Dropdown]:
    """Lay out the lists of models: the first, and those to compare with."""
    # custom values reach pick(), whose sentence says more than the component's
    model_dropdown = gr.Dropdown(
        said_choices(CHOICES),
        value=CHOICES[0][1],
        label=str(_("Model")),
        scale=2,
        allow_custom_value=True,
        min_width=200,
    )
    beside_dropdown = gr.Dropdown(
        said_choices([BESIDE_BASE]),
        value=[],
        label=str(_("Compare with")),
        info=str(_("Your trained adapters appear in this list.")),
        multiselect=True,
        max_choices=MAX_PANES - 1,
        scale=3,
        min_width=200,
    )
    return model_dropdown, beside_dropdown


def _lay_out_message() -> tuple[gr.Textbox, list[gr.Button]]:
    """Lay out the box and the buttons Send (in whose place Stop comes) and Continue."""
    with gr.Row(elem_classes="chat-message"):
        message_box = gr.Textbox(
            label=str(_("Your message")),
            show_label=False,
            placeholder=str(_("Your message (Enter sends)")),
            lines=1,
            max_lines=6,
            scale=6,
            container=False,
            min_width=120,
            elem_id="chat-box",
        )
        continue_button = gr.Button(str(_("Continue")), scale=0, min_width=104, interactive=False)
        send_button = gr.Button(str(_("Send")), variant="primary", scale=0, min_width=104)
        stop_button = gr.Button(
            str(_("Stop")), variant="stop", scale=0, min_width=104, visible=False, elem_id="chat-stop"
        )
    return message_box, [send_button, stop_button, continue_button]


def _lay_out_panes() -> Panes:
    """Lay out MAX_PANES panes, of which only the first is visible."""
    panes = Panes([], [], [], [])
    with gr.Row(elem_classes="chat-panes"):
        for number in range(MAX_PANES):
            with gr.Column(min_width=280, visible=number == 0) as column:
                panes.chatbots.append(
                    gr.Chatbot(
                        label=str(_("Model")),
                        height="100%",
                        buttons=["copy"],
                        editable="all",
                        allow_tags=False,
                        group_consecutive_messages=False,
                        placeholder=str(EMPTY) if number == 0 else None,
                        examples=as_examples([str(text) for text in EXAMPLES]) if number == 0 else None,
                        elem_classes="chat-pane",
                    )
                )
                panes.meters.append(gr.HTML("", padding=False, elem_classes="chat-meter-place"))
                panes.better_buttons.append(gr.Button(str(_("This answer is better")), size="sm", visible=False))
            panes.columns.append(column)
    return panes


def as_examples(prompts: list[str]) -> list[Any]:
    """Return prompts to try as a Chatbot takes them; a long one is shown in part."""
    return [{"text": text, "display_text": text if len(text) < 100 else f"{text[:99]}…"} for text in prompts]


@dataclass
class Conversations:
    """The components of the list."""

    new_button: gr.Button
    search_box: gr.Textbox
    list_radio: gr.Radio
    picked_box: gr.Textbox
    title_box: gr.Textbox
    rename_button: gr.Button
    delete_button: gr.Button
    undo_button: gr.Button
    gone: gr.HTML  # the conversation that was deleted last, for Undo
    markdown_button: gr.Button
    json_button: gr.Button
    all_button: gr.Button
    import_button: gr.UploadButton
    unread_button: gr.Button
    file_text: gr.Textbox
    file_name: gr.Textbox
    close_button: gr.Button


def lay_out_conversations() -> Conversations:
    """Draw the list; returns its components."""
    with gr.Column(elem_classes=["chat-side", f"chat-{LIST}"], min_width=0):
        close_button = gr.Button(str(_("Close chats")), size="sm", elem_classes="chat-close")
        new_button = gr.Button(str(_("New chat")), size="sm", variant="primary")
        search_box = gr.Textbox(
            "", label=str(_("Search")), show_label=False, placeholder=str(_("Search chats")), container=False
        )
        list_radio = gr.Radio([], label=str(_("Your chats")), info=str(NONE_YET), elem_classes="chat-titles")
        undo_button = gr.Button(str(_("Deleted. Undo")), size="sm", visible=False)
        with gr.Accordion(str(_("This chat")), open=False):
            title_box = gr.Textbox("", label=str(_("Title")), max_length=MAX_TITLE_CHARACTERS)
            with gr.Row():
                rename_button = gr.Button(str(_("Rename")), size="sm", min_width=90)
                delete_button = gr.Button(str(_("Delete")), size="sm", variant="stop", min_width=90)
            markdown_button = gr.Button(str(_("Export as Markdown")), size="sm")
            json_button = gr.Button(str(_("Export as JSON")), size="sm")
        with gr.Accordion(str(_("Export and import")), open=False):
            all_button = gr.Button(str(_("Export all")), size="sm")
            import_button = gr.UploadButton(str(_("Import JSON")), file_types=[".json"], size="sm")
        unread_button = gr.Button("", size="sm", visible=False)
    picked_box, file_text, file_name = (gr.Textbox(visible=False) for part in range(3))
    return Conversations(
        new_button,
        search_box,
        list_radio,
        picked_box,
        title_box,
        rename_button,
        delete_button,
        undo_button,
        gr.HTML(None, html_template="", elem_classes="nothing-to-see", padding=False),
        markdown_button,
        json_button,
        all_button,
        import_button,
        unread_button,
        file_text,
        file_name,
        close_button,
    )
