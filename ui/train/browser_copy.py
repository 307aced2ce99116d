"""The browser's copy of the form, kept over a reload and a restart of the app until it is reset to the defaults.

The server keeps nothing. The copy is checked like any input: names of the form, values of the right kind. Files are not kept: a
page may not name files of the server, so that they must be chosen again.
"""

from __future__ import annotations

import json
from dataclasses import Field, dataclass
from typing import TYPE_CHECKING

import gradio as gr

from common.language import _
from runs.config import TrainConfig
from ui.events import QUIET, Wiring
from ui.messages import shown
from ui.train.check_events import CHECK_SOON, changed_form
from ui.train.form_values import FORM_ONLY, KINDS, UPLOAD, FormValues, form_values, shown_fields

if TYPE_CHECKING:
    from ui.train.tab import TrainTab

FILES = ("data_file", "data_mix", "text_file", "eval_file")  # and the names of files
MAX_VALUE_CHARACTERS = 200_000  # a browser keeps five million in all
GATHER = """(...values) => {
    const names = %s, longest = %d;
    const kept = names.map((name, n) => [name, values[n]]);
    return [Object.fromEntries(kept.filter(([, value]) => typeof value !== 'string' || value.length <= longest))];
}"""


@dataclass
class FormMemory:
    """The browser's copy of the form, and the button that empties it."""

    store: gr.BrowserState
    reset_button: gr.Button


def build_form_store() -> gr.BrowserState:
    """Lay out the browser's store, outside of every folded section: what is not in the page keeps nothing."""
    # read by nobody but the browser that it lies in; a fixed secret keeps it readable when the app restarts
    return gr.BrowserState({}, storage_key="tinyllama-studio-form", secret="tinyllama-studio")


def kept_values(stored: object) -> FormValues:
    """Return the values of `stored` (sent by a browser) that the form can hold, by the names of its inputs."""
    stored = stored if isinstance(stored, dict) else {}
    items = {item.name: item for item in shown_fields()}
    texts = [name for name in FORM_ONLY if name not in FILES]
    kept = {name: value for name, value in stored.items() if name in items and _fits(items[name], value)}
    kept |= {name: stored[name] for name in texts if _is_text(stored.get(name))}
    if kept.get("data_kind") not in KINDS:
        kept.pop("data_kind", None)
    return kept


def _fits(item: Field, value: object) -> bool:
    """Return whether an input for this field of the config can show `value`."""
    choices, default = item.metadata["choices"], item.default
    if choices:
        return value in choices
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, int | float):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and (isinstance(default, float) or float(value).is_integer())
    return value is None or _is_text(value)


def _is_text(value: object) -> bool:
    """Return whether `value` is text of a length that the form keeps."""
    return isinstance(value, str) and len(value) <= MAX_VALUE_CHARACTERS


def default_values() -> FormValues:
    """Return the values of the untouched form."""
    return {**form_values(TrainConfig()), "name": "my-adapter"}


def keep_changes(tab: TrainTab) -> None:
    """Keep every change by hand in the browser. Listeners of one change wait for each other: call it before slower ones."""
    files = [tab.inputs[name] for name in FILES]
    gr.on([component.change for component in tab.components if component not in files], **_gathering(tab))


def _gathering(tab: TrainTab) -> Wiring:
    """Return the arguments of an event that keeps the form in the browser."""
    gather = GATHER % (json.dumps(tab.names), MAX_VALUE_CHARACTERS)
    return {"fn": None, "inputs": tab.components, "outputs": tab.memory.store, "js": gather, **QUIET}


def wire_memory(tab: TrainTab, plan: Wiring) -> Wiring:
    """Wire the reset, and what follows when the app fills the form; return the event that fills it when the page is opened."""

    @shown
    def on_open(stored):
        # an untouched input is not put in: a person may have filled it in while this was asked
        kept, untouched = kept_values(stored), default_values()
        kept = {name: value for name, value in kept.items() if value != untouched.get(name)}
        if kept.get("data_kind") == UPLOAD:
            gr.Info(
                _("Your settings are as you left them. Choose the file again: a page cannot keep one over a reload.")
            )
        return changed_form(tab.names, kept)

    @shown
    def on_reset():
        return changed_form(tab.names, default_values())

    reset = tab.memory.reset_button
    reset.click(on_reset, None, tab.components, **QUIET)
    # after the events above and elsewhere that fill the form: listeners of one trigger come one after the other
    filled = [reset.click, tab.plan.preset_radio.input, tab.plan.fit_button.click, tab.plan.load_button.upload]
    filled += [tab.view.cure_button.click, tab.history.copy_button.click, tab.data.map_button.click]
    gr.on([*filled, tab.data.report_html.click], **_gathering(tab)).then(None, js=CHECK_SOON, **QUIET).then(**plan)
    return {"fn": on_open, "inputs": tab.memory.store, "outputs": tab.components, **QUIET}
