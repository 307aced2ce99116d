"""The Chat tab: a streaming multi-turn chat with an adapter or a base, and the base beside the adapter on wish.

The transcript lives in the session (gr.State), with one history for each pane; the Chatbots only show it.
"""

import html
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr

from adapters.library import find_adapter, list_adapters
from chat.engine import Engine, Model, Reply, Sampling
from common.errors import UserError
from models.base import AUTO, DEFAULT_BASE, EMBEDDED, Base, choose_base, fetch_base
from ui.messages import shown
from ui.owner import owner_of

BASE_CHOICES = [
    ("Base: automatic", f"base:{AUTO}"),
    ("Base: TinyLlama 1.1B Chat", f"base:{DEFAULT_BASE}"),
    ("Base: SmolLM2 135M Instruct (embedded)", f"base:{EMBEDDED}"),
]
LONGEST_MESSAGE = 100_000


@dataclass
class ChatTab:
    """What the page wires from outside: refreshing the list of models, and opening an adapter in it."""

    refresh: object
    refresh_wiring: dict
    open_adapter: object


@dataclass(frozen=True)
class Picked:
    """A model that was picked: its name for people, what the engine gets, and the same without the adapter."""

    name: str
    model: Model
    base: Base

    def bare(self) -> Model:
        return Model(self.model.base_folder, self.model.precision)


def build_chat_tab(browser_key: gr.BrowserState, engine: Engine) -> ChatTab:
    """Lay out the tab and wire its events."""
    with gr.Row():
        # custom values reach pick(), whose sentence says more than the component's
        model_dropdown = gr.Dropdown(
            BASE_CHOICES, value=BASE_CHOICES[0][1], label="Model", scale=3, allow_custom_value=True
        )
        beside_checkbox = gr.Checkbox(True, label="Show the base beside the adapter", scale=2)
    with gr.Row():
        tuned_chatbot = gr.Chatbot(label="Model", height=420, buttons=["copy"])
        base_chatbot = gr.Chatbot(label="Base, without the adapter", height=420, buttons=["copy"], visible=False)
    meter_html = gr.HTML("<p class='hint'>Pick a model and say something.</p>")
    with gr.Row():
        message_box = gr.Textbox(
            show_label=False, placeholder="Your message", lines=1, max_lines=6, scale=6, container=False
        )
        send_button = gr.Button("Send", variant="primary", scale=1, min_width=80)
        stop_button = gr.Button("Stop", scale=1, min_width=80)
        clear_button = gr.Button("New conversation", scale=1, min_width=140)
    with gr.Accordion("Settings", open=False):
        system_box = gr.Textbox("", label="System prompt", lines=2, info="Said to the model before the conversation.")
        with gr.Row():
            tokens_slider = gr.Slider(16, 1024, 256, step=16, label="Longest answer in tokens")
            temperature_slider = gr.Slider(0, 2, 0, step=0.1, label="Temperature", info="0: always the likeliest word.")
            seed_number = gr.Number(0, label="Seed", precision=0)
    transcript = gr.State({"tuned": [], "base": []})

    @shown
    def on_send(token: gr.OAuthToken | None, key, text, said, picked, beside, system, most, temperature, seed):
        owner = owner_of(key, token)
        text = check_text(text)
        sampling = Sampling(int(most), float(temperature), seed=int(seed or 0))
        sampling.check()
        said = {"tuned": list(said["tuned"]), "base": list(said["base"])}
        shown_first = said["tuned"] + [user(text)]
        yield "", shown_first, gr.skip(), said, hint("Getting the model ready ..."), gr.Button(interactive=False)
        chosen = pick(picked, owner)
        panes = [("tuned", chosen.model)]
        if chosen.model.adapter_folder and beside:
            panes.append(("base", chosen.bare()))
        for pane, model in panes:
            for reply in answer(engine, model, said, pane, text, system, sampling):
                yield gr.skip(), said["tuned"], said["base"], said, meter(chosen, pane, reply), gr.skip()

    @shown
    def on_refresh(token: gr.OAuthToken | None, key, value):
        choices = model_choices(owner_of(key, token))
        if value in [choice for _, choice in choices]:
            return gr.Dropdown(
                choices
            )  # the pick stays untouched: "Chat with it" may be setting it at this very moment
        return gr.Dropdown(choices, value=f"base:{AUTO}")

    @shown
    def open_adapter(token: gr.OAuthToken | None, key, name):
        owner = owner_of(key, token)
        return gr.Dropdown(model_choices(owner), value=f"adapter:{find_adapter(name, owner).name}")

    inputs = [browser_key, message_box, transcript, model_dropdown, beside_checkbox]
    inputs += [system_box, tokens_slider, temperature_slider, seed_number]
    outputs = [message_box, tuned_chatbot, base_chatbot, transcript, meter_html, send_button]
    sending = gr.on(
        [send_button.click, message_box.submit],
        on_send,
        inputs,
        outputs,
        api_name="chat",
        concurrency_id="model",
        concurrency_limit=1,
        show_progress="hidden",
    )
    ready = {
        "fn": lambda: gr.Button(interactive=True),
        "outputs": send_button,
        "show_progress": "hidden",
        "queue": False,
    }
    sending.then(**ready)
    stop_button.click(**ready, cancels=[sending])
    clear_button.click(cleared, None, outputs, cancels=[sending], show_progress="hidden")
    for chatbot in (tuned_chatbot, base_chatbot):  # its own waste basket empties both panes, and the history with them
        chatbot.clear(cleared, None, outputs, cancels=[sending], show_progress="hidden")
    for control in (model_dropdown, beside_checkbox):
        control.change(
            lambda picked, beside: gr.Chatbot(visible=beside and (picked or "").startswith("adapter:")),
            [model_dropdown, beside_checkbox],
            base_chatbot,
            show_progress="hidden",
        )
    model_dropdown.change(cleared, None, outputs, cancels=[sending], show_progress="hidden")
    refresh_wiring = {"inputs": [browser_key, model_dropdown], "outputs": model_dropdown, "show_progress": "hidden"}
    return ChatTab(on_refresh, refresh_wiring, open_adapter)


def cleared():
    """Empty panes: another model, or a new conversation, starts without the words of the last."""
    return gr.skip(), [], [], {"tuned": [], "base": []}, hint("Say something."), gr.Button(interactive=True)


def check_text(text: object) -> str:
    """The message, or a UserError when it is empty, no text, or too long to look at."""
    if not isinstance(text, str) or not text.strip():
        raise UserError("There is no message.", "Write one.")
    if len(text) > LONGEST_MESSAGE:
        raise UserError(f"The message has {len(text):,} characters.", f"{LONGEST_MESSAGE:,} are the most.")
    return text


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def answer(
    engine: Engine, model: Model, said: dict, pane: str, text: str, system: str, sampling: Sampling
) -> Iterator[Reply]:
    """Stream the answer of `model` into the transcript of its pane. A stop in between keeps what came until then."""
    before = said[pane] + [user(text)]
    messages = ([{"role": "system", "content": system}] if system.strip() else []) + before
    stop = threading.Event()
    try:
        for reply in engine.reply(model, messages, sampling, stop):
            said[pane] = [*before, {"role": "assistant", "content": reply.text}]
            yield reply
    finally:
        stop.set()


def model_choices(owner: str) -> list[tuple[str, str]]:
    """What the dropdown offers, as (label, value): the owner's adapters, newest first, then the bases."""
    return [(f"Adapter: {adapter.name}", f"adapter:{adapter.name}") for adapter in list_adapters(owner)] + BASE_CHOICES


def pick(value: str | None, owner: str) -> Picked:
    """The model behind a choice of the dropdown, looked up for `owner` only. Raises UserError."""
    kind, _, name = (value or "").partition(":")
    if kind == "adapter":
        adapter = find_adapter(name, owner)
        base = choose_base(adapter.base_choice, adapter.base_revision)
        return Picked(adapter.name, Model(fetch_base(base), adapter_folder=adapter.folder), base)
    if value not in [choice for _, choice in BASE_CHOICES]:
        raise UserError("This model is not in the list.", "Pick one of the list.")
    base = choose_base(name)
    return Picked(base.model_id, Model(fetch_base(base)), base)


def hint(text: str) -> str:
    return f"<p class='hint'>{html.escape(text)}</p>"


def meter(chosen: Picked, pane: str, reply: Reply) -> str:
    """The line under the panes: who answers on which base and why, and how full the window is."""
    who = chosen.name if pane == "tuned" else f"{chosen.base.model_id} without the adapter"
    parts = [f"{who}, base {chosen.base}", f"{reply.tokens_used} of {reply.window} tokens used"]
    if reply.left_out:
        parts.append(f"{reply.left_out} earlier turns left out")
    if reply.new_tokens and not reply.ended:
        parts.append("cut off at the longest answer")
    return hint(" · ".join(parts))
