"""The line "Deleted ... Undo" at the bottom of the window."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from common.language import _


@dataclass
class Toast:
    """The parts of the line; `entries` are what was deleted, by their names in the trash."""

    row: gr.Row
    text_html: gr.HTML
    entries: gr.State
    undo_button: gr.Button
    close_button: gr.Button

    @property
    def outputs(self) -> list:
        """Return what `toast_updates` updates."""
        return [self.row, self.text_html, self.entries]


def toast_updates(words: str = "", entries: Sequence[str] = ()) -> list:
    """Return the updates of `Toast.outputs` that say what was deleted; without entries the line is hidden."""
    text = f"<span role='status' aria-live='polite'>{html.escape(str(words))}</span>"
    return [gr.Row(visible=bool(entries)), text, list(entries)]


def build_toast() -> Toast:
    """Lay out the line, hidden, and wire its Close button."""
    with gr.Row(visible=False, elem_classes="toast") as row:
        text_html = gr.HTML()
        undo_button = gr.Button(_("Undo"), size="sm", min_width=80, scale=0)
        close_button = gr.Button(_("Close"), size="sm", min_width=80, scale=0)
    toast = Toast(row, text_html, gr.State([]), undo_button, close_button)
    close_button.click(toast_updates, None, toast.outputs, show_progress="hidden", queue=False)
    return toast
