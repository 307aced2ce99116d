"""The Chat tab: who answers, several models side by side, the history, the data that comes of it. Wiring only."""

from dataclasses import dataclass

import gradio as gr

from adapters.library import find_adapter
from chat.conversation import new_conversation
from chat.engine import MOST_AT_ONCE, Engine
from chat.remote import remote_engine
from models.base import AUTO
from ui.chat_answer import Engines
from ui.chat_api import ChatApi
from ui.chat_data import DataHandlers, lay_out_data
from ui.chat_handlers import ChatHandlers
from ui.chat_layout import lay_out
from ui.chat_models import BESIDE_BASE, model_choices
from ui.chat_view import COPY_THE_WORDS, STYLE
from ui.conversations import ConversationHandlers, lay_out_conversations
from ui.messages import shown
from ui.owner import owner_of

QUIET = {"show_progress": "hidden", "api_visibility": "undocumented"}


@dataclass
class ChatTab:
    """What the page wires from outside: refreshing the list of models, and opening an adapter in it."""

    refresh: object
    refresh_wiring: dict
    open_adapter: object


def build_chat_tab(browser_key: gr.BrowserState, store: gr.HTML, engine: Engine) -> ChatTab:
    """Lay out the tab and wire its events."""
    layout = lay_out(store)
    engines = Engines(engine, remote_engine())
    handlers = ChatHandlers(layout, browser_key, engines)
    inputs, outputs = handlers.inputs(), handlers.outputs()
    conversations = ConversationHandlers(lay_out_conversations(), handlers)
    data = DataHandlers(lay_out_data(), handlers)
    running = _wire_answers(handlers, inputs, outputs)
    followed = _wire_the_rest(handlers, inputs, outputs, running)
    conversations.wire(inputs, outputs, running, followed)
    data.wire(inputs, outputs)
    ChatApi(engines).wire()
    gr.HTML(STYLE, padding=False)
    return _outside(handlers, conversations, data, inputs)


def _wire_answers(handlers: ChatHandlers, inputs: set, outputs: list) -> list:
    """Sending, retrying, editing, continuing; returns the events. Each of them cancels the others: a page has one answer."""
    own = handlers.layout
    answering = {"concurrency_id": "model", "concurrency_limit": MOST_AT_ONCE, **QUIET}
    asked = [([own.send_button.click, own.message_box.submit], handlers.send, "send")]
    asked.append(([own.continue_button.click], handlers.continue_answer, "continue"))
    for pane, chatbot in enumerate(own.panes.chatbots):
        asked.append(([chatbot.retry], handlers.retry(pane), f"retry_{pane}"))
        asked.append(([chatbot.edit], handlers.edit(pane), f"edit_{pane}"))
    running = [gr.on(on, handler, inputs, outputs, api_name=name, **answering) for on, handler, name in asked]
    for place, (on, _, _) in enumerate(asked):
        gr.on(on, None, cancels=running[:place] + running[place + 1 :])
    return running


def _wire_the_rest(handlers: ChatHandlers, inputs: set, outputs: list, running: list) -> list:
    """What ends an answer that is on its way: stopping, undoing, starting anew, other models; returns the events."""
    own = handlers.layout
    ends = [([own.stop_button.click], handlers.stopped, "stopped")]
    for pane, chatbot in enumerate(own.panes.chatbots):
        ends.append(([chatbot.undo], handlers.undo, f"undo_{pane}"))
        ends.append(([chatbot.clear], handlers.start_new, f"clear_{pane}"))
    ends.append(([own.new_button.click], handlers.start_new, "new_conversation"))
    ends.append(([own.model_dropdown.input, own.beside_dropdown.input], handlers.models_changed, "models"))
    followed = [  # first the end, then what follows: a last word would come over it
        gr.on(on, None, cancels=running).then(handler, inputs, outputs, api_name=name, **QUIET)
        for on, handler, name in ends
    ]
    own.preset_dropdown.input(handlers.preset, own.preset_dropdown, own.system_box, api_name="preset", **QUIET)
    return followed


def _outside(handlers: ChatHandlers, conversations: ConversationHandlers, data: DataHandlers, inputs: set) -> ChatTab:
    """What the page calls: when it is loaded, when the tab is opened, and when an adapter is to be tried."""
    own, parts = handlers.layout, conversations.parts
    outputs = [*handlers.outputs(), parts.list_radio, parts.title_box, data.parts.rows_html]
    everything = inputs | {parts.search_box, data.parts.name_box}

    @shown
    def on_refresh(values: dict, token: gr.OAuthToken | None):
        owner = owner_of(values[handlers.browser_key], token)
        choices = model_choices(owner, handlers.engines.remote)
        changes = _choices(handlers, choices, values[own.model_dropdown])
        stored = conversations.stored(values)
        if values[own.conversation] is None and stored:  # the page was just loaded: go on where this browser was
            changes |= conversations.opened(stored[0])
            changes |= _choices(handlers, choices, *models_of(stored[0]))
            values = {**values, own.conversation: stored[0]}
        rows = data.rows(values, owner)
        return {**changes, **conversations.choices(values), data.parts.rows_html: rows}

    @shown
    def open_adapter(token: gr.OAuthToken | None, key, name):
        owner = owner_of(key, token)
        choices = model_choices(owner, handlers.engines.remote)
        picked = f"adapter:{find_adapter(name, owner).name}"
        conversation = new_conversation([picked, BESIDE_BASE[1]])
        return {**conversations.opened(conversation), **_choices(handlers, choices, *models_of(conversation))}

    wiring = {"inputs": everything, "outputs": outputs, "js": COPY_THE_WORDS, **QUIET}
    return ChatTab(on_refresh, wiring, open_adapter)


def models_of(conversation: dict) -> tuple[str, list[str]]:
    """The first pane's model, and those beside it."""
    first, *beside = [pane["model"] for pane in conversation["panes"]]
    return first, beside


def _choices(handlers: ChatHandlers, choices: list, value: str | None, beside: list[str] | None = None) -> dict:
    """Both lists of models, with picks that are set or, without `beside`, stay untouched: "Chat with it" may be setting them
    at this very moment. What is gone is not picked.
    """
    own, everything = handlers.layout, [BESIDE_BASE, *choices]
    known = [choice for _, choice in everything]
    if beside is None and value in known:
        return {own.model_dropdown: gr.Dropdown(choices), own.beside_dropdown: gr.Dropdown(everything)}
    kept = {} if beside is None else {"value": [one for one in beside if one in known]}
    model_dropdown = gr.Dropdown(choices, value=value if value in known else f"base:{AUTO}")
    return {own.model_dropdown: model_dropdown, own.beside_dropdown: gr.Dropdown(everything, **kept)}
