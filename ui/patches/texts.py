"""Writes `Context.id` of gradio==6.31.0, which numbers the components: a page is built once more, in another language.

Why: Gradio has one text for each label; `I18nData` knows labels alone, not what handlers return, choices or HTML.
Gain: none in speed; the page is whole in each language, and its events are the same ones.
Refuses: a second page that has other components or events (RuntimeError); what differs in more than its texts stays English.
To drop it: when Gradio translates all texts of a page for each visitor.
"""

import logging
from collections.abc import Callable
from typing import Any

from gradio.context import Context

from common.language import language

Texts = dict[str, dict[int, dict[str, Any]]]  # of components and of events, by their ids
log = logging.getLogger(__name__)


def texts_of(config: dict[str, Any], first_id: int, build: Callable[[], Any], name: str) -> Texts:
    """Build the page of `config`, whose own id is `first_id`, again in a language.

    Return the components and the events of that page by id: the same ones, in other words. What differs in more than its texts
    is left out, and so stays English. Not while handlers run: Gradio would put what they make into the page being built.
    """
    next_id, Context.id = Context.id, first_id
    try:
        with language(name):
            other = build().config
    finally:
        Context.id = max(next_id, Context.id)
    found: Texts = {}
    for part in ("components", "dependencies"):
        ours, theirs = config[part], other[part]
        if [(one["id"], one.get("type")) for one in ours] != [(one["id"], one.get("type")) for one in theirs]:
            raise RuntimeError(f"The page in {name!r} has other {part}.")
        same = {one["id"]: twin for one, twin in zip(ours, theirs, strict=True) if _only_texts_differ(one, twin)}
        for one in ours:
            if one["id"] not in same:
                log.warning("Stays English: %s %s", one.get("type", "event"), one["id"])
        found[part] = same
    return found


def translated(config: dict[str, Any], texts: Texts) -> dict[str, Any]:
    """Return a page's config with the components and events of `texts_of` in the place of its own."""
    return config | {part: [twins.get(one["id"], one) for one in config[part]] for part, twins in texts.items()}


def _only_texts_differ(one: Any, other: Any) -> bool:
    """Return whether two configs differ in texts at most: a choice's label may differ, its value may not."""
    if isinstance(one, dict) and isinstance(other, dict):
        if one.get("choices"):
            chosen = [[config.get("value"), *(value for _label, value in config["choices"])] for config in (one, other)]
            if chosen[0] != chosen[1]:
                return False
        return one.keys() == other.keys() and all(_only_texts_differ(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_only_texts_differ, one, other))
    return one == other or (isinstance(one, str) and isinstance(other, str))
