"""From chat to data: a thumb up, a corrected answer, or the best of several becomes a training row of its owner."""

import html
from dataclasses import dataclass
from typing import Any

import gradio as gr

from chat.conversation import Conversation, prompt_messages, said
from common.errors import UserError
from common.language import _, n_
from data import feedback
from ui.chat.answer import is_answering
from ui.chat.checks import are_different, place_of
from ui.chat.handlers import ChatHandlers
from ui.chat.view import written
from ui.events import QUIET, Values
from ui.messages import hint_html, shown
from ui.owner import owner_of

ROWS_SHOWN = 5
SOURCES: dict[Any, Any] = {"liked": _("liked"), "edited": _("edited"), "picked": _("picked")}


@dataclass
class DataParts:
    """The components of the data set."""

    name_box: gr.Textbox
    rows_html: gr.HTML
    drop_button: gr.Button


def lay_out_data() -> DataParts:
    """Draw the data set's part of the tab."""
    with gr.Accordion(str(_("Training data from your chats")), open=False):
        name_box = gr.Textbox(
            feedback.DEFAULT_NAME,
            label=str(_("Dataset")),
            info=str(_("Answers with a thumb up, answers you corrected and the better one of two are saved to it.")),
            max_length=60,
        )
        rows_html = gr.HTML(hint_html(_("No rows yet.")), padding=False)
        drop_button = gr.Button(str(_("Remove last row")), size="sm")
    return DataParts(name_box, rows_html, drop_button)


@dataclass
class DataHandlers:
    """The handlers of the data set."""

    parts: DataParts
    chat: ChatHandlers

    def rate(self, pane: int):
        """Return the handler for the thumbs of one pane."""

        @shown
        def rated(values: Values, data: gr.LikeData, token: gr.OAuthToken | None):
            visitor, conversation, _sampling = self.chat.begin(values, token)
            live = self.chat.live.get((visitor.owner, conversation["id"]))
            conversation = live or conversation  # the mark must stand where the answer on its way is written
            place = place_of(conversation, pane, data.index)
            message = conversation["panes"][pane]["messages"][place]
            if "doing" in message:
                raise UserError(_("This answer is not complete yet."), _("Rate it when it is."))
            is_good = data.liked is True or data.liked == "Like"
            if is_good:
                self._keep(values, visitor.owner, conversation, pane, place, "liked")
            else:
                key = _key_of(conversation, pane, place)
                feedback.drop_row(values[self.parts.name_box], key, visitor.owner)
            message["rated"] = "Like" if is_good else "Dislike" if data.liked in (False, "Dislike") else None
            page = {} if live else self.chat.saved(values, conversation)
            return {**page, self.parts.rows_html: self.rows(values, visitor.owner)}

        return rated

    def correct(self, pane: int):
        """Return the handler that keeps a corrected answer as a row; an edited message of the user adds none."""

        @shown
        def corrected(values: Values, data: gr.EditData, token: gr.OAuthToken | None):
            visitor, conversation, _sampling = self.chat.begin(values, token)
            place = place_of(conversation, pane, data.index)
            message = conversation["panes"][pane]["messages"][place]
            if message["role"] == "assistant":
                message["content"] = written(data.value)
                self._keep(values, visitor.owner, conversation, pane, place, "edited")
            return self.rows(values, visitor.owner)

        return corrected

    def better(self, pane: int):
        """Return the handler of "This answer is better" in one pane."""

        @shown
        def picked(values: Values, token: gr.OAuthToken | None):
            visitor, conversation, _sampling = self.chat.begin(values, token)
            if pane >= len(conversation["panes"]) or not said(conversation):
                raise UserError(_("There is no answer to pick."), _("Send a message first."))
            if is_answering(self.chat.live.get((visitor.owner, conversation["id"]), conversation)):
                raise UserError(_("The answers are not complete yet."), _("Pick one when they are."))
            if not are_different(conversation):
                raise UserError(_("The answers are the same: none is better."), _("Send another message."))
            place = len(said(conversation)) - 1
            if self._keep(values, visitor.owner, conversation, pane, place, "picked"):
                for number, other in enumerate(conversation["panes"]):
                    other["messages"][place]["rated"] = "Like" if number == pane else None
            return {**self.chat.saved(values, conversation), self.parts.rows_html: self.rows(values, visitor.owner)}

        return picked

    @shown
    def show(self, values: Values, token: gr.OAuthToken | None):
        """Return the rows of the named data set as HTML."""
        return self.rows(values, owner_of(values[self.chat.browser_key], token))

    @shown
    def drop_last(self, values: Values, token: gr.OAuthToken | None):
        """Remove the last row, and return the others as HTML."""
        owner, name = owner_of(values[self.chat.browser_key], token), values[self.parts.name_box]
        feedback.drop_last_row(name, owner)
        return self.rows(values, owner)

    def rows(self, values: Values, owner: str) -> str:
        """Return the number of rows and the last of them as HTML."""
        known = {one.name: one for one in feedback.list_datasets(owner)}
        name = feedback.slug(str(values[self.parts.name_box] or "")[:200])
        if name not in known:
            words = _(
                "“{name}” has no rows yet. Press the thumb under a good answer, or correct one with the pencil.",
                name=name,
            )
            return hint_html(words)
        rows = feedback.read_rows(name, owner)
        count = n_(
            "{count:,} row that only you can see. Train on it in the Train tab.",
            "{count:,} rows that only you can see. Train on them in the Train tab.",
            len(rows),
        )
        lines = [f"<p><b>{html.escape(name)}</b>: {count}</p>"]
        for row in rows[-ROWS_SHOWN:][::-1]:
            asked, answered = (one["content"][:160] for one in row["messages"][-2:])
            source = html.escape(str(SOURCES.get(row.get("source"), row.get("source"))))
            lines.append(f"<p class='hint'>{source}: {html.escape(asked)} → {html.escape(answered)}</p>")
        return "".join(lines)

    def _keep(self, values: Values, owner: str, conversation: Conversation, pane: int, place: int, source: str) -> bool:
        """Save the conversation up to an answer as one row, and say so; return whether it was.

        An answer that was cut off would teach to stop in the middle: it is not saved. Raises UserError for a message of the user.
        """
        messages = prompt_messages(conversation, pane, place + 1)
        if not messages or messages[-1]["role"] != "assistant":
            raise UserError(_("Only an answer can become a row."))
        if conversation["panes"][pane]["messages"][place].get("end") and source != "edited":
            gr.Warning(str(_("Not saved: this answer is not complete. Continue or correct it first.")))
            return False
        key = _key_of(conversation, pane, place)
        kept = feedback.keep_row(values[self.parts.name_box], messages, source, key, owner)
        words = n_("Saved to {name}, {count:,} row.", "Saved to {name}, {count:,} rows.", kept.rows, name=kept.name)
        gr.Info(html.escape(str(words), quote=False), duration=4)
        return True

    def wire(self, inputs: set, outputs: list) -> None:
        """Connect the data set's events."""
        parts, panes = self.parts, self.chat.layout.panes
        everything = inputs | {parts.name_box}
        for pane, chatbot in enumerate(panes.chatbots):
            here = [*outputs, parts.rows_html]
            # "multiple": a second thought comes quickly
            rating: dict[str, Any] = {"api_name": f"rate_{pane}", "trigger_mode": "multiple", **QUIET}
            chatbot.like(self.rate(pane), everything, here, **rating)
            chatbot.edit(self.correct(pane), everything, parts.rows_html, api_name=f"correct_{pane}", **QUIET)
            better = panes.better_buttons[pane]
            better.click(self.better(pane), everything, here, api_name=f"better_{pane}", **QUIET)
        parts.name_box.change(self.show, everything, parts.rows_html, api_name="rows", **QUIET)
        parts.drop_button.click(self.drop_last, everything, parts.rows_html, api_name="drop_row", **QUIET)


def _key_of(conversation: Conversation, pane: int, place: int) -> str:
    """Return the key of an answer's row; it depends on the messages before the answer, too."""
    return feedback.row_key(conversation["id"], pane, place, prompt_messages(conversation, pane, place))
