"""The heading of a step of a form."""

import html

import gradio as gr


def build_step(number: int, title: str) -> None:
    """Lay out the heading of the step with this number."""
    gr.HTML(f"<h2><span aria-hidden='true'>{number}</span> {html.escape(str(title))}</h2>", elem_classes="step")
