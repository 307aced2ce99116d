"""The choice of what is shown, with the button that deletes it, and the timer: for an evaluation and for an experiment.

Either runs in a process of its own and does not depend on an open page: while the shown one is under way, a timer asks whether
its files have changed, also after a reload. Every handler looks it up anew for the caller's owner.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import gradio as gr

from common.language import Sentence, _
from ui.events import QUIET, Wiring, ask_first, asking
from ui.long_lists import Choice, find_while_typing
from ui.messages import shown
from ui.owner import owner_of

TICK_SECONDS = 1.0
T = TypeVar("T")  # an evaluation, or an experiment


@dataclass
class Chosen:
    """The components of the row."""

    dropdown: gr.Dropdown
    delete_button: gr.Button
    question: gr.Row
    delete_yes: gr.Button

    @property
    def outputs(self) -> list:
        """Return what `can_delete` updates."""
        return [self.delete_button, self.question]


def can_delete(is_possible: bool) -> list:
    """Return updates for `Chosen.outputs`: the button, and no question."""
    return [gr.Button(visible=is_possible), gr.Row(visible=False)]


def build_chosen(label: Sentence) -> Chosen:
    """Lay out the row; its list, and whether it can be deleted, are filled in later."""
    with gr.Row(equal_height=True, elem_classes="which-one"):
        dropdown = gr.Dropdown(
            [],
            label=str(label),
            show_label=False,
            container=False,
            interactive=True,
            allow_custom_value=True,  # an API names any
            scale=4,
        )
        delete_button = gr.Button(_("Delete"), visible=False, variant="stop", size="sm", min_width=90, scale=0)
        with gr.Row(visible=False, elem_classes="question") as question:
            delete_yes = gr.Button(_("Yes, delete it"), variant="stop", size="sm", min_width=110)
            delete_no = gr.Button(_("Keep it"), size="sm", min_width=90)
    ask_first(delete_button, question, delete_no)
    return Chosen(dropdown, delete_button, question, delete_yes)


def dated(title: str, started_ns: int | None) -> str:
    """Return a title and the local time of a start, which is given in ns since 1970."""
    return f"{title} · {time.strftime('%Y-%m-%d %H:%M', time.localtime((started_ns or 0) / 1e9))}"


@dataclass(frozen=True)
class Watched(Generic[T]):
    """What is shown, as functions: of the chosen one, or of None while none is chosen.

    `version` is a short text that changes with anything that is shown, `phase` one that changes with more than the status.
    """

    name: str  # of its endpoints
    find: Callable[[object, str], T]  # by id and owner; raises UserError
    choices: Callable[[str, str, object], list[Choice]]
    is_running: Callable[[T], bool]
    version: Callable[[T | None], str]
    phase: Callable[[T | None], str]
    status: Callable[[T | None], list]
    render: Callable[[T | None], list]


def wire_chosen(
    chosen: Chosen, watched: Watched[T], browser_key: gr.BrowserState, status_outputs: list, outputs: list
) -> Wiring:
    """Wire the choice and the timer; return the event that fills the view."""
    inputs = [browser_key, chosen.dropdown]
    timer = gr.Timer(TICK_SECONDS, active=False)
    seen, seen_phase = gr.Textbox("", visible="hidden"), gr.Textbox("", visible="hidden")

    def picked_one(key: object, token: gr.OAuthToken | None, id: object) -> T | None:
        owner = owner_of(key if isinstance(key, str) else None, token)
        return watched.find(id, owner) if id else None

    @shown
    def version(token: gr.OAuthToken | None, key: str, id: str) -> str:
        return watched.version(picked_one(key, token, id))

    @shown
    def on_change(token: gr.OAuthToken | None, key, id):
        found = picked_one(key, token, id)
        return [*watched.status(found), watched.phase(found)]

    @shown
    def on_pick(token: gr.OAuthToken | None, key, id):
        found = picked_one(key, token, id)
        return [*watched.render(found), gr.Timer(active=found is not None and watched.is_running(found))]

    picked: Wiring = {"fn": on_pick, "inputs": inputs, "outputs": [*outputs, timer], **QUIET}
    gr.api(version, api_name=f"version_of_{watched.name}", queue=False)
    timer.tick(None, [*inputs, seen], seen, js=asking(f"version_of_{watched.name}"))
    seen.change(on_change, inputs, [*status_outputs, seen_phase], api_name=f"{watched.name}_status", **QUIET)
    gr.on([seen_phase.change, chosen.dropdown.change], **picked, api_name=f"show_{watched.name}")
    find_while_typing(chosen.dropdown, browser_key, watched.choices)
    return picked
