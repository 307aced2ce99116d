"""Several conversations: their list, search, titles, export and import. They are kept in the browser that they belong to.

The server holds none of them: what the browser sends is checked like anything from outside, and an export is made of text that
the page itself offers as a file.
"""

import json
from dataclasses import dataclass

import gradio as gr

from chat.conversation import LONGEST_TITLE, checked, find, from_json, keep, new_conversation, to_markdown
from common.errors import UserError
from common.paths import slug
from ui.chat_handlers import ChatHandlers
from ui.chat_view import DOWNLOAD
from ui.messages import shown
from ui.owner import owner_of

LARGEST_IMPORT = 5_000_000  # bytes


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
    import_button: gr.UploadButton
    file_text: gr.Textbox
    file_name: gr.Textbox


def lay_out_conversations() -> Conversations:
    """Draw the list; returns its components."""
    with gr.Accordion("Conversations", open=False):
        search_box = gr.Textbox("", label="Search", placeholder="words of a title or of what was said")
        list_radio = gr.Radio([], label="Kept in this browser", info="The last used first. Pick one to go on with it.")
        with gr.Row():
            title_box = gr.Textbox("", label="Title", max_length=LONGEST_TITLE, scale=3, min_width=200)
            rename_button = gr.Button("Rename", scale=1, min_width=90)
            delete_button = gr.Button("Delete", variant="stop", scale=1, min_width=90)
        with gr.Row():
            markdown_button = gr.Button("Export as Markdown", min_width=160)
            json_button = gr.Button("Export as JSON", min_width=160)
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
        """The browser's conversations, those that are none left out."""
        found = values[self.chat.layout.store]
        kept = []
        for one in found if isinstance(found, list) else []:
            try:
                kept.append(checked(one))
            except (UserError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
                continue
        return kept

    def choices(self, values: dict) -> dict:
        """The list as it is now, with the open conversation marked."""
        found = find(self.stored(values), str(values.get(self.parts.search_box) or ""))
        open_one = values.get(self.chat.layout.conversation) or {}
        known = [one["id"] for one in found]
        value = open_one.get("id") if open_one.get("id") in known else None
        labels = [(one["title"] or "Untitled", one["id"]) for one in found]
        title = open_one.get("title", "") if value else ""
        return {self.parts.list_radio: gr.Radio(labels, value=value), self.parts.title_box: title}

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
        return {**changes, self.chat.layout.store: self.with_open_one(values)}

    def with_open_one(self, values: dict) -> list[dict]:
        """The browser's conversations with the one that is left now: it may have been stopped by this very click."""
        left = values[self.chat.layout.conversation]
        stored = self.stored(values)
        return stored if not left or left in stored else keep(stored, left)

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
        return self._changed(values, keep(self.stored(values), conversation), conversation)

    @shown
    def delete(self, values: dict, token: gr.OAuthToken | None):
        owner_of(values[self.chat.browser_key], token)
        gone = self._open(values)["id"]
        conversation = new_conversation(self.chat.models(values))
        changes = self._changed(values, [one for one in self.stored(values) if one["id"] != gone], conversation)
        return {**changes, **self.chat.at_rest(conversation)}

    @shown
    def import_one(self, values: dict, token: gr.OAuthToken | None):
        owner_of(values[self.chat.browser_key], token)
        with open(str(values[self.parts.import_button]), "rb") as file:
            content = file.read(LARGEST_IMPORT + 1)
        if len(content) > LARGEST_IMPORT:
            raise UserError(f"The file is larger than {LARGEST_IMPORT // 1_000_000} MB.")
        conversation = from_json(content.decode("utf-8", "replace"))
        changes = self._changed(values, keep(self.with_open_one(values), conversation), conversation)
        return {**changes, **self.opened(conversation)}

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

    def _open(self, values: dict) -> dict:
        conversation = values[self.chat.layout.conversation]
        if not conversation or not conversation["panes"][0]["messages"]:
            raise UserError("There is no conversation open.", "Pick one of the list, or say something.")
        return conversation

    def _changed(self, values: dict, stored: list[dict], conversation: dict) -> dict:
        own = self.chat.layout
        values = {**values, own.store: stored, own.conversation: conversation}
        return {own.store: stored, own.conversation: conversation, **self.choices(values)}

    def wire(self, inputs: set, outputs: list, running: list) -> None:
        """Connect the list's events; opening, deleting and importing cancel what is `running`."""
        parts, own = self.parts, self.chat.layout
        quiet = {"show_progress": "hidden", "api_visibility": "undocumented"}
        everything = inputs | {parts.search_box, parts.list_radio, parts.title_box}
        here = [parts.list_radio, parts.title_box]
        parts.search_box.change(self.list_them, everything, here, api_name="list_conversations", **quiet)
        own.store.change(self.list_them, everything, here, api_name="list_kept_conversations", **quiet)
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
        ):
            made = [parts.file_text, parts.file_name]
            button.click(handler, everything, made, api_name=name, **quiet).success(None, made, None, js=DOWNLOAD)
