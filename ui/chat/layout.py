"""The components of the Chat tab, without events."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from chat.conversation import MAX_PANES, MAX_TITLE_CHARACTERS
from chat.sampling import Sampling
from ui.chat.models import BESIDE_BASE, CHOICES
from ui.chat.store import Kept
from ui.chat.view import EXAMPLES, NO_WORDS, SEEN_LATER

# What a slider shows; the engine's own limits, which are wider, hold for everybody.
SLIDERS = {
    "max_new_tokens": (16, 1024, 16, "Longest answer in tokens"),
    "temperature": (0, 2, 0.1, "Temperature"),
    "top_p": (0.05, 1, 0.05, "Top-p"),
    "top_k": (0, 200, 1, "Top-k"),
    "repetition_penalty": (0.8, 1.5, 0.05, "Repetition penalty"),
}
DEFAULTS = Sampling()
NONE_YET = "None yet. Whatever you say is kept in this browser, and stands here."
LEAVE_OUT, SUMMARISE = "leave out", "summary"
PRESETS = {
    "None": "",
    "Short and clear": "Answer in at most three short sentences.",
    "Patient teacher": "You are a patient teacher. Explain step by step in simple words, and end with one question that checks.",
    "Careful": "If you are not sure, say so. Never make up facts, names or numbers.",
    "Programmer": "You are an experienced programmer. Answer with working code first, then one sentence about it.",
}


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
    new_button: gr.Button
    preset_dropdown: gr.Dropdown
    system_box: gr.Textbox
    full_radio: gr.Radio
    summary_box: gr.Textbox
    settings: dict[str, gr.Component]
    seen_html: gr.HTML


def lay_out(kept: Kept) -> Layout:
    """Draw the tab; returns its components."""
    with gr.Row():
        # custom values reach pick(), whose sentence says more than the component's
        model_dropdown = gr.Dropdown(
            CHOICES,
            value=CHOICES[0][1],
            label="Model",
            scale=2,
            allow_custom_value=True,
            min_width=300,
            info="Your adapters, and the bases they came from.",
        )
        beside_dropdown = gr.Dropdown(
            [BESIDE_BASE],
            value=[BESIDE_BASE[1]],
            label="Beside it, for comparison",
            info="Up to three more get the same message; the base joins as soon as an adapter answers.",
            multiselect=True,
            max_choices=MAX_PANES - 1,
            scale=3,
            min_width=300,
        )
    panes = _lay_out_panes()
    message_box, buttons = _lay_out_message()
    with gr.Accordion("Settings", open=False):
        preset_dropdown, system_box, full_radio, summary_box, settings = _lay_out_settings()
    with gr.Accordion("What the model saw", open=False):
        seen_html = gr.HTML(SEEN_LATER)
    return Layout(
        kept.open_one,
        kept.conversations,
        kept.draft,
        model_dropdown,
        beside_dropdown,
        panes,
        message_box,
        *buttons,
        preset_dropdown,
        system_box,
        full_radio,
        summary_box,
        settings,
        seen_html,
    )


def _lay_out_message() -> tuple[gr.Textbox, list[gr.Button]]:
    """Lay out the box and the buttons Send, Stop, Continue and New chat."""
    with gr.Row():
        message_box = gr.Textbox(
            label="Your message",
            show_label=False,
            placeholder="Your message · Enter sends, Shift+Enter begins a new line, Esc stops an answer",
            lines=1,
            max_lines=6,
            scale=6,
            container=False,
            min_width=300,
        )
        send_button = gr.Button("Send", variant="primary", scale=1, min_width=120)
        stop_button = gr.Button("Stop", scale=1, min_width=120, interactive=False, elem_id="chat-stop")
        continue_button = gr.Button("Continue", scale=1, min_width=120)
        new_button = gr.Button("New chat", scale=1, min_width=120)
    return message_box, [send_button, stop_button, continue_button, new_button]


def _lay_out_panes() -> Panes:
    """Lay out MAX_PANES panes, of which only the first is visible."""
    panes = Panes([], [], [], [])
    with gr.Row(elem_classes="chat-panes"):
        for number in range(MAX_PANES):
            with gr.Column(min_width=280, visible=number == 0) as column:
                panes.chatbots.append(
                    gr.Chatbot(
                        label="Model" if number == 0 else "Beside it",
                        height=420,
                        buttons=["copy"],
                        editable="all",
                        allow_tags=False,
                        group_consecutive_messages=False,
                        placeholder=NO_WORDS,
                        examples=[{"text": text} for text in EXAMPLES] if number == 0 else None,
                        elem_classes="chat-pane",
                    )
                )
                panes.meters.append(gr.HTML("", padding=False))
                panes.better_buttons.append(gr.Button("This answer is better", size="sm", visible=False))
            panes.columns.append(column)
    return panes


def _lay_out_settings() -> tuple:
    """Lay out system prompt, summary and sampling settings."""
    preset_dropdown = gr.Dropdown(list(PRESETS), value="None", label="System prompt preset")
    system_box = gr.Textbox(
        "", label="System prompt", lines=2, info="Said to the model before the conversation; it always stays."
    )
    full_radio = gr.Radio(
        [("Leave out the oldest turns", LEAVE_OUT), ("Keep a summary, written by the model", SUMMARISE)],
        value=LEAVE_OUT,
        label="When the context window is full",
    )
    summary_box = gr.Textbox(
        "", label="Summary of what was left out", lines=3, visible=False, info="You can correct it."
    )
    settings: dict[str, gr.Component] = {}
    with gr.Row():
        for one in fields(Sampling):
            if one.name in SLIDERS:
                low, high, step, label = SLIDERS[one.name]
                settings[one.name] = gr.Slider(
                    low,
                    high,
                    getattr(DEFAULTS, one.name),
                    step=step,
                    label=label,
                    info=one.metadata["help"],
                    min_width=320,
                )
        settings["seed"] = gr.Number(
            0,
            label="Seed",
            precision=0,
            minimum=0,
            info=Sampling.__dataclass_fields__["seed"].metadata["help"],
            min_width=320,
        )
    return preset_dropdown, system_box, full_radio, summary_box, settings


def sampling_of(values: dict[str, Any]) -> Sampling:
    """Return the settings from their components' values, by name. Raises UserError for values that cannot be used."""
    whole = ("max_new_tokens", "top_k", "seed")
    found: dict[str, Any] = {
        name: int(value) if name in whole and isinstance(value, float) and value.is_integer() else value
        for name, value in values.items()
    }
    found["seed"] = found.get("seed") or 0
    sampling = Sampling(**found)
    sampling.check()
    return sampling


@dataclass
class Conversations:
    """The components of the list."""

    search_box: gr.Textbox
    list_radio: gr.Radio
    picked_box: gr.Textbox
    title_box: gr.Textbox
    rename_button: gr.Button
    delete_button: gr.Button
    markdown_button: gr.Button
    json_button: gr.Button
    all_button: gr.Button
    import_button: gr.UploadButton
    unread_button: gr.Button
    file_text: gr.Textbox
    file_name: gr.Textbox


def lay_out_conversations() -> Conversations:
    """Draw the list; returns its components."""
    with gr.Accordion("Conversations", open=False):
        search_box = gr.Textbox("", label="Search", placeholder="words of a title or of what was said")
        list_radio = gr.Radio([], label="Kept in this browser", info=NONE_YET)
        with gr.Row(elem_classes="chat-title"):
            title_box = gr.Textbox("", label="Title", max_length=MAX_TITLE_CHARACTERS, scale=3, min_width=200)
            rename_button = gr.Button("Rename", scale=1, min_width=90)
            delete_button = gr.Button("Delete", variant="stop", scale=1, min_width=90)
        with gr.Row():
            markdown_button = gr.Button("Export as Markdown", min_width=160)
            json_button = gr.Button("Export as JSON", min_width=160)
            all_button = gr.Button("Export all", min_width=160)
            import_button = gr.UploadButton("Import JSON", file_types=[".json"], min_width=160)
        unread_button = gr.Button("", visible=False)
    picked_box, file_text, file_name = (gr.Textbox(visible=False) for _ in range(3))
    return Conversations(
        search_box,
        list_radio,
        picked_box,
        title_box,
        rename_button,
        delete_button,
        markdown_button,
        json_button,
        all_button,
        import_button,
        unread_button,
        file_text,
        file_name,
    )
