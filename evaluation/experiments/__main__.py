"""Experiments from the command line: arms times seeds, all asked the same, and one table.

python -m evaluation.experiments start experiment.yaml      docs/experiments.md says what may stand in it
python -m evaluation.experiments list                       all experiments
python -m evaluation.experiments show ID                    how far each cell is
python -m evaluation.experiments stop ID                    end it and keep what is there
python -m evaluation.experiments resume ID                  go on where it was; what failed is tried again
python -m evaluation.experiments add-seeds ID 4,5           more of each arm; what is there stays
python -m evaluation.experiments delete ID
python -m evaluation.experiments plan FILE | ID             what it takes before the start, or what is left takes
python -m evaluation.experiments bundle ID | rerun ZIP | verify ZIP ID
python -m evaluation.experiments notes | settle CLAIM | verdicts ID
python -m evaluation.experiments made REAL MADE             real rows, made ones and both, on the same real questions
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from common.command_line import add_job, give, run_job, say
from common.errors import UserError
from common.language import _, joined
from common.words import duration
from evaluation.background import request_stop
from evaluation.experiments.cells import read_cells
from evaluation.experiments.commands import add_bundle_jobs
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Experiment, find_experiment, list_experiments
from evaluation.experiments.settling import add_note_jobs
from evaluation.experiments.start import add_seeds, delete_experiment, resume, start
from evaluation.experiments.table import read_entries
from evaluation.follow import count_of, follow, progress_as_json, say_end
from evaluation.run import Progress, read_progress


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    return run_job(_parser, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.experiments",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    jobs = parser.add_subparsers(required=True, metavar="JOB")
    add_job(jobs, "start", _start, _("start one and follow it; Ctrl-C stops it"), named="FILE")
    add_job(jobs, "list", _list, _("all experiments"))
    add_job(jobs, "show", _show, _("how far each cell is"), named="ID")
    add_job(jobs, "stop", _stop, _("stop one and keep the results so far"), named="ID")
    add_job(jobs, "resume", _resume, _("go on where it was; what failed is tried again"), named="ID")
    add_job(jobs, "add-seeds", _add_seeds, _("train and ask each arm with more seeds"), named="ID").add_argument(
        "seeds", metavar="SEEDS", help=_("whole numbers, separated by commas")
    )
    add_job(jobs, "delete", _delete, _("delete one and its runs for good"), named="ID")
    add_bundle_jobs(jobs, _follow)
    add_note_jobs(jobs)
    return parser


def _start(options: argparse.Namespace) -> int:
    return _follow(start(ExperimentConfig.from_yaml(Path(options.name))))


def _follow(experiment: Experiment) -> int:
    """Print what an experiment does until it ends; return 0 unless it failed. Ctrl-C stops it."""
    print(_("Experiment {name} in {folder}", name=experiment.id, folder=str(experiment.folder)), flush=True)
    progress = follow(experiment)
    give({**_as_json(experiment, progress), "scores": read_entries(experiment)})
    return say_end(experiment, progress)


def _as_json(experiment: Experiment, progress: Progress) -> dict[str, Any]:
    """Return an experiment as `--json` prints it."""
    try:
        title = experiment.config().title
    except UserError as error:
        title = error.message
    return {"id": experiment.id, "title": title, "folder": experiment.folder, **progress_as_json(progress)}


def _list(options: argparse.Namespace) -> int:
    """Print a line for each experiment."""
    found = []
    for experiment in list_experiments():
        progress = read_progress(experiment)
        told = _as_json(experiment, progress)
        found.append(told)
        line = f"{experiment.id:40} {progress.status:12} {count_of(progress):10} {told['title']}  {progress.message}"
        say(line.rstrip())
    give(found)
    return 0


def _show(options: argparse.Namespace) -> int:
    """Print the settings of an experiment and a line for each cell."""
    experiment = find_experiment(options.name)
    say(experiment.config().to_yaml())
    cells = read_cells(experiment)
    for cell in cells:
        seconds = duration(cell.seconds) if cell.seconds is not None else ""
        say(f"{cell.id:40} {cell.status:12} {seconds:12} {cell.message}".rstrip())
    progress = read_progress(experiment)
    names = ("id", "seed", "status", "message", "seconds", "metrics")
    told = [{name: getattr(cell, name) for name in names} for cell in cells]
    give({**_as_json(experiment, progress), "cells": told, "scores": read_entries(experiment)})
    say(f"{progress.status} {joined([progress.activity, progress.message, progress.hint])}")
    return 0


def _stop(options: argparse.Namespace) -> int:
    request_stop(find_experiment(options.name))
    print(_("It stops after the step or the answers that are being computed, and keeps the results so far."))
    return 0


def _resume(options: argparse.Namespace) -> int:
    experiment = find_experiment(options.name)
    resume(experiment)
    return _follow(experiment)


def _add_seeds(options: argparse.Namespace) -> int:
    experiment = find_experiment(options.name)
    more = ExperimentConfig.from_dict({"seeds": options.seeds.split(",")})
    add_seeds(experiment, more.seeds)
    return _follow(experiment)


def _delete(options: argparse.Namespace) -> int:
    delete_experiment(find_experiment(options.name))
    print(_("Deleted: {name}", name=options.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
