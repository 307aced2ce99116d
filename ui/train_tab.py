"""The Train tab: base, data, a few settings, Start and Stop, and a live view of the run that is read from its folder.

Nothing depends on the page: every second a timer reads the run's files; a reload or another browser does the same.
"""

import html
import math
from dataclasses import dataclass, fields

import gradio as gr
import pandas

from common.errors import UserError
from common.files import tail
from models.base import AUTO, DEFAULT_BASE, EMBEDDED
from models.hardware import find_gpus
from trainer.config import EXAMPLE, TrainConfig
from trainer.launcher import launch, start
from trainer.run import Run, RunState, find_run, list_runs, read_state
from ui.messages import shown
from ui.owner import on_space, owner_of

TICK_SECONDS = 1.0
MOST_POINTS = 2000
LOG_LINES = 9  # what the box shows without scrolling
COLOURS = {"training": "#6366f1", "held out": "#d97706"}
EXAMPLE_DATA, OWN_FILE = "Example: a study coach (220 conversations)", "My own file"
BASES = [
    ("Automatic: TinyLlama, else embedded", AUTO),
    ("TinyLlama 1.1B Chat (Hub, 2.2 GB)", DEFAULT_BASE),
    ("SmolLM2 135M (embedded, small and quick)", EMBEDDED),
]
FIRST_SETTINGS = ("num_train_epochs", "max_steps", "learning_rate", "per_device_train_batch_size")
MORE_SETTINGS = (
    "max_length",
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "precision",
    "num_processes",
    "seed",
    "save_steps",
)
STATUS_WORDS = {
    "queued": "Starting",
    "preparing": "Preparing",
    "training": "Training",
    "evaluating": "Looking at the held-out rows",
    "saving": "Saving",
    "done": "Done",
    "stopped": "Stopped",
    "failed": "Failed",
    "interrupted": "Interrupted",
}


@dataclass
class TrainTab:
    """What the page wires from outside: loading, and the way into the chat."""

    load: object
    load_wiring: dict
    chat_button: gr.Button
    adapter_name: gr.State


def build_train_tab(browser_key: gr.BrowserState) -> TrainTab:
    """Lay out the tab and wire its events."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            base_dropdown, name_box, data_radio, data_file, settings = _form()
            with gr.Row():
                start_button = gr.Button("Start training", variant="primary")
                stop_button = gr.Button("Stop and keep what it learned", interactive=False)
                resume_button = gr.Button("Resume", visible=False)
        with gr.Column(scale=3, min_width=320):
            runs_dropdown = gr.Dropdown([], label="Run", interactive=True)
            status_html = gr.HTML(describe(None, RunState()))
            loss_plot = gr.LinePlot(
                x="step", y="loss", color="rows", color_map=COLOURS, title="Loss (lower is better)", height=280
            )
            chat_button = gr.Button("Chat with it", visible=False)
            log_box = gr.Textbox(label="Log (its last lines)", lines=9, max_lines=9, buttons=["copy"], autoscroll=True)
    adapter_name = gr.State("")
    seen = gr.State(())
    timer = gr.Timer(TICK_SECONDS)
    view = [status_html, loss_plot, log_box, stop_button, resume_button, chat_button, adapter_name, seen]
    names = tuple(settings)
    inputs = [browser_key, base_dropdown, name_box, data_radio, data_file, *settings.values()]

    @shown
    def on_start(token: gr.OAuthToken | None, key, base, name, kind, file, *values):
        owner = owner_of(key, token)
        config = make_config(base, name, kind, file, dict(zip(names, values, strict=True)))
        return _choices(owner, launch(config, owner).id)

    @shown
    def on_stop(token: gr.OAuthToken | None, key, run_id):
        find_run(run_id or "-", owner_of(key, token)).request_stop()
        gr.Info("Stopping after this step; what it learned is saved.")

    @shown
    def on_resume(token: gr.OAuthToken | None, key, run_id):
        start(find_run(run_id or "-", owner_of(key, token)))

    @shown
    def on_load(token: gr.OAuthToken | None, key, run_id):
        return _choices(owner_of(key, token), run_id)

    @shown
    def on_tick(token: gr.OAuthToken | None, key, run_id, before):
        return render(key, run_id, before, token)

    @shown
    def on_pick(token: gr.OAuthToken | None, key, run_id):
        return render(key, run_id, (), token)

    data_radio.change(lambda kind: gr.File(visible=kind == OWN_FILE), data_radio, data_file, show_progress="hidden")
    picked = {"fn": on_pick, "inputs": [browser_key, runs_dropdown], "outputs": view, "show_progress": "hidden"}
    start_button.click(on_start, inputs, runs_dropdown, api_name="start", concurrency_id="start").success(**picked)
    stop_button.click(on_stop, [browser_key, runs_dropdown], None, api_name="stop")
    resume_button.click(on_resume, [browser_key, runs_dropdown], None, api_name="resume").success(**picked)
    runs_dropdown.change(**picked, api_visibility="undocumented")
    timer.tick(
        on_tick,
        [browser_key, runs_dropdown, seen],
        view,
        show_progress="hidden",
        queue=False,
        api_visibility="undocumented",
    )
    wiring = {"inputs": [browser_key, runs_dropdown], "outputs": runs_dropdown, "show_progress": "hidden"}
    return TrainTab(on_load, wiring, chat_button, adapter_name)


def _form() -> tuple:
    """The left half: what to train, on what, and the settings by name."""
    slow = "" if find_gpus() else " Without a GPU, TinyLlama learns about ten times slower here than the embedded base."
    base_dropdown = gr.Dropdown(
        BASES,
        value=AUTO,
        label="Base model",
        allow_custom_value=True,
        info=f"Or type a Hub id of the Llama architecture{'' if on_space() else ', or a folder'}.{slow}",
    )
    name_box = gr.Textbox("my-adapter", label="Name of the adapter", max_length=80)
    data_radio = gr.Radio([EXAMPLE_DATA, OWN_FILE], value=EXAMPLE_DATA, label="Data")
    data_file = gr.File(
        label="JSONL, JSON, CSV or Parquet: messages, prompt and completion, instruction and output, or text",
        file_types=[".jsonl", ".json", ".csv", ".parquet"],
        visible=False,
    )
    items = {item.name: item for item in fields(TrainConfig)}
    settings = {}
    with gr.Row():
        settings |= {name: setting_component(items[name]) for name in FIRST_SETTINGS[:2]}
    with gr.Row():
        settings |= {name: setting_component(items[name]) for name in FIRST_SETTINGS[2:]}
    with gr.Accordion("More settings", open=False):
        settings |= {name: setting_component(items[name]) for name in MORE_SETTINGS}
    return base_dropdown, name_box, data_radio, data_file, settings


def setting_component(item) -> gr.components.Component:
    """The input for one field of the config, with its help, default and limits."""
    label = item.name.replace("_", " ").capitalize()
    if item.metadata["choices"]:
        return gr.Dropdown(list(item.metadata["choices"]), value=item.default, label=label, info=item.metadata["help"])
    # the limits are checked by the config, whose sentence says more than the browser's
    return gr.Number(item.default, label=label, info=item.metadata["help"], precision=0 if item.type is int else None)


def make_config(base: str, name: str, kind: str, file: str | None, settings: dict) -> TrainConfig:
    """The form as a config. Raises UserError for what is missing, unknown, or not allowed to a visitor."""
    if kind not in (EXAMPLE_DATA, OWN_FILE):
        raise UserError("Choose the example or your own file.")
    if kind == OWN_FILE and not file:
        raise UserError("No file was uploaded.", "Drop one on the page, or choose the example.")
    base = (base or AUTO).strip()
    if on_space() and base not in (AUTO, EMBEDDED) and (base.startswith((".", "/", "~")) or base.count("/") != 1):
        raise UserError(f"'{base[:80]}' is not a model id.", "Ids look like owner/name.")
    empty = [setting for setting, value in settings.items() if value is None]
    if empty:
        raise UserError(f"{', '.join(empty)} is empty.", "Give a number.")
    data = EXAMPLE if kind == EXAMPLE_DATA else file
    return TrainConfig.from_dict({"name": name or "", "base": base, "data": data, **settings})


def _choices(owner: str, wanted: str | None) -> gr.Dropdown:
    """The owner's runs, the newest first; keeps `wanted` when it is one of them."""
    ids = [run.id for run in list_runs(owner)]
    return gr.Dropdown(ids, value=wanted if wanted in ids else next(iter(ids), None))


def render(key, run_id: str | None, before: tuple, token: gr.OAuthToken | None):
    """The view of a run, or gr.skip() when nothing changed since `before`."""
    run = find_run(run_id, owner_of(key, token)) if run_id else None
    now = (run_id, run and run.is_alive(), _size(run and run.events_file), _size(run and run.log_file))
    if tuple(before or ()) == now:
        return [gr.skip()] * 8
    state = read_state(run) if run else RunState(status="")
    return [
        describe(run, state),
        points(state),
        tail(run.log_file, LOG_LINES) if run else "",
        gr.Button(interactive=state.is_running and run is not None and not run.stop_file.exists()),
        gr.Button(visible=state.status in ("stopped", "interrupted", "failed")),
        gr.Button(visible=bool(state.adapter) and not state.is_running),
        state.adapter,
        now,
    ]


def _size(path) -> int:
    try:
        return path.stat().st_size if path else 0
    except OSError:
        return 0


def points(state: RunState) -> pandas.DataFrame | None:
    """The points of the plot: one row a point, thinned to what a screen can show; None before the first.

    Both kinds are always there, each with an empty point: the plot draws no line of a kind that it met later.
    """
    if not state.losses and not state.eval_losses:
        return None
    every = max(1, len(state.losses) // MOST_POINTS)
    rows = [(0, math.nan, kind) for kind in COLOURS]
    rows += [(step, loss, "training") for step, loss in state.losses[::every]]
    rows += [(step, loss, "held out") for step, loss in state.eval_losses]
    return pandas.DataFrame(rows, columns=["step", "loss", "rows"])


def describe(run: Run | None, state: RunState) -> str:
    """The state of a run as HTML, every word of it escaped."""
    if run is None:
        return "<p class='hint'>Nothing has been trained yet. Press Start: everything is filled in.</p>"
    word = STATUS_WORDS.get(state.status, state.status)
    parts = [f"<b>{word}</b>", *(f"<span>{html.escape(fact)}</span>" for fact in facts(state))]
    percent = 100 * (1.0 if state.status == "done" else state.fraction)
    bar = (
        f"<div class='bar' role='progressbar' aria-valuenow='{percent:.0f}' aria-valuemin='0' aria-valuemax='100' "
        f"aria-label='Progress of the training'><div style='width: {percent:.1f}%'></div></div>"
    )
    lines = [f"<div class='status-line'>{''.join(parts)}</div>", bar]
    if state.message:
        kind = "problem" if state.status in ("failed", "interrupted") else "hint"
        lines.append(f"<p class='{kind}'>{html.escape(f'{state.message} {state.hint}'.strip())}</p>")
    if state.base:
        precision = f", {state.precision}" if state.precision else ""
        lines.append(f"<p class='hint'>Base: {html.escape(f'{state.base}{precision}: {state.base_reason}')}</p>")
    lines += [f"<p class='problem'>{html.escape(note)}</p>" for note in state.notes]
    return "".join(lines)


def facts(state: RunState) -> list[str]:
    """The numbers worth a glance: step, losses, speed, time left, memory."""
    found = []
    if state.total_steps:
        found.append(f"step {state.step} of {state.total_steps}")
    if state.losses:
        found.append(f"loss {state.losses[-1][1]:.3f}")
    if state.eval_losses:
        first, last = state.eval_losses[0], state.eval_losses[-1]
        was = f" (was {first[1]:.3f})" if first[0] == 0 and last[0] > 0 else ""
        found.append(f"held-out loss {last[1]:.3f}{was}")
    if state.tokens_per_second:
        found.append(f"{state.tokens_per_second:.0f} tokens/s")
    if state.is_running and state.eta_seconds is not None:
        found.append(f"about {duration(state.eta_seconds)} left")
    if state.peak_memory_bytes:
        found.append(f"{state.peak_memory_bytes / 2**30:.1f} GiB")
    return found


def duration(seconds: float) -> str:
    """Seconds as people say them: '45 s', '12 min', '3 h 20 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
