"""The paper's table: base, few-shot prompt, LoRA r 4 and r 16, last 4 layers, full tuning; three seeds each, on the example.

    python -m benchmarks.paper --search    learning rates, once: about an hour on 2 cores; writes results/paper/rates.yaml
    python -m benchmarks.paper             the grid (`make paper`): less than an hour on 2 cores; writes results/paper/
    python -m benchmarks.paper --rerun     again from results/paper/paper.zip in a fresh home: is every cell where it was?

The embedded base in fp32, one pass over 100 rows, which each seed draws. Killed or stopped it goes on at the next call: it is the
experiment `paper` of this home, on the page too. To measure anew, delete it: `python -m evaluation.experiments delete paper`.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import yaml

from benchmarks.inputs import home_of_its_own
from benchmarks.rows import machine, where
from common.command_line import exit_code, printable
from common.errors import UserError
from common.files import write_text
from common.language import english
from common.paths import LOCAL_OWNER, slug
from common.words import duration
from data.settings import EXAMPLE
from evaluation.background import request_stop
from evaluation.experiments.bundle import check_against, write_bundle
from evaluation.experiments.bundle import rerun as start_again
from evaluation.experiments.config import HELD_OUT, ExperimentConfig
from evaluation.experiments.experiment import Experiment, find_experiment
from evaluation.experiments.start import resume, start
from evaluation.experiments.verdicts import FINDINGS, verdicts
from evaluation.run import Progress, read_progress
from models.base import EMBEDDED
from studio import Experimenting

RESULTS = Path(__file__).parent / "results" / "paper"
RATES_FILE, BUNDLE = RESULTS / "rates.yaml", RESULTS / "paper.zip"
RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
GRID = ExperimentConfig(
    title="Paper",
    settings={
        "base": EMBEDDED,
        "data": EXAMPLE,
        "precision": "fp32",
        "num_train_epochs": 1.0,
        "max_rows": 100,
        "max_length": 512,
    },
    arms=[
        {"name": "Base", "method": "none"},
        {"name": "Few-shot", "method": "few-shot"},
        {"name": "LoRA r4", "method": "lora", "lora_r": 4, "lora_alpha": 8},
        {"name": "LoRA r16", "method": "lora", "lora_r": 16, "lora_alpha": 32},
        {"name": "Last 4 layers", "method": "last-n", "last_layers": 4},
        {"name": "Full tuning", "method": "full"},
    ],
    seeds=[1, 2, 3],
    scores=["loss", "token_f1", "rouge_l", "stop_rate"],
    max_items=60,  # all held-out rows and questions; of the 320 texts as many as an hour allows
)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do what it asks, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--search", action="store_true", help="find the learning rates that the grid is trained at")
    parser.add_argument("--rerun", action="store_true", help="repeat the grid from its bundle, and compare")
    options = parser.parse_args(arguments)
    return exit_code(search if options.search else rerun if options.rerun else measure)


def search() -> None:
    """Train each arm once at each rate, and keep the rate with the lowest loss on the validation rows."""
    trained = [arm for arm in GRID.arms if arm["method"] not in ("none", "few-shot")]
    config = replace(GRID, title="Paper rates", arms=trained, seeds=GRID.seeds[:1], rates=RATES, test_sets=[HELD_OUT])
    experiment, _is_new = begun(config)
    rates: dict[str, float] = {}
    for _progress in shown(experiment):
        rates = {arm: rate for arm, found in experiment.searches().items() if (rate := found.get("chosen"))}
        if len(rates) == len(trained):
            request_stop(experiment)  # what comes after the search is the grid's
    if len(rates) < len(trained):
        raise UserError("The search is not at its end.", f"See {experiment.log_file}, then call it again.")
    for arm, rate in rates.items():
        if rate in (RATES[0], RATES[-1]):
            print(f"{arm}: {rate:g} is at the end of the rates that were tried; a better one may lie beyond.")
    losses = {arm: found["losses"] for arm, found in experiment.searches().items()}
    found = {"rates": rates, "validation_losses": losses, "seed": config.split_seed, "machine": where(machine())}
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_text(RATES_FILE, yaml.safe_dump(found, sort_keys=False, allow_unicode=True))


def measure() -> None:
    """Run the grid, or what is left of it, and keep table, figures, methods, bundle and verdicts."""
    if not RATES_FILE.exists():
        raise UserError("No learning rates are kept.", "Search them first: python -m benchmarks.paper --search")
    rates = yaml.safe_load(RATES_FILE.read_text(encoding="utf-8"))["rates"]
    began = time.monotonic()
    experiment, is_new = begun(replace(GRID, found_rates=rates))
    follow(experiment)
    took = duration(time.monotonic() - began)
    shutil.copytree(experiment.results_folder, RESULTS, dirs_exist_ok=True)
    write_bundle(experiment, RESULTS)
    words = f"{'All of it' if is_new else 'What was left of it'} took {took}."
    write_text(RESULTS / "verdicts.md", report(experiment, f"{where(machine())}. {words}"))


def rerun() -> int:
    """Repeat the grid from its bundle in a fresh home; return 1 unless every score lies within its interval."""
    with home_of_its_own():
        experiment = start_again(BUNDLE)
        follow(experiment)
        checks = check_against(BUNDLE, experiment)
    rows = [
        f"| {one.arm} | {one.test_set} | {one.score} | {one.kept:.4f} ({one.low:.4f} to {one.high:.4f}) "
        f"| {'–' if one.again is None else f'{one.again:.4f}'} | {english(one.word)} |"
        for one in checks
    ]
    parts = [
        "# The grid again, from its bundle in a fresh home",
        f"{where(machine())}. {sum(one.is_inside for one in checks)} of {len(checks)} scores lie within the interval that was "
        f"kept; {sum(one.is_equal for one in checks)} are equal for each seed.",
        "\n".join(["| arm | test set | score | kept | again | |", "|---|---|---|---|---|---|", *rows]),
    ]
    write_text(RESULTS / "rerun.md", "\n\n".join(parts) + "\n")
    return 0 if all(one.is_inside for one in checks) else 1


def begun(config: ExperimentConfig) -> tuple[Experiment, bool]:
    """Start an experiment, or go on with the one of this title; return it, and whether it is new."""
    try:
        experiment = find_experiment(slug(config.title))
    except UserError:
        return start(config, LOCAL_OWNER), True
    progress = read_progress(experiment)
    if not progress.is_running and progress.status != "done":
        resume(experiment)
    return experiment, False


def follow(experiment: Experiment) -> None:
    """Print what an experiment does until its end. Raises UserError when it ended before all cells were there."""
    *_earlier, progress = shown(experiment)
    if progress.status != "done":
        raise UserError(progress.message, progress.hint)


def shown(experiment: Experiment) -> Iterator[Progress]:
    """Print what an experiment does, and yield it, until its end; Ctrl-C stops it."""
    before = ""
    try:
        for progress in Experimenting(experiment):
            if (line := f"{progress.activity} ({progress.done}/{progress.total or '?'})") != before:
                print(printable(line), flush=True)
                before = line
            yield progress
    except KeyboardInterrupt:
        request_stop(experiment)
        raise


def report(experiment: Experiment, facts: str) -> str:
    """Return what the grid says of the claims in docs/claims.md, as Markdown."""
    parts = ["# What the grid says of the claims", f"{facts} The claims, and how a verdict is made: docs/claims.md."]
    for note, settled in verdicts(experiment):
        words = [f"**{english(FINDINGS[settled.finding])}.**", english(settled.words)]
        parts += [f"## {english(note.claim)}", " ".join(words)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
