"""Writes the sbatch file of a run: one launcher a node, meeting at the first node, and again after every time limit.

Three minutes before the time limit Slurm sends USR1; the script asks the training to stop (it saves a checkpoint and the
adapter) and puts the job back into the queue, where the same line goes on from the checkpoint. A node that fails requeues it
too. The run's folder must lie on storage that all nodes see. No token is in the file, and none is asked for.
"""

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.files import write_text
from common.language import _
from common.paths import REPOSITORY, home
from jobs.line import Machines, announce, exports, launch_line, make_run, write_accelerate_config
from runs.config import TrainConfig
from runs.machines.parallel import check_engine
from runs.run import Run

FILE = "job.sbatch"
WARNING_SECONDS = 180
_TIME = re.compile(r"(\d+-)?\d{1,3}(:\d{2}){0,2}")
_WORD = re.compile(r"[\w.,@+-]{1,100}")
SCRIPT = """#!/bin/bash
# TinyLlama Studio, run {run_id}: submit with `sbatch {file}`; submitting it again goes on from the last checkpoint.
# All nodes must see {home} and {repository}.
{directives}

set -euo pipefail
export STUDIO_HOME={home}
export RUN={run}
{variables}
cd {repository}
# A module or a container, if your cluster wants one: `module load cuda`, or srun --container-image=... below (pyxis).
# The Python of the environment in which this app is installed; a venv needs nothing else.
export PYTHON={python}

HEAD_NODE=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
HEAD_PORT=$((20000 + SLURM_JOB_ID % 20000))
export HEAD_NODE HEAD_PORT
export SRUN_CPUS_PER_TASK="${{SLURM_CPUS_PER_TASK:-1}}"  # since Slurm 22.05 srun does not take it from sbatch: one core a node

out_of_time=0
trap 'out_of_time=1; touch "$RUN/stop"' USR1
rm -f "$RUN/stop"

srun --kill-on-bad-exit=1 bash -c '
{line}
' &
step=$!
code=0
while :; do                            # a signal ends `wait`, not the training
    wait "$step" && code=0 || code=$?
    kill -0 "$step" 2>/dev/null || break
done
if [ "$out_of_time" = 1 ]; then
    echo "The time limit is near: back into the queue; it goes on from the last checkpoint."
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$code"
"""


@dataclass(frozen=True)
class SlurmOptions:
    """The options of sbatch. `time` as Slurm writes it: minutes, HH:MM:SS or D-HH:MM:SS."""

    machines: Machines
    time: str = "04:00:00"
    partition: str = ""
    account: str = ""
    cpus_per_node: int = 8

    def check(self) -> None:
        """Raise UserError for what would not be one word of an #SBATCH line."""
        if not _TIME.fullmatch(self.time):
            words = _("'{time}' is not a time limit of Slurm.", time=self.time[:40])
            raise UserError(words, _("Write HH:MM:SS or D-HH:MM:SS."))
        if self.partition and not _WORD.fullmatch(self.partition):
            words = _("'{name}' is not a partition.", name=self.partition[:40])
            raise UserError(words, _("`sinfo` shows the partitions."))
        if self.account and not _WORD.fullmatch(self.account):
            words = _("'{name}' is not an account.", name=self.account[:40])
            raise UserError(words, _("`sacctmgr show associations` shows yours."))


def write_job(config: TrainConfig, options: SlurmOptions) -> tuple[Run, Path]:
    """Make the run and its sbatch file; returns both. Raises UserError, leaving nothing."""
    options.check()
    check_engine(config)  # the nodes run this very Python
    run = make_run(config, options.machines)
    write_accelerate_config(run, options.machines)
    file = run.folder / FILE
    write_text(file, script(run, options))
    announce(run, _("Waiting for Slurm: {command}", command=f"sbatch {file}"), kind="slurm")
    return run, file


def script(run: Run, options: SlurmOptions) -> str:
    """Return the sbatch file as text."""
    machines = options.machines
    lines = [
        f"--job-name=studio-{run.id}",
        f"--nodes={machines.nodes}",
        "--ntasks-per-node=1",  # one launcher a node; it starts one process a GPU
        *([f"--gpus-per-node={machines.gpus_per_node}"] if machines.gpus_per_node else []),
        f"--cpus-per-task={options.cpus_per_node}",
        f"--time={options.time}",
        f'--output="{run.folder}/slurm-%j.log"',
        "--open-mode=append",
        "--requeue",
        f"--signal=B:USR1@{WARNING_SECONDS}",
    ]
    lines += [f"--{name}={getattr(options, name)}" for name in ("partition", "account") if getattr(options, name)]
    quoted = {"home": home(), "run": run.folder, "repository": REPOSITORY, "python": sys.executable}
    return SCRIPT.format(
        run_id=run.id,
        file=run.folder / FILE,
        directives="\n".join(f"#SBATCH {line}" for line in lines),
        variables=exports(machines.variables),
        line=launch_line(machines, "$SLURM_NODEID", "$HEAD_NODE", "$HEAD_PORT", '"$PYTHON"'),
        **{name: shlex.quote(str(path)) for name, path in quoted.items()},
    )
