"""Chat beside training on the same cores: how much work do both do together, and how long does one wait for a first word?

    python -m benchmarks.beside [--full]

A training of the embedded base on the example's rows, and one person who asks again as soon as an answer has come (int8); each
alone, then both at once. The sum of work is the part of its own speed that each keeps: 100 % would be two that share the cores
and lose nothing.
"""

import shutil
import time
from collections.abc import Callable
from statistics import median

from benchmarks.chat_sides import QUESTION, Side, make_engine
from benchmarks.inputs import embedded_base, home_of_its_own
from benchmarks.rows import Row, main, within
from chat.engine import Model
from common.files import read_json_lines
from models.base import EMBEDDED
from runs.config import TrainConfig
from runs.queue import launch
from runs.run import Run, read_state

TOKENS = 32  # of an answer
WORK_AIM, FIRST_SECONDS = 0.85, 2.0
NOTE = "embedded base; int8 chat, fp32 training of one row a step"


def rows(quick: bool = True) -> list[Row]:
    """Each alone, then both together."""
    seconds = 20.0 if quick else 60.0
    model = Model(embedded_base(), "8bit")
    settings = {"max_steps": 100_000, "per_device_train_batch_size": 1, "save_steps": 10_000_000}
    settings |= {"eval_fraction": 0.0, "test_sets": ""}  # no look at step 0 within what is measured
    with home_of_its_own(), Side(make_engine, {"most_conversations": 0}) as side:
        asked: Callable = lambda: side([(model, QUESTION)], TOKENS)  # noqa: E731
        asked()
        chat_alone = talk(asked, seconds / 2)
        run = launch(TrainConfig.from_dict({"name": "beside", "base": EMBEDDED, **settings}))
        try:
            while not steps_of(run):
                if not read_state(run).is_running:
                    raise RuntimeError(run.log_tail())
                time.sleep(0.2)
            time.sleep(seconds / 2)  # its first steps are slower
            began = time.time()
            time.sleep(seconds)
            middle = time.time()
            chat = talk(asked, seconds)
            ended = time.time()
        finally:
            run.request_stop()
            while run.is_alive():
                time.sleep(0.2)
        steps = steps_of(run)
        shutil.rmtree(run.folder)
    training_alone, training = pace(steps, began, middle), pace(steps, middle, ended)
    kept = {"chat": chat[0] / chat_alone[0], "training": training / training_alone}
    words = ", ".join(f"{name} {part:.0%}" for name, part in kept.items())
    alone = f"alone {chat_alone[0]:.1f} tokens/s and {training_alone:.2f} steps/s"
    work, name = sum(kept.values()), "chat beside training: the work of both, of what one does alone"
    return [
        Row(name, work, None, "", work / WORK_AIM, 1.0, f"{words}; {alone}; {NOTE}"),
        within(
            "chat beside training: first token", chat[1], FIRST_SECONDS, "s", f"alone {chat_alone[1]:.2f} s; {NOTE}"
        ),
    ]


def talk(asked: Callable, seconds: float) -> tuple[float, float]:
    """Ask one question after the other; return (tokens a second, the median of the seconds to a first token)."""
    waits, began = [], time.monotonic()
    while time.monotonic() - began < seconds:
        waits.append(asked()[1])
    return TOKENS * len(waits) / (time.monotonic() - began), median(waits)


def steps_of(run: Run) -> list[float]:
    """Return when each step ended."""
    return [event["time"] for event in read_json_lines(run.events_file) if event["event"] == "step"]


def pace(steps: list[float], began: float, ended: float) -> float:
    """Return the steps a second between two moments: from the last one before each to the last one before the other."""
    first, last = (sum(when <= moment for when in steps) for moment in (began, ended))
    return (last - first) / (steps[last - 1] - steps[first - 1]) if last > first else 0.0


if __name__ == "__main__":
    main(rows, __doc__)
