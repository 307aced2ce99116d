"""Runs a training in the test's own process, as the launcher would in another, or waits for one that was launched."""

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runs.events import read_events
from runs.run import Run, read_state

SECONDS = 900  # a run that dies ends the wait at once; one that lives may be on a slow machine


def run_main(run: Run, stop_at: int = 0) -> int:
    """`trainer.train` as the launcher calls it, less the launcher: the exit code. A stop is asked for at step `stop_at`.

    Its sample answers are short: they would take half of the time.
    """
    from trainer import samples
    from trainer.progress import ProgressCallback
    from trainer.train import main

    ended = ProgressCallback.on_step_end

    def ask(self, args, state, control, **more):
        if state.global_step == stop_at:
            run.request_stop()
        ended(self, args, state, control, **more)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train", "--run", str(run.folder)])
        patch.setattr(ProgressCallback, "on_step_end", ask)
        patch.setattr(samples, "NEW_TOKENS", min(samples.NEW_TOKENS, 6))
        try:
            return main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def die_after(step: int, monkeypatch: pytest.MonkeyPatch, last_act: Callable[[], object] = lambda: None) -> None:
    """The machine goes away after the checkpoint of `step`, once."""
    from trainer import studio_trainer

    real = studio_trainer.publish_checkpoint

    def published(folder, at, *more):
        real(folder, at, *more)
        if at == step:
            monkeypatch.setattr(studio_trainer, "publish_checkpoint", real)
            last_act()
            raise SystemExit

    monkeypatch.setattr(studio_trainer, "publish_checkpoint", published)


def events(run: Run, kind: str) -> list[dict]:
    return [dict(event) for event in read_events(run.events_file) if event["event"] == kind]


def losses(run: Run) -> list[float]:
    return [event["loss"] for event in events(run, "step")]


def write_rows(file: Path, rows: list[dict]) -> str:
    file.write_text("\n".join(map(json.dumps, rows)))
    return str(file)


def wait(run: Run, until=lambda state: not state.is_running):
    """The state of `run` once `until` holds."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        state = read_state(run)
        if until(state):
            return state
        assert state.is_running, f"{state.status}: {state.message}\n{run.log_tail()}"
        time.sleep(0.1)
    raise AssertionError(f"still {state.status} after {SECONDS} s\n{run.log_tail()}")


def small_settings(base: Path, folder: Path, rows: int = 24, **settings) -> dict:
    """The settings of a run of thirty steps on so many rows, which are written into `folder`; `settings` change them."""
    pairs = [{"prompt": f"What is {n}?", "completion": f"It is {n}. " * (1 + n % 5)} for n in range(rows)]
    numbers = {"max_steps": 30, "save_steps": 4, "eval_steps": 10, "max_length": 256}
    return {"base": str(base), "data": write_rows(folder / "rows.jsonl", pairs), **numbers, **settings}
