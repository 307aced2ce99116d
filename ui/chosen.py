"""The choice of what is shown, with the button that deletes it, and the timer: for evaluations, experiments and made sets.

Each runs in a process of its own and does not depend on an open page: while the shown one is under way, a timer asks whether
its files have changed, also after a reload. Every handler looks it up anew for the caller's owner.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import gradio as gr

from common.errors import UserError
from common.files import stamps
from common.language import Sentence, _, current_language
from evaluation.experiments.experiment import Experiment
from evaluation.run import Background, Evaluation, read_progress
from making.made import MadeSet
from runs.run import settings_written_at
from ui.events import QUIET, Wiring, ask_first, asking
from ui.long_lists import Choice, find_while_typing, first_and_picked
from ui.messages import shown
from ui.owner import owner_of

TICK_SECONDS = 1.0
Titled = Evaluation | Experiment | MadeSet
T = TypeVar("T", bound=Background)  # one of these


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


def title_of(one: Titled) -> str:
    """Return what it is called; its id where its settings cannot be read."""
    try:
        return one.config().title or one.id
    except UserError:
        return one.id


def dated_choices(listed: Iterable[Titled], typed: str, picked: object) -> list[Choice]:
    """Return the first that match `typed`, and the picked one, as (title and local time of the start, id)."""

    def label(one: Titled) -> str:
        started = time.localtime((settings_written_at(one.folder) or 0) / 1e9)
        return f"{title_of(one)} · {time.strftime('%Y-%m-%d %H:%M', started)}"

    return first_and_picked([(label(one), one.id) for one in listed], typed, picked)


@dataclass(frozen=True)
class Watched(Generic[T]):
    """What is shown, as functions: of the chosen one, or of None while none is chosen."""

    name: str  # of its endpoints
    find: Callable[[object, str], T]  # by id and owner; raises UserError
    choices: Callable[[str, str, object], list[Choice]]
    files: tuple[str, ...]  # in its folder, at whose change all of it is filled anew
    status: Callable[[T | None], list]
    render: Callable[[T | None], list]

    def version(self, one: T | None) -> str:
        """Return a short text that changes when anything that is shown of it has changed."""
        return _mark(one, one.is_alive(), "progress.json", *self.files) if one else ""

    def phase(self, one: T | None) -> str:
        """Return a short text that changes when more than its status has changed."""
        return _mark(one, read_progress(one).status, *self.files) if one else ""


def _mark(one: Background, state: object, *files: str) -> str:
    return str(hash((current_language(), one.owner, one.id, state, stamps(one.folder, *files))))


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
        return [*watched.render(found), gr.Timer(active=found is not None and read_progress(found).is_running)]

    picked: Wiring = {"fn": on_pick, "inputs": inputs, "outputs": [*outputs, timer], **QUIET}
    gr.api(version, api_name=f"version_of_{watched.name}", queue=False)
    timer.tick(None, [*inputs, seen], seen, js=asking(f"version_of_{watched.name}"))
    seen.change(on_change, inputs, [*status_outputs, seen_phase], api_name=f"{watched.name}_status", **QUIET)
    gr.on([seen_phase.change, chosen.dropdown.change], **picked, api_name=f"show_{watched.name}")
    find_while_typing(chosen.dropdown, browser_key, watched.choices)
    return picked
