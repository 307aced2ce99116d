"""How a conversation is shown: messages for the Chatbot, the meter under a pane, the prompt as the model got it. No events.

Text of people and models is shown as it was written: a tag is text on the screen, too.
"""

import html
import re
from typing import Any

from gradio.components.chatbot import Message, MessageDict

from chat.conversation import LENGTH, REPEATED, STOPPED, Conversation, Pane, Said
from chat.engine import Seen
from chat.records import MAX_CONVERSATIONS
from common.language import _, joined, n_
from ui.chat.models import label_of
from ui.hints import hint_html

# Code is only what no reading of Markdown takes for anything else: a fence at the beginning of a line, and `words` within one
# line of a paragraph in which no other backtick stands.
FENCE = re.compile(r"(^```[^`\n]*\n.*?(?:^ {0,3}```+[ \t]*$|\Z))", re.DOTALL | re.MULTILINE)
PARAGRAPH = re.compile(r"(\n[ \t]*\n)")
CODE = re.compile(r"((?<!`)`[^`\n]+`(?!`))")
NOTE_OPEN, NOTE_CLOSE = "\n\n<small>", "</small>"
MAX_SHOWN_TURNS = 40  # each word that comes draws them all again: a long conversation stays as quick as a short one
LEFT_OUT, NOT_SHOWN = -1, -2
END_WORDS = {
    LENGTH: _("Reached the length limit. Press Continue."),
    STOPPED: _("Stopped."),
    REPEATED: _("Stopped: the answer began to repeat itself."),
}
EMPTY = _("Ask the model something: write below and press Enter, or try one of these.")


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
        line = n_(
            "{count} earlier turn left out: the model does not see it",
            "{count} earlier turns left out: the model does not see them",
            pane["left_out"],
        )
        if place == NOT_SHOWN:
            line = _("Only the last {count} turns are shown; an export has all of them", count=MAX_SHOWN_TURNS)
        return {"role": "assistant", "content": "", "metadata": {"title": str(line)}}
    message = pane["messages"][place]
    line, words = html.escape(note_of(message, title_of(pane))), shown(message["content"])
    note = f"{NOTE_OPEN}{line}{NOTE_CLOSE}" if line else ""
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


def title_of(pane: Pane) -> str:
    """Return the name of the model above a pane: of the one that answered last, else of the choice."""
    return pane["who"] or label_of(pane["model"])


def note_of(message: Said, title: str) -> str:
    """Return the line under an answer: why it ended, its speed, its seed, and its model where the pane's `title` is another."""
    parts, took, by = [], message.get("took"), message.get("by")
    if end := message.get("end"):
        parts.append(END_WORDS[end])
    if took and took["tokens"]:
        speed = _("{speed:.1f} tokens/s", speed=took["tokens_per_second"]) if took["tokens"] > 1 else _("1 token")
        parts.append(_("{speed}, the first after {seconds:.1f} s", speed=speed, seconds=took["seconds_to_first"]))
    if took and took["seed"] is not None:
        parts.append(_("seed {seed}, temperature {temperature:g}", seed=took["seed"], temperature=took["temperature"]))
    if message.get("is_edited"):
        parts.append(_("edited"))
    if by and by != title:
        parts.append(_("by {name}", name=by))
    return str(joined(parts, " · "))


def room_words(going: Conversation) -> str:
    """Return that the browser is full, and that `going` is deleted next."""
    return _(
        "This browser keeps {count} chats, fewer long ones. The next new one pushes out the oldest, “{title}”: export it if you "
        "want to keep it.",
        count=MAX_CONVERSATIONS,
        title=going["title"] or _("Untitled"),
    )


def seen_later() -> str:
    """Return what stands in the place of the prompt before the first answer, as HTML."""
    return hint_html(_("The exact prompt of the last answer: special tokens marked, tokens counted for each message."))


def meter(pane: Pane) -> str:
    """Return the lines under a pane as HTML: tokens used of the window, and what is left out; a bar before the first word."""
    last = pane["messages"][-1] if pane["messages"] else Said(role="user", content="")
    if "doing" in last and not last["content"]:
        words = html.escape(last["doing"], quote=True)
        bar = f"<div class='window moving' role='progressbar' aria-label='{words}'><div></div></div>"
        return f"<div class='chat-meter'>{bar}</div>"
    used, window, began, now = pane["used"], pane["window"], pane["template"], pane["read_as"]
    if not window:
        return ""
    parts = [_("{used:,} of {window:,} tokens used", used=used, window=window)]
    if pane["left_out"]:
        parts.append(n_("{count} earlier turn left out", "{count} earlier turns left out", pane["left_out"]))
    if began and now and began != now:
        words = _("This chat began with another chat template ({before}); now it is {now}.", before=began, now=now)
        parts.append(words)
    width = min(100, round(100 * used / window))
    title = html.escape(str(_("Context window")), quote=True)
    bar = f"<div class='window' title='{title}'><div style='width:{width}%'></div></div>"
    return f"<div class='chat-meter'>{bar}{html.escape(str(joined(parts, ' · ')))}</div>"


def seen_table(name: str, seen: list[Seen]) -> str:
    """Return the exact prompt of one answer as HTML: special tokens marked, with the tokens of each message."""
    rows = []
    for part in seen:
        text = "".join(
            f"<mark>{html.escape(piece)}</mark>" if special else html.escape(piece) for piece, special in part.pieces
        )
        count = n_("{count:,} token", "{count:,} tokens", part.tokens)
        head = f"<b>{html.escape(str(part.role))} · {count}</b>"
        rows.append(f"<div class='seen-row'>{head}<div class='seen'>{text}</div></div>")
    total = sum(part.tokens for part in seen)
    words = _("{tokens:,} tokens in {count} parts", tokens=total, count=len(seen))
    return f"<p><b>{html.escape(name)}</b>: {words}</p>{''.join(rows)}"
