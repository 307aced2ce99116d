"""Several conversations: their list, search, titles, export and import. They are kept in the browser that they belong to.

The server holds none of them: what the browser sends is checked like anything from outside, and an export is made of text that
the page itself offers as a file.
"""

import json
import time
from dataclasses import dataclass

import gradio as gr

from chat.conversation import (
    LONGEST_TITLE,
    deleted,
    find,
    from_json,
    keep,
    new_conversation,
    next_to_go,
    records_of,
    to_markdown,
)
from common.errors import UserError
from common.paths import slug
from ui.chat_handlers import ChatHandlers
from ui.chat_view import DOWNLOAD, room_words
from ui.messages import shown
from ui.owner import owner_of

LARGEST_IMPORT = 5_000_000  # bytes
HOW = "The last used first. Pick one to go on with it."


@dataclass
class Conversations:
    """The components of the list."""

    search_box: gr.Textbox
    list_radio: gr.Radio
    title_box: gr.Textbox
    rename_button: gr.Button
    delete_button: gr.Button
    markdown_button: gr.Button
    json_button: gr.Button
    all_button: gr.Button
    import_button: gr.UploadButton
    file_text: gr.Textbox
    file_name: gr.Textbox


def lay_out_conversations() -> Conversations:
    """Draw the list; returns its components."""
    with gr.Accordion("Conversations", open=False):
        search_box = gr.Textbox("", label="Search", placeholder="words of a title or of what was said")
        list_radio = gr.Radio([], label="Kept in this browser", info=HOW)
        with gr.Row():
            title_box = gr.Textbox("", label="Title", max_length=LONGEST_TITLE, scale=3, min_width=200)
            rename_button = gr.Button("Rename", scale=1, min_width=90)
            delete_button = gr.Button("Delete", variant="stop", scale=1, min_width=90)
        with gr.Row():
            markdown_button = gr.Button("Export as Markdown", min_width=160)
            json_button = gr.Button("Export as JSON", min_width=160)
            all_button = gr.Button("Export all", min_width=160)
            import_button = gr.UploadButton("Import JSON", file_types=[".json"], min_width=160)
    file_text, file_name = gr.Textbox(visible=False), gr.Textbox(visible=False)
    return Conversations(
        search_box,
        list_radio,
        title_box,
        rename_button,
        delete_button,
        markdown_button,
        json_button,
        all_button,
        import_button,
        file_text,
        file_name,
    )


@dataclass
class ConversationHandlers:
    """The handlers of the list."""

    parts: Conversations
    chat: ChatHandlers

    def stored(self, values: dict) -> list[dict]:
        """The browser's conversations, the last changed first."""
        return [one for one in records_of(values[self.chat.layout.store]) if "panes" in one]

    def choices(self, values: dict) -> dict:
        """The list as it is now, with the open conversation marked."""
        kept = self.stored(values)
        found = find(kept, str(values.get(self.parts.search_box) or ""))
        open_one = values.get(self.chat.layout.conversation) or {}
        known = [one["id"] for one in found]
        value = open_one.get("id") if open_one.get("id") in known else None
        labels = [(one["title"] or "Untitled", one["id"]) for one in found]
        title = open_one.get("title", "") if value else ""
        going = next_to_go(kept)
        info = room_words(going) if going else HOW
        return {self.parts.list_radio: gr.Radio(labels, value=value, info=info), self.parts.title_box: title}

    @shown
    def list_them(self, values: dict, token: gr.OAuthToken | None):
        owner_of(values[self.chat.browser_key], token)
        return self.choices(values)

    @shown
    def open_one(self, values: dict, token: gr.OAuthToken | None):
        """Go on with a conversation: its models, its system prompt, its words."""
        owner_of(values[self.chat.browser_key], token)
        wanted = values[self.parts.list_radio]
        conversation = next((one for one in self.stored(values) if one["id"] == wanted), None)
        if conversation is None:
            raise UserError("This conversation is gone.", "It may have been deleted in another tab.")
        changes = {**self.opened(conversation), self.parts.title_box: conversation["title"]}
        return {**changes, self.chat.layout.store: self.chat.with_open_one(values)}

    def opened(self, conversation: dict) -> dict:
        """The page with this conversation in it."""
        own = self.chat.layout
        first, *beside = [pane["model"] for pane in conversation["panes"]]
        picked = {own.model_dropdown: first, own.beside_dropdown: beside, own.system_box: conversation["system"]}
        return {**picked, own.seen_html: "", **self.chat.at_rest(conversation)}

    @shown
    def rename(self, values: dict, token: gr.OAuthToken | None):
        owner_of(values[self.chat.browser_key], token)
        conversation = self._open(values)
        conversation["title"] = str(values[self.parts.title_box] or "").strip()[:LONGEST_TITLE] or conversation["title"]
        conversation["changed"] = time.time()
        return self._changed(values, keep(self._records(values), conversation), conversation)

    @shown
    def delete(self, values: dict, token: gr.OAuthToken | None):
        owner_of(values[self.chat.browser_key], token)
        gone = deleted(self._open(values))
        conversation = new_conversation(self.chat.models(values))
        others = [one for one in self._records(values) if one["id"] != gone["id"]]
        changes = self._changed(values, [gone, *others], conversation)
        return {**changes, **self.chat.at_rest(conversation)}

    @shown
    def import_one(self, values: dict, token: gr.OAuthToken | None):
        owner_of(values[self.chat.browser_key], token)
        with open(str(values[self.parts.import_button]), "rb") as file:
            content = file.read(LARGEST_IMPORT + 1)
        if len(content) > LARGEST_IMPORT:
            raise UserError(f"The file is larger than {LARGEST_IMPORT // 1_000_000} MB.")
        records, given = self.chat.with_open_one(values), from_json(content.decode("utf-8", "replace"))
        for conversation in given[::-1]:
            records = keep(records, conversation)
        return {**self._changed(values, records, given[0]), **self.opened(given[0])}

    @shown
    def export_markdown(self, values: dict, token: gr.OAuthToken | None):
        owner_of(values[self.chat.browser_key], token)
        conversation = self._open(values)
        return to_markdown(conversation), f"{slug(conversation['title'] or 'conversation')}.md"

    @shown
    def export_json(self, values: dict, token: gr.OAuthToken | None):
        owner_of(values[self.chat.browser_key], token)
        conversation = self._open(values)
        text = json.dumps(conversation, indent=2, ensure_ascii=False)
        return text, f"{slug(conversation['title'] or 'conversation')}.json"

    @shown
    def export_all(self, values: dict, token: gr.OAuthToken | None):
        owner_of(values[self.chat.browser_key], token)
        kept = self.stored(values)
        if not kept:
            raise UserError("There is no conversation to export.", "Say something first.")
        return json.dumps(kept, indent=2, ensure_ascii=False), "conversations.json"

    def _records(self, values: dict) -> list[dict]:
        return records_of(values[self.chat.layout.store])

    def _open(self, values: dict) -> dict:
        conversation = values[self.chat.layout.conversation]
        if not conversation or not conversation["panes"][0]["messages"]:
            raise UserError("There is no conversation open.", "Pick one of the list, or say something.")
        return conversation

    def _changed(self, values: dict, stored: list[dict], conversation: dict) -> dict:
        own = self.chat.layout
        values = {**values, own.store: stored, own.conversation: conversation}
        return {own.store: stored, own.conversation: conversation, **self.choices(values)}

    def wire(self, inputs: set, outputs: list, running: list, changing: list) -> None:
        """Connect the list's events; opening, deleting and importing cancel what is `running`; after `changing` events another
        conversation may be open, which the list has to show.
        """
        parts, own = self.parts, self.chat.layout
        quiet = {"show_progress": "hidden", "api_visibility": "undocumented"}
        everything = inputs | {parts.search_box, parts.list_radio, parts.title_box}
        here = [parts.list_radio, parts.title_box]
        parts.search_box.change(self.list_them, everything, here, api_name="list_conversations", **quiet)
        own.store.change(self.list_them, everything, here, api_name="list_kept_conversations", **quiet)
        for event in changing:
            event.then(self.list_them, everything, here, **quiet)
        parts.rename_button.click(self.rename, everything, outputs + here, api_name="rename_conversation", **quiet)
        chosen = everything | {parts.import_button}
        for on, handler, inputs_of, name in (
            (parts.list_radio.input, self.open_one, everything, "open_conversation"),
            (parts.delete_button.click, self.delete, everything, "delete_conversation"),
            (parts.import_button.upload, self.import_one, chosen, "import_conversation"),
        ):  # first the end of an answer, then what follows: a last word would come over it
            on(None, cancels=running).then(handler, inputs_of, outputs + here, api_name=name, **quiet)
        for button, handler, name in (
            (parts.markdown_button, self.export_markdown, "export_markdown"),
            (parts.json_button, self.export_json, "export_json"),
            (parts.all_button, self.export_all, "export_all"),
        ):
            made = [parts.file_text, parts.file_name]
            button.click(handler, everything, made, api_name=name, **quiet).success(None, made, None, js=DOWNLOAD)
