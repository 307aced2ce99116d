"""On ZeroGPU: a run that was started or resumed is trained in slices, within the event of the page that waits for them."""

from collections.abc import Iterator

import gradio as gr

from common.errors import UserError
from common.language import _
from models.hardware import on_zero_gpu
from runs.slices import train_in_slices
from ui.background import with_progress
from ui.events import QUIET
from ui.messages import shown
from ui.owner import owner_of
from ui.train.history_events import own_run
from ui.train.tab import TrainTab

# at once, of all visitors: each holds a thread of the handlers, and a fork its base in RAM while it loads
MAX_TRAINING = 8
LOOK_SECONDS = 1.0  # until it is noticed that nobody waits any more


def only_the_page_trains() -> None:
    """Raise UserError on ZeroGPU for a start that no page waits for: a slice belongs to the request of a visitor."""
    if on_zero_gpu():
        words = _("On ZeroGPU, training needs an open page: it uses the visitor's quota.")
        raise UserError(words, _("Start or resume it in the Train tab."))


def wire_slices(tab: TrainTab, started) -> None:
    """Let the slices follow an event that has started the run that is shown; does nothing but on ZeroGPU."""
    if not on_zero_gpu():
        return

    @shown
    def in_slices(token: gr.OAuthToken | None, key, run_id) -> Iterator[None]:
        from ui.zero_gpu import train_slice  # which imports torch

        run = own_run(run_id, owner_of(key, token))
        # in this event, whose request names the visitor: a slice is taken from whose quota that is
        work = with_progress(lambda say, stop: train_in_slices(run, train_slice, stop.is_set), LOOK_SECONDS)
        for _kind, _value in work:
            yield

    inputs = [tab.browser_key, tab.view.runs_dropdown]
    limit = {"concurrency_id": "slices", "concurrency_limit": MAX_TRAINING}
    started.success(in_slices, inputs, None, api_name="train_in_slices", **limit, **QUIET)
