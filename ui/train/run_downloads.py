"""Downloads of a run: log, bundle and picture, made when asked for in a folder that Gradio may serve."""

import shutil
from dataclasses import replace

import gradio as gr

from adapters.evaluated import decided_words, for_others, read_evaluated
from adapters.result_picture import draw_result
from common.errors import UserError
from common.language import _
from common.paths import new_download_folder
from runs.bundle import write_bundle
from runs.publish import came_out_of, place_of
from runs.run import read_state
from ui.downloads import clicking
from ui.events import QUIET
from ui.messages import shown
from ui.owner import owner_of
from ui.train.history_events import own_run
from ui.train.learned import result_of
from ui.train.run_trackers import wire_trackers
from ui.train.tab import TrainTab


def wire_downloads(tab: TrainTab) -> None:
    """Wire the buttons; each makes a file, then clicks the hidden link to it."""
    inputs = [tab.browser_key, tab.view.runs_dropdown]

    @shown
    def on_log(token: gr.OAuthToken | None, key, run_id):
        owner = owner_of(key, token)
        run = own_run(run_id, owner)
        if not run.log_file.is_file():
            raise UserError(_("This run has no log yet."))
        made = new_download_folder(owner) / f"{run.id}.log"
        shutil.copyfile(run.log_file, made)
        return str(made)

    @shown
    def on_bundle(token: gr.OAuthToken | None, key, run_id, with_data):
        owner = owner_of(key, token)
        return str(write_bundle(own_run(run_id, owner), new_download_folder(owner), bool(with_data)))

    @shown
    def on_picture(token: gr.OAuthToken | None, key, run_id):
        owner = owner_of(key, token)
        run = own_run(run_id, owner)
        adapter = place_of(run)
        measured = for_others(read_evaluated(adapter)) if came_out_of(run, adapter) else []
        picture = draw_result(replace(result_of(run, read_state(run)), decided=decided_words(measured)))
        if picture is None:
            raise UserError(_("This run has no losses to draw."))
        made = new_download_folder(owner) / f"{run.id}.png"
        made.write_bytes(picture)
        return str(made)

    view = tab.view
    click = clicking(tab.download)
    view.log_button.click(on_log, inputs, tab.download, api_name="log").success(**click)
    view.bundle_button.click(on_bundle, [*inputs, view.data_checkbox], tab.download, api_name="bundle").success(**click)
    view.picture_button.click(on_picture, inputs, tab.download, **QUIET).success(**click)
    wire_trackers(view.trackers, tab.browser_key, view.runs_dropdown, tab.download)
