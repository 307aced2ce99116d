"""A line of text and a link on the page, as HTML."""

import html


def hint_html(text: object, kind: str = "hint") -> str:
    """Return a line of text as HTML, escaped; `kind` is 'hint', 'problem' or 'good'."""
    return f"<p class='{kind}'>{html.escape(str(text))}</p>"


def link_html(url: str, name: str) -> str:
    """Return a link that opens in a tab of its own, escaped."""
    return f"<a href='{html.escape(url, quote=True)}' target='_blank' rel='noopener'>{html.escape(name)}</a>"
