"""The data part of the Train tab: the source of the rows, the report of the check, and the cures of what it found.

The check runs in a process of its own, so that the app imports no torch for it; the preview shows exactly what is trained.
"""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from data import kinds
from data.report import Cure, Report
from ui.owner import on_space
from ui.train import report_view
from ui.train.form_values import CHAT, EXAMPLE_DATA, HUB, KINDS, PASTE, UPLOAD
from ui.train.settings_form import data_inputs

FILE_TYPES = [*kinds.KINDS, ".gz"]
MAPPED = {  # what a column can be, and what that is for people
    "messages": "a list of turns",
    "prompt": "what the person says",
    "completion": "what the assistant answers",
    "system": "system prompt",
    "context": "goes with the prompt",
    "history": "earlier turns",
    "label": "false: not to be trained",
    "text": "plain text",
}
MAX_CURES = 6
CONVERSATIONS, TOKENS = "As conversations", "As tokens"


@dataclass
class DataForm:
    """The inputs by name, and the components of the report."""

    inputs: dict[str, Any]
    text_accordion: gr.Accordion
    check_button: gr.Button
    stop_button: gr.Button
    report_html: gr.HTML
    mapping_group: gr.Accordion
    mapping_dropdowns: dict[str, gr.Dropdown]
    map_button: gr.Button
    cure_buttons: list[gr.Button]
    preview_group: gr.Column
    preview_radio: gr.Radio
    preview_html: gr.HTML

    @property
    def views(self) -> list:
        """Return the components that `report_views` updates."""
        mapping = [self.mapping_group, *self.mapping_dropdowns.values()]
        return [self.report_html, *mapping, *self.cure_buttons, self.preview_group, self.preview_html]


def build_data_form() -> DataForm:
    """Lay out the data part."""
    kind_radio = gr.Radio(KINDS, value=EXAMPLE_DATA, label="Data")
    data_file = gr.File(
        label="One file or several: JSONL, JSON, CSV, TSV, Excel (.xlsx), ODS, Parquet, TXT, Markdown; also gzipped",
        file_types=FILE_TYPES,
        file_count="multiple",
        visible=False,
    )
    mix_box = gr.Textbox(
        label="Shares of several data sets",
        info="Each name with its share of the rows; Hub data sets may be added. As many rows are drawn as the shares allow, "
        "none twice; without shares all rows are read.",
        placeholder="a.jsonl:0.7, owner/name:0.3",
        visible=False,
    )
    paste_box = gr.Textbox(
        label="Rows: JSON lines, a table, or plain text",
        placeholder='{"prompt": "Say hello", "completion": "Ahoy!"}',
        lines=6,
        max_lines=14,
        visible=False,
    )
    with gr.Group(visible=False) as hub_group:
        place = "" if on_space() else ", or a path on this machine"
        hub_box = gr.Textbox(
            label=f"Id of the data set{place}; several with commas and shares", placeholder="owner/name"
        )
        with gr.Row():
            hub = data_inputs("data_config", "data_split", "data_revision")
    chat_dropdown = gr.Dropdown(
        [],
        label="Answers that you liked, corrected or picked in the chat",
        visible=False,
        allow_custom_value=True,
    )
    kind_radio.change(
        lambda kind: [
            gr.File(visible=kind == UPLOAD),
            gr.Textbox(visible=kind == UPLOAD),
            gr.Textbox(visible=kind == PASTE),
            gr.Group(visible=kind == HUB),
            gr.Dropdown(visible=kind == CHAT),
        ],
        kind_radio,
        [data_file, mix_box, paste_box, hub_group, chat_dropdown],
        show_progress="hidden",
        api_visibility="undocumented",
    )
    inputs: dict[str, Any] = {"data_kind": kind_radio, "data_file": data_file, "data_mix": mix_box}
    inputs |= {"data_paste": paste_box, "data_hub": hub_box, "data_chat": chat_dropdown, **hub}
    inputs |= _data_options()
    with gr.Accordion("Optional: learn from plain text first", open=False) as text_accordion:
        gr.HTML("<p class='hint'>Stage 1 reads text as it is, stage 2 trains the conversations above on top of it.</p>")
        inputs["text_file"] = gr.File(
            label="Text: TXT, Markdown, or rows with `text`", file_types=FILE_TYPES, height=120
        )
        inputs["text_hub"] = gr.Textbox(label="Or a Hub data set with a `text` column", placeholder="owner/name")
        inputs |= data_inputs("text_data_revision", "text_epochs")
    return _with_report(inputs, text_accordion)


def _data_options() -> dict[str, Any]:
    """Lay out what becomes of the rows, by subject; return the inputs by name."""
    with gr.Accordion("Data options", open=False):
        with gr.Accordion("Which rows", open=False):
            inputs = data_inputs("max_rows", "too_long", "drop_duplicates", "skip_bad_rows")
        with gr.Accordion("Held-out rows", open=False):
            inputs |= data_inputs("eval_fraction", "eval_split")
            inputs["eval_file"] = gr.File(label="Or a file of its own", file_types=FILE_TYPES, height=120)
            inputs["eval_hub"] = gr.Textbox(label="Or a Hub data set", placeholder="owner/name")
            inputs |= data_inputs("eval_data_revision")
        with gr.Accordion("Conversations", open=False):
            inputs |= data_inputs("markup", "system_turns")
        with gr.Accordion("Tables and columns", open=False):
            inputs |= data_inputs("header", "keep_null_words", "sheet", "columns")
    return inputs


def _with_report(inputs: dict[str, Any], text_accordion: gr.Accordion) -> DataForm:
    """Lay out the report below the inputs."""
    with gr.Row():
        check_button = gr.Button("Check the data", size="sm")
        stop_button = gr.Button("Stop the check", size="sm", visible=False)
    report_html = gr.HTML("", elem_classes="report", visible=False)
    with gr.Row():
        cure_buttons = [gr.Button(visible=False, size="sm", variant="primary") for _ in range(MAX_CURES)]
    with gr.Accordion("Which column is what?", visible=False) as mapping_group:
        gr.HTML("<p class='hint'>What was found, or guessed, is filled in.</p>")
        with gr.Row():
            dropdowns = {
                name: gr.Dropdown([], label=name, info=words, min_width=140, allow_custom_value=True)
                for name, words in MAPPED.items()
            }
        map_button = gr.Button("Use these columns", size="sm", variant="primary")
    with gr.Column(visible=False) as preview_group:
        preview_radio = gr.Radio([CONVERSATIONS, TOKENS], value=CONVERSATIONS, label="The first ten rows")
        preview_html = gr.HTML("", elem_classes="preview")
    report = (
        report_html,
        mapping_group,
        dropdowns,
        map_button,
        cure_buttons,
        preview_group,
        preview_radio,
        preview_html,
    )
    return DataForm(inputs, text_accordion, check_button, stop_button, *report)


def report_views(report: Report | None, shown_as: str = CONVERSATIONS) -> list:
    """Return updates for `DataForm.views`: the report, the columns (open when not recognised), cures, the preview."""
    if not report:
        hidden = [gr.Accordion(visible=False), *[gr.skip()] * len(MAPPED), *[gr.Button(visible=False)] * MAX_CURES]
        return [gr.HTML("", visible=False), *hidden, gr.Column(visible=False), ""]
    found, labels = report["mapping"] or report["guess"], [cure["label"] for cure in cures_of(report)]
    columns = ["", *dict.fromkeys([*report["columns"], *found.values()])]
    return [
        gr.HTML(report_view.summary(report), visible=True),
        gr.Accordion(visible=bool(report["columns"]), open=report["mapping"] is None),
        *[gr.Dropdown(columns, value=found.get(name, "")) for name in MAPPED],
        *[gr.Button(label, visible=True) for label in labels],
        *[gr.Button(visible=False)] * (MAX_CURES - len(labels)),
        gr.Column(visible=True),
        preview(report, shown_as),
    ]


def preview(report: Report | None, shown_as: str) -> str:
    """Show the first rows: as conversations or tokens, or as they were read where columns are not recognised."""
    if not report:
        return ""
    if report["mapping"] is None:
        return report_view.raw_rows(report)
    show = report_view.tokens if shown_as == TOKENS else report_view.conversations
    return show(report["preview"])


def cures_of(report: Report | None) -> list[Cure]:
    """Return the cures of all findings, the pressing ones first, each once."""
    findings = sorted(report["findings"] if report else [], key=lambda item: item["level"] != "stop")
    cures = [cure for item in findings for cure in (item["cure"], *item.get("other_cures", ())) if cure]
    return [cure for number, cure in enumerate(cures) if cure not in cures[:number]][:MAX_CURES]


def stops_of(report: Report | None) -> list[str]:
    """Return the sentences of the findings that prevent a start."""
    return [item["message"] for item in (report["findings"] if report else []) if item["level"] == "stop"]
