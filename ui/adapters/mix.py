"""The Mix section: the picked adapter and others of its base become a new one."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr
from gradio.events import Dependency

from adapters.library import Adapter, adapter_names, find_adapter, read_some
from adapters.mix import DENSITY, KINDS, MAX_ADAPTERS, PRUNED, Mix, mix
from adapters.pull import open_adapter
from common.errors import UserError
from common.language import _
from common.paths import MAX_TITLE_CHARACTERS
from models.hub.client import sign_in_words, token_of
from ui.adapters.view import hints_html
from ui.background import with_progress
from ui.events import QUIET
from ui.hints import hint_html
from ui.long_lists import MAX_LISTED_ENTRIES
from ui.messages import shown
from ui.owner import is_signed_in, owner_of

HEARTBEAT_SECONDS = 1.0  # after which a stop is noticed


@dataclass
class MixSection:
    """The parts that the tab wires: the event after which a mix was made, and the state with its name."""

    made: Dependency
    made_name: gr.State


def build_mix(browser_key: gr.BrowserState, picked: gr.Textbox) -> MixSection:
    """Lay out the section and wire its events."""
    gr.Markdown(_("Combines several adapters of one base into a new one. Evaluate it like any other."))
    others_dropdown = gr.Dropdown(
        [], multiselect=True, max_choices=MAX_ADAPTERS - 1, label=_("With"), info=_("Other adapters of the same base.")
    )
    with gr.Row():
        weights_box = gr.Textbox(
            label=_("Weights"),
            max_length=100,
            placeholder="0.7 0.3",
            info=_("One for each, that of this adapter first. Empty: equal parts."),
            min_width=220,
        )
        title_box = gr.Textbox(
            label=_("Name"), max_length=MAX_TITLE_CHARACTERS, info=_("Empty: named after its parts."), min_width=220
        )
    kind_radio = gr.Radio([(f"{kind}: {words}", kind) for kind, words in KINDS.items()], value="svd", label=_("How"))
    density_slider = gr.Slider(0.05, 1, DENSITY, step=0.05, label=_("Part of the values that is kept"), visible=False)
    with gr.Row():
        mix_button = gr.Button(_("Mix"), min_width=100)
        stop_button = gr.Button(_("Stop"), variant="stop", visible=False, min_width=100)
    said_html = gr.HTML("")
    made_name = gr.State("")
    form = [browser_key, picked, others_dropdown, weights_box, kind_radio, density_slider, title_box]
    outputs = [said_html, stop_button, made_name]
    made = mix_button.click(
        on_mix, form, outputs, api_name="mix_adapters", concurrency_id="merge", concurrency_limit=1, **QUIET
    )
    stop_button.click(on_stop, None, outputs[:2], cancels=made, queue=False, **QUIET)
    made.then(lambda: gr.Button(visible=False), None, stop_button, **QUIET)
    kind_radio.change(lambda kind: gr.Slider(visible=kind in PRUNED), kind_radio, density_slider, **QUIET)
    picked.change(on_pick, [browser_key, picked], [others_dropdown, said_html], **QUIET)
    return MixSection(made, made_name)


@shown
def on_pick(token: gr.OAuthToken | None, key, name):
    """Return the other adapters of the base of the picked one."""
    owner = owner_of(key, token)
    if not name:
        return gr.Dropdown([], value=[]), ""
    base = find_adapter(name, owner).base
    others = [
        one
        for one in read_some(adapter_names(owner), owner, MAX_LISTED_ENTRIES)
        if one.base == base and one.name != name
    ]
    return gr.Dropdown([(one.title, one.name) for one in others], value=[]), ""


@shown
def on_mix(token: gr.OAuthToken | None, key, name, others, weights, kind, density, title):
    """Mix the picked adapter with others; say how far it is, then what was made."""
    owner = owner_of(key, token)
    if not is_signed_in(token):
        raise UserError(_("You have to be signed in to mix adapters."), sign_in_words())
    names = [name, *(others[:MAX_ADAPTERS] if isinstance(others, list) else [])]  # each may ask the Hub
    adapters = [open_adapter(one or "", owner, token_of(token.token if token else None)) for one in names]
    how = Mix(str(kind), _weights(weights, adapters), density if isinstance(density, int | float) else DENSITY)
    work = with_progress(lambda say, stop: mix(adapters, how, str(title or ""), say, stop), HEARTBEAT_SECONDS)
    for state, value in work:
        if state == "says":
            yield hint_html(value or _("Mixing")), gr.Button(visible=True), gr.skip()
        else:
            gr.Info(html.escape(str(_("Mixed as “{name}”.", name=value.adapter.title)), quote=False))
            yield hints_html(value.notes), gr.Button(visible=False), value.adapter.name


def on_stop() -> list:
    """Say that the mix was stopped."""
    return [hint_html(_("Stopped. Nothing was kept.")), gr.Button(visible=False)]


def _weights(typed: object, adapters: Sequence[Adapter]) -> list[float]:
    """Return the numbers in a box, equal parts for an empty one. Raises UserError for words."""
    words = str(typed or "").replace(",", " ").split()
    try:
        return [float(word) for word in words] or [1 / len(adapters)] * len(adapters)
    except ValueError as error:
        raise UserError(_("The weights are not numbers."), _("Enter them as in 0.7 0.3.")) from error
