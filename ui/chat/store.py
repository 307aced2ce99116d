"""Where a browser keeps its conversations: one list in its localStorage, shared by all open tabs of the page.

    tinyllama-studio-chats                {"version": 1, "conversations": [...]}
    tinyllama-studio-chats:<id>           a conversation whose answer is in progress, so that a reload loses nothing

The list holds conversations and, for deleted ones, {"id", "changed", "deleted"}. Before a tab writes it reads what the others
wrote: of two entries with one id the last changed stays. What cannot be read (another version's list, a damaged entry) stays in
the list as {"id", "changed", "unread"}, and the page offers it as a file. The server keeps none: a page sends with each event
the open conversation and the browser's list, and both are checked like any input.
"""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from chat.conversation import Conversation
from chat.records import is_conversation, records_of

KEY = "tinyllama-studio-chats"
VERSION = 1
MAX_DELETED_RECORDS = 200  # remembered, so that a tab that still holds one does not bring it back

MERGE = f"""(ours, theirs) => {{
  const latest = new Map();
  for (const one of [...ours, ...theirs]) {{
    const known = latest.get(one.id);
    if (!known || one.changed > known.changed) latest.set(one.id, one);
  }}
  let deleted = 0;
  return [...latest.values()]
    .sort((one, other) => other.changed - one.changed)
    .filter((one) => !one.deleted || ++deleted <= {MAX_DELETED_RECORDS});
}}"""
# Everything that lies in the browser as one list.
READ = f"""(storage) => {{
  const isOne = (one) => one && typeof one.id === "string" && Number.isFinite(one.changed);
  const numberOf = (text) => [...text].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 1e9, 7);
  const unread = (text) => [{{ id: `unread-${{numberOf(text)}}`, changed: 1, unread: text }}];
  const parsed = (text) => {{ try {{ return JSON.parse(text); }} catch {{ return undefined; }} }};
  const listed = (list) => list.flatMap((one) => (isOne(one) ? [one] : unread(JSON.stringify(one))));
  const text = storage.getItem("{KEY}"), kept = parsed(text);
  const isOurs = kept && kept.version === {VERSION} && Array.isArray(kept.conversations);
  const now = text === null ? [] : isOurs ? listed(kept.conversations) : unread(text);
  const drafts = Object.keys(storage).filter((key) => key.startsWith("{KEY}:"));
  return [...now, ...drafts.map((key) => parsed(storage.getItem(key))).filter(isOne)];
}}"""
_KEEP = f"""
const merge = {MERGE};
const read = () => merge(({READ})(localStorage), []);
const show = (list) => {{ if (JSON.stringify(list) !== JSON.stringify(props.value)) props.value = list; }};
show(read());
watch("value", () => {{
  const merged = merge(props.value || [], read());
  const text = JSON.stringify({{ version: {VERSION}, conversations: merged }});
  try {{
    if (text !== localStorage.getItem("{KEY}")) localStorage.setItem("{KEY}", text);
    Object.keys(localStorage).filter((key) => key.startsWith("{KEY}:")).forEach((key) => localStorage.removeItem(key));
  }} catch (error) {{ console.error("The browser has no room for the conversations", error); }}
  show(merged);
}});
window.addEventListener("storage", (event) => {{ if (event.key === "{KEY}") show(read()); }});
"""
_DRAFT = f"""
let mine = null;
watch("value", () => {{
  const draft = props.value;
  try {{
    if (mine && mine !== draft?.id) localStorage.removeItem("{KEY}:" + mine);
    mine = draft?.id || null;
    if (mine) localStorage.setItem("{KEY}:" + mine, JSON.stringify(draft));
  }} catch (error) {{ console.error("The browser has no room for the answer on its way", error); }}
}});
"""


@dataclass
class BrowserStore:
    """The invisible components whose values are kept in the browser."""

    conversations: gr.HTML  # the list
    draft: gr.HTML  # the conversation that is being answered, None when none is
    open_one: gr.HTML  # the conversation that the page shows, None at the start; it lies in the page alone


def conversation_store() -> BrowserStore:
    """Return those components; they stand outside the tabs, so that they exist from the start."""
    return BrowserStore(_unseen([], _KEEP), _unseen(None, _DRAFT), _unseen(None, ""))


def open_conversation(sent: Any) -> Conversation | None:
    """Check the open conversation as the page sent it; None for none. Answers in progress keep their state."""
    conversation = next(filter(is_conversation, records_of([sent])), None)
    for pane, given in zip(conversation["panes"], sent["panes"], strict=True) if conversation else ():
        for message, written in zip(pane["messages"], given["messages"], strict=True):
            if "doing" in written:
                message["doing"] = str(written["doing"])[:300]
    return conversation


def _unseen(value, script: str) -> gr.HTML:
    """Return an invisible component that keeps a value, with a script that runs when it is loaded."""
    return gr.HTML(value, html_template="", js_on_load=script or None, elem_classes="nothing-to-see", padding=False)
