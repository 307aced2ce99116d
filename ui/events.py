"""Types, keyword arguments and wiring that many event listeners share."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import gradio as gr
from gradio.blocks import Block

Wiring = dict[str, Any]  # keyword arguments of one of Gradio's event listeners: fn, inputs, outputs, ...
Values = dict[Block, Any]  # the values of an event's inputs, by component
B = TypeVar("B", bound=Block)
Updates = dict[Block, Any]  # what an event changes, by component: a value, or the component with other properties

QUIET: Wiring = {"show_progress": "hidden"}  # no progress bar over the outputs

# not while nobody looks, nor while the last answer is on its way
_ASK = """async (key, name, version) => {
  if (!key || document.hidden || window["asking ENDPOINT"]) return version;
  window["asking ENDPOINT"] = true;
  try {
    const body = JSON.stringify({data: [key, name || ""]}), headers = {"content-type": "application/json"};
    const address = `${window.gradio_config.root}${window.gradio_config.api_prefix}/run/ENDPOINT`;
    const answer = await fetch(address, {method: "POST", headers, body});
    return answer.ok ? (await answer.json()).data[0] : version;
  } catch {
    return "no answer";
  } finally {
    window["asking ENDPOINT"] = false;
  }
}"""


def ask_first(button: gr.Button, question: gr.Row, no_button: gr.Button) -> None:
    """Let a press of `button` show `question` in its place, until that is answered with no."""
    for pressed, asks in ((button, True), (no_button, False)):
        pressed.click(
            lambda asks=asks: (gr.Button(visible=not asks), gr.Row(visible=asks)), None, [button, question], **QUIET
        )


def show_by_choice(choice: gr.Radio | gr.Dropdown, shown: Mapping[B, Sequence[str]]) -> None:
    """Let each block be seen while one of its values is chosen: in the browser, so that it is gone at once when another is."""
    update = "values => ({__type__: 'update', visible: values.includes(chosen)})"
    choice.change(None, choice, [*shown], js=f"chosen => {json.dumps([*shown.values()])}.map({update})", **QUIET)


def asking(endpoint: str) -> str:
    """Return the script of a timer that asks `endpoint(key, name)` for the version of what is shown, a short text.

    It does so without an event of Gradio, at which the browser would draw every output that it ever had. An app that does not
    answer is a change: the event that follows fails, and Gradio says so and connects again.
    """
    return _ASK.replace("ENDPOINT", endpoint)
