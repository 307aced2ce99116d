"""A line of text on the page, as HTML."""

import html


def hint_html(text: object, kind: str = "hint") -> str:
    """Return a line of text as HTML, escaped; `kind` is 'hint', 'problem' or 'good'."""
    return f"<p class='{kind}'>{html.escape(str(text))}</p>"
