"""How a conversation looks: messages for the Chatbot, the meter under a pane, what the model saw. Plain functions, no events.

Whatever a person or a model wrote is shown as written: a tag is text on the screen too.
"""

import html
import re

from chat.conversation import MOST_CONVERSATIONS
from chat.engine import Reply, Seen

# Code is only what no reading of Markdown takes for anything else: a fence at the beginning of a line, and `words` within one
# line of a paragraph in which no other backtick stands.
FENCE = re.compile(r"(^```[^`\n]*\n.*?(?:^ {0,3}```+[ \t]*$|\Z))", re.DOTALL | re.MULTILINE)
PARAGRAPH = re.compile(r"(\n[ \t]*\n)")
CODE = re.compile(r"((?<!`)`[^`\n]+`(?!`))")
NOTE_OPEN, NOTE_CLOSE = "\n\n<small>", "</small>"
STYLE = """<style>
.chat-meter { font-size: .85rem; color: var(--body-text-color-subdued); }
.chat-meter .window { height: .35rem; border-radius: .2rem; background: var(--border-color-primary); overflow: hidden; }
.chat-meter .window > div { height: 100%; background: var(--color-accent); }
.seen { white-space: pre-wrap; overflow-wrap: anywhere; font-family: var(--font-mono); font-size: .8rem; }
.seen mark { background: #f59e0b; color: #1c1917; border-radius: .2rem; padding: 0 .2rem; }
.seen-row { border-top: 1px solid var(--border-color-primary); padding: .4rem 0; }
.seen-row b { font-size: .85rem; }
</style>"""
# Gradio's copy button copies a message's markdown; whoever copies an answer wants the words, without the line under them.
# Over plain HTTP there is no clipboard to listen to: Gradio then copies in its own way.
COPY_THE_WORDS = """(...values) => {
  if (navigator.clipboard && !window.studioCopies) {
    let clicked = null;
    document.addEventListener("click", (event) => { clicked = event.target; }, true);
    const write = navigator.clipboard.writeText.bind(navigator.clipboard);
    const words = (text) => text.replace(/\\n\\n<small>[^<]*<\\/small>$/, "")
      .replaceAll("&#33;", "!").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
    const isAnswer = () => clicked?.closest?.("[role=log]") && !clicked.closest("pre, .code_wrap");
    navigator.clipboard.writeText = (text) => write(isAnswer() ? words(text) : text);
    window.studioCopies = true;
  }
  return values;
}"""
DOWNLOAD = """(text, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text]));
  link.download = name;
  link.click();
}"""


def shown(text: str) -> str:
    """The text as Markdown in which every tag is visible and no picture is fetched; code is left alone."""
    return _outside_code(text, lambda words: html.escape(words, quote=False).replace("![", "&#33;["))


def _outside_code(text: str, change) -> str:
    """`change` done to all of the text that is not code."""
    parts = []
    for place, part in enumerate(FENCE.split(text)):
        parts += [part] if place % 2 else [_outside_inline_code(words, change) for words in PARAGRAPH.split(part)]
    return "".join(parts)


def _outside_inline_code(paragraph: str, change) -> str:
    pieces = CODE.split(paragraph)
    if any("`" in piece for piece in pieces[::2]) or "\\`" in paragraph:
        return change(paragraph)
    return "".join(piece if place % 2 else change(piece) for place, piece in enumerate(pieces))


def written(text: object) -> str:
    """What a person wrote into an edited message: the other way round, without the line under an answer."""
    if isinstance(text, list):
        text = text[0] if text else ""
    if isinstance(text, dict):
        text = text.get("text", "")
    text = re.sub(rf"{NOTE_OPEN}[^<]*{NOTE_CLOSE}$", "", str(text))
    return _outside_code(text, html.unescape)


def shown_messages(pane: dict) -> list[dict]:
    """The pane's messages for the Chatbot, with a line where earlier turns were left out."""
    found = []
    for message in pane["messages"]:
        note = f"{NOTE_OPEN}{html.escape(message['note'])}{NOTE_CLOSE}" if message.get("note") else ""
        words = shown(message["content"])
        if message.get("doing") and not words:
            words, note = "", f"{NOTE_OPEN}{html.escape(message['doing'])}{NOTE_CLOSE}"
        found.append({"role": message["role"], "content": words + note})
    if pane["left_out"]:
        line = {"title": f"{left_out_words(pane['left_out'])}: the model does not see them"}
        found.insert(2 * pane["left_out"], {"role": "assistant", "content": "", "metadata": line})
    return found


def left_out_words(turns: int) -> str:
    return f"{turns} earlier turn{'' if turns == 1 else 's'} left out"


def place_of(pane: dict, index: object) -> int:
    """The place in the conversation of a message that the Chatbot names by `index`; -1 for the line between them."""
    index = index[0] if isinstance(index, list | tuple) else int(index)
    if pane["left_out"] and index == 2 * pane["left_out"]:
        return -1
    return index - 1 if pane["left_out"] and index > 2 * pane["left_out"] else index


def shown_rating(pane: dict) -> list[str | None]:
    """The thumbs of a pane's answers, as the Chatbot takes them."""
    rated = [message.get("rated") for message in pane["messages"] if message["role"] == "assistant"]
    if pane["left_out"]:
        rated.insert(pane["left_out"], None)
    return rated


def note_of(reply: Reply, seed: str, stopped: bool) -> str:
    """The line under an answer."""
    parts = [seed] if seed else []
    if reply.new_tokens:
        speed = f"{reply.tokens_per_second:.1f} tokens/s" if reply.new_tokens > 1 else "1 token"
        parts.insert(0, f"{speed}, the first after {reply.seconds_to_first:.1f} s")
    if stopped:
        parts.append("stopped")
    elif not reply.ended:
        parts.append("cut off at the longest answer; Continue goes on")
    return " · ".join(parts)


def room_words(going: dict) -> str:
    """That a browser is full, and which conversation is `going` next."""
    return (
        f"This browser keeps {MOST_CONVERSATIONS} conversations, fewer long ones. The next new one pushes out the oldest, "
        f"“{going['title'] or 'Untitled'}”: export it under Conversations if you want to keep it."
    )


def hint(text: str) -> str:
    return f"<p class='hint'>{html.escape(text)}</p>"


def meter(name: str, base: str, reply: Reply, warnings: list[str]) -> str:
    """The lines under a pane: who answers on which base and why, and how full the window is."""
    if not reply.window:
        return f"<div class='chat-meter'>{html.escape(name)}: getting ready ...</div>"
    used = reply.tokens_used + reply.new_tokens
    parts = [f"{name}, base {base}", f"{used} of {reply.window} tokens used"]
    if reply.left_out:
        parts.append(left_out_words(reply.left_out))
    width = min(100, round(100 * used / reply.window))
    lines = "".join(f"<br>{html.escape(warning)}" for warning in warnings)
    bar = f"<div class='window' title='context window'><div style='width:{width}%'></div></div>"
    return f"<div class='chat-meter'>{bar}{html.escape(' · '.join(parts))}{lines}</div>"


def seen_table(name: str, seen: list[Seen]) -> str:
    """The exact prompt of one answer, special tokens marked, with the tokens of each message."""
    rows = []
    for part in seen:
        text = "".join(
            f"<mark>{html.escape(piece)}</mark>" if special else html.escape(piece) for piece, special in part.pieces
        )
        head = f"<b>{html.escape(part.role)} · {part.tokens} tokens</b>"
        rows.append(f"<div class='seen-row'>{head}<div class='seen'>{text}</div></div>")
    total = sum(part.tokens for part in seen)
    return f"<p><b>{html.escape(name)}</b>: {total} tokens in {len(seen)} parts</p>{''.join(rows)}"
