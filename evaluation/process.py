"""The process of one evaluation: `python -m evaluation.process --evaluation FOLDER`. evaluation.start starts it, without a token.

It reads what is asked, waits for the accelerator, and asks every candidate, one after the other, on one base in memory. Each
result is kept as it comes: after a stop or a kill it goes on with what is left.
"""

import argparse
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from adapters.library import find_adapter
from chat.engine import Engine, Model
from common.command_line import printable
from common.errors import as_user_error
from common.files import append_json_line, write_json
from common.language import _, joined
from data.test_sets import Item
from evaluation.adapter_scores import keep_scores
from evaluation.asked import Asked, ask, not_asked
from evaluation.config import ADAPTER, FEW_SHOT, EvaluationConfig
from evaluation.generate import answers
from evaluation.likelihood import answer_losses, choice_losses, text_losses
from evaluation.pace import Pace, Work, watch
from evaluation.results import Needs, Result
from evaluation.run import GO_ON, Evaluation, Status, candidate_title
from evaluation.scores import wanted_scores
from evaluation.table import read_lines, write_table
from models.base import choose_base, fetch_base
from runs.processes import this_process
from runs.queue import accelerator

MEASURED = {"loss": _("likelihood of answers and texts"), "choices": _("likelihood of choices"), "answer": _("answers")}
MEASURED_OF: dict[Needs, tuple[str, ...]] = {
    "loss": ("text", "answer"),
    "choices": ("choices",),
    "answer": ("messages",),
}


class Stopped(Exception):
    """A person asked for it, or the time is up."""


def main(arguments: list[str] | None = None) -> int:
    """Compute an evaluation; return 0 unless it failed."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.process")
    parser.add_argument("--evaluation", type=Path, required=True, metavar="FOLDER")
    evaluation = Evaluation(parser.parse_args(arguments).evaluation)
    # whoever started it may be gone already
    write_json(evaluation.process_file, {"process": this_process(os.getpid())})
    pace, stop, measured = Pace(evaluation), threading.Event(), threading.Event()
    try:
        config = evaluation.config()
        threading.Thread(target=watch, args=(evaluation, config.max_minutes, stop, measured), daemon=True).start()
        try:
            evaluate(evaluation, config, pace, stop)
        except Exception:
            if not stop.is_set():  # else it is what a library made of the stop
                raise
        finally:
            measured.set()
        if evaluation.versions():  # else it was stopped before it knew what to ask
            pace.tell(_("Computing scores and intervals"))
            write_table(evaluation)
        if not stop.is_set():
            keep_scores(evaluation)
            pace.end("done", joined(not_asked(evaluation)))
        elif evaluation.stop_file.exists():
            pace.end("stopped", _("Stopped."), GO_ON)
        else:
            pace.end("stopped", _("Its limit of {minutes:,} minutes is over.", minutes=config.max_minutes), GO_ON)
        return 0
    except Exception as error:
        known = as_user_error(error)
        if known is None:
            traceback.print_exc()
        message = known.message if known else printable(f"{type(error).__name__}: {error}"[:500])
        pace.end("failed", message, known.hint if known else GO_ON)
        return 1


def evaluate(evaluation: Evaluation, config: EvaluationConfig, pace: Pace, stop: threading.Event) -> None:
    """Ask every candidate what is left to ask, each result kept as it comes. Raises Stopped, and UserError."""

    def tell(activity: str, status: Status = "running") -> None:
        if stop.is_set():
            raise Stopped
        pace.tell(activity, status)

    def wait() -> None:
        tell(_("Waiting for the end of another training or evaluation on this machine"), "waiting")

    asked = {one.id: one for one in ask(evaluation, tell)}
    jobs, there = _jobs(evaluation, config, list(asked.values()))
    pace.plan([Work(job.test_set, job.needs) for job in jobs for _item in job.items], there)
    if not jobs:
        return
    with accelerator(wait):
        base = fetch_base(choose_base(config.base, config.base_revision or None), lambda what, part: tell(what), stop)
        folders = {f"{ADAPTER}{name}": find_adapter(name, evaluation.owner).folder for name in config.adapters()}
        engine = Engine(most_adapters=max(1, len(folders)))
        try:
            for job in jobs:
                who, title = candidate_title(job.candidate, evaluation.owner), asked[job.test_set].title
                pace.begin(
                    _("{candidate} on {test_set}: {what}", candidate=who, test_set=title, what=MEASURED[job.needs])
                )
                model = Model(base, config.precision, folders.get(job.candidate))
                shots = asked[job.test_set].shots if job.candidate == FEW_SHOT else []
                file = evaluation.results_file(job.test_set, job.candidate)
                file.parent.mkdir(parents=True, exist_ok=True)
                for result in _measure(engine, model, job, config.max_new_tokens, stop, shots):
                    append_json_line(file, {"needs": job.needs, **result})
                    pace.add(Work(job.test_set, job.needs))
                if stop.is_set():
                    raise Stopped
        finally:
            engine.close()


class Job(NamedTuple):
    """One measurement of one candidate on what is left of a test set."""

    candidate: str
    test_set: str
    needs: Needs
    items: list[Item]


def _jobs(evaluation: Evaluation, config: EvaluationConfig, asked: list[Asked]) -> tuple[list[Job], int]:
    """Return what is left to measure, and how many results are there already."""
    jobs, there = [], 0
    for candidate in config.candidates:
        for one in asked:
            if candidate == FEW_SHOT and not one.shots:  # it would be the base again
                continue
            known = {(line["needs"], line["item"]) for line in read_lines(evaluation, one.id, candidate)}
            for needs in _needs(config, one):
                items = [item for item in one.items if any(part in item for part in MEASURED_OF[needs])]
                left = [item for item in items if (needs, item["number"]) not in known]
                there += len(items) - len(left)
                jobs += [Job(candidate, one.id, needs, left)] if left else []
    return jobs, there


def _needs(config: EvaluationConfig, one: Asked) -> list[Needs]:
    """Return which measurements the wanted scores need on a test set.

    Where there is something to choose from, no answers are written unless a score is named that needs them.
    """
    wanted = {score.needs for score in wanted_scores(config, one.kind, one.labels)}
    if not config.scores and all("choices" in item for item in one.items):
        wanted.discard("answer")
    return [needs for needs in MEASURED if needs in wanted]


def _measure(
    engine: Engine, model: Model, job: Job, max_new_tokens: int, stop: threading.Event, shots: list[Item]
) -> Iterator[Result]:
    """Yield the results of a job as they come."""
    if job.needs == "choices":
        yield from choice_losses(engine.resident, model, job.items, stop, shots)
    elif job.needs == "answer":
        yield from answers(engine, model, job.items, max_new_tokens, stop, shots)
    else:
        yield from text_losses(engine.resident, model, [item for item in job.items if "text" in item], stop)
        yield from answer_losses(
            engine.resident, model, [item for item in job.items if "text" not in item], stop, shots
        )


if __name__ == "__main__":
    sys.exit(main())
