"""The events of a run: what a line of `events.jsonl` may hold, and how it is read. What they add up to is in state.py.

Each line is one JSON object. A damaged line counts for nothing, and spoils no other. Sentences are written as msgid and values:
a training process has no visitor, and each reader gets them in their own language.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

from adapters.forgotten import MAX_NAME_CHARACTERS, MAX_TEST_SETS
from adapters.history import Answer
from common.files import JSON_ERRORS, append_json_line
from common.language import packed, unpacked
from common.made_by import MadeBy
from data.report import Cure

MAX_LINE_BYTES = 2**20
# of a `samples` event, and of a prompt or an answer: a training writes less
MAX_ANSWERS, MAX_ANSWER_CHARACTERS = 20, 5_000


class TestLoss(TypedDict):
    """The loss per token on the sample of a test set, and the number of its tokens that were predicted."""

    loss: float
    tokens: int


class LossRise(TypedDict):
    """Losses per token on the sample of a test set: of the base, and with the kept weights of the adapter."""

    before: float
    after: float
    tokens: int


class Metrics(TypedDict, total=False):
    """The results of a finished training. Losses per token, memory in bytes; None where it was not measured.

    `train_seconds` are those of the steps, `total_seconds` of all; `total_parameters` are the base's, too.
    `step` is the last one, `kept_step` the one whose weights are the adapter, with `loss_after`; `loss_last` is of the last.
    """

    base: str
    base_source: str
    precision: str
    stage: int
    stages: int
    step: int
    total_steps: int
    rows: int
    made: list[MadeBy]  # of the rows of all stages so far
    held_out_rows: int  # those that the evaluations used
    held_out_total: int
    trained_tokens: int
    trainable_parameters: int
    total_parameters: int
    adapter_bytes: int
    base_bytes: int
    loss_before: float | None
    loss_after: float | None
    kept_step: int
    loss_last: float | None
    tokens_per_second: float | None
    train_seconds: float
    total_seconds: float
    gradient_checkpointing: str
    peak_memory_bytes: int
    hardware: str
    num_processes: int
    forgotten: dict[str, LossRise]  # by the name of the test set
    samples_before: list[Answer]
    samples_after: list[Answer]


class Event(TypedDict, total=False):
    """One event. `time` in seconds since 1970, `n` its number in the log of a job elsewhere; the rest is its kind's own."""

    time: float
    event: str
    message: str
    hint: str
    activity: str
    part: float | None
    code: str | None
    cure: Cure | None
    base: str
    base_reason: str
    precision: str
    name: str
    stage: int
    stages: int
    step: int
    total_steps: int
    later_steps: int
    epoch: float
    loss: float | None
    learning_rate: float | None
    grad_norm: float | None
    tokens_per_second: float | None
    eta_seconds: float | None
    peak_memory_bytes: int
    answers: list[Answer]
    tested: dict[str, TestLoss]  # by the name of the test set; at step 0 with the adapter switched off
    adapter: str
    metrics: Metrics | None
    n: int
    job: str


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and -1e15 < value < 1e15)


def _are_answers(value: object) -> bool:
    if not isinstance(value, list) or len(value) > MAX_ANSWERS or not all(isinstance(one, dict) for one in value):
        return False
    texts = [one.get(name) for one in value for name in ("prompt", "answer")]
    return all(isinstance(text, str) and len(text) <= MAX_ANSWER_CHARACTERS for text in texts)


def _are_test_losses(value: object) -> bool:
    if not isinstance(value, dict) or len(value) > MAX_TEST_SETS:
        return False
    is_named = all(isinstance(name, str) and len(name) <= MAX_NAME_CHARACTERS for name in value)
    return is_named and all(
        isinstance(one, dict)
        and type(one.get("loss")) in (int, float)
        and _is_number(one["loss"])
        and _is_count(one.get("tokens"))
        for one in value.values()
    )


# the fields whose values are looked at; those of a later version of this program may hold anything
FIELDS: dict[str, Callable[[Any], bool]] = {
    "time": lambda value: type(value) in (int, float) and 0 <= value < 1e11,
    "code": lambda value: value is None or _is_text(value),
    "cure": lambda value: value is None or (isinstance(value, dict) and _is_text(value.get("label"))),
    "metrics": lambda value: value is None or isinstance(value, dict),
    "answers": _are_answers,
    "tested": _are_test_losses,
    **dict.fromkeys(("event", "message", "hint", "activity", "name", "base", "base_reason"), _is_text),
    **dict.fromkeys(("precision", "adapter"), _is_text),
    **dict.fromkeys(("step", "total_steps", "later_steps", "stage", "stages", "n"), _is_count),
    **dict.fromkeys(("loss", "learning_rate", "grad_norm", "tokens_per_second"), _is_number),
    **dict.fromkeys(("epoch", "eta_seconds", "peak_memory_bytes", "part"), _is_number),
}
NEEDED = {"step": ("step", "loss"), "eval": ("step", "loss"), "samples": ("step", "answers"), "resumed": ("step",)}
NEEDED["tested"] = ("step", "tested")
_decoder = json.JSONDecoder(parse_constant=lambda name: None)  # NaN and Infinity, which JSON does not have


def parse_event(line: bytes) -> Event | None:
    """Return the event in a line; None for a damaged one: no JSON, a needed field is missing, or a field of another type."""
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        text = line.decode()
        event = _decoder.decode(text)
        if "\\u" in text:
            json.dumps(event, ensure_ascii=False).encode()  # half characters cannot be shown
        if '"msgid"' in text:
            event = unpacked(event)
    except JSON_ERRORS:
        return None
    if not isinstance(event, dict):
        return None
    if any(name in FIELDS and not FIELDS[name](value) for name, value in event.items()):
        return None
    is_whole = all(name in event for name in NEEDED.get(event.get("event", ""), ()))
    return cast(Event, event) if is_whole else None


def read_events(path: Path) -> list[Event]:
    """Return every event in `path` that is not damaged; [] when there is no file."""
    try:
        with open(path, "rb") as file:
            lines = iter(lambda: file.readline(MAX_LINE_BYTES + 1), b"")  # of a longer line each piece is damaged
            return [event for line in lines if (event := parse_event(line)) is not None]
    except OSError:
        return []


def append_event(path: Path, event: Mapping[str, Any]) -> None:
    """Append one event to the file at `path`; readers get its sentences in their own language."""
    append_json_line(path, packed(event))
