"""The data part of the Train tab: the source of the examples, what was found in them, and the cures of what is wrong.

The check runs in a process of its own, so that the app imports no torch for it; the preview shows exactly what is trained.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from common.hosted import on_space
from common.language import _
from data import kinds
from data.report import Report
from runs.forecast.estimate import EXAMPLE_FACTS
from ui.events import show_by_choice
from ui.hints import hint_html
from ui.making.form import MakingForm
from ui.making.form import build_form as build_making_form
from ui.train import report_view
from ui.train.form_values import CHAT, EXAMPLE_DATA, HUB, MADE, PASTE, UPLOAD
from ui.train.report_view import found_in_one_line
from ui.train.settings_form import field_id, settings_inputs

FILE_TYPES = [*kinds.KINDS, ".gz"]
MAPPED = ("messages", "prompt", "completion", "system", "context", "history", "label", "text")  # what a column can be
CONVERSATIONS, TOKENS = "conversations", "tokens"
CHECK_BUTTON = "check-data"  # its id in the page


class NewestCheck:
    """The number of the newest check of one open page: what is asked for later ends what runs."""

    def __init__(self) -> None:
        self.number = 0

    def start(self) -> Callable[[], bool]:
        """End what runs; return a function that says whether something newer was started."""
        self.number += 1
        mine = self.number
        return lambda: self.number != mine


@dataclass
class DataForm:
    """The inputs of the source by name, and the components of the report."""

    inputs: dict[str, Any]
    making: MakingForm
    check_button: gr.Button
    stop_button: gr.Button
    found_html: gr.HTML
    report_html: gr.HTML
    mapping_group: gr.Accordion
    mapping_dropdowns: dict[str, gr.Dropdown]
    map_button: gr.Button
    preview_group: gr.Accordion
    preview_radio: gr.Radio
    preview_html: gr.HTML
    newest: gr.State
    is_previewed: gr.State

    @property
    def views(self) -> list:
        """Return the components that `report_views` updates."""
        mapping = [self.mapping_group, *self.mapping_dropdowns.values()]
        return [self.found_html, self.report_html, *mapping, self.preview_group, self.preview_html]


def build_data_form() -> DataForm:
    """Lay out the source, what was found in it, and the preview."""
    inputs, making = _build_source()
    with gr.Row(elem_classes="found"):
        found_html = gr.HTML(example_found(), elem_id="found")
        stop_button = gr.Button(_("Stop the check"), size="sm", min_width=120, scale=0, visible=False)
        # pressed by the page itself when the source has changed
        check_button = gr.Button(_("Check the data"), elem_id=CHECK_BUTTON, visible="hidden")
    report_html = gr.HTML("", elem_classes="report", visible=False, js_on_load=report_view.CURES_SCRIPT)
    with gr.Accordion(_("Which column is what?"), visible=False) as mapping_group:
        gr.HTML(hint_html(_("Filled in with what was found or guessed.")))
        meanings = mapped_words()
        with gr.Row(elem_classes="fields"):
            dropdowns = {
                name: gr.Dropdown([], label=name, info=meanings[name], min_width=140, allow_custom_value=True)
                for name in MAPPED
            }
        map_button = gr.Button(_("Use these columns"), size="sm", variant="primary")
    with gr.Accordion(_("Preview"), open=False) as preview_group:
        choices = [(_("As conversations"), CONVERSATIONS), (_("As tokens"), TOKENS)]
        preview_radio = gr.Radio(choices, value=CONVERSATIONS, label=_("First ten rows"))
        preview_html = gr.HTML(preview(None, CONVERSATIONS), elem_classes="preview")
    return DataForm(
        inputs,
        making,
        check_button,
        stop_button,
        found_html,
        report_html,
        mapping_group,
        dropdowns,
        map_button,
        preview_group,
        preview_radio,
        preview_html,
        newest=gr.State(NewestCheck()),
        is_previewed=gr.State(False),
    )


def _build_source() -> tuple[dict[str, Any], MakingForm]:
    """Lay out the choice of the source, and the input of each; return the inputs by name, and the form that makes rows."""
    sources = [
        (_("Example: a study coach"), EXAMPLE_DATA),
        (_("Upload a file"), UPLOAD),
        (_("Paste"), PASTE),
        (_("Hugging Face dataset"), HUB),
        (_("My data"), CHAT),
        (_("Make from documents"), MADE),
    ]
    kind_radio = gr.Radio(
        sources,
        value=EXAMPLE_DATA,
        label=_("Examples to learn from"),
        show_label=False,
        container=False,
        elem_id=field_id("data"),
    )
    data_file = gr.File(
        label=_("JSONL, JSON, CSV, TSV, Excel, ODS, Parquet, text or Markdown"),
        file_types=FILE_TYPES,
        file_count="multiple",
        height=180,
        visible=False,
    )
    paste_box = gr.Textbox(
        label=_("JSON lines, a table, or plain text"),
        placeholder='{"prompt": "Say hello", "completion": "Ahoy!"}',
        lines=6,
        max_lines=14,
        visible=False,
    )
    place = _("ID of the dataset; several with commas and shares")
    if not on_space():
        place = _("ID of the dataset, or a path on this machine; several with commas and shares")
    hub_box = gr.Textbox(label=place, placeholder="owner/name", visible=False)
    rated = _("Answers that you rated or corrected in the chat, and rows that were made.")
    own = _("One of your datasets")
    chat_dropdown = gr.Dropdown([], label=own, info=rated, visible=False, allow_custom_value=True)
    making = build_making_form()
    boxes = {data_file: [UPLOAD], paste_box: [PASTE], hub_box: [HUB], chat_dropdown: [CHAT], making.column: [MADE]}
    show_by_choice(kind_radio, boxes)
    inputs: dict[str, Any] = {"data_kind": kind_radio, "data_file": data_file, "data_paste": paste_box}
    return {**inputs, "data_hub": hub_box, "data_chat": chat_dropdown}, making


def build_data_options() -> dict[str, Any]:
    """Lay out what becomes of the rows, by subject; return the inputs by name."""
    mix_box = gr.Textbox(
        label=_("Shares of several datasets"),
        info=_(
            "Each name with its share of the rows; Hugging Face datasets may be added. As many rows are drawn as the shares "
            "allow, none twice. Without shares all rows are used."
        ),
        placeholder="a.jsonl:0.7, owner/name:0.3",
        elem_id=field_id("data_mix"),
    )
    inputs: dict[str, Any] = {"data_mix": mix_box, **settings_inputs("data_config", "data_split", "data_revision")}
    with gr.Accordion(_("Which rows"), open=False):
        inputs |= settings_inputs("max_rows", "too_long", "drop_duplicates", "skip_bad_rows")
    with gr.Accordion(_("Held-out rows"), open=False):
        inputs |= settings_inputs("eval_fraction", "eval_split")
        inputs["eval_file"] = gr.File(label=_("Or a separate file"), file_types=FILE_TYPES, height=120)
        label = _("Or a Hugging Face dataset")
        inputs["eval_hub"] = gr.Textbox(label=label, placeholder="owner/name", elem_id=field_id("eval_hub"))
        inputs |= settings_inputs("eval_data_revision")
    with gr.Accordion(_("Conversations"), open=False):
        inputs |= settings_inputs("markup", "system_turns")
    with gr.Accordion(_("Tables and columns"), open=False):
        inputs |= settings_inputs("header", "keep_null_words", "sheet", "columns")
    return inputs


def build_text_first() -> dict[str, Any]:
    """Lay out the plain text that may be learned before the conversations; return the inputs by name."""
    gr.HTML(hint_html(_("Stage 1 reads plain text, stage 2 trains on the conversations above.")))
    inputs: dict[str, Any] = {
        "text_file": gr.File(
            label=_("Text: TXT, Markdown, or rows with a `text` column"), file_types=FILE_TYPES, height=120
        ),
        "text_hub": gr.Textbox(
            label=_("Or a Hugging Face dataset with a `text` column"),
            placeholder="owner/name",
            elem_id=field_id("text_hub"),
        ),
    }
    return inputs | settings_inputs("text_data_revision", "text_epochs")


def mapped_words() -> dict[str, str]:
    """Return what each name in MAPPED means."""
    words = [_("a list of turns"), _("what the person says"), _("what the assistant answers"), _("system prompt")]
    words += [_("goes with the prompt"), _("earlier turns"), _("false: not trained on"), _("plain text")]
    return dict(zip(MAPPED, words, strict=True))


def example_found() -> str:
    """Return what is in the example, which needs no check, as HTML."""
    rows, held_out = EXAMPLE_FACTS["train_rows"], EXAMPLE_FACTS.get("held_out_rows", 0)
    return hint_html(
        _("{rows} conversations with a study coach, and {held_out} held out to test on.", rows=rows, held_out=held_out),
        "good",
    )


def report_views(report: Report | None, shown_as: str = CONVERSATIONS, found: str = "") -> list:
    """Return updates for `DataForm.views`: the report, the columns (open when not recognised), the preview.

    Without a report they are empty; `found` is the line under the source then, as HTML.
    """
    if not report:
        hidden = gr.update(visible=False)
        columns = [gr.update(choices=[], value=None)] * len(MAPPED)
        empty = gr.update(value="", visible=False)
        return [found, empty, hidden, *columns, gr.skip(), preview(None, shown_as)]
    mapping = report["mapping"] or report["guess"]
    columns = ["", *dict.fromkeys([*report["columns"], *mapping.values()])]
    return [
        hint_html(found_in_one_line(report), "problem" if stops_of(report) else "good"),
        gr.HTML(report_view.summary(report), visible=True),
        gr.Accordion(visible=bool(report["columns"]), open=report["mapping"] is None),
        *[gr.Dropdown(columns, value=mapping.get(name, "")) for name in MAPPED],
        gr.Accordion(open=True) if report["mapping"] is None else gr.skip(),
        preview(report, shown_as),
    ]


def preview(report: Report | None, shown_as: str) -> str:
    """Show the first rows: as conversations or tokens, or as they were read where columns are not recognised."""
    if not report:
        return hint_html(_("The first rows appear here when the data is checked."))
    if report["mapping"] is None:
        return report_view.raw_rows(report)
    show = report_view.tokens if shown_as == TOKENS else report_view.conversations
    return show(report["preview"])


def stops_of(report: Report | None) -> list[str]:
    """Return the sentences of the findings that prevent a start."""
    return [item["message"] for item in (report["findings"] if report else []) if item["level"] == "stop"]
