"""Types and keyword arguments that many event listeners share."""

from typing import Any

from gradio.blocks import Block

Wiring = dict[str, Any]  # keyword arguments of one of Gradio's event listeners: fn, inputs, outputs, ...
Values = dict[Block, Any]  # the values of an event's inputs, by component
Updates = dict[Block, Any]  # what an event changes, by component: a value, or the component with other properties

QUIET: Wiring = {"show_progress": "hidden"}  # no progress bar over the outputs
