"""The handlers of the Chat tab: send, retry, undo, edit, continue. Each of them determines the visitor anew.

The conversation is kept in the page, which sends it with each event; the server has it only while it is answered.
"""

import copy
import html
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from chat.conversation import MAX_PANES, Conversation, ask, check_room, cut, new_conversation, said, set_models, undo
from chat.records import Record, is_conversation, keep, next_to_go, records_of
from chat.sampling import Sampling
from common.errors import UserError
from common.language import _
from ui.chat import view as chat_view
from ui.chat.answer import SHOW_SECONDS, Answer, Engines, answer, as_draft, end_early, is_answering, update_summary
from ui.chat.checks import check_text, place_of
from ui.chat.layout import Layout, as_examples
from ui.chat.models import BESIDE_BASE, prompts_to_try, with_titles
from ui.chat.settings import CUSTOM, NAMED_FIELDS, PRESETS, SUMMARISE, named_values, sampling_of
from ui.chat.store import open_conversation
from ui.chat.updates import at_rest, moved_view, whole_view
from ui.events import Updates, Values
from ui.messages import shown
from ui.owner import Visitor, owner_of, visitor_of
from ui.patches.whole_value import whole

DRAFT_SECONDS = 1.0


@dataclass
class ChatHandlers:
    """The handlers, with the components that they read and update."""

    layout: Layout
    browser_key: gr.BrowserState
    engines: Engines
    # {(owner, id): the conversation} of those whose answers are on their way: a mark that is set meanwhile is written there
    live: dict[tuple[str, str], Conversation] = field(default_factory=dict)

    def inputs(self, *more) -> set:
        """Return the inputs of every handler of an answer, and `more`."""
        own = self.layout
        inputs = {self.browser_key, own.conversation, own.store, own.model_dropdown, own.beside_dropdown}
        return inputs | {
            own.message_box,
            own.settings.system_box,
            own.settings.full_radio,
            own.settings.summary_box,
            *own.settings.sampling.values(),
            *more,
        }

    def outputs(self) -> list:
        """Return the components that an answer may update."""
        own, panes = self.layout, self.layout.panes
        outputs: list = [own.conversation, own.store, own.draft, own.message_box]
        outputs += [own.send_button, own.stop_button, own.continue_button]
        outputs += [
            own.seen_html,
            own.settings.summary_box,
            own.settings.system_box,
            own.model_dropdown,
            own.beside_dropdown,
        ]
        return outputs + panes.columns + panes.chatbots + panes.meters + panes.better_buttons

    @shown
    def send(self, values: Values, token: gr.OAuthToken | None, request: gr.Request | None = None):
        """Add the typed message to the conversation and stream the answers."""
        visitor, conversation, sampling = self.begin(values, token, request)
        text = check_text(values[self.layout.message_box])
        ask(conversation, text)
        yield from self._answer(values, conversation, visitor, sampling, everybody(conversation), text)

    def retry(self, pane: int):
        """Return the handler that answers the last message again in one pane, with another seed."""

        @shown
        def again(values: Values, token: gr.OAuthToken | None, request: gr.Request | None = None):
            visitor, conversation, sampling = self.begin(values, token, request)
            if pane >= len(conversation["panes"]) or not said(conversation):
                raise UserError(_("There is no answer to retry."), _("Send a message first."))
            messages = conversation["panes"][pane]["messages"]
            messages[-1] = {"role": "assistant", "content": "", "tries": messages[-1].get("tries", 0) + 1}
            yield from self._answer(values, conversation, visitor, sampling, [pane])

        return again

    @shown
    def continue_answer(self, values: Values, token: gr.OAuthToken | None, request: gr.Request | None = None):
        """Continue the answers that were cut off or stopped; all of them when none was."""
        visitor, conversation, sampling = self.begin(values, token, request)
        check_room(conversation)
        last = [pane["messages"][-1] if pane["messages"] else {} for pane in conversation["panes"]]
        can = [place for place, message in enumerate(last) if message.get("content", "").strip()]
        if not can:
            raise UserError(_("There is no answer to continue."), _("Send a message first."))
        cut_off = [place for place in can if last[place].get("end")]
        yield from self._answer(values, conversation, visitor, sampling, cut_off or can, continuing=True)

    @shown
    def undo(self, values: Values, token: gr.OAuthToken | None):
        """Remove the last turn, and put its message back into the box."""
        conversation = self.begin(values, token)[1]
        text = undo(conversation)
        return {self.layout.message_box: text, **self.saved(values, conversation)}

    def edit(self, pane: int):
        """Return the handler of edits in one pane: a changed question is answered anew, a changed answer is kept as it is."""

        @shown
        def edited(values: Values, data: gr.EditData, token: gr.OAuthToken | None, request: gr.Request | None = None):
            visitor, conversation, sampling = self.begin(values, token, request)
            place, text = place_of(conversation, pane, data.index), check_text(chat_view.written(data.value))
            if conversation["panes"][pane]["messages"][place]["role"] == "assistant":
                message = conversation["panes"][pane]["messages"][place]
                message |= {"content": text, "is_edited": True, "rated": None}
                message.pop("end", None)
                yield self.saved(values, conversation)
                return
            cut(conversation, place)
            ask(conversation, text)
            yield from self._answer(values, conversation, visitor, sampling, everybody(conversation))

        return edited

    @shown
    def stopped(self, values: Values, token: gr.OAuthToken | None):
        """Keep the text so far after a stop."""
        owner_of(values[self.browser_key], token)
        return self.saved(values, end_early(self.open_one(values) or new_conversation(self.models(values))))

    @shown
    def models_changed(self, values: Values, token: gr.OAuthToken | None):
        """Show the conversation with the models that are picked now; the text of an answer that this stopped is kept.

        An adapter is compared with its base unless that is taken out; a base has none.
        """
        own, open_one = self.layout, self.open_one(values)
        had_base = bool(open_one) and open_one["panes"][0]["model"].startswith("adapter:")
        has_base = str(values[own.model_dropdown]).startswith("adapter:")
        if has_base != had_base:
            beside = values[own.beside_dropdown] if isinstance(values[own.beside_dropdown], list) else []
            beside = [one for one in beside if one != BESIDE_BASE[1]]
            values = {**values, own.beside_dropdown: [BESIDE_BASE[1], *beside] if has_base else beside}
        changes = self.saved(values, self.begin(values, token)[1])
        return {**changes, own.beside_dropdown: values[own.beside_dropdown]}

    @shown
    def start_new(self, values: Values, token: gr.OAuthToken | None):
        """Keep the open conversation in the browser and show an empty one."""
        owner, own = owner_of(values[self.browser_key], token), self.layout
        conversation = new_conversation(self.models(values), values[own.settings.system_box] or "")
        return {
            **at_rest(own, with_titles(conversation, owner)),
            own.store: self.with_open_one(values),
            own.seen_html: chat_view.seen_later(),
        }

    def example(self, data: gr.SelectData) -> str:
        """Return the text of the clicked example, for the message box."""
        return str(data.value.get("text", "")) if isinstance(data.value, dict) else ""

    def preset(self, name: str) -> str:
        """Return the system prompt of a preset."""
        return str(PRESETS[name][1]) if name in PRESETS else ""

    def named(self, name: str) -> list[Any]:
        """Return the values of the sliders for a named choice of sampling; a custom one changes nothing."""
        return [gr.skip() for one in NAMED_FIELDS] if name == CUSTOM else named_values(name)

    @shown
    def prompts(self, token: gr.OAuthToken | None, key, model):
        """Return prompts to try with the first model: of its own held-out rows, where an adapter has some."""
        return gr.Chatbot(examples=as_examples(prompts_to_try(model, owner_of(key, token))))

    def begin(self, values: Values, token, request: gr.Request | None = None) -> tuple[Visitor, Conversation, Sampling]:
        """Return (visitor, conversation with the panes that are picked now, settings). Raises UserError."""
        visitor, settings = visitor_of(values[self.browser_key], token, request), self.layout.settings.sampling
        sampling = sampling_of({name: values[part] for name, part in settings.items()})
        return visitor, with_titles(self.current(values), visitor.owner), sampling

    def current(self, values: Values) -> Conversation:
        """Return the conversation with the picked models and the typed system prompt and summary; no answer in progress.

        It is the page's state at the start of the event, or another tab's when that is later.
        """
        own = self.layout
        conversation = end_early(self._latest(values) or new_conversation(self.models(values)))
        set_models(conversation, self.models(values))
        conversation["system"] = str(values[own.settings.system_box] or "")
        conversation["summary"] = str(values[own.settings.summary_box] or "") if conversation["summarised"] else ""
        return conversation

    def open_one(self, values: Values) -> Conversation | None:
        """Return the conversation that the page shows, None before the first message."""
        return open_conversation(values[self.layout.conversation])

    def _latest(self, values: Values) -> Conversation | None:
        """Return the last state of the open conversation: the page's, or the browser's when another tab changed it later."""
        open_one = self.open_one(values)
        if not open_one:
            return None
        stored = filter(is_conversation, records_of(values[self.layout.store]))
        same = [one for one in stored if one["id"] == open_one["id"]]
        return max([open_one, *same], key=lambda one: one["changed"])

    def models(self, values: Values) -> list[str]:
        """Return the models of the panes: the first, and those beside it that differ from it."""
        first = str(values[self.layout.model_dropdown] or "")
        beside = values[self.layout.beside_dropdown]
        beside = beside if isinstance(beside, list) else []
        has_base = first.startswith("adapter:")
        others = [str(one) for one in beside if one != first and (has_base or one != "bare:")]
        return list(dict.fromkeys([first, *others]))[:MAX_PANES]

    def _answer(
        self, values, conversation, visitor, sampling, panes, text: str = "", continuing: bool = False
    ) -> Iterator[Updates]:
        """Stream the answers into the page. When none comes, conversation and message box are restored."""
        own = self.layout
        wait: Updates = {own.send_button: gr.Button(visible=False), own.stop_button: gr.Button(visible=True)}
        wait[own.continue_button] = gr.Button(interactive=False)
        cleared = {own.message_box: ""} if text else {}
        for pane in panes:
            conversation["panes"][pane]["messages"][-1]["doing"] = ""
        answers: list[Answer] = []
        key, drafted = (visitor.owner, conversation["id"]), time.monotonic()
        self.live[key] = conversation
        try:
            page = {own.conversation: copy.deepcopy(conversation), own.draft: as_draft(conversation)}
            yield {**page, **cleared, **wait, **whole_view(own, conversation)}
            for answers in answer(self.engines, conversation, visitor, sampling, panes, continuing):  # noqa: B007, read below
                # a copy: Gradio sends what differs from the one before
                page = {own.conversation: copy.deepcopy(conversation), **moved_view(own, conversation, panes)}
                if time.monotonic() > drafted + DRAFT_SECONDS:
                    page[own.draft], drafted = as_draft(conversation), time.monotonic()
                yield page
            seen = "".join(chat_view.seen_table(one.picked.name, one.reply.seen) for one in answers)
            yield {**self.saved(values, conversation), own.seen_html: seen}
            if values[own.settings.full_radio] == SUMMARISE:
                yield from self._summarise(values, conversation, visitor, wait)
        except Exception:  # whatever it was, the page can be used on; it is raised again, and shown at the edge
            has_come = any(one.reply.new_tokens for one in answers)
            back = {own.message_box: text} if text and not has_come else {}
            saved = self.saved(values, conversation if has_come else self.current(values))
            yield {**saved, own.conversation: whole(saved[own.conversation]), **back}
            raise
        finally:
            if self.live.get(key) is conversation:
                del self.live[key]

    def _summarise(self, values, conversation: Conversation, visitor: Visitor, wait: Updates) -> Iterator[Updates]:
        """Stream the summary into the page; an error in it does not affect the answer."""
        shown_at = 0.0
        try:
            for _reply in update_summary(self.engines, conversation, visitor):
                if time.monotonic() > shown_at + SHOW_SECONDS:
                    shown_at = time.monotonic()
                    yield {**wait, self.layout.settings.summary_box: gr.Textbox(conversation["summary"], visible=True)}
        except UserError as error:
            gr.Warning(html.escape(str(_("No summary was written: {reason}", reason=str(error))), quote=False))
        yield self.saved(values, conversation)

    def saved(self, values: Values, conversation: Conversation) -> Updates:
        """Return updates that show the conversation without an answer in progress, and keep it in the browser."""
        records, conversation["changed"] = records_of(values[self.layout.store]), time.time()
        kept = keep(records, conversation)
        before, going = next_to_go(records), next_to_go(kept)
        if going and going["id"] != (before and before["id"]):
            gr.Warning(html.escape(str(chat_view.room_words(going)), quote=False))
        return {self.layout.store: kept, **at_rest(self.layout, conversation)}

    def with_open_one(self, values: Values) -> list[Record]:
        """Return the browser's conversations with the one that is left now, whose answer this event may have stopped."""
        records, left = records_of(values[self.layout.store]), self.open_one(values)
        return keep(records, as_draft(left) if is_answering(left) else left) if left else records


def everybody(conversation: Conversation) -> list[int]:
    """Return the numbers of all panes."""
    return list(range(len(conversation["panes"])))
