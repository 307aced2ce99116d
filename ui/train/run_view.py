"""The view of one run: its layout, and `render`, which fills it from the run's folder."""

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from common.files import tail
from common.hosted import on_space
from common.language import _, current_language
from jobs.hf import read_job
from runs.queue import position
from runs.run import Run, RunState, read_state
from ui.train.backups import backup_html
from ui.train.empty import empty_view
from ui.train.learned import learned_html, sample_answers
from ui.train.run_plots import loss_plot, more_plots
from ui.train.run_status import describe, details

LOG_LINES = 300
SLOW_SECONDS = 10
RESUMABLE = ("stopped", "interrupted", "failed")
STOP = _("Stop and keep what it learned")
DISCARD_QUESTION = _("Delete this run and the adapter that came out of it? If it is still training, it is stopped.")


@dataclass
class TrackerView:
    """The run for other programs: the buttons, and the line where links appear. `ui.train.run_trackers` wires them."""

    tensorboard_button: gr.Button
    wandb_button: gr.Button
    script_button: gr.Button
    trackio_button: gr.Button
    space_box: gr.Textbox
    space_button: gr.Button
    link_html: gr.HTML


@dataclass
class RunView:
    """The parts of the view; `outputs` in the order that `render` fills, the `live` ones first: they change at every step."""

    runs_dropdown: gr.Dropdown
    stop_button: gr.Button
    resume_button: gr.Button
    cure_button: gr.Button
    discard_button: gr.Button
    discard_group: gr.Group  # the question in the place of the button
    discard_yes: gr.Button
    discard_no: gr.Button
    chat_button: gr.Button
    share_button: gr.Button
    evaluate_button: gr.Button
    export_button: gr.Button
    picture_button: gr.Button
    bundle_button: gr.Button
    data_checkbox: gr.Checkbox
    log_button: gr.Button
    trackers: TrackerView
    live: list
    outputs: list


def build_run_view() -> RunView:
    """Lay out the view of one run: nothing in it moves while the run goes on."""
    runs_dropdown, discard_button, discard_group, discard_yes, discard_no = _build_choice()
    status_html = gr.HTML(empty_view(), elem_classes="status")
    with gr.Row():
        stop_button = gr.Button(str(STOP), visible=False, min_width=150)
        cure_button = gr.Button(visible=False, variant="primary", min_width=150)
        resume_button = gr.Button(_("Resume"), visible=False, min_width=90)
        chat_button = gr.Button(_("Chat"), visible=False, variant="primary", min_width=90)
        share_button = gr.Button(_("Share"), visible=False, min_width=90)
        evaluate_button = gr.Button(_("Evaluate"), visible=False, min_width=90)
        export_button = gr.Button(_("Export"), visible=False, min_width=90)
        picture_button = gr.Button(_("Picture"), visible=False, min_width=90)
    curves_html = gr.HTML()
    with gr.Accordion(_("More curves"), open=False, elem_classes="of-run"):
        more_html = gr.HTML()
    with gr.Accordion(_("All sample answers"), open=False, elem_classes="of-run"):
        samples_html = gr.HTML(elem_classes="samples")
    with gr.Accordion(_("Log and files"), open=False, elem_classes="of-run"):
        log_box = gr.Textbox(label=_("Log"), lines=14, max_lines=14, buttons=["copy"], autoscroll=True)
        with gr.Row():
            log_button = gr.Button(_("Download log"), size="sm")
            bundle_button = gr.Button(_("Download run bundle (.zip)"), size="sm")
        data_checkbox = gr.Checkbox(False, label=_("with the training data in it"))
        trackers = build_trackers()
    live = [status_html, curves_html]
    buttons = [stop_button, resume_button, cure_button]
    buttons += [chat_button, share_button, evaluate_button, export_button, picture_button]
    return RunView(
        runs_dropdown=runs_dropdown,
        discard_button=discard_button,
        discard_group=discard_group,
        discard_yes=discard_yes,
        discard_no=discard_no,
        stop_button=stop_button,
        resume_button=resume_button,
        cure_button=cure_button,
        chat_button=chat_button,
        share_button=share_button,
        evaluate_button=evaluate_button,
        export_button=export_button,
        picture_button=picture_button,
        bundle_button=bundle_button,
        data_checkbox=data_checkbox,
        log_button=log_button,
        trackers=trackers,
        live=live,
        outputs=[*live, more_html, samples_html, log_box, *buttons],
    )


def _build_choice() -> tuple[gr.Dropdown, gr.Button, gr.Group, gr.Button, gr.Button]:
    """Lay out which run is shown, and its Discard: return the list, the button, and the question with its two answers."""
    with gr.Row(equal_height=True, elem_classes="of-run which-run"):
        runs_dropdown = gr.Dropdown(
            [],
            label=_("Run"),
            show_label=False,
            container=False,
            interactive=True,
            allow_custom_value=True,  # an API names any run
            scale=4,
        )
        discard_button = gr.Button(
            _("Discard"), visible=False, variant="stop", size="sm", min_width=90, scale=0, elem_classes="discard"
        )
    with gr.Group(visible=False) as discard_group:
        gr.HTML(f"<p class='problem'>{DISCARD_QUESTION}</p>", padding=True)
        with gr.Row():
            discard_yes = gr.Button(_("Yes, delete it"), variant="stop", size="sm")
            discard_no = gr.Button(_("Keep it"), size="sm")
    return runs_dropdown, discard_button, discard_group, discard_yes, discard_no


def build_trackers() -> TrackerView:
    """Lay out the buttons."""
    with gr.Row():
        script_button = gr.Button(_("TRL script (.zip)"), size="sm", min_width=110)
        tensorboard_button = gr.Button(_("TensorBoard (.zip)"), size="sm", min_width=110)
        wandb_button = gr.Button(_("W&B offline run (.zip)"), size="sm", min_width=110)
        trackio_button = gr.Button(_("Open in trackio"), size="sm", min_width=110, visible=not on_space())
    with gr.Row():
        space_box = gr.Textbox(
            label=_("trackio Space"),
            info=_("A name, or owner/name. A new one is private."),
            max_length=200,
            scale=3,
        )
        space_button = gr.Button(_("Send to the Space"), size="sm", min_width=140, scale=1)
    return TrackerView(
        tensorboard_button, wandb_button, script_button, trackio_button, space_box, space_button, gr.HTML()
    )


def signature(run: Run | None) -> str:
    """Return a short text that changes when anything in the view has changed."""
    if run is None:
        return ""
    parts = (
        current_language(),
        run.owner,
        run.id,
        run.is_alive(),
        position(run) if run.is_queued() else (),
        *map(_stamp, (run.about_file, run.events_file, run.progress_file, run.log_file)),
        run.stop_file.exists(),
        backup_html(run),
    )
    return str(hash(parts))


def _stamp(path: Path) -> tuple[int, int]:
    """Return (size, time of last change in ns) of a file, (0, 0) without one."""
    try:
        stat = path.stat()
        return stat.st_size, stat.st_mtime_ns
    except OSError:
        return 0, 0


def phase(run: Run | None, state: RunState) -> str:
    """Return a short text that changes when more has changed than what is `live`, and every SLOW_SECONDS for curves and log."""
    if run is None:
        return ""
    seldom = (state.status, state.adapter, state.cure is None, bool(state.losses), len(state.curve("samples")))
    seldom += (int((state.updated_at or 0) / SLOW_SECONDS),)
    return str(hash((current_language(), run.owner, run.id, run.stop_file.exists(), *seldom)))


def render_live(run: Run | None, state: RunState) -> list[str]:
    """Return the values of `RunView.live`: status and what it learned, loss and numbers."""
    if run is None:
        return [describe(None, state, None), ""]
    return [
        describe(run, state, position(run) if state.status == "queued" else None) + learned_html(run, state),
        loss_plot(state) + details(run, state),
    ]


def render(run: Run | None) -> list:
    """Return updates for `RunView.outputs`."""
    state = read_state(run) if run else RunState(status="")
    is_job = run is not None and run.job_file.exists()
    has_adapter = bool(state.adapter) and not state.is_running
    return [
        *render_live(run, state),
        more_plots(state),
        sample_answers(state),
        tail(run.log_file, LOG_LINES) if run else "",
        stop_button(run, state),
        gr.Button(visible=state.status in RESUMABLE and not is_job),
        gr.Button(str(state.cure["label"]), visible=True) if state.cure else gr.Button(visible=False),
        *[gr.Button(visible=has_adapter)] * 4,
        gr.Button(visible=state.has_result and bool(state.losses or state.eval_losses)),
    ]


def stop_button(run: Run | None, state: RunState) -> gr.Button:
    """Return the button that stops a run: hidden after a stop was asked, except for a job, which can then be cancelled."""
    is_asked = run is not None and run.stop_file.exists()
    if run is None or not state.is_running or (is_asked and read_job(run) is None):
        return gr.Button(visible=False)
    return gr.Button(str(_("Cancel the job now") if is_asked else STOP), visible=True)
