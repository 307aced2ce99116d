"""Replaces the tags of the preview of a link in the page of gradio==6.31.0: the name, the words and the picture are Gradio's.

Why: a chat or a site that shows a link to the app reads the first of these tags, says "Gradio" and "Click to try out the app!",
and fetches a picture from GitHub.
Gain: none in speed; a link to the app is shown by its own name, without a picture.
Refuses: a page without such tags is delivered as it is; the test of it in tests/test_library_contracts.py fails.
To drop it: remove its call in ui/delivery.py, when Gradio takes them from `gr.Blocks`.
"""

import html
import re

_TAG = re.compile(rb'\s*<meta\s+(?:property="og:|name="twitter:)[^>]*>')


def with_own_preview(page: bytes, name: str, about: str) -> bytes:
    """Return the page's HTML with the tags of an app of this name, and what it is for."""
    first = _TAG.search(page)
    if not first:
        return page
    tags = {'property="og:type"': "website", 'property="og:title"': name, 'property="og:description"': about}
    tags |= {'name="description"': about, 'name="twitter:card"': "summary"}
    own = "".join(f'<meta {tag} content="{html.escape(words)}" />' for tag, words in tags.items())
    return page[: first.start()] + own.encode() + _TAG.sub(b"", page[first.end() :])
