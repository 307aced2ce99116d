"""The settings of the Train tab: presets, the first few, and the rest by group. Every help line is the dataclass's."""

from collections.abc import Collection
from typing import Any

import gradio as gr

from trainer.config import GROUPS, SERVER, marked
from trainer.fields import label_of
from trainer.presets import DEFAULT, HELP, PRESETS
from ui.form import shown_fields
from ui.owner import on_space

FIRST = ("num_train_epochs", "max_steps", "learning_rate", "per_device_train_batch_size")
LINES = {"sample_prompts": 3}


def component_of(item) -> gr.components.Component:
    """The input for one field of the config, with its help, default and limits."""
    about: dict[str, Any] = {"label": label_of(item.name), "info": item.metadata["help"]}
    if item.name == "accelerate_config":
        label = "Your own accelerate config (wins over these)"
        return gr.File(label=label, file_types=[".yaml", ".yml"], height=120)
    if item.metadata["choices"]:
        return gr.Dropdown(list(item.metadata["choices"]), value=item.default, **about)
    if isinstance(item.default, bool):
        return gr.Checkbox(item.default, **about)
    if isinstance(item.default, int | float):
        # the limits are checked by the config, whose sentence says more than the browser's
        return gr.Number(item.default, precision=0 if isinstance(item.default, int) else None, **about)
    return gr.Textbox(item.default or "", lines=LINES.get(item.name, 1), max_lines=6, **about)


def _for_visitors(name: str, component: gr.components.Component) -> gr.components.Component:
    """On a Space, machines, addresses and files are the server's: `ui.form` refuses them, and here they are not shown."""
    component.visible = not (on_space() and name in marked(SERVER))
    return component


def build_settings_form(laid_out: Collection[str]) -> tuple[gr.Radio, gr.HTML, dict]:
    """Lay out the settings that are not `laid_out` yet; returns the preset's radio, its help, and the inputs by name."""
    items = {item.name: item for item in shown_fields() if item.name not in laid_out}
    preset_radio = gr.Radio(list(PRESETS), value=DEFAULT, label="Settings")
    preset_html = gr.HTML(preset_help(DEFAULT))
    inputs = {}
    for pair in (FIRST[:2], FIRST[2:]):
        with gr.Row():
            inputs |= {name: component_of(items[name]) for name in pair}
    with gr.Accordion("All settings", open=False):
        for group in GROUPS:
            names = [name for name, item in items.items() if item.metadata["group"] == group and name not in FIRST]
            if not names:
                continue
            with gr.Accordion(group, open=False):
                inputs |= {name: _for_visitors(name, component_of(items[name])) for name in names}
    return preset_radio, preset_html, inputs


def data_inputs(*names: str) -> dict:
    """Inputs for some fields that the data form lays out itself."""
    items = {item.name: item for item in shown_fields()}
    return {name: component_of(items[name]) for name in names}


def preset_help(name: str) -> str:
    return f"<p class='hint'>{HELP.get(name, '')}</p>"
