"""Answers, and the turns of a conversation, as HTML; all text is escaped."""

import html

from common.language import _, n_

ROLE_WORDS = {"system": _("System"), "user": _("User"), "assistant": _("Assistant")}
MAX_SHOWN_CHARACTERS = 4_000  # of one message


def pair_html(prompt: str, before: str, after: str, after_label: str) -> str:
    """Return a prompt with the base's answer and another one, which `after_label` names, side by side."""
    sides = [("", _("The base"), before), (" class='now'", after_label, after)]
    columns = "".join(f"<div{look}><b>{html.escape(label)}</b>{lines_html(text)}</div>" for look, label, text in sides)
    return f"<p class='prompt'>{html.escape(prompt)}</p><div class='pair'>{columns}</div>"


def lines_html(text: str) -> str:
    """Return the lines of an answer; an empty one says so."""
    return html.escape(str(text)).replace("\n", "<br>") or f"<i>{html.escape(_('nothing'))}</i>"


def turn_html(name: str, text: str, role: str = "") -> str:
    """Return one message of a conversation as HTML."""
    return f"<div class='turn {html.escape(role)}'><b>{html.escape(name)}</b> {clipped_html(text)}</div>"


def clipped_html(text: str) -> str:
    """Return the first MAX_SHOWN_CHARACTERS as HTML, with the number of the others."""
    more = len(text) - MAX_SHOWN_CHARACTERS
    rest = n_("… and {count:,} more character", "… and {count:,} more characters", more)
    kept = html.escape(text[:MAX_SHOWN_CHARACTERS]).replace("\n", "<br>")
    return kept + (f" {html.escape(rest)}" if more > 0 else "")
