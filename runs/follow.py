"""Follows one run in the terminal until it ends. Ctrl-C stops the run and keeps what it learned."""

import time

from common.command_line import give
from common.language import _, joined, said
from common.paths import adapters_folder
from models.hardware import describe_hardware
from runs.commands import run_as_json
from runs.queue import advance_if_possible, position, stop
from runs.run import Run, RunState, model_words, read_state

POLL_SECONDS = 0.5


def follow(run: Run) -> int:
    """Print the events of `run` until it ends, and return 0 unless it failed. Ctrl-C stops it and keeps what it learned."""
    config = run.config()
    print(_("Run {name} in {folder}", name=run.id, folder=str(run.folder)))
    print(_("Hardware: {hardware}", hardware=describe_hardware()))
    print(_("Base model: {base}. {reason}", base=config.base, reason=said(config.base_reason)))
    try:
        state = watch(run)
    except KeyboardInterrupt:
        print(_("Stopping: saving what was learned ..."), flush=True)
        stop(run)
        state = watch(run)
    give(run_as_json(run, state))
    for note in state.notes:
        print(note)
    print(f"{state.status}. {joined([state.message, state.hint])}".strip())
    if state.status in ("failed", "interrupted"):
        print(_("The log is {file}", file=str(run.log_file)))
    if state.adapter:
        print(_("Adapter: {folder}", folder=str(adapters_folder(run.owner) / state.adapter)))
    if words := model_words(run, state):
        print(words)
    return 0 if state.status in ("done", "stopped") else 1


def watch(run: Run) -> RunState:
    """Print what is new in `run` until it ends; return its last state."""
    before = read_state(run)
    shown_step, shown_message, shown_stage, shown_place = _last_step(before), "", before.stage, (0, 0)
    while True:
        advance_if_possible()
        state = read_state(run)
        if state.status == "queued" and (place := position(run)) != shown_place:
            print(_("Waiting for its turn: place {place} of {total}", place=place[0], total=place[1]), flush=True)
            shown_place = place
        if state.stage != shown_stage:
            shown_step, shown_stage = -1, state.stage
            words = {"stage": state.stage, "stages": state.stages, "name": state.stage_name}
            print(_("Stage {stage} of {stages}: {name}", **words), flush=True)
        before = state.steps_before(state.stage)
        for step, loss in state.losses:
            if step > shown_step:
                values = {"step": before + step, "total": state.total_steps, "speed": state.tokens_per_second}
                print(_("step {step}/{total}  loss {loss:.4f}  {speed:.0f} tokens/s", loss=loss, **values), flush=True)
        shown_step = _last_step(state)
        if state.message and state.message != shown_message and state.is_running:
            print(state.message, flush=True)
            shown_message = state.message
        if not state.is_running:
            return state
        time.sleep(POLL_SECONDS)


def _last_step(state: RunState) -> int:
    """Return the step of the last loss; -1 without one. A start from the beginning makes it smaller."""
    return state.losses[-1][0] if state.losses else -1
