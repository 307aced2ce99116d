"""From chat to data: a thumb up or down, a corrected answer, or the best of several becomes a row of its owner."""

import html
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from chat.conversation import Conversation, Said, prompt_messages, said
from common.errors import UserError
from common.language import Sentence, _, joined
from common.paths import new_download_folder
from data import feedback
from ui.chat.answer import is_answering
from ui.chat.checks import are_different, place_of
from ui.chat.handlers import ChatHandlers
from ui.chat.view import written
from ui.downloads import build_download, clicking
from ui.events import QUIET, Values
from ui.hints import hint_html
from ui.messages import shown
from ui.owner import owner_of

ROWS_SHOWN = 5
SOURCES: dict[Any, Any] = {
    feedback.LIKED: _("liked"),
    feedback.DISLIKED: _("disliked"),
    feedback.EDITED: _("edited"),
    feedback.PICKED: _("picked"),
    feedback.MADE: _("made"),
}
THUMBS = {feedback.LIKED: "Like", feedback.PICKED: "Like", feedback.DISLIKED: "Dislike"}  # of a row's answer


@dataclass
class DataParts:
    """The components of the data set."""

    name_box: gr.Textbox
    rows_html: gr.HTML
    undo_button: gr.Button
    drop_button: gr.Button
    download_button: gr.Button
    download: gr.DownloadButton


def lay_out_data() -> DataParts:
    """Draw the data set's part of the tab."""
    with gr.Accordion(str(_("Training data from your chats")), open=False):
        name_box = gr.Textbox(
            feedback.DEFAULT_NAME,
            label=str(_("Dataset")),
            info=str(
                _(
                    "Saved to it: thumbs up and down, answers beside your corrections, the better one of two beside the other."
                )
            ),
            max_length=60,
        )
        rows_html = gr.HTML(hint_html(_("No rows yet.")), padding=False)
        with gr.Row():
            undo_button = gr.Button(str(_("Undo")), size="sm", min_width=90)
            drop_button = gr.Button(str(_("Remove last row")), size="sm", min_width=90)
        download_button = gr.Button(str(_("Download the rows")), size="sm")
    return DataParts(name_box, rows_html, undo_button, drop_button, download_button, build_download("chat-rows"))


@dataclass
class DataHandlers:
    """The handlers of the data set."""

    parts: DataParts
    chat: ChatHandlers

    def rate(self, pane: int):
        """Return the handler for the thumbs of one pane; a thumb that is pressed again takes its row out."""

        @shown
        def rated(values: Values, data: gr.LikeData, token: gr.OAuthToken | None):
            visitor, conversation, _sampling = self.chat.begin(values, token)
            live = self.chat.live.get((visitor.owner, conversation["id"]))
            conversation = live or conversation  # the mark must stand where the answer on its way is written
            place = place_of(conversation, pane, data.index)
            message = conversation["panes"][pane]["messages"][place]
            if "doing" in message:
                raise UserError(_("This answer is not complete yet."), _("Rate it when it is."))
            message["rated"] = "Like" if data.liked in (True, "Like") else None
            message["rated"] = "Dislike" if data.liked in (False, "Dislike") else message["rated"]
            if message["rated"]:
                source = feedback.LIKED if message["rated"] == "Like" else feedback.DISLIKED
                self._keep(values, visitor.owner, conversation, pane, place, source)
            else:
                self._drop(values, visitor.owner, _key_of(conversation, pane, place))
            page = {} if live else self.chat.saved(values, conversation)
            return {**page, self.parts.rows_html: self.rows(values, visitor.owner)}

        return rated

    def correct(self, pane: int):
        """Return the handler that keeps a corrected answer beside what it was; an edited message of the user adds no row.

        An answer that is edited back to the model's own words takes the row out.
        """

        @shown
        def corrected(values: Values, data: gr.EditData, token: gr.OAuthToken | None):
            visitor, conversation, _sampling = self.chat.begin(values, token)
            place = place_of(conversation, pane, data.index)
            message = conversation["panes"][pane]["messages"][place]
            if message["role"] == "assistant":
                # of the event: the page may have corrected the conversation already
                before, message["content"] = written(data.previous_value), written(data.value)
                key = _key_of(conversation, pane, place)
                row = feedback.find_row(values[self.parts.name_box], key, visitor.owner) or {}
                worse = row.get("rejected", [])
                if message["content"] in worse:
                    self._drop(values, visitor.owner, key)
                else:
                    worse = worse if row.get("source") == feedback.EDITED else [*worse, before]
                    self._keep(values, visitor.owner, conversation, pane, place, feedback.EDITED, worse)
            return self.rows(values, visitor.owner)

        return corrected

    def better(self, pane: int):
        """Return the handler of "This answer is better" in one pane; pressed again it takes the row out."""

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
            last = {number: one["messages"][place] for number, one in enumerate(conversation["panes"])}
            best, key = last.pop(pane), _key_of(conversation, pane, place)
            row = feedback.find_row(values[self.parts.name_box], key, visitor.owner) or {}
            if row.get("source") == feedback.PICKED and row["messages"][-1]["content"] == best["content"]:
                self._drop(values, visitor.owner, key)
                best["rated"] = None
            else:
                liked = [number for number, other in last.items() if other.get("rated") == "Like"]
                worse = [other["content"] for other in last.values()]
                without = [_key_of(conversation, number, place) for number in liked]
                if self._keep(values, visitor.owner, conversation, pane, place, feedback.PICKED, worse, without):
                    best["rated"] = "Like"
                    for number in liked:
                        last[number]["rated"] = None
            return {**self.chat.saved(values, conversation), self.parts.rows_html: self.rows(values, visitor.owner)}

        return picked

    @shown
    def undo(self, values: Values, token: gr.OAuthToken | None):
        """Take the last change of the data set back, and the thumb or correction in the open conversation that made it."""
        visitor, conversation, _sampling = self.chat.begin(values, token)
        live = self.chat.live.get((visitor.owner, conversation["id"]))
        conversation = live or conversation
        changes = feedback.undo(values[self.parts.name_box], visitor.owner)
        for number, pane in enumerate(conversation["panes"]):
            for place in range(1, len(pane["messages"]), 2):
                if change := changes.get(_key_of(conversation, number, place)):
                    _take_back(pane["messages"][place], *change)
        page = {} if live else self.chat.saved(values, conversation)
        return {**page, self.parts.rows_html: self.rows(values, visitor.owner)}

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

    @shown
    def download(self, values: Values, token: gr.OAuthToken | None):
        """Make a file of the rows, to be offered as a download."""
        owner = owner_of(values[self.chat.browser_key], token)
        path = feedback.find_dataset(values[self.parts.name_box], owner).path
        return str(shutil.copyfile(path, new_download_folder(owner) / path.name))

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
        words = _("Only you can see them. Training (in the Train tab) takes the good ones, and those of pairs.")
        lines = [f"<p><b>{html.escape(name)}</b>: {known[name].counts.words}. {words}</p>"]
        for row in rows[-ROWS_SHOWN:][::-1]:
            asked, answered = (one["content"][:160] for one in row["messages"][-2:])
            source = html.escape(str(SOURCES.get(row.get("source"), row.get("source"))))
            worse = joined(_("(rejected: {answer})", answer=text[:160]) for text in row.get("rejected", []))
            shown_row = f"{asked} → {answered} {worse}"
            lines.append(f"<p class='hint'>{source}: {html.escape(shown_row)}</p>")
        return "".join(lines)

    def _keep(
        self,
        values: Values,
        owner: str,
        conversation: Conversation,
        pane: int,
        place: int,
        source: str,
        rejected: Sequence[str] = (),
        without: Sequence[str] = (),
    ) -> bool:
        """Save the conversation up to an answer as one row, beside `rejected` answers, and say so; return whether it was.

        A correction stays beside what it corrected. An answer that was cut off would teach to stop in the middle: it is not
        saved as a good one. Raises UserError for a message of the user.
        """
        messages = prompt_messages(conversation, pane, place + 1)
        if not messages or messages[-1]["role"] != "assistant":
            raise UserError(_("Only an answer can become a row."))
        message = conversation["panes"][pane]["messages"][place]
        if message.get("end") and source not in (feedback.EDITED, feedback.DISLIKED):
            gr.Warning(str(_("Not saved: this answer is not complete. Continue or correct it first.")))
            return False
        name, key = values[self.parts.name_box], _key_of(conversation, pane, place)
        if message.get("is_edited"):
            rejected = [*(feedback.find_row(name, key, owner) or {}).get("rejected", []), *rejected]
        kept = feedback.keep_row(name, messages, source, key, owner, rejected, without)
        _say(_("Saved to {name}: {counts}.", name=kept.name, counts=kept.counts.words))
        return True

    def _drop(self, values: Values, owner: str, key: str) -> None:
        """Take the row of an answer out, if it is there, and say so."""
        left = feedback.drop_row(values[self.parts.name_box], key, owner)
        _say(_("Taken out of {name}: {counts}.", name=left.name, counts=left.counts.words))

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
        undo: dict[str, Any] = {"api_name": "undo_row", **QUIET}
        parts.undo_button.click(self.undo, everything, [*outputs, parts.rows_html], **undo)
        made = parts.download_button.click(self.download, everything, parts.download, api_name="download_rows", **QUIET)
        made.success(**clicking(parts.download))
        parts.drop_button.click(self.drop_last, everything, parts.rows_html, api_name="drop_row", **QUIET)


def _key_of(conversation: Conversation, pane: int, place: int) -> str:
    """Return the key of an answer's row; it depends on the messages before the answer, too."""
    before, tries = (
        prompt_messages(conversation, pane, place),
        conversation["panes"][pane]["messages"][place].get("tries"),
    )
    return feedback.row_key(conversation["id"], pane, place, before, tries or 0)


def _take_back(message: Said, undone: feedback.Row | None, restored: feedback.Row | None) -> None:
    """Give an answer the thumb of the `restored` row; of an `undone` correction the words that it had before, too."""
    source = restored["source"] if restored else ""
    message["rated"] = THUMBS.get(source)
    if undone and undone["source"] == feedback.EDITED and undone["messages"][-1]["content"] == message["content"]:
        before = restored["messages"][-1]["content"] if restored else next(iter(undone.get("rejected", [])), None)
        message["content"] = before or message["content"]
        message["is_edited"] = source == feedback.EDITED


def _say(words: Sentence) -> None:
    gr.Info(html.escape(str(words), quote=False), duration=4)
