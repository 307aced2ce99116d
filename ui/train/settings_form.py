"""The layout of the Train tab's settings: presets, the first few, and the rest by group. Help comes from TrainConfig."""

from collections.abc import Collection
from dataclasses import Field
from typing import Any

import gradio as gr

from runs.config import GROUPS, SERVER, marked
from runs.fields import label_of
from runs.presets import DEFAULT, HELP, PRESETS
from ui.messages import hint_html
from ui.owner import on_space
from ui.train.form_values import shown_fields

FIRST = ("num_train_epochs", "max_steps", "learning_rate", "per_device_train_batch_size")
LINES = {"sample_prompts": 3}


def _component_of(item: Field) -> gr.components.Component:
    """Return the input for one field of the config, with its help and default.

    On a Space, settings about machines, addresses and files are hidden; `ui.train.form_values` refuses them, too.
    """
    default: Any = item.default
    about: dict[str, Any] = {"label": label_of(item.name), "info": item.metadata["help"]}
    about["visible"] = not (on_space() and item.name in marked(SERVER))
    if item.name == "accelerate_config":
        about = {"label": "Your own accelerate config (wins over these)", "visible": about["visible"]}
        return gr.File(file_types=[".yaml", ".yml"], height=120, **about)
    if item.metadata["choices"]:
        return gr.Dropdown(list(item.metadata["choices"]), value=default, **about)
    if isinstance(default, bool):
        return gr.Checkbox(default, **about)
    if isinstance(default, int | float):
        # the limits are checked by the config, whose sentence says more than the browser's
        return gr.Number(default, precision=0 if isinstance(default, int) else None, **about)
    return gr.Textbox(default or "", lines=LINES.get(item.name, 1), max_lines=6, **about)


def build_settings_form(
    laid_out: Collection[str],
) -> tuple[gr.Radio, gr.HTML, dict[str, gr.components.Component]]:
    """Lay out the settings that are not `laid_out` yet; return the preset's radio, its help, and the inputs by name."""
    items = {item.name: item for item in shown_fields() if item.name not in laid_out}
    preset_radio = gr.Radio(list(PRESETS), value=DEFAULT, label="Settings")
    preset_html = gr.HTML(preset_help(DEFAULT))
    inputs = {}
    for pair in (FIRST[:2], FIRST[2:]):
        with gr.Row():
            inputs |= {name: _component_of(items[name]) for name in pair}
    with gr.Accordion("All settings", open=False):
        for group in GROUPS:
            names = [name for name, item in items.items() if item.metadata["group"] == group and name not in FIRST]
            if names:
                with gr.Accordion(group, open=False):
                    inputs |= {name: _component_of(items[name]) for name in names}
    return preset_radio, preset_html, inputs


def data_inputs(*names: str) -> dict[str, gr.components.Component]:
    """Return the inputs of some fields by name, for the data form."""
    items = {item.name: item for item in shown_fields()}
    return {name: _component_of(items[name]) for name in names}


def preset_help(name: str) -> str:
    """Return what a preset is for, as HTML."""
    return hint_html(HELP.get(name, ""))
