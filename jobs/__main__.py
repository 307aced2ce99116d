"""Trains on machines that others own, from the command line.

python -m jobs slurm --config config.yaml --nodes 2 --gpus-per-node 4 --time 04:00:00 --partition gpu   writes an sbatch file
python -m jobs skypilot --config config.yaml --gpus-per-node 4 --gpu A100 --bucket s3://mine            writes a SkyPilot YAML
python -m jobs hardware                what Hugging Face Jobs offers, and for how much
python -m jobs hf --config config.yaml --flavor a10g-small --minutes 60 --max-dollars 2     submits, after a yes, and follows
python -m jobs follow NAME             streams a job's events and log into its run, until it ends
python -m jobs stop NAME               ends a job and keeps what it learned; within minutes
python -m jobs cancel NAME             ends a job at once; its last checkpoint is on the Hub
python -m jobs resume NAME --flavor a10g-small --minutes 60 --max-dollars 2                 a new job, from that checkpoint
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from common.command_line import add_job, give, run_job
from common.errors import UserError
from common.language import _, joined, n_
from common.paths import adapters_folder
from jobs import hf, skypilot, slurm
from jobs.follow import follow
from jobs.line import Machines
from jobs.prices import JobPlan, flavors, plan, prices_from
from jobs.skypilot import SkyOptions
from jobs.slurm import SlurmOptions
from jobs.stop import ask_to_stop, job_repo
from models.hub.client import Account, Token, account_of, token_of
from runs.commands import given_config, run_as_json
from runs.run import Run, find_run
from trainer.__main__ import add_settings


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    return run_job(_parser, arguments)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs",
        description=_("Train on machines that others own: Slurm, SkyPilot and Hugging Face Jobs."),
    )
    commands = parser.add_subparsers(required=True, metavar="JOB")

    def command(name: str, work: Callable[[argparse.Namespace], int], text: str, with_config: bool = False):
        added = add_job(commands, name, work, text)
        if with_config:
            added.add_argument("--config", type=Path, help=_("a config.yaml; flags win over it"))
            add_settings(added, ("num_processes",))
        return added

    cluster = command("slurm", _slurm, _("write an sbatch file"), with_config=True)
    cluster.add_argument("--nodes", type=int, default=1)
    cluster.add_argument("--gpus-per-node", type=int, default=1, help=_("0: one CPU process per node [1]"))
    cluster.add_argument("--cpus-per-node", type=int, default=SlurmOptions.cpus_per_node)
    cluster.add_argument("--time", default=SlurmOptions.time, help=_("time limit; the job resumes after it [04:00:00]"))
    cluster.add_argument("--partition", default="")
    cluster.add_argument("--account", default="")
    cloud = command("skypilot", _skypilot, _("write a SkyPilot YAML"), with_config=True)
    cloud.add_argument("--nodes", type=int, default=1)
    cloud.add_argument("--gpus-per-node", type=int, default=1)
    cloud.add_argument("--gpu", default=SkyOptions.card, help=_("as `sky show-gpus` names it [L4]"))
    cloud.add_argument("--bucket", default="", help=_("s3://NAME, gs://NAME ...; empty: SkyPilot creates one"))
    cloud.add_argument("--on-demand", action="store_true", help=_("no spot machines"))
    command("hardware", _hardware, _("machines and prices of Hugging Face Jobs"))
    submitted = command("hf", _hf, _("submit to Hugging Face Jobs, and follow"), with_config=True)
    resumed = command("resume", _resume, _("start a new job from the last checkpoint"))
    resumed.add_argument("name", metavar="NAME")
    for paid in (submitted, resumed):
        paid.add_argument("--flavor", required=True, help=_("a machine of `python -m jobs hardware`"))
        paid.add_argument("--minutes", type=int, required=True, help=_("the job ends after this many at the latest"))
        paid.add_argument("--max-dollars", type=float, required=True, help=_("not started when it could cost more"))
        paid.add_argument("--yes", action="store_true", help=_("agree to the cost without being asked"))
    for name, work, text in (
        ("follow", _follow, _("stream a job into its run, until it ends")),
        ("stop", _stop, _("end a job and keep what it learned")),
        ("cancel", _cancel, _("end a job at once; its last checkpoint is on the Hub")),
    ):
        command(name, work, text).add_argument("name", metavar="NAME")
    return parser


def _slurm(options: argparse.Namespace) -> int:
    machines = Machines(options.nodes, options.gpus_per_node)
    wanted = SlurmOptions(machines, options.time, options.partition, options.account, options.cpus_per_node)
    run, file = slurm.write_job(given_config(options), wanted)
    _tell_submit(run, machines, f"sbatch {file}", file)
    return 0


def _skypilot(options: argparse.Namespace) -> int:
    machines = Machines(options.nodes, options.gpus_per_node)
    wanted = SkyOptions(machines, options.gpu, options.bucket, spot=not options.on_demand)
    run, file = skypilot.write_job(given_config(options), wanted)
    _tell_submit(run, machines, f"sky jobs launch {file}", file)
    return 0


def _tell_submit(run: Run, machines: Machines, command: str, file: Path) -> None:
    give({"name": run.id, "processes": machines.processes, "file": file, "submit": command})
    print(n_("Run {run} on {count} process.", "Run {run} on {count} processes.", machines.processes, run=run.id))
    print(_("Submit it:  {command}", command=command))


def _hardware(options: argparse.Namespace) -> int:
    found = flavors(token_of(None))
    give(found)
    print(*(flavor.line() for flavor in found), prices_from(found[0]), sep="\n")
    return 0


def _agreed(options: argparse.Namespace, token: Token) -> JobPlan:
    """Return the plan, after a yes. Raises UserError without one."""
    made = plan(options.flavor, options.minutes, options.max_dollars, token)
    print(made.sentence(), flush=True)
    if not options.yes and input(_("Start it? Type yes: ")).strip().lower() != "yes":
        raise UserError(_("Nothing was started."))
    return made


def _hf(options: argparse.Namespace) -> int:
    account = account_of(token_of(None))
    config = given_config(options)
    return _watch(hf.submit(config, _agreed(options, account.token), account), account)


def _resume(options: argparse.Namespace) -> int:
    account, run = account_of(token_of(None)), find_run(options.name)
    hf.resume(run, _agreed(options, account.token), account)
    return _watch(run, account)


def _follow(options: argparse.Namespace) -> int:
    return _watch(find_run(options.name), account_of(token_of(None)))


def _stop(options: argparse.Namespace) -> int:
    account, run = account_of(token_of(None)), find_run(options.name)
    if hf.read_job(run) is None:
        hint = _("`python -m trainer stop {run}` stops it.", run=run.id)
        raise UserError(_("'{run}' has no job on Hugging Face.", run=run.id), hint)
    ask_to_stop(job_repo(run, account), account)
    run.request_stop()
    return _watch(run, account)


def _cancel(options: argparse.Namespace) -> int:
    account, run = account_of(token_of(None)), find_run(options.name)
    hf.cancel(run, account)
    return _watch(run, account)


def _watch(run: Run, account: Account) -> int:
    """Follow the job until it ends; Ctrl-C only ends the watching."""
    job = hf.read_job(run)
    print(_("Run {run} is job {url}", run=run.id, url=job.url) if job else _("Run {run}", run=run.id), flush=True)
    try:
        state = follow(run, account)
    except KeyboardInterrupt:
        give({"name": run.id, "job": job.url if job else ""})
        print()
        print(
            _("The job goes on. Follow it: python -m jobs follow {run}; end it: python -m jobs stop {run}", run=run.id)
        )
        return 0
    give({**run_as_json(run, state), "job": job.url if job else ""})
    print(joined([state.message, state.hint]) or state.status)
    if state.adapter:
        print(_("Adapter: {folder}", folder=adapters_folder(run.owner) / state.adapter))
    return 0 if state.status in ("done", "stopped") else 1


if __name__ == "__main__":
    sys.exit(main())
