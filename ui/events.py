"""Keyword arguments that many event listeners share."""

from typing import Any

Wiring = dict[str, Any]  # keyword arguments of one of Gradio's event listeners: fn, inputs, outputs, ...

# no progress bar over the outputs; not in the documented API
QUIET: Wiring = {"show_progress": "hidden", "api_visibility": "undocumented"}
