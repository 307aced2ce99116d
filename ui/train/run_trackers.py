"""Results that other programs read: TensorBoard, W&B and trackio, and the run as a TRL script. Made in the page's processes."""

import gradio as gr

from common.errors import UserError
from common.language import _
from common.paths import LOCAL_OWNER, new_download_folder
from models.hub.client import account_of
from runs.bundle import write_zip
from runs.run import Run
from runs.script.write import write_script
from runs.trackers.dashboard import open_dashboard
from runs.trackers.track import send_to_space, track, trackio_folder
from ui.downloads import clicking
from ui.events import Wiring
from ui.hints import link_html
from ui.messages import reporter, shown
from ui.owner import owner_of, visitor_of
from ui.train.history_events import own_run
from ui.train.run_view import TrackerView

# one process of a tracker at a time, whoever asks
ONE: Wiring = {"concurrency_id": "tracker", "concurrency_limit": 1}


def wire_trackers(
    view: TrackerView, browser_key: gr.BrowserState, runs_dropdown: gr.Dropdown, download: gr.DownloadButton
) -> None:
    """Wire the buttons; a file is made, then the hidden link to it is clicked."""
    inputs = [browser_key, runs_dropdown]

    @shown
    def on_script(token: gr.OAuthToken | None, key, run_id, progress=gr.Progress()):  # noqa: B008
        owner = owner_of(key, token)
        return str(write_script(own_run(run_id, owner), new_download_folder(owner), reporter(progress)))

    @shown
    def on_tensorboard(token: gr.OAuthToken | None, key, run_id, progress=gr.Progress()):  # noqa: B008
        owner = owner_of(key, token)
        return _zip(own_run(run_id, owner), "tensorboard", owner, progress)

    @shown
    def on_wandb(token: gr.OAuthToken | None, key, run_id, progress=gr.Progress()):  # noqa: B008
        owner = owner_of(key, token)
        return _zip(own_run(run_id, owner), "wandb", owner, progress)

    @shown
    def on_trackio(token: gr.OAuthToken | None, key, run_id, progress=gr.Progress()):  # noqa: B008
        run = own_run(run_id, owner_of(key, token))
        if run.owner != LOCAL_OWNER:
            words = _("The dashboard opens only on the machine itself.")
            raise UserError(words, _("Send the run to a Space of yours."))
        folder = trackio_folder(run.owner)
        track(run, "trackio", folder, False, reporter(progress))
        url = open_dashboard(folder)
        return link_html(url, url)

    @shown
    def on_space_send(token: gr.OAuthToken | None, key, run_id, space, progress=gr.Progress()):  # noqa: B008
        visitor = visitor_of(key, token)
        run = own_run(run_id, visitor.owner)
        account = account_of(visitor.hub_token)
        url = send_to_space(run, str(space or "tinyllama-studio-runs"), account, reporter(progress))
        return link_html(url, url)

    click = clicking(download)
    for button, handler, name in (
        (view.script_button, on_script, "trl_script"),
        (view.tensorboard_button, on_tensorboard, "tensorboard"),
        (view.wandb_button, on_wandb, "wandb"),
    ):
        button.click(handler, inputs, download, api_name=name, **ONE).success(**click)
    view.trackio_button.click(on_trackio, inputs, view.link_html, api_name="trackio", **ONE)
    sent = [*inputs, view.space_box]
    view.space_button.click(on_space_send, sent, view.link_html, api_name="send_to_trackio", **ONE)


def _zip(run: Run, name: str, owner: str, progress: gr.Progress) -> str:
    """Return the zip with what a tracker has of a run."""
    folder = new_download_folder(owner)
    track(run, name, folder / name, False, reporter(progress))
    files = [file for file in sorted((folder / name).rglob("*")) if file.is_file()]
    return str(write_zip(folder, f"{run.id}-{name}", {f"{file.relative_to(folder)}": file for file in files}))
