"""How a conversation is shown: messages for the Chatbot, the meter under a pane, the prompt as the model got it. No events.

Text of people and models is shown as it was written: a tag is text on the screen, too.
"""

import html
import re
from typing import Any

from gradio.components.chatbot import Message, MessageDict

from chat.conversation import Conversation, Pane
from chat.engine import Reply, Seen
from chat.records import MAX_CONVERSATIONS
from ui.chat.models import label_of
from ui.messages import hint_html

# Code is only what no reading of Markdown takes for anything else: a fence at the beginning of a line, and `words` within one
# line of a paragraph in which no other backtick stands.
FENCE = re.compile(r"(^```[^`\n]*\n.*?(?:^ {0,3}```+[ \t]*$|\Z))", re.DOTALL | re.MULTILINE)
PARAGRAPH = re.compile(r"(\n[ \t]*\n)")
CODE = re.compile(r"((?<!`)`[^`\n]+`(?!`))")
NOTE_OPEN, NOTE_CLOSE = "\n\n<small>", "</small>"
MAX_SHOWN_TURNS = 40  # each word that comes draws them all again: a long conversation stays as quick as a short one
LEFT_OUT, NOT_SHOWN = -1, -2
STOPPED, CUT_OFF = "stopped", "cut off at the longest answer; Continue goes on"
NO_WORDS = """### Talk to a model

Pick one above, write below, press Enter. What you fine-tune in the Train tab stands in the list when it is ready."""
EXAMPLES = [
    "Explain in two sentences why the sky is blue.",
    "My name is Ada and I live in Oslo. What could I do there on Sunday?",
    "Write a short poem about a llama.",
]
STYLE = """<style>
.chat-meter { font-size: .85rem; color: var(--body-text-color-subdued); }
.chat-meter .window { height: .35rem; border-radius: .2rem; background: var(--border-color-primary); overflow: hidden; }
.chat-meter .window > div { height: 100%; background: var(--color-accent); }
.seen { white-space: pre-wrap; overflow-wrap: anywhere; font-family: var(--font-mono); font-size: .8rem; }
.seen mark { background: #f59e0b; color: #1c1917; border-radius: .2rem; padding: 0 .2rem; }
.seen-row { border-top: 1px solid var(--border-color-primary); padding: .4rem 0; }
.seen-row b { font-size: .85rem; }
</style>"""


def shown(text: str) -> str:
    """Return the text as Markdown in which every tag is visible and no picture is fetched; code is left alone."""
    return _outside_code(text, lambda words: html.escape(words, quote=False).replace("![", "&#33;["))


def _outside_code(text: str, change) -> str:
    """Return the text with `change` applied to all of it but code."""
    parts = []
    for place, part in enumerate(FENCE.split(text)):
        parts += [part] if place % 2 else [_outside_inline_code(words, change) for words in PARAGRAPH.split(part)]
    return "".join(parts)


def _outside_inline_code(paragraph: str, change) -> str:
    """Return the paragraph with `change` applied to all of it but inline code; to all where the backticks are not paired."""
    pieces = CODE.split(paragraph)
    if any("`" in piece for piece in pieces[::2]) or "\\`" in paragraph:
        return change(paragraph)
    return "".join(piece if place % 2 else change(piece) for place, piece in enumerate(pieces))


def written(text: object) -> str:
    """Return the text of an edited message: the inverse of `shown`, without the line under an answer."""
    if isinstance(text, list):
        text = text[0] if text else ""
    if isinstance(text, dict):
        text = text.get("text", "")
    text = re.sub(rf"{NOTE_OPEN}[^<]*{NOTE_CLOSE}$", "", str(text))
    return _outside_code(text, html.unescape)


def shown_messages(pane: Pane) -> list[MessageDict | Message]:
    """Return the pane's last turns for the Chatbot, with a line where turns are not shown, or not seen by the model."""
    return [_shown_message(pane, place) for place in _places(pane)]


def _places(pane: Pane) -> list[int]:
    """Return the places in the conversation that the Chatbot shows; NOT_SHOWN and LEFT_OUT for the two lines between."""
    count, left_out = len(pane["messages"]), 2 * pane["left_out"]
    first = max(0, count // 2 - MAX_SHOWN_TURNS) * 2
    found = [*range(first, count)]
    if left_out:
        found.insert(max(0, left_out - first), LEFT_OUT)
    return [NOT_SHOWN, *found] if first else found


def _shown_message(pane: Pane, place: int) -> MessageDict:
    """Return the message at `place` for the Chatbot, with the line under it; the lines between for a negative place."""
    if place < 0:
        words = f"{_left_out_words(pane['left_out'])}: the model does not see them"
        if place == NOT_SHOWN:
            words = f"Only the last {MAX_SHOWN_TURNS} turns are shown; an export has all of them"
        return {"role": "assistant", "content": "", "metadata": {"title": words}}
    message = pane["messages"][place]
    by = message.get("by")
    who = f"by {label_of(by)}" if by and by != pane["model"] else ""
    line = html.escape(" · ".join(filter(None, [message.get("note"), who])))
    words, note = shown(message["content"]), f"{NOTE_OPEN}{line}{NOTE_CLOSE}" if line else ""
    if message.get("doing") and not words:
        note = f"{NOTE_OPEN}{html.escape(message['doing'])}{NOTE_CLOSE}"
    return {"role": "user" if message["role"] == "user" else "assistant", "content": words + note}


def place_of(pane: Pane, index: Any) -> int:
    """Return the place in the conversation of the Chatbot's message `index`; below 0 for a line between messages."""
    index = index[0] if isinstance(index, list | tuple) else int(index)
    return _places(pane)[index] if index >= 0 else LEFT_OUT


def shown_rating(pane: Pane) -> list[str | None]:
    """Return the thumbs of the shown answers, as the Chatbot takes them; a line between messages counts as one."""
    messages = pane["messages"]
    return [
        messages[place].get("rated") if place >= 0 else None
        for place in _places(pane)
        if place < 0 or messages[place]["role"] == "assistant"
    ]


def _left_out_words(turns: int) -> str:
    """Return the number of left-out turns in words."""
    return f"{turns} earlier turn{'' if turns == 1 else 's'} left out"


def note_of(reply: Reply, seed: str, is_going_on: bool = False) -> str:
    """Return the line under an answer: seed, speed, and whether it was cut off."""
    parts = [seed] if seed else []
    if reply.new_tokens:
        speed = f"{reply.tokens_per_second:.1f} tokens/s" if reply.new_tokens > 1 else "1 token"
        parts.insert(0, f"{speed}, the first after {reply.seconds_to_first:.1f} s")
    if not reply.ended and not is_going_on:
        parts.append(CUT_OFF)
    return " · ".join(parts)


def room_words(going: Conversation) -> str:
    """Return that the browser is full, and that `going` is deleted next."""
    return (
        f"This browser keeps {MAX_CONVERSATIONS} conversations, fewer long ones. The next new one pushes out the oldest, "
        f"“{going['title'] or 'Untitled'}”: export it under Conversations if you want to keep it."
    )


SEEN_LATER = hint_html(
    "The exact prompt of the last answer is shown here, special tokens marked, with the tokens of each message."
)


def meter(pane: Pane) -> str:
    """Return the lines under a pane as HTML: tokens used of the window, the model, its base and why."""
    used, window, began, now = pane["used"], pane["window"], pane["template"], pane["read_as"]
    if not window:
        return ""
    parts = [f"{used:,} of {window:,} tokens used"]
    if pane["left_out"]:
        parts.append(_left_out_words(pane["left_out"]))
    lines = [" · ".join(parts), pane["who"]]
    if began and now and began != now:
        lines.append(f"This conversation began under another chat template ({began}); it is read under {now} now.")
    width = min(100, round(100 * used / window))
    bar = f"<div class='window' title='context window'><div style='width:{width}%'></div></div>"
    return f"<div class='chat-meter'>{bar}{'<br>'.join(html.escape(line) for line in lines if line)}</div>"


def seen_table(name: str, seen: list[Seen]) -> str:
    """Return the exact prompt of one answer as HTML: special tokens marked, with the tokens of each message."""
    rows = []
    for part in seen:
        text = "".join(
            f"<mark>{html.escape(piece)}</mark>" if special else html.escape(piece) for piece, special in part.pieces
        )
        head = f"<b>{html.escape(part.role)} · {part.tokens} tokens</b>"
        rows.append(f"<div class='seen-row'>{head}<div class='seen'>{text}</div></div>")
    total = sum(part.tokens for part in seen)
    return f"<p><b>{html.escape(name)}</b>: {total} tokens in {len(seen)} parts</p>{''.join(rows)}"
