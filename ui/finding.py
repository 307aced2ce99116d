"""Lists that may be long: the newest entries are shown, a line says how many more there are, and typing finds all of them.

A browser is slow with ten thousand choices, and nobody reads them. Knows dropdowns, not what is in them.
"""

from collections.abc import Callable, Iterable
from itertools import islice

import gradio as gr

from ui.messages import shown
from ui.owner import owner_of

MOST_LISTED = 100
TYPED = "() => document.activeElement.value || ''"

Choice = tuple[str, str]


def called_first(names: list[str], typed: str) -> list[str]:
    """`names` with the one that was typed in whole before those that only hold it."""
    return sorted(names, key=lambda name: name != typed.strip())


def first_with(choices: Iterable[Choice], typed: str) -> list[Choice]:
    """The first choices, at most MOST_LISTED, whose label holds what was typed, as the dropdown itself compares."""
    wanted = typed.casefold()
    return list(islice((choice for choice in choices if wanted in choice[0].casefold()), MOST_LISTED))


def how_many(count: int, how: str) -> str:
    """The line under a list of `count` entries; "" while all are shown."""
    return f"The newest {MOST_LISTED} of {count:,}; {how} finds the others." if count > MOST_LISTED else ""


def find_while_typing(
    dropdown: gr.Dropdown, browser_key: gr.BrowserState, choices: Callable[[str, str, object], list[Choice]]
) -> None:
    """Ask `choices(owner, what was typed, what is picked)` while a person types in the list, and with "" when they leave it.

    The text goes through a hidden box: a change that comes while an answer is on its way is asked for after it, once, with the
    text of then. The dropdown's own event would send an earlier text again.
    """
    typed_box = gr.Textbox("", visible="hidden")

    @shown
    def on_typed(token: gr.OAuthToken | None, key, typed, picked):
        return gr.Dropdown(choices(owner_of(key, token), str(typed or ""), picked))

    dropdown.key_up(None, None, typed_box, js=TYPED, show_progress="hidden", api_visibility="undocumented")
    dropdown.blur(None, None, typed_box, js="() => ''", show_progress="hidden", api_visibility="undocumented")
    typed_box.change(
        on_typed,
        [browser_key, typed_box, dropdown],
        dropdown,
        trigger_mode="always_last",
        show_progress="hidden",
        api_visibility="undocumented",
    )
