"""The Chat tab: the models side by side, the list of conversations, the data from answers. Wiring only."""

import html
from dataclasses import dataclass
from typing import Any

import gradio as gr

from adapters.library import find_adapter
from chat.conversation import new_conversation
from chat.engine import CALLS, Engine
from chat.remote import remote_engine
from chat.warm_up import start_importing
from chat.zero_gpu import ZeroEngine
from common.language import _, joined
from ui.chat.answer import Engines, is_answering
from ui.chat.api import ChatApi
from ui.chat.conversations import ConversationHandlers, listed_models
from ui.chat.data import DataHandlers, lay_out_data
from ui.chat.handlers import ChatHandlers
from ui.chat.keys import FOCUS, IN_THE_BROWSER, toggle
from ui.chat.layout import LIST, lay_out, lay_out_conversations
from ui.chat.models import BASE_AUTO, BESIDE_BASE, label_of, model_choices, models_of, said_choices, with_titles
from ui.chat.settings import NAMED_FIELDS, name_of
from ui.chat.store import BrowserStore
from ui.chat.updates import at_rest
from ui.chat.view import title_of
from ui.datasets import build_datasets
from ui.events import QUIET, Updates, Values, Wiring
from ui.long_lists import find_while_typing
from ui.messages import shown
from ui.owner import owner_of


@dataclass
class ChatTab:
    """The parts that the page wires: refreshing the models, opening an adapter, and importing what an answer needs."""

    refresh: object
    refresh_wiring: Wiring
    open_adapter: object
    warm_up: object


def build_chat_tab(browser_key: gr.BrowserState, kept: BrowserStore, engine: Engine | ZeroEngine) -> ChatTab:
    """Lay out the tab and wire its events."""
    with gr.Row(elem_id="chat", elem_classes="chat"):
        parts, layout = lay_out_conversations(), lay_out(kept)
        with layout.side:
            data_parts = lay_out_data()
            build_datasets(browser_key, data_parts.name_box)
    engines = Engines(engine, remote_engine())
    handlers = ChatHandlers(layout, browser_key, engines)
    inputs, outputs = handlers.inputs(), handlers.outputs()
    conversations, data = ConversationHandlers(parts, handlers), DataHandlers(data_parts, handlers)
    running = _wire_answers(handlers, inputs, outputs)
    followed = _wire_the_rest(handlers, parts.new_button, inputs, outputs, running)
    _wire_settings(handlers)
    _wire_finding(handlers)
    conversations.wire(inputs, outputs, running, followed)
    data.wire(inputs, outputs)
    for side, button in [*layout.side_buttons, (LIST, parts.close_button)]:
        button.click(None, None, None, js=toggle(side))
    ChatApi(engines).wire()
    return _outside(handlers, conversations, data, inputs)


def _wire_answers(handlers: ChatHandlers, inputs: set, outputs: list) -> list:
    """Wire send, retry, edit and continue; return the events. Each cancels the others: a page has one answer at a time."""
    own = handlers.layout
    # the engine decides who waits
    answering: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": CALLS.total, **QUIET}
    asked: list[tuple] = [([own.send_button.click, own.message_box.submit], handlers.send, "send", FOCUS)]
    asked.append(([own.continue_button.click], handlers.continue_answer, "continue", None))
    for pane, chatbot in enumerate(own.panes.chatbots):
        asked.append(([chatbot.retry], handlers.retry(pane), f"retry_{pane}", None))
        asked.append(([chatbot.edit], handlers.edit(pane), f"edit_{pane}", None))
    running = [
        gr.on(on, handler, inputs, outputs, api_name=name, js=script, **answering)
        for on, handler, name, script in asked
    ]
    for place, (on, *_rest) in enumerate(asked):
        gr.on(on, None, cancels=running[:place] + running[place + 1 :])
    return running


def _wire_the_rest(handlers: ChatHandlers, new_button: gr.Button, inputs: set, outputs: list, running: list) -> list:
    """Wire what ends an answer in progress: stop, undo, a new chat, other models; return the events."""
    own = handlers.layout
    ends = [([own.stop_button.click], handlers.stopped, "stopped")]
    for pane, chatbot in enumerate(own.panes.chatbots):
        ends.append(([chatbot.undo], handlers.undo, f"undo_{pane}"))
        ends.append(([chatbot.clear], handlers.start_new, f"clear_{pane}"))
    ends.append(([new_button.click], handlers.start_new, "new_conversation"))
    ends.append(([own.model_dropdown.input, own.beside_dropdown.input], handlers.models_changed, "models"))
    new_button.click(None, None, None, js=FOCUS)
    return [  # first the end, then what follows: a last word would come over it
        gr.on(on, None, cancels=running).then(handler, inputs, outputs, api_name=name, **QUIET)
        for on, handler, name in ends
    ]


def _wire_settings(handlers: ChatHandlers) -> None:
    """Wire the presets of the system prompt, the named choices of sampling, and the prompts to try."""
    own, settings = handlers.layout, handlers.layout.settings
    # not `input`, which comes again when the list is left: a prompt that was edited by hand would be gone
    settings.preset_dropdown.select(
        handlers.preset, settings.preset_dropdown, settings.system_box, api_name="preset", **QUIET
    )
    sliders = [settings.sampling[name] for name in NAMED_FIELDS]
    settings.named_radio.input(handlers.named, settings.named_radio, sliders, api_name="named_sampling", **QUIET)
    for slider in sliders:
        slider.input(name_of, sliders, settings.named_radio, api_name="name_of_sampling", **QUIET)
    own.panes.chatbots[0].example_select(handlers.example, None, own.message_box, js=FOCUS, api_name="example", **QUIET)
    asked = [handlers.browser_key, own.model_dropdown]
    own.model_dropdown.change(handlers.prompts, asked, own.panes.chatbots[0], api_name="prompts_to_try", **QUIET)


def _wire_finding(handlers: ChatHandlers) -> None:
    """Let typing in both lists of models find any of the owner's adapters."""
    own, remote = handlers.layout, handlers.engines.remote

    def first(owner: str, typed: str, value) -> list:
        return model_choices(owner, remote, [value] if isinstance(value, str) else [], typed)

    def beside(owner: str, typed: str, values) -> list:
        return [
            *said_choices([BESIDE_BASE]),
            *model_choices(owner, remote, values if isinstance(values, list) else [], typed),
        ]

    find_while_typing(own.model_dropdown, handlers.browser_key, first)
    find_while_typing(own.beside_dropdown, handlers.browser_key, beside)


def _outside(handlers: ChatHandlers, conversations: ConversationHandlers, data: DataHandlers, inputs: set) -> ChatTab:
    """Wire what the page calls: when it is loaded, when the tab is opened, and when an adapter is to be tried."""
    own, parts = handlers.layout, conversations.parts
    outputs = [*handlers.outputs(), *conversations.shows(), data.parts.rows_html]
    everything = inputs | {parts.search_box, data.parts.name_box}

    @shown
    def on_refresh(values: Values, token: gr.OAuthToken | None):
        owner = owner_of(values[handlers.browser_key], token)
        stored = conversations.stored(values)
        picked = handlers.models(values)
        open_one = handlers.open_one(values)
        for one in [open_one, *stored[:1]]:
            picked += [pane["model"] for pane in one["panes"]] if one else []
        choices = model_choices(owner, handlers.engines.remote, picked)
        changes = listed_models(own, choices, values[own.model_dropdown])
        if open_one is None and stored:  # the page was just loaded: go on where this browser was
            changes |= conversations.opened(stored[0])
            changes |= listed_models(own, choices, *models_of(stored[0]))
            values = {**values, own.conversation: stored[0]}
        changes |= _without_those_gone(handlers, values, choices)
        rows = data.rows(values, owner)
        return {**changes, **conversations.choices(values), data.parts.rows_html: rows}

    @shown
    def open_adapter(token: gr.OAuthToken | None, key, name):
        owner = owner_of(key, token)
        picked = f"adapter:{find_adapter(name, owner).name}"
        choices = model_choices(owner, handlers.engines.remote, [picked])
        conversation = with_titles(new_conversation([picked, BESIDE_BASE[1]]), owner)
        return {**conversations.opened(conversation), **listed_models(own, choices, *models_of(conversation))}

    wiring: dict[str, Any] = {"inputs": everything, "outputs": outputs, "js": IN_THE_BROWSER, **QUIET}
    return ChatTab(on_refresh, wiring, open_adapter, lambda: start_importing() and None)


def _without_those_gone(handlers: ChatHandlers, values: Values, choices: list) -> Updates:
    """Return updates without the panes whose models are gone, and warn about them; {} when all are there.

    The base takes the first pane when its model is gone.
    """
    own, known = handlers.layout, [choice for _label, choice in [BESIDE_BASE, *choices]]
    open_one = handlers.open_one(values)
    gone = [title_of(pane) for pane in open_one["panes"] if pane["model"] not in known] if open_one else []
    if not open_one or not gone or is_answering(open_one):
        return {}
    first, beside = models_of(open_one)
    instead = first if first in known else BASE_AUTO
    words = [_("No longer there: {names}.", names=", ".join(gone))]
    if first not in known:
        words.append(_("“{name}” answers now; the list has the others.", name=label_of(instead)))
    gr.Warning(html.escape(str(joined(words)), quote=False))
    picked = {own.model_dropdown: instead, own.beside_dropdown: [model for model in beside if model in known]}
    return at_rest(own, handlers.current({**values, **picked}))
