"""Sample answers as HTML, for a run and for an adapter; all text is escaped."""

import html

from common.language import _


def pair_html(prompt: str, before: str, after: str, after_label: str) -> str:
    """Return a prompt with the base's answer and another one, which `after_label` names, side by side."""
    sides = [("", _("The base"), before), (" class='now'", after_label, after)]
    columns = "".join(f"<div{look}><b>{html.escape(label)}</b>{lines_html(text)}</div>" for look, label, text in sides)
    return f"<p class='prompt'>{html.escape(prompt)}</p><div class='pair'>{columns}</div>"


def lines_html(text: str) -> str:
    """Return the lines of an answer; an empty one says so."""
    return html.escape(str(text)).replace("\n", "<br>") or f"<i>{html.escape(_('nothing'))}</i>"
