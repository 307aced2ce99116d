"""Long lists in dropdowns: the newest entries are shown, a line tells the number of the others, and typing finds all.

A browser is slow with ten thousand choices.
"""

from collections.abc import Callable, Iterable
from itertools import islice

import gradio as gr

from adapters.library import adapter_names, read_some
from common.language import Sentence, _
from data.feedback import list_datasets
from ui.events import QUIET
from ui.messages import shown
from ui.owner import owner_of

MAX_LISTED_ENTRIES = 100
TYPE_TO_FIND = _("Showing the newest {most} of {count:,}. Type to find the others.")
SEARCH_TO_FIND = _("Showing the newest {most} of {count:,}. Search to find the others.")
TYPED = "() => document.activeElement.value || ''"

Choice = tuple[str, str]


def called_first(names: list[str], typed: str) -> list[str]:
    """Return `names` with the one that is equal to `typed` first."""
    return sorted(names, key=lambda name: name != typed.strip())


def first_with(choices: Iterable[Choice], typed: str) -> list[Choice]:
    """Return the first choices, at most MAX_LISTED_ENTRIES, whose label holds what was typed, as the dropdown itself compares."""
    wanted = typed.casefold()
    return list(islice((choice for choice in choices if wanted in choice[0].casefold()), MAX_LISTED_ENTRIES))


def first_and_picked(choices: list[Choice], typed: str, picked: object) -> list[Choice]:
    """Return the first choices that match `typed`, as `first_with`, and the one that is picked."""
    found = first_with(choices, typed)
    return found + [one for one in choices if one[1] == picked and one not in found]


def names_in(value: object) -> list[str]:
    """Return the texts of a list, in their order and none twice; whatever else was sent is left out."""
    return list(dict.fromkeys(one for one in value if isinstance(one, str))) if isinstance(value, list) else []


def titled_adapters(
    owner: str, names: list[str], typed: str = "", kept: Iterable[str] = (), label: Callable[[str], str] = str
) -> list[Choice]:
    """Return (label of the title, name) of adapters of `owner`, whose `names` are all of them, the newest first.

    Of many the newest whose name or title match `typed`, and those that are `kept`.
    """
    wanted = {*kept, *(adapter_names(owner, typed)[:MAX_LISTED_ENTRIES] if typed else [])}
    names = called_first(names, typed)
    listed = [name for _label, name in first_with([(label(name), name) for name in names], typed)]
    listed += [name for name in names if name in wanted and name not in listed]
    titles = {adapter.name: adapter.title for adapter in read_some(listed, owner)}
    return [(label(titles.get(name, name)), name) for name in listed]


def dataset_choices(owner: str) -> list[Choice]:
    """Return the data sets of `owner` as (name and what is in it, name)."""
    found = list_datasets(owner)
    return [(_("{name} ({counts})", name=one.name, counts=one.counts.words), one.name) for one in found]


def how_many(count: int, words: Sentence) -> str:
    """Return the line under a list of `count` entries, TYPE_TO_FIND or SEARCH_TO_FIND; "" while all are shown."""
    return Sentence(words.msgid, {"most": MAX_LISTED_ENTRIES, "count": count}) if count > MAX_LISTED_ENTRIES else ""


def find_while_typing(
    dropdown: gr.Dropdown, browser_key: gr.BrowserState, choices: Callable[[str, str, object], list[Choice]]
) -> None:
    """Fill the list with `choices(owner, typed, picked)` while a person types in it, and with `typed` "" when they leave it.

    The text goes through a hidden box: changes during a call lead to one more call with the last text. The dropdown's own event
    would send an earlier text again.
    """
    typed_box = gr.Textbox("", visible="hidden")

    @shown
    def on_typed(token: gr.OAuthToken | None, key, typed, picked):
        return gr.Dropdown(choices(owner_of(key, token), str(typed or ""), picked))

    dropdown.key_up(None, None, typed_box, js=TYPED, **QUIET)
    dropdown.blur(None, None, typed_box, js="() => ''", **QUIET)
    typed_box.change(on_typed, [browser_key, typed_box, dropdown], dropdown, trigger_mode="always_last", **QUIET)
