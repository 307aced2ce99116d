"""What the endpoints for programs return: a run, an adapter, an evaluation, as plain values. ui/programs.py has the endpoints."""

from dataclasses import asdict
from typing import Any, TypedDict, cast

from adapters.library import Adapter
from evaluation.run import Evaluation, read_progress
from evaluation.table import read_table
from runs.run import Run, read_state


class RunFacts(TypedDict):
    """A run: its id for the other calls, its state, and what is known of its training. Times in seconds, memory in bytes."""

    run: str
    status: str
    message: str
    step: int
    total_steps: int
    seconds_left: float | None
    losses: list[tuple[int, float]]
    eval_losses: list[tuple[int, float]]
    tokens_per_second: float
    peak_memory_bytes: int
    adapter: str


class AdapterFacts(TypedDict):
    """An adapter: its name for the other calls, its base, and its held-out loss per token."""

    name: str
    base: str
    lora_r: int
    loss_before: float | None
    loss_after: float | None


class LineFacts(TypedDict):
    """A score of a candidate on a test set, and its difference from the first candidate: value, low, high (95 %), n."""

    test_set: str
    score: str
    candidate: str
    estimate: dict[str, Any]
    difference: dict[str, Any] | None
    notes: list[str]


class EvaluationFacts(TypedDict):
    """An evaluation: its id, its state, how many of the results are there, and the table once it has ended."""

    evaluation: str
    status: str
    message: str
    done: int
    total: int | None
    seconds_left: float | None
    table: list[LineFacts]


class PushedFacts(TypedDict):
    """Where an adapter was pushed to."""

    url: str
    private: bool
    changed: bool


def run_facts(run: Run) -> RunFacts:
    """Return a run as programs get it."""
    state = read_state(run)
    return RunFacts(
        run=run.id,
        status=state.status,
        message=f"{state.message} {state.hint}".strip(),
        step=state.step,
        total_steps=state.total_steps,
        seconds_left=state.eta_seconds if state.is_running else None,
        losses=state.curve("losses"),
        eval_losses=state.curve("eval_losses"),
        tokens_per_second=state.tokens_per_second,
        peak_memory_bytes=state.peak_memory_bytes,
        adapter=state.adapter,
    )


def adapter_facts(adapter: Adapter) -> AdapterFacts:
    """Return an adapter as programs get it."""
    return AdapterFacts(
        name=adapter.name,
        base=adapter.base,
        lora_r=adapter.lora_r,
        loss_before=adapter.loss_before,
        loss_after=adapter.loss_after,
    )


def evaluation_facts(evaluation: Evaluation) -> EvaluationFacts:
    """Return an evaluation as programs get it."""
    progress = read_progress(evaluation)
    return EvaluationFacts(
        evaluation=evaluation.id,
        status=progress.status,
        message=f"{progress.message} {progress.hint}".strip(),
        done=progress.done,
        total=progress.total,
        seconds_left=progress.eta_seconds,
        table=[cast(LineFacts, asdict(line) | {"notes": [*map(str, line.notes)]}) for line in read_table(evaluation)],
    )
