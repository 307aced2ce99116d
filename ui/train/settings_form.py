"""The inputs for the settings of TrainConfig: its help, its default, its place in Advanced, and what is wrong with it."""

from collections.abc import Collection, Iterable
from dataclasses import Field
from typing import Any

import gradio as gr

from common.hosted import on_space
from common.language import _, said
from runs.config import GROUPS, SERVER, marked
from runs.fields import Problem, choices_of, label_of
from ui.train.form_values import shown_fields

LINES = {"sample_prompts": 3}
WRONG = "wrong-field"  # the class of an input whose value cannot be taken
# where else than at the input of its own name a setting is filled in
PLACES = {"text_data": "text_hub", "eval_data": "eval_hub", "data": "data_kind"}


def field_id(name: str) -> str:
    """Return the id in the page of the input of a setting."""
    return f"field-{PLACES.get(name, name)}"


def _component_of(item: Field) -> gr.components.Component:
    """Return the input for one field of the config, with its help and default.

    On a Space, settings about machines, addresses and files are hidden; `ui.train.form_values` refuses them, too.
    """
    default: Any = item.default
    about: dict[str, Any] = {"label": str(label_of(item.name)), "info": help_of(item.name)}
    about |= {"elem_id": field_id(item.name), "visible": not (on_space() and item.name in marked(SERVER))}
    if item.name == "accelerate_config":
        about = {**about, "label": _("Your own accelerate config (overrides these)")}
        del about["info"]
        return gr.File(file_types=[".yaml", ".yml"], height=120, **about)
    if item.metadata["choices"]:
        return gr.Dropdown(choices_of(item), value=default, **about)
    if isinstance(default, bool):
        return gr.Checkbox(default, **about)
    if isinstance(default, int | float):
        # the limits are checked by the config, whose sentence says more than the browser's
        return gr.Number(default, precision=0 if isinstance(default, int) else None, **about)
    return gr.Textbox(default or "", lines=LINES.get(item.name, 1), max_lines=6, **about)


def build_settings_form(laid_out: Collection[str]) -> dict[str, gr.components.Component]:
    """Lay out the settings that are not `laid_out` yet, by group; return the inputs by name."""
    items = [item for item in shown_fields() if item.name not in laid_out]
    inputs = {}
    for group in GROUPS:
        names = [item.name for item in items if item.metadata["group"] == group]
        if names:
            with gr.Accordion(said(group), open=False):
                inputs |= settings_inputs(*names)
    return inputs


def settings_inputs(*names: str) -> dict[str, gr.components.Component]:
    """Lay out the inputs of some settings, two in a row; return them by name."""
    items = {item.name: item for item in shown_fields()}
    inputs = {}
    for number in range(0, len(names), 2):
        with gr.Row(elem_classes="fields"):
            inputs |= {name: _component_of(items[name]) for name in names[number : number + 2]}
    return inputs


def help_of(name: str) -> str:
    """Return the line of help under the label of an input; "" for one that has none."""
    if name == "base":
        place = _("Or enter any Llama-type model: a Hugging Face ID.")
        return str(place if on_space() else _("Or enter any Llama-type model: a Hugging Face ID or a local folder."))
    return next((said(item.metadata["help"]) for item in shown_fields() if item.name == name), "")


def mark_wrong(
    inputs: dict[str, gr.components.Component], problems: Iterable[Problem], wrong: Collection[str]
) -> tuple[list, list[str]]:
    """Return updates for the inputs, and the names of those that are wrong now; `wrong` are those that were.

    The sentence stands in the place of the help, by the label, until the value is right.
    """
    sentences: dict[str, str] = {}
    for problem in problems:
        name = PLACES.get(problem.field, problem.field)
        if name in inputs and name != "data_kind":  # the line under the source says it
            sentences.setdefault(name, str(problem.message))
    updates = []
    for name, component in inputs.items():
        if name not in sentences and name not in wrong:
            updates.append(gr.skip())
            continue
        is_file = isinstance(component, gr.File)  # it has no line of help
        words = str(sentences.get(name) or (label_of(name) if is_file else help_of(name)))
        changes: dict[str, Any] = {"label" if is_file else "info": words}
        updates.append(gr.update(**changes, elem_classes=[WRONG] if name in sentences else []))
    return updates, list(sentences)
