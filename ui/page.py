"""The whole page: header, tabs, and what they share. `build()` makes it; app.py serves it."""

import html
import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gradio as gr
from gradio.components.api_component import Api

from chat.engine import Engine
from chat.zero_gpu import ZeroEngine
from common.language import ENGLISH, LANGUAGES, _, current_language, language
from common.paths import MAX_TEMPORARY_SECONDS, home
from common.visitors import as_guest, is_guest
from common.volume import lost_words
from models.hardware import describe_hardware, on_zero_gpu
from ui import programs
from ui.adapters.tab import build_adapters_tab
from ui.chat.store import conversation_store
from ui.chat.tab import build_chat_tab
from ui.door import CLOSED, is_guests, is_locked_out
from ui.evaluate.tab import build_evaluate_tab
from ui.events import QUIET, Wiring
from ui.experiments.tab import build_experiments_tab
from ui.hints import hint_html
from ui.language import language_of, switch_html
from ui.owner import can_sign_in, known_key
from ui.patches.lean_sessions import keep_no_values
from ui.patches.texts import texts_of, translated
from ui.quota import build_quota_line
from ui.theme import ABOUT, MARK, NAME
from ui.train.form_values import lasting_config
from ui.train.run_events import wire
from ui.train.tab import build_train_tab

log = logging.getLogger(__name__)
# Read by nobody but the browser that owns it; a fixed secret keeps it readable when the app restarts.
BROWSER_SECRET = "tinyllama-studio"
SILENT: Wiring = {"inputs": None, "outputs": None, **QUIET}
# A row of tabs is one stop of the Tab key, and arrows lead along it: https://www.w3.org/WAI/ARIA/apg/patterns/tabs/
TAB_KEYS = """
document.addEventListener('focusin', () => document.querySelectorAll('[role=tab]').forEach(
    tab => { tab.tabIndex = tab.getAttribute('aria-selected') === 'true' ? 0 : -1; }));
document.addEventListener('keydown', event => {
    const tab = event.target.closest('[role=tab]'), step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!tab || !step) return;
    const tabs = [...tab.parentElement.querySelectorAll('[role=tab]')];
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    next.click();
    next.focus();
});
"""


class Page(gr.Blocks):
    """A page in each visitor's language, whose handlers answer a call that does not fit them with a sentence and no traceback."""

    @property
    def config(self) -> dict[str, Any]:
        """Return what the browser gets of the page, in the current language."""
        return self._configs.get(current_language()) or self._configs[ENGLISH]

    @config.setter
    def config(self, config: dict[str, Any]) -> None:
        """Take Gradio's: after the page was built, and again when it is launched."""
        texts = getattr(self, "_texts", {})
        self._configs = {ENGLISH: config} | {name: translated(config, of_it) for name, of_it in texts.items()}

    def translate(self, build: "Callable[[], Page]") -> None:
        """Make the page's texts in other languages, with the function that built it. Before it is launched: see `texts_of`."""
        self._texts = {name: texts_of(self.config, self._id, build, name) for name in LANGUAGES if name != ENGLISH}
        self.config = self._configs[ENGLISH]

    def get_api_info(self, *args, **kwargs):
        """Describe the endpoints for programs: in English, for all."""
        with language(ENGLISH):
            return super().get_api_info(*args, **kwargs)

    async def process_api(self, *args, request=None, **kwargs):
        """Answer a call as Gradio does, in the language of its sender, maybe a guest: reading it, the handler, its outputs."""
        sender = getattr(request[0] if isinstance(request, list) else request, "request", None)
        spoken = language_of(sender) if sender else current_language()
        with language(spoken), as_guest(is_guests(sender) if sender else is_guest()):
            if sender and is_locked_out(sender):
                raise gr.Error(str(CLOSED), print_exception=False)
            return await super().process_api(*args, request=request, **kwargs)

    async def preprocess_data(self, block_fn, inputs, *args, **kwargs):
        """Read a call as Gradio does; a call that cannot be read becomes a message.

        Parameters of a program that are left out at the end have their defaults, which gradio_client fills in and curl does not.
        """
        left_out = block_fn.inputs[len(inputs) :]
        if all(isinstance(one, Api) for one in left_out):
            inputs = [*inputs, *(one.value for one in left_out)]
        with _readable():
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)

    async def call_function(self, *args, **kwargs):
        """Call the handler as Gradio does; a call that does not fit its arguments becomes a message."""
        with _readable():  # what a handler itself raises is a gr.Error already, see ui/messages.py
            return await super().call_function(*args, **kwargs)


@contextmanager
def _readable() -> Generator[None]:
    """Turn any error inside into a message for the page, without a traceback."""
    try:
        yield
    except gr.Error as error:
        error.print_exception = False
        raise
    except Exception as error:  # Gradio reads what strangers send without looking at it
        log.info("A call that does not fit its handler: %s", type(error).__name__)
        raise gr.Error(
            str(_("The app cannot read this call.")), title=str(_("This did not work")), print_exception=False
        ) from error


def _header_html() -> str:
    """Return the head of the page: the mark, the name, what it is for, the machine, and the languages."""
    return (
        f"<header class='studio'>{MARK.read_text(encoding='utf-8')}"
        f"<div><h1>{NAME}</h1><p>{html.escape(str(ABOUT))}</p></div>"
        f"<span class='machine'>{html.escape(str(describe_hardware()))}</span>{switch_html()}</header>"
    )


def _opened() -> tuple[gr.Tabs, gr.Accordion]:
    """Show the Adapters tab with a section open. Made at the click: made while the page is built they would stand on it."""
    return gr.Tabs(selected="adapters"), gr.Accordion(open=True)


def build(engine: Engine | ZeroEngine | None = None) -> Page:
    """Return the whole page; its chat asks `engine`, or one of its own. Imports no torch: the Chat tab does when it is opened."""
    keep_no_values()
    # a run has its own copy of its data
    with Page(title=NAME, analytics_enabled=False, delete_cache=(3600, MAX_TEMPORARY_SECONDS)) as page:
        with gr.Row(elem_classes="top"):
            gr.HTML(_header_html(), js_on_load=TAB_KEYS)
            if can_sign_in():
                gr.LoginButton(size="sm", elem_classes="login", scale=0)
        if words := lost_words(home()):
            gr.HTML(hint_html(words), elem_classes="lost")
        if on_zero_gpu():
            build_quota_line(page)
        browser_key = gr.BrowserState("", storage_key="tinyllama-studio-key", secret=BROWSER_SECRET)
        conversations = conversation_store()
        with gr.Tabs() as tabs:
            with gr.Tab(str(_("Train")), id="train") as train_tab:
                train = build_train_tab(browser_key)
                refresh_train, restore_form, plan = wire(train)
            with gr.Tab(str(_("Chat")), id="chat") as chat_tab:
                chat = build_chat_tab(browser_key, conversations, engine or Engine())
            with gr.Tab(str(_("Evaluate")), id="evaluate") as evaluate_tab:
                evaluate = build_evaluate_tab(browser_key)
            with gr.Tab(str(_("Experiments")), id="experiments") as experiments_tab:
                train_config = partial(lasting_config, train.names)
                experiments = build_experiments_tab(browser_key, train.components, train_config)
            with gr.Tab(str(_("Adapters")), id="adapters") as adapters_tab:
                adapters = build_adapters_tab(browser_key)
        first = page.load(known_key, browser_key, browser_key, show_progress="hidden")
        first.then(**restore_form).then(**refresh_train).then(**plan)
        first.then(chat.refresh, **chat.refresh_wiring)
        chat_tab.select(chat.refresh, **chat.refresh_wiring).then(chat.warm_up, **SILENT)
        train_tab.select(**refresh_train)
        evaluate_tab.select(evaluate.load, **evaluate.load_wiring, api_name="evaluation_lists")
        experiments_tab.select(experiments.load, **experiments.load_wiring, api_name="experiment_lists")
        adapters_tab.select(adapters.load, **adapters.load_wiring).then(adapters.account, **adapters.account_wiring)
        for button, name in (
            (train.view.chat_button, train.adapter_name),
            (adapters.chat_button, adapters.adapter_name),
        ):
            button.click(lambda: gr.Tabs(selected="chat"), None, tabs, show_progress="hidden").then(
                chat.open_adapter, inputs=[browser_key, name], outputs=chat.refresh_wiring["outputs"]
            ).then(chat.warm_up, **SILENT)
        for button, name in (
            (train.view.evaluate_button, train.adapter_name),
            (adapters.evaluate_button, adapters.adapter_name),
        ):
            # the form first: the tab that is shown keeps the adapter that is chosen, or takes the newest
            button.click(evaluate.open_adapter, [browser_key, name], evaluate.open_outputs, **QUIET).success(
                lambda: gr.Tabs(selected="evaluate"), None, tabs, **QUIET
            )
        to_adapter = {**adapters.load_wiring, "inputs": [*adapters.load_wiring["inputs"][:-1], train.adapter_name]}
        for button, section in (
            (train.view.share_button, adapters.share_section),
            (train.view.export_button, adapters.export_section),
        ):
            button.click(_opened, None, [tabs, section], **QUIET).then(adapters.load, **to_adapter)
        programs.wire()
        programs.hide_the_rest(page)
    return page
