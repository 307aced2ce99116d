"""The process of one experiment: `python -m evaluation.experiments.process --experiment FOLDER`, without a token.

It splits the data, searches the rates, and then trains and evaluates cell after cell. Runs wait in the fair queue and evaluations
for the accelerator, like anybody's. All that is done lies in folders: after a stop or a kill it goes on with what is left.
"""

import argparse
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from common.command_line import printable
from common.errors import UserError, as_user_error
from common.files import write_json
from common.language import Sentence, _, english, joined, n_
from common.limits import limit
from common.paths import adapters_folder, as_title
from evaluation.background import request_stop, start_process
from evaluation.experiments.arms import Arm, arms_of, cells_of, needs_rate
from evaluation.experiments.cells import (
    cell_id,
    make_evaluation,
    make_run,
    rate_of,
    read_record,
    run_at,
    run_of,
    write_record,
)
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import GO_ON, Experiment, Search
from evaluation.experiments.pace import Pace
from evaluation.experiments.prepare import prepare_experiment
from evaluation.experiments.results import write_results
from evaluation.run import Evaluation, read_progress
from models.hardware import find_gpus
from runs.history import remove, remove_weights
from runs.limits import NoRoom
from runs.processes import this_process
from runs.queue import advance_if_possible, enqueue, stop
from runs.run import Run, read_state
from runs.state import RunState

POLL_SECONDS = 1.0
LATE_SECONDS = 1200.0  # after a stop; a training saves what it has learned
T = TypeVar("T")


class Stopped(Exception):
    """A person asked for it, or the folder is gone."""


def main(arguments: list[str] | None = None) -> int:
    """Work on an experiment; return 0 unless all of it or one of its cells failed."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.experiments.process")
    parser.add_argument("--experiment", type=Path, required=True, metavar="FOLDER")
    experiment = Experiment(parser.parse_args(arguments).experiment)
    # whoever started it may be gone already
    write_json(experiment.process_file, {"process": this_process(os.getpid())})
    work = Work(experiment)
    threading.Thread(target=work.watch, daemon=True).start()
    try:
        failed = work.do()
        total = len(cells_of(experiment.config()))
        if not failed:
            work.pace.end("done", "")
            return 0
        words = n_(
            "{failed:,} of {count:,} cell failed.", "{failed:,} of {count:,} cells failed.", total, failed=len(failed)
        )
        work.pace.end("failed", joined([words, failed[0]]), GO_ON)
    except Stopped:
        work.pace.end("stopped", work.why, GO_ON)
        return 0
    except Exception as error:
        work.pace.end("failed", _why(error), GO_ON)
    finally:
        work.ended.set()
    return 1


def _why(error: Exception) -> str:
    """Return what is wrong, as a person is told it; a bug goes to the log, too."""
    known = as_user_error(error)
    if known is None:
        traceback.print_exception(error)
        return printable(f"{type(error).__name__}: {error}"[:500])
    return joined([known.message, known.hint])


class Work:
    """What one process does for an experiment. Several threads train and evaluate, where cells are worked on in parallel."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.stop = threading.Event()
        self.why = _("Stopped.")
        self.ended = threading.Event()
        self.pace = Pace(experiment)
        self._lock = threading.Lock()  # of the file of rates, and of the results

    def watch(self) -> None:
        """Set `stop` when a person asks for it, the folder is gone, or it is somebody else's turn: the target of a thread.

        End the process where that has no effect: nobody else could start an experiment.
        """
        most, began = limit("STUDIO_MAX_EXPERIMENT_MINUTES", 720), time.monotonic()
        while self.experiment.folder.is_dir() and not self.experiment.stop_file.exists():
            if most and time.monotonic() - began > 60 * most:
                self.why = n_(
                    "Stopped after {count:,} minute, the maximum here.",
                    "Stopped after {count:,} minutes, the maximum here.",
                    most,
                )
                break
            time.sleep(POLL_SECONDS / 2)
        self.stop.set()
        if not self.ended.wait(LATE_SECONDS):  # in a table of hours, or a training that does not stop
            os._exit(1)

    def do(self) -> list[Sentence]:
        """Do what is left to do; return a sentence for each cell that failed. Raises Stopped, and UserError for what all need."""
        prepare_experiment(self.experiment, self._prepare)
        self.pace.tell("", "")
        config = self.experiment.config()
        searches = [
            arm for arm in arms_of(config) if needs_rate(config, arm) and self._search(arm).get("chosen") is None
        ]
        cells = cells_of(config)
        self.pace.plan(len(searches) * len(config.rates) + len(cells))
        for arm in searches:
            self._change(arm, lambda search: None)
        cards = len(find_gpus()) or 1
        with ThreadPoolExecutor(min(config.parallel or cards, cards)) as pool:  # more would wait as processes
            try:
                tried = [pool.submit(self._try_rate, config, arm, rate) for arm in searches for rate in config.rates]
                for one in tried:
                    one.result()
                for arm in searches:
                    self._choose(config, arm)
                done = [pool.submit(self._try_cell, config, arm, seed) for arm, seed in cells]
                failed = [words for one in done if (words := one.result())]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        write_results(self.experiment)
        return failed

    def _prepare(self, activity: str) -> None:
        """Hear what is read before the first cell. Raises Stopped."""
        self._check_stop()
        self.pace.tell("", activity)

    def _try_rate(self, config: ExperimentConfig, arm: Arm, rate: float) -> None:
        """Train an arm once with a rate and keep its loss on the validation rows; None where it failed. Raises Stopped."""
        self._check_stop()
        key, place = f"{rate:g}", f"rate.{arm.id}.{rate:g}"
        run = run_at(self.experiment, place)
        if self._search(arm)["losses"].get(key) is None:
            loss = None
            self.pace.tell(place, _("Searching the learning rate of {arm}: {rate:g}", arm=arm.name, rate=rate))
            try:
                run = self._go_on(run) or self._queued(
                    lambda: make_run(self.experiment, place, arm, config.split_seed, rate, config.rate_steps)
                )
                loss = self._trained(run).metrics.get("loss_after")
            except UserError as error:
                print(english(_why(error)), flush=True)
            finally:
                self.pace.tell(place, "")
            self._change(arm, lambda search: search["losses"].update({key: loss}))
        if run and self._search(arm)["losses"].get(key) is not None:
            remove(run)
        self.pace.add()

    def _choose(self, config: ExperimentConfig, arm: Arm) -> None:
        """Choose the rate with the lowest loss on the validation rows; none where all trainings failed."""
        losses = {rate: self._search(arm)["losses"].get(f"{rate:g}") for rate in config.rates}
        known = {rate: loss for rate, loss in losses.items() if loss is not None}
        self._change(arm, lambda search: search.update(chosen=min(known, key=known.__getitem__, default=None)))

    def _search(self, arm: Arm) -> Search:
        return self.experiment.searches().get(arm.id) or Search(losses={}, chosen=None)

    def _change(self, arm: Arm, change: Callable[[Search], None]) -> None:
        """Change what is known of the search of an arm."""
        with self._lock:
            search = self._search(arm)
            change(search)
            write_json(self.experiment.rates_file, {**self.experiment.searches(), arm.id: search})

    def _try_cell(self, config: ExperimentConfig, arm: Arm, seed: int | None) -> Sentence | None:
        """Train and evaluate a cell unless it is done; return what went wrong, which concerns no other cell. Raises Stopped."""
        self._check_stop()
        id = cell_id(arm, seed)
        title = _("{arm}, seed {seed}", arm=arm.name, seed=seed) if seed is not None else as_title(arm.name)
        why = ""
        try:
            self._do_cell(config, arm, seed, title)
        except Stopped:
            raise
        except Exception as error:  # the edge of a cell
            why = _why(error)
            write_record(self.experiment, id, {**read_record(self.experiment, id), "message": why})
        finally:
            self.pace.tell(id, "")
        self.pace.add()
        with self._lock:
            try:
                write_results(self.experiment)
            except Exception:  # after the last cell they are written again, whatever that raises
                traceback.print_exc()
        return _("{arm}: {problem}", arm=title, problem=why) if why else None

    def _do_cell(self, config: ExperimentConfig, arm: Arm, seed: int | None, title: str) -> None:
        """Train a cell and evaluate it, then remove its weights unless they are to be kept. Raises UserError where it fails."""
        id = cell_id(arm, seed)
        evaluation = self.experiment.evaluation(id)
        if read_progress(evaluation).status != "done":
            record = read_record(self.experiment, id)
            record.pop("message", None)
            write_record(self.experiment, id, record)
            self.pace.tell(id, _("Training {cell}", cell=title) if seed is not None else title)
            run = None if seed is None else self._trained_cell(config, arm, seed)
            if not evaluation.config_file.exists():
                make_evaluation(self.experiment, arm, seed, run)
            self.pace.tell(id, _("Evaluating {cell}", cell=title))
            self._evaluate(evaluation)
        run = run_of(self.experiment, read_record(self.experiment, id))
        if run and not config.keep_weights:
            remove_weights(run)

    def _trained_cell(self, config: ExperimentConfig, arm: Arm, seed: int) -> Run:
        """Return the run of a cell once it is done; one whose weights are gone is trained anew. Raises UserError."""
        id = cell_id(arm, seed)
        run = run_of(self.experiment, read_record(self.experiment, id)) or run_at(self.experiment, id)
        if run and _has_lost_weights(run):
            remove(run)
            shutil.rmtree(self.experiment.evaluation(id).folder, ignore_errors=True)  # of other weights
            run = None
        rate = rate_of(self.experiment, arm)
        if rate is None:
            words = _("No learning rate was found: each training of the search failed.")
            raise UserError(words, _("Its log says why; choose other rates."))
        run = self._go_on(run) or self._queued(lambda: make_run(self.experiment, id, arm, seed, rate))
        write_record(self.experiment, id, {"run": run.id})
        metrics = self._trained(run).metrics
        for samples in ("samples_before", "samples_after"):
            metrics.pop(samples, None)
        write_record(self.experiment, id, {"run": run.id, "metrics": metrics})
        return run

    def _go_on(self, run: Run | None) -> Run | None:
        """Queue a run from before again unless it is running or done, and return it; None where there is none."""
        if run:
            state = read_state(run, with_curves=False)
            if not state.is_running and state.status != "done":
                self._queued(lambda: enqueue(run))
        return run

    def _trained(self, run: Run) -> RunState:
        """Return the state of a run once it is done. Raises Stopped, and UserError when it fails."""
        self._wait(lambda: not (read_state(run, with_curves=False).is_running or run.is_alive()), lambda: stop(run))
        state = read_state(run, with_curves=False)
        if state.status != "done":
            raise UserError(state.message, state.hint)
        return state

    def _evaluate(self, evaluation: Evaluation) -> None:
        """Compute what is left of an evaluation in its own process. Raises Stopped, and UserError when it fails."""
        if not evaluation.is_alive():
            start_process(evaluation)
        self._wait(lambda: not evaluation.is_alive(), lambda: request_stop(evaluation))
        progress = read_progress(evaluation)
        if progress.status != "done":
            raise UserError(progress.message, progress.hint)

    def _queued(self, join: Callable[[], T]) -> T:
        """Return what `join` makes, as soon as there is room in the queue. Raises Stopped, and what else `join` raises."""
        while True:
            self._check_stop()
            try:
                return join()
            except NoRoom:
                advance_if_possible()
                self.stop.wait(POLL_SECONDS)

    def _wait(self, is_over: Callable[[], bool], halt: Callable[[], None]) -> None:
        """Wait until it is over, and start what waits in the queue, should nobody else do so. Raises Stopped, after `halt`."""
        is_halted = False
        while not is_over():
            if self.stop.is_set() and not is_halted:
                halt()
                is_halted = True
            advance_if_possible()
            time.sleep(POLL_SECONDS) if is_halted else self.stop.wait(POLL_SECONDS)
        self._check_stop()

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise Stopped


def _has_lost_weights(run: Run) -> bool:
    """Return whether what a run has learned is gone: its adapter, or the model that it made."""
    state = read_state(run, with_curves=False)
    weights = adapters_folder(run.owner) / state.adapter if state.adapter else run.model_folder
    return state.status == "done" and not weights.is_dir()


if __name__ == "__main__":
    sys.exit(main())
