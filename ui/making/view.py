"""Made rows as HTML: one large, with what was found in it and what it was made from, and the next ones. All text is escaped."""

import html
from collections.abc import Sequence

from common.language import Sentence, _, joined
from making.checks import FINDINGS
from making.made import MadeRow
from making.review import Decision, ReviewRow
from ui.answers import ROLE_WORDS, lines_html, turn_html

MAX_NEXT_CHARACTERS = 160
DECISIONS: dict[Decision, Sentence] = {
    "pending": _("Not looked at"),
    "accepted": _("Accepted"),
    "rejected": _("Rejected"),
}
# The keys press the buttons, also where a Korean keyboard is on; not while a person writes. What was removed takes no keys: the
# section does, and a field to write in when one comes.
KEYS_SCRIPT = """
const section = element.closest('.review');
const pressed = name => { const button = section.querySelector(`button.key-${name}`); button?.click(); return button; };
section.tabIndex = -1;
let isIn = false;
section.addEventListener('focusin', () => { isIn = true; });
section.addEventListener('focusout', event => {
    if (event.relatedTarget) isIn = section.contains(event.relatedTarget);
});
section.addEventListener('keydown', event => {
    const isWriting = event.target.matches('input, textarea, select');
    const isSave = event.key === 'Enter' && (event.ctrlKey || event.metaKey);
    if (isWriting && event.target.closest('.made-row') && (isSave || event.key === 'Escape')) {
        pressed(isSave ? 'save' : 'cancel');
        event.preventDefault();
    }
    if (isWriting || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const letter = /^[a-z]$/i.test(event.key) ? event.key.toLowerCase() : event.code.replace('Key', '').toLowerCase();
    if (/^[jkareu]$/.test(letter) && pressed(letter)) event.preventDefault();
});
section.addEventListener('click', event => {
    const next = event.target.closest('[data-row]');
    if (next) trigger('click', {row: next.dataset.row});
});
new MutationObserver(() => {
    const field = section.querySelector('.made-row textarea:not([data-seen])');
    if (field) {
        const fields = [...section.querySelectorAll('.made-row textarea')];
        fields.forEach(one => { one.dataset.seen = ''; });
        fields.at(-1).focus();
    } else if (isIn && document.activeElement === document.body) section.focus({preventScroll: true});
}).observe(section, {childList: true, subtree: true});
"""
# what stands in the fields, as JSON, in the place of the last input
WRITTEN = """(...given) => {
    const fields = [...document.querySelectorAll('.made-row textarea')];
    return [...given.slice(0, -1), JSON.stringify(fields.map(field => field.value))];
}"""


def row_html(row: ReviewRow, place: int, count: int, writing: bool = False) -> str:
    """Return the row at `place` (from 1) of `count`; with fields to write in while a person is `writing`."""
    where, words = _("Row {place:,} of {count:,}", place=place, count=count), DECISIONS[row.decision]
    words = joined([words, _("changed")], ", ") if row.is_edited else words
    spoken = html.escape(joined([f"{where}:", words]))
    told = "".join(f"<li>{html.escape(FINDINGS[name])}</li>" for name in row.findings if name in FINDINGS)
    turn = _field_html if writing else _turn_html
    turns = "".join(turn(one["role"], one["content"]) for one in row.messages)
    return (
        f"<article class='made-row {row.decision}'><p class='said' role='status' aria-live='polite'>{spoken}</p>"
        f"<div class='status-line'><b>{html.escape(where)}</b><span>{html.escape(words)}</span></div>"
        f"{f'<ul class=findings>{told}</ul>' if told else ''}{turns}{_origin_html(row.made)}</article>"
    )


def next_html(rows: Sequence[ReviewRow]) -> str:
    """Return the rows that come next, a line each, which a press shows."""
    if not rows:
        return ""
    lines = []
    for row in rows:
        asked, answered = (_cut(one["content"]) for one in (row.messages[0], row.messages[-1]))
        key = html.escape(row.key)
        lines.append(f"<li><button type='button' data-row='{key}'>{asked} <span>→ {answered}</span></button></li>")
    return f"<h4>{html.escape(_('Next'))}</h4><ol class='next-rows'>{''.join(lines)}</ol>"


def _turn_html(role: str, text: str) -> str:
    return turn_html(ROLE_WORDS.get(role, role), text, role)


def _field_html(role: str, text: str) -> str:
    """Return a message as a field that its text is changed in."""
    name = html.escape(ROLE_WORDS.get(role, role))
    return f"<label class='turn {html.escape(role)}'><b>{name}</b><textarea rows='2'>{html.escape(text)}</textarea></label>"


def _origin_html(row: MadeRow) -> str:
    """Return who made a row by which recipe, and the passage that it was made from."""
    made = row["made"]
    where = ""
    if made["document"]:
        span = {"document": made["document"], "start": made["start"], "end": made["end"]}
        where = _("{document}, characters {start:,} to {end:,}", **span)
    by = joined([made["teacher"], f"{made['recipe']} {made['version']}", where], " · ")
    passage = f"<blockquote tabindex='0'>{lines_html(row['passage'])}</blockquote>" if row["passage"] else ""
    return f"<footer>{passage}<p class='hint'>{html.escape(by)}</p></footer>"


def _cut(text: str) -> str:
    """Return the beginning of a text in one line, escaped."""
    line = " ".join(text[: 2 * MAX_NEXT_CHARACTERS].split())
    return html.escape(line if len(line) <= MAX_NEXT_CHARACTERS else f"{line[:MAX_NEXT_CHARACTERS]} …")
