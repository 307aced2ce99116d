"""One made set on the page: its layout, and what it does now."""

from dataclasses import dataclass

import gradio as gr

from common.errors import UserError
from common.files import is_file
from common.language import _
from evaluation.run import UNDER_WAY, read_progress
from making.made import MadeSet, find_made, list_made
from ui.chosen import Chosen, Watched, build_chosen, can_delete, dated_choices
from ui.hints import hint_html
from ui.long_lists import Choice
from ui.status import RESUMABLE, progress_html

EMPTY = _("Here you will see the rows as they are made, to accept, change or reject them.")


@dataclass
class MadeView:
    """The components; `outputs` are those that `render` fills."""

    chosen: Chosen
    status_html: gr.HTML
    stop_button: gr.Button
    resume_button: gr.Button
    rows_of: gr.Textbox  # "" while there are no rows; changes when what was found in them may have

    @property
    def status_outputs(self) -> list:
        """Return what is filled while it is under way."""
        return [self.status_html, self.rows_of]

    @property
    def outputs(self) -> list:
        """Return what `render` fills, in its order."""
        return [*self.status_outputs, self.stop_button, self.resume_button, *self.chosen.outputs]


def build_made_view() -> MadeView:
    """Lay out the choice of a made set, what it does now, and its buttons."""
    chosen = build_chosen(_("Made set"))
    status = gr.HTML(hint_html(EMPTY, "hint nothing-yet"), elem_classes="status")
    with gr.Row():
        stop_button = gr.Button(_("Stop and keep the rows"), visible=False, min_width=150)
        resume_button = gr.Button(_("Resume making"), visible=False, min_width=140)
    return MadeView(chosen, status, stop_button, resume_button, gr.Textbox("", visible="hidden"))


def own_made(made_id: object, owner: str) -> MadeSet:
    """Return the owner's made set with this id. Raises UserError."""
    if not made_id or not isinstance(made_id, str):
        raise UserError(_("No made set is chosen."), _("Pick one."))
    return find_made(made_id, owner)


def made_choices(owner: str, typed: str = "", picked: object = None) -> list[Choice]:
    """Return the newest made sets that match `typed`, and the picked one, as (title and time, id)."""
    return dated_choices(list_made(owner), typed, picked)


def status_views(made: MadeSet | None) -> list:
    """Return updates for `MadeView.status_outputs`."""
    if made is None:
        return [hint_html(EMPTY, "hint nothing-yet"), ""]
    has_rows = is_file(made.rows_file) and made.rows_file.stat().st_size > 0
    rows_of = f"{made.id} {read_progress(made).status}" if has_rows else ""
    return [progress_html(made, _("Progress of the making"), _("Making rows")), rows_of]


def render(made: MadeSet | None) -> list:
    """Return updates for `MadeView.outputs`."""
    if made is None:
        return [*status_views(None), *[gr.Button(visible=False)] * 2, *can_delete(False)]
    status = read_progress(made).status
    is_running = status in UNDER_WAY
    return [
        *status_views(made),
        gr.Button(visible=is_running and not made.stop_file.exists()),
        gr.Button(visible=status in RESUMABLE),
        *can_delete(not is_running),
    ]


WATCHED = Watched("made_set", own_made, made_choices, ("config.yaml", "stop"), status_views, render)
