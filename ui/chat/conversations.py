"""Several conversations: their list, search, titles, export and import. They are kept in the visitor's browser.

The server stores none of them: what the browser sends is checked like any input, and an export is text that the page itself
offers as a file.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

import gradio as gr

from chat.conversation import MAX_TITLE_CHARACTERS, Conversation, new_conversation, said
from chat.records import (
    MAX_CONVERSATIONS,
    Record,
    deleted,
    find,
    from_json,
    is_conversation,
    keep,
    next_to_go,
    records_of,
    to_markdown,
)
from common.errors import UserError
from common.language import _, n_
from common.paths import slug
from ui.chat.answer import end_early
from ui.chat.handlers import ChatHandlers
from ui.chat.keys import DOWNLOAD, PICKED
from ui.chat.layout import NONE_YET, Conversations, Layout
from ui.chat.models import BASE_AUTO, BESIDE_BASE, model_choices, models_of, said_choices, with_titles
from ui.chat.store import open_conversation
from ui.chat.updates import at_rest
from ui.chat.view import room_words, seen_later
from ui.events import QUIET, Updates, Values
from ui.messages import shown
from ui.owner import owner_of

MAX_IMPORT_BYTES = 5_000_000
NOT_FOUND = _("No chat has all of these words.")


@dataclass
class ConversationHandlers:
    """The handlers of the list."""

    parts: Conversations
    chat: ChatHandlers

    def stored(self, values: Values) -> list[Conversation]:
        """Return the browser's conversations, the last changed first."""
        return list(filter(is_conversation, self._records(values)))

    def unread(self, values: Values) -> list[object]:
        """Return the entries in the browser that are no conversation of this version."""
        kept = values[self.chat.layout.store]
        return [one for one in kept if not records_of([one])] if isinstance(kept, list) else []

    def shows(self) -> list:
        """Return the components that `choices` updates."""
        return [self.parts.list_radio, self.parts.title_box, self.parts.unread_button, self.parts.undo_button]

    def choices(self, values: Values) -> Updates:
        """Return updates for the list, with the open conversation marked. A title that a person is writing stays as it is."""
        kept = self.stored(values)
        found = find(kept, str(values.get(self.parts.search_box) or ""))
        open_one = self.chat.open_one(values) or {}
        known = [one["id"] for one in found]
        value = open_one.get("id") if open_one.get("id") in known else None
        labels = [(one["title"] or str(_("Untitled")), one["id"]) for one in found]
        title = open_one.get("title", "") if value else ""
        # an answer ends, or another tab saves one, while a person writes: only what the page itself put there is replaced
        is_written = bool(value) and values.get(self.parts.title_box) not in (None, "", *(one["title"] for one in kept))
        going, unread = next_to_go(kept), len(self.unread(values))
        info = room_words(going) if going else "" if found else NOT_FOUND if kept else NONE_YET
        words = n_(
            "Save {count} unreadable chat as a file",
            "Save {count} unreadable chats as a file",
            unread,
        )
        gone = self.deleted_last(values)
        return {
            self.parts.list_radio: gr.Radio(labels, value=value, info=str(info)),
            self.parts.title_box: gr.skip() if is_written else title,
            self.parts.unread_button: gr.Button(str(words), visible=bool(unread)),
            self.parts.undo_button: gr.Button(visible=gone is not None),
        }

    def deleted_last(self, values: Values) -> Conversation | None:
        """Return the conversation that was deleted last in this page, None when there is none or it is back."""
        gone = open_conversation(values.get(self.parts.gone))
        return None if gone is None or gone["id"] in [one["id"] for one in self.stored(values)] else gone

    @shown
    def list_them(self, values: Values, token: gr.OAuthToken | None):
        """Return updates for the list after a search or a change."""
        owner_of(values[self.chat.browser_key], token)
        return self.choices(values)

    @shown
    def open_one(self, values: Values, token: gr.OAuthToken | None):
        """Open a conversation: its models, its system prompt, its messages."""
        owner = owner_of(values[self.chat.browser_key], token)
        wanted = values[self.parts.picked_box]
        conversation = next((one for one in self.stored(values) if one["id"] == wanted), None)
        if conversation is None:
            raise UserError(_("This chat is gone."), _("It may have been deleted in another tab."))
        changes = {**self.opened(conversation), **self._models(conversation, owner)}
        changes[self.parts.title_box] = conversation["title"]
        return {**changes, self.chat.layout.store: self.chat.with_open_one(values)}

    def opened(self, conversation: Conversation) -> Updates:
        """Return updates that show this conversation in the page."""
        own = self.chat.layout
        first, *beside = [pane["model"] for pane in conversation["panes"]]
        picked = {
            own.model_dropdown: first,
            own.beside_dropdown: beside,
            own.settings.system_box: conversation["system"],
        }
        return {**picked, own.seen_html: seen_later(), **at_rest(self.chat.layout, conversation)}

    def _models(self, conversation: Conversation, owner: str) -> Updates:
        """Return updates for the lists of models that include this conversation's, also those beyond the newest."""
        first, beside = models_of(conversation)
        choices = model_choices(owner, self.chat.engines.remote, [first, *beside])
        return listed_models(self.chat.layout, choices, first, beside)

    @shown
    def rename(self, values: Values, token: gr.OAuthToken | None):
        """Give the open conversation the typed title; an empty one changes nothing."""
        owner_of(values[self.chat.browser_key], token)
        conversation = self._open(values)
        conversation["title"] = (
            str(values[self.parts.title_box] or "").strip()[:MAX_TITLE_CHARACTERS] or conversation["title"]
        )
        conversation["changed"] = time.time()
        return self._changed(values, keep(self._records(values), conversation), conversation)

    @shown
    def delete(self, values: Values, token: gr.OAuthToken | None):
        """Delete the open conversation and open an empty one; the page keeps it for Undo."""
        owner = owner_of(values[self.chat.browser_key], token)
        open_one = end_early(self._open(values))
        gone, conversation = deleted(open_one), with_titles(new_conversation(self.chat.models(values)), owner)
        others = [one for one in self._records(values) if one["id"] != gone["id"]]
        changes = self._changed({**values, self.parts.gone: open_one}, [gone, *others], conversation)
        return {**changes, **at_rest(self.chat.layout, conversation), self.parts.gone: open_one}

    @shown
    def undo_delete(self, values: Values, token: gr.OAuthToken | None):
        """Bring back the conversation that was deleted last in this page, and open it."""
        owner = owner_of(values[self.chat.browser_key], token)
        gone = self.deleted_last(values)
        if gone is None:
            raise UserError(_("There is no deleted chat to bring back."))
        gone["changed"] = time.time()
        opened = {**self.opened(gone), **self._models(gone, owner)}
        return {**self._changed(values, keep(self.chat.with_open_one(values), gone), gone), **opened}

    @shown
    def import_one(self, values: Values, token: gr.OAuthToken | None):
        """Add the conversations of an exported file to the browser's and open the first.

        Raises UserError for a file that is no export, or that has no room beside the conversations that are there.
        """
        owner = owner_of(values[self.chat.browser_key], token)
        path = values[self.parts.import_button]
        if not isinstance(path, str):
            raise UserError(_("No file was chosen."), _("Choose a .json file that was exported here."))
        with open(path, "rb") as file:
            content = file.read(MAX_IMPORT_BYTES + 1)
        if len(content) > MAX_IMPORT_BYTES:
            raise UserError(_("The file is larger than {size} MB.", size=MAX_IMPORT_BYTES // 1_000_000))
        before, given = self.chat.with_open_one(values), from_json(content.decode("utf-8", "replace"))
        if len(given) > MAX_CONVERSATIONS:
            words = _("The file has {count:,} chats; at most {most} fit.", count=len(given), most=MAX_CONVERSATIONS)
            raise UserError(words)
        records = before
        for conversation in given[::-1]:
            records = keep(records, conversation)
        wanted = {one["id"] for one in [*filter(is_conversation, before), *given] if said(one)}
        if not wanted <= {one["id"] for one in filter(is_conversation, records)}:
            words = _("This browser has no room for the file's chats beside yours.")
            raise UserError(words, _("Press “Export all”, then delete some."))
        opened = {**self.opened(given[0]), **self._models(given[0], owner)}
        return {**self._changed(values, records, given[0]), **opened}

    @shown
    def export_markdown(self, values: Values, token: gr.OAuthToken | None):
        """Return (text, file name) of the open conversation as Markdown."""
        owner_of(values[self.chat.browser_key], token)
        conversation = self._open(values)
        return to_markdown(conversation), f"{slug(conversation['title'] or 'conversation')}.md"

    @shown
    def export_json(self, values: Values, token: gr.OAuthToken | None):
        """Return (text, file name) of the open conversation as JSON."""
        owner_of(values[self.chat.browser_key], token)
        conversation = self._open(values)
        text = json.dumps(conversation, indent=2, ensure_ascii=False)
        return text, f"{slug(conversation['title'] or 'conversation')}.json"

    @shown
    def export_all(self, values: Values, token: gr.OAuthToken | None):
        """Return (text, file name) of all conversations as JSON. Raises UserError when there is none."""
        owner_of(values[self.chat.browser_key], token)
        kept = self.stored(values)
        if not kept:
            raise UserError(_("There is no chat to export."), _("Send a message first."))
        return json.dumps(kept, indent=2, ensure_ascii=False), "conversations.json"

    @shown
    def export_unread(self, values: Values, token: gr.OAuthToken | None):
        """Return (text, file name) of the entries that cannot be shown, as JSON."""
        owner_of(values[self.chat.browser_key], token)
        return json.dumps(self.unread(values), indent=2, ensure_ascii=False), "not-readable.json"

    def _records(self, values: Values) -> list[Record]:
        """Return the valid records in the browser."""
        return records_of(values[self.chat.layout.store])

    def _open(self, values: Values) -> Conversation:
        """Return the open conversation. Raises UserError when nothing is said in it yet."""
        conversation = self.chat.open_one(values)
        if not conversation or not conversation["panes"][0]["messages"]:
            raise UserError(_("No chat is open."), _("Pick one from the list, or send a message."))
        return conversation

    def _changed(self, values: Values, stored: list[Record], conversation: Conversation) -> Updates:
        """Return updates for the browser's list, the open conversation and the list that shows both."""
        own = self.chat.layout
        values = {**values, own.store: stored, own.conversation: conversation, self.parts.title_box: ""}
        return {own.store: stored, own.conversation: conversation, **self.choices(values)}

    def wire(self, inputs: set, outputs: list, running: list, changing: list) -> None:
        """Connect the list's events.

        Opening, deleting and importing cancel the `running` events; the list is shown anew after the `changing` ones.
        """
        parts, own = self.parts, self.chat.layout
        # the list itself is no input: Gradio would compare its value with choices that are just being changed
        everything = inputs | {parts.search_box, parts.picked_box, parts.title_box, parts.gone}
        here = self.shows()
        parts.search_box.change(self.list_them, everything, here, api_name="list_conversations", **QUIET)
        own.store.change(self.list_them, everything, here, api_name="list_kept_conversations", **QUIET)
        for event in changing:
            event.then(self.list_them, everything, here, **QUIET)
        parts.rename_button.click(self.rename, everything, outputs + here, api_name="rename_conversation", **QUIET)
        chosen = everything | {parts.import_button}
        # what was picked is noted at once: the list may be drawn anew before its turn comes
        noted = parts.list_radio.input(None, parts.list_radio, parts.picked_box, js=PICKED, cancels=running)
        noted.then(self.open_one, everything, outputs + here, api_name="open_conversation", **QUIET)
        for on, handler, inputs_of, name in (
            (parts.delete_button.click, self.delete, everything, "delete_conversation"),
            (parts.undo_button.click, self.undo_delete, everything, "undo_delete_conversation"),
            (parts.import_button.upload, self.import_one, chosen, "import_conversation"),
        ):  # first the end of an answer, then what follows: a last word would come over it
            on(None, cancels=running).then(handler, inputs_of, [*outputs, *here, parts.gone], api_name=name, **QUIET)
        for button, handler, name in (
            (parts.markdown_button, self.export_markdown, "export_markdown"),
            (parts.json_button, self.export_json, "export_json"),
            (parts.all_button, self.export_all, "export_all"),
            (parts.unread_button, self.export_unread, "export_unread"),
        ):
            made = [parts.file_text, parts.file_name]
            button.click(handler, everything, made, api_name=name, **QUIET).success(None, made, None, js=DOWNLOAD)


def listed_models(own: Layout, choices: list, value: str | None, beside: list[str] | None = None) -> Updates:
    """Return updates for both lists of models.

    `value` and `beside` become the picks, without models that are gone. With `beside` None the picks stay untouched while
    `value` exists: "Chat with it" may be setting them at the same time.
    """
    everything = [*said_choices([BESIDE_BASE]), *choices]
    known = [choice for _label, choice in everything]
    if beside is None and value in known:
        return {own.model_dropdown: gr.Dropdown(choices), own.beside_dropdown: gr.Dropdown(everything)}
    kept: dict[str, Any] = {} if beside is None else {"value": [one for one in beside if one in known]}
    model_dropdown = gr.Dropdown(choices, value=value if value in known else BASE_AUTO)
    return {own.model_dropdown: model_dropdown, own.beside_dropdown: gr.Dropdown(everything, **kept)}
