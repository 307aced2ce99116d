"""The jobs of `python -m evaluation.experiments` that tell what an experiment takes, hand it on, and make it again."""

import argparse
from collections.abc import Callable
from pathlib import Path

from common.command_line import add_job, give, printable, say
from common.errors import UserError
from common.files import is_file
from common.language import _
from evaluation.experiments.bundle import CellCheck, check_against, rerun, write_bundle
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Experiment, find_experiment
from evaluation.experiments.plan import plan, plan_left
from evaluation.scores import SCORES
from jobs.prices import flavors
from models.hub.client import token_of


def add_bundle_jobs(jobs, follow: Callable[[Experiment], int]) -> None:
    """Add `plan`, `bundle`, `rerun` and `verify` to `jobs`; `follow` prints what an experiment does until it ends."""

    def again(options: argparse.Namespace) -> int:
        return follow(rerun(Path(options.name)))

    price = add_job(jobs, "plan", _plan, _("what an experiment takes, or what is left of it"), named="FILE_OR_ID")
    price.add_argument("--job", metavar="FLAVOR", help=_("its runs as jobs on a machine of `python -m jobs hardware`"))
    made = add_job(jobs, "bundle", _bundle, _("write a zip with which anyone can run it again"), named="ID")
    made.add_argument("--folder", type=Path, default=Path(), metavar="FOLDER", help=_("where to [this folder]"))
    made.add_argument("--without-data", action="store_true", help=_("leave the rows out"))
    add_job(jobs, "rerun", again, _("start the experiment of such a zip anew"), named="ZIP")
    check = add_job(jobs, "verify", _verify, _("does every score lie inside the interval of a zip?"), named="ZIP")
    check.add_argument("experiment", metavar="ID")


def _plan(options: argparse.Namespace) -> int:
    """Print what a file of settings takes, or what is left of an experiment; return 1 when it cannot start."""
    if not is_file(options.name):
        found = plan_left(find_experiment(options.name))
    else:
        machine = {one.name: one for one in flavors(token_of(None))} if options.job else {}
        if options.job and options.job not in machine:
            words = _("There is no machine '{name}'.", name=options.job[:40])
            raise UserError(words, _("Choose one of these: {names}.", names=", ".join(machine)))
        found = plan(ExperimentConfig.from_yaml(Path(options.name)), machine=machine.get(options.job))
    give({"message": found.words, "notes": found.notes, "problems": found.problems})
    print(*map(printable, [found.words, *found.notes]), sep="\n")
    new = [problem for problem in found.problems if problem != found.words]
    print(*map(printable, new), sep="\n", end="\n" if new else "")
    return 1 if found.problems else 0


def _bundle(options: argparse.Namespace) -> int:
    file = write_bundle(find_experiment(options.name), options.folder, include_data=not options.without_data)
    give({"file": file})
    print(_("Written: {file}", file=str(file)))
    return 0


def _verify(options: argparse.Namespace) -> int:
    """Print every score beside the one in the bundle; return 0 when all lie inside their intervals."""
    checks = check_against(Path(options.name), find_experiment(options.experiment))
    give([{**vars(one), "is_inside": one.is_inside} for one in checks])
    for one in checks:
        say(_line(one))
    inside, equal = (sum(values) for values in zip(*((one.is_inside, one.is_equal) for one in checks), strict=True))
    if equal == len(checks):
        print(_("All {count:,} scores are equal.", count=equal))
    elif inside == len(checks):
        print(_("All {count:,} scores lie inside their intervals; {equal:,} of them equal.", count=inside, equal=equal))
    else:
        outside = len(checks) - inside
        print(_("{outside:,} of {count:,} scores lie outside, or are not there.", outside=outside, count=len(checks)))
    return 0 if inside == len(checks) else 1


def _line(one: CellCheck) -> str:
    """Return 'lora-r4  exam  exact  70.0 (60.0 – 80.0)  71.2  inside'."""
    score = SCORES.get(one.score)
    kept, low, high = (score.text(value) if score else f"{value:g}" for value in (one.kept, one.low, one.high))
    again = "" if one.again is None else score.text(one.again) if score else f"{one.again:g}"
    return f"{one.arm:32} {one.test_set:16} {one.score:12} {kept} ({low} – {high})  {again}  {one.word}"
