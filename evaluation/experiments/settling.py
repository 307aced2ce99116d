"""The jobs of `python -m evaluation.experiments` on claims and on made data: what is known, ready experiments, what one says."""

import argparse
import textwrap

from common.command_line import add_job, give, say
from common.errors import UserError
from common.language import _, joined
from evaluation.experiments.config import OWN_SETTINGS, ExperimentConfig, Scalar
from evaluation.experiments.experiment import find_experiment
from evaluation.experiments.made_data import made_experiment
from evaluation.experiments.notes import NOTES, find_note
from evaluation.experiments.start import start
from evaluation.experiments.verdicts import FINDINGS, verdicts
from runs.commands import given_settings
from runs.config import TrainConfig
from trainer.__main__ import add_settings


def add_note_jobs(jobs) -> None:
    """Add `notes`, `settle`, `verdicts` and `made` to the subparsers of `python -m evaluation.experiments`."""
    add_job(jobs, "notes", _notes, _("claims about tuning, and what is known of each"))
    words = _("start the ready experiment that settles a claim")
    add_settings(add_job(jobs, "settle", _settle, words, named="CLAIM"), without=OWN_SETTINGS)
    add_job(jobs, "verdicts", _verdicts, _("what an experiment says of the claims"), named="ID")
    words = _("start the ready experiment on made data: real rows, made ones, both")
    made = add_job(jobs, "made", _made, words, named="REAL")
    made.add_argument("made", metavar="MADE", help=_("made rows: a file or a Hugging Face dataset, as REAL is"))
    add_settings(made, without=(*OWN_SETTINGS, "data"))


def _notes(options: argparse.Namespace) -> int:
    names = ("id", "claim", "known", "measured", "sources", "needs", "command")
    give([{name: getattr(note, name) for name in names} for note in NOTES])
    for note in NOTES:
        needs = {"": "", "gpu": _("It needs a GPU."), "gpus": _("It needs several GPUs.")}[note.needs]
        print(joined([f"{note.id:16}", note.claim, needs]))
        print(
            textwrap.indent(joined([note.known, note.measured, note.command and f"`{note.command}`"], "\n"), " " * 17)
        )
    return 0


def _settle(options: argparse.Namespace) -> int:
    note = find_note(options.name)
    config = note.config(_given(options))
    if config is None:
        raise UserError(_("No experiment measures this, a script does."), _("Run `{command}`.", command=note.command))
    return _start(config)


def _made(options: argparse.Namespace) -> int:
    return _start(made_experiment(options.name, options.made, _given(options)))


def _given(options: argparse.Namespace) -> dict[str, Scalar]:
    """Return the settings of a run that were typed. Raises UserError."""
    given = given_settings(options)
    values = TrainConfig.from_dict(given).to_dict()
    return {name: values[name] for name in given}


def _start(config: ExperimentConfig) -> int:
    experiment = start(config)
    give({"id": experiment.id, "folder": experiment.folder})
    print(_("Experiment {name} in {folder}", name=experiment.id, folder=str(experiment.folder)))
    return 0


def _verdicts(options: argparse.Namespace) -> int:
    found = verdicts(find_experiment(options.name))
    give([{"id": note.id, "claim": note.claim, **vars(settled)} for note, settled in found])
    for note, settled in found:
        say(f"{note.claim} {FINDINGS[settled.finding]}. {settled.words}")
    return 0
