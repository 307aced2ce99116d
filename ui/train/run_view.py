"""The live view of one run: status, curves, sample answers, log. `render` reads it all from the run's folder."""

import html
import math
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import pandas

from common.files import tail
from common.words import duration
from jobs.hf import read_job
from runs.forecast.estimate import predicted_memory
from runs.labels import labels_of
from runs.queue import position
from runs.run import Run, RunState, read_state
from runs.state import UNREADABLE, thinned
from ui.messages import hint_html
from ui.train.backups import backup_html
from ui.train.jobs_view import job_line

MAX_POINTS = 1500
LOG_LINES = 300
SMOOTHING = 0.9  # of an exponential moving average, as TensorBoard draws it
RAW, SMOOTH, HELD_OUT, KEPT = "each step", "smoothed", "held out", "kept step"
COLOURS = {RAW: "#a5b4fc", SMOOTH: "#4f46e5", HELD_OUT: "#d97706", KEPT: "#059669"}
SMALL_PLOTS = {  # a curve of RunState, its title
    "learning_rates": "Learning rate",
    "grad_norms": "Gradient norm",
    "speeds": "Tokens a second",
    "memories": "Memory in GiB",
}
STATUS_WORDS = {
    "queued": "Waiting",
    "preparing": "Preparing",
    "training": "Training",
    "evaluating": "Evaluating on the held-out rows",
    "saving": "Saving",
    "done": "Done",
    "stopped": "Stopped",
    "failed": "Failed",
    "interrupted": "Interrupted",
    UNREADABLE: "Cannot be read",
}
RESUMABLE = ("stopped", "interrupted", "failed")
STOP = "Stop and keep what it learned"


@dataclass
class RunView:
    """The parts of the view; `outputs` in the order that `render` fills."""

    runs_dropdown: gr.Dropdown
    stop_button: gr.Button
    resume_button: gr.Button
    discard_button: gr.Button
    cure_button: gr.Button
    chat_button: gr.Button
    bundle_button: gr.Button
    data_checkbox: gr.Checkbox
    log_button: gr.Button
    outputs: list


def build_run_view() -> RunView:
    """Lay out the view of one run."""
    runs_dropdown = gr.Dropdown([], label="Run", interactive=True, allow_custom_value=True)  # an API names any run
    status_html = gr.HTML(describe(None, RunState(), None), elem_classes="status")
    with gr.Row():
        stop_button = gr.Button(STOP, visible=False, min_width=150)
        resume_button = gr.Button("Resume", visible=False, min_width=100)
        cure_button = gr.Button(visible=False, variant="primary", min_width=150)
        chat_button = gr.Button("Chat with it", visible=False, variant="primary", min_width=100)
        discard_button = gr.Button("Discard", visible=False, variant="stop", min_width=100)
    with gr.Tabs():
        with gr.Tab("Curves"):
            title = "Loss (lower is better)"
            loss_plot = gr.LinePlot(x="step", y="loss", color="rows", color_map=COLOURS, title=title, height=280)
            titles, small_plots = list(SMALL_PLOTS.values()), []
            for pair in (titles[:2], titles[2:]):
                with gr.Row():
                    small_plots += [
                        gr.LinePlot(x="step", y="value", title=title, y_title=" ", height=170, min_width=200)
                        for title in pair
                    ]
        with gr.Tab("Sample answers"):
            samples_html = gr.HTML(elem_classes="samples")
        with gr.Tab("Log and files"):
            label = "Log (its last lines)"
            log_box = gr.Textbox(label=label, lines=14, max_lines=14, buttons=["copy"], autoscroll=True)
            with gr.Row():
                log_button = gr.Button("Download the log", size="sm")
                bundle_button = gr.Button("Download what reproduces this run (zip)", size="sm")
            data_checkbox = gr.Checkbox(False, label="with the training data in it")
    buttons = [stop_button, resume_button, discard_button, cure_button, chat_button]
    return RunView(
        runs_dropdown,
        *buttons,
        bundle_button,
        data_checkbox,
        log_button,
        outputs=[status_html, loss_plot, *small_plots, samples_html, log_box, *buttons],
    )


def signature(run: Run | None) -> tuple:
    """Return a key that changes when anything in the view has changed."""
    if run is None:
        return ()
    return (
        run.owner,
        run.id,
        run.is_alive(),
        position(run) if run.is_queued() else (),
        _stamp(run.about_file),
        _stamp(run.events_file),
        _stamp(run.progress_file),
        _stamp(run.log_file),
        run.stop_file.exists(),
        backup_html(run),
    )


def _stamp(path: Path) -> tuple[int, int]:
    """Return (size, time of last change in ns) of a file, (0, 0) without one."""
    try:
        stat = path.stat()
        return stat.st_size, stat.st_mtime_ns
    except OSError:
        return 0, 0


def render(run: Run | None) -> list:
    """Return updates for `RunView.outputs`."""
    state = read_state(run) if run else RunState(status="")
    is_job = run is not None and run.job_file.exists()
    return [
        describe(run, state, position(run) if run and state.status == "queued" else None),
        points(state),
        *[_small_plot(state.curve(name), name == "memories") for name in SMALL_PLOTS],
        sample_answers(state),
        tail(run.log_file, LOG_LINES) if run else "",
        stop_button(run, state),
        gr.Button(visible=state.status in RESUMABLE and not is_job),
        gr.Button(visible=run is not None),
        gr.Button(state.cure["label"], visible=True) if state.cure else gr.Button(visible=False),
        gr.Button(visible=bool(state.adapter) and not state.is_running),
    ]


def stop_button(run: Run | None, state: RunState) -> gr.Button:
    """Return the button that stops a run: hidden after a stop was asked, except for a job, which can then be cancelled."""
    is_asked = run is not None and run.stop_file.exists()
    if run is None or not state.is_running or (is_asked and read_job(run) is None):
        return gr.Button(visible=False)
    return gr.Button("Cancel the job now" if is_asked else STOP, visible=True)


def points(state: RunState) -> pandas.DataFrame | None:
    """Return the points of the loss plot, thinned to a screen's resolution; None before the first.

    All kinds are always there, each with an empty point: the plot draws no line of a kind that appears later.
    """
    losses, held_out = state.curve("losses"), state.curve("eval_losses")
    if not losses and not held_out:
        return None
    rows = [(0, math.nan, kind) for kind in COLOURS]
    rows += [(step, loss, RAW) for step, loss in thinned(losses, MAX_POINTS)]
    rows += [(step, loss, SMOOTH) for step, loss in thinned(smoothed(losses), MAX_POINTS)]
    rows += [(step, loss, HELD_OUT) for step, loss in held_out]
    if kept := state.kept_place:  # a line across the held-out losses
        rows += [(kept, end([loss for _, loss in held_out], default=math.nan), KEPT) for end in (min, max)]
    return pandas.DataFrame(rows, columns=["step", "loss", "rows"])


def smoothed(values: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return the exponential moving average without the pull to zero at its start (Adam's bias correction)."""
    average, weight, result = 0.0, 0.0, []
    for step, value in values:
        if value is not None and math.isfinite(value):
            average = SMOOTHING * average + (1 - SMOOTHING) * value
            weight = SMOOTHING * weight + (1 - SMOOTHING)
        if weight:
            result.append((step, average / weight))
    return result


def _small_plot(values: list[tuple[int, float]], in_gib: bool = False) -> gr.LinePlot:
    """Return one curve; a plot without points is not shown."""
    scale = 2**30 if in_gib else 1
    thin = [(step, value / scale) for step, value in thinned(values, MAX_POINTS)]
    return gr.LinePlot(pandas.DataFrame(thin, columns=["step", "value"]), visible=bool(values))


def describe(run: Run | None, state: RunState, place: tuple[int, int] | None) -> str:
    """Return the state of a run as HTML, all text escaped."""
    if run is None:
        return hint_html("Nothing has been trained yet. Press Start: everything is filled in.")
    word = STATUS_WORDS.get(state.status, state.status)
    if state.status == "queued" and place and place[0]:
        word = f"Waiting, place {place[0]} of {place[1]}"
    parts = [f"<b>{html.escape(word)}</b>", *(f"<span>{html.escape(fact)}</span>" for fact in facts(state))]
    percent = 100 * (1.0 if state.status == "done" else state.fraction)
    labels = labels_of(run)
    title = f"{labels.title or run.id} {labels.words()}".rstrip()
    lines = [f"<div class='run-title'>{html.escape(title)}</div>"]
    lines += [hint_html(line) for line in labels.notes.splitlines() if line]
    lines.append(f"<div class='status-line'>{''.join(parts)}</div>")
    lines.append(
        f"<div class='bar' role='progressbar' aria-valuenow='{percent:.0f}' aria-valuemin='0' aria-valuemax='100' "
        f"aria-label='Progress of the training'><div style='width: {percent:.1f}%'></div></div>"
    )
    if state.message:
        kind = "problem" if state.status in ("failed", "interrupted", UNREADABLE) else "hint"
        lines.append(hint_html(f"{state.message} {state.hint}".strip(), kind))
    if state.base:
        precision = f", {state.precision}" if state.precision else ""
        lines.append(hint_html(f"Base: {state.base}{precision}: {state.base_reason}"))
    hints = (memory_line(run, state), job_line(run, state) if run.job_file.exists() else "")
    problems = (run.settings_problem() if run.folder.exists() else "", *state.notes)
    lines += [hint_html(line) for line in hints if line]
    lines += [backup_html(run), *(hint_html(line, "problem") for line in problems if line)]
    return "".join(lines)


def facts(state: RunState) -> list[str]:
    """Return the numbers of a run in words: stage, step, losses, speed, time left, memory."""
    found = []
    if state.stages > 1:
        found.append(f"stage {state.stage} of {state.stages}: {state.stage_name}")
    if state.total_steps:
        found.append(f"step {state.step} of {state.total_steps}")
    if state.losses:
        found.append(f"loss {state.losses[-1][1]:.3f}")
    if state.eval_losses:
        first, last = state.eval_losses[0], state.eval_losses[-1]
        notes = [f"was {first[1]:.3f}"] if first[0] == 0 and last[0] > 0 else []
        if (lowest := state.lowest) and lowest[1] < last[1]:
            notes.append(f"lowest {lowest[1]:.3f} at step {lowest[0]}")
        found.append(f"held-out loss {last[1]:.3f}" + (f" ({', '.join(notes)})" if notes else ""))
    if state.tokens_per_second:
        found.append(f"{state.tokens_per_second:.0f} tokens/s")
    if state.is_running and state.eta_seconds is not None:
        found.append(f"about {duration(state.eta_seconds)} left")
    if state.peak_memory_bytes:
        found.append(f"{state.peak_memory_bytes / 2**30:.1f} GiB")
    return found


def memory_line(run: Run, state: RunState) -> str:
    """Return predicted and measured peak memory; "" while one of them is missing."""
    found = (predicted_memory(run.folder), state.metrics.get("peak_memory_bytes"))
    known = [value for value in found if isinstance(value, int | float) and 0 < value < 1e15]
    if len(known) < len(found):
        return ""
    predicted, measured = known
    return (
        f"Peak memory: predicted {predicted / 2**30:.2f} GiB, measured {measured / 2**30:.2f} GiB "
        f"({predicted / measured - 1:+.0%})."
    )


def sample_answers(state: RunState) -> str:
    """Return each prompt with its answers at every evaluation, the newest first, as HTML."""
    if not state.samples:
        return hint_html("At every evaluation on the held-out rows the model answers up to three prompts here.")
    prompts = [answer["prompt"] for answer in state.samples[-1][1]]
    parts = []
    for prompt in prompts:
        parts.append(f"<h4>{html.escape(prompt)}</h4><dl>")
        for step, answers in reversed(state.samples):
            text = next((answer["answer"] for answer in answers if answer["prompt"] == prompt), None)
            if text is not None:
                words = html.escape(text).replace("\n", "<br>") or "<i>nothing</i>"
                parts.append(f"<dt>{'before' if step == 0 else f'step {step}'}</dt><dd>{words}</dd>")
        parts.append("</dl>")
    return "".join(parts)
