"""The choice of what is shown, with the button that deletes it: the row above an evaluation and an experiment."""

import time
from dataclasses import dataclass

import gradio as gr

from common.language import Sentence, _
from ui.events import ask_first


@dataclass
class Chosen:
    """The components of the row."""

    dropdown: gr.Dropdown
    delete_button: gr.Button
    question: gr.Row
    delete_yes: gr.Button

    @property
    def outputs(self) -> list:
        """Return what `can_delete` updates."""
        return [self.delete_button, self.question]


def can_delete(is_possible: bool) -> list:
    """Return updates for `Chosen.outputs`: the button, and no question."""
    return [gr.Button(visible=is_possible), gr.Row(visible=False)]


def build_chosen(label: Sentence) -> Chosen:
    """Lay out the row; its list, and whether it can be deleted, are filled in later."""
    with gr.Row(equal_height=True, elem_classes="which-one"):
        dropdown = gr.Dropdown(
            [],
            label=str(label),
            show_label=False,
            container=False,
            interactive=True,
            allow_custom_value=True,  # an API names any
            scale=4,
        )
        delete_button = gr.Button(_("Delete"), visible=False, variant="stop", size="sm", min_width=90, scale=0)
        with gr.Row(visible=False, elem_classes="question") as question:
            delete_yes = gr.Button(_("Yes, delete it"), variant="stop", size="sm", min_width=110)
            delete_no = gr.Button(_("Keep it"), size="sm", min_width=90)
    ask_first(delete_button, question, delete_no)
    return Chosen(dropdown, delete_button, question, delete_yes)


def dated(title: str, started_ns: int | None) -> str:
    """Return a title and the local time of a start, which is given in ns since 1970."""
    return f"{title} · {time.strftime('%Y-%m-%d %H:%M', time.localtime((started_ns or 0) / 1e9))}"
