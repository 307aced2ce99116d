"""Makes the one idempotent line that every machine runs, and the run's folder for it.

    accelerate launch --config_file RUN/job.accelerate.yaml --machine_rank N --main_process_ip HOST ... -m trainer.train --run RUN

The same line as the launcher's: it trains from the start, or goes on from the last checkpoint in RUN. Who owns the machines
runs it again after a time limit, a lost machine or a restart, and nothing else has to be known.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import UserError
from common.files import write_json, write_text
from common.language import _
from common.paths import LOCAL_OWNER
from models.hardware import Gpu
from runs.config import TrainConfig
from runs.launcher import create_run
from runs.machines.command import accelerate_yaml
from runs.machines.parallel import ENGINES
from runs.run import EventLog, Run

ACCELERATE_FILE = "job.accelerate.yaml"
MAX_RESTARTS = 3
JOIN_SECONDS = 900  # how long the first machine waits for the last one
# every machine needs them: restarted processes read stale addresses otherwise (pytorch issue 135712), TRL reports usage,
# and a token that lies on the machine is nobody's business here
VARIABLES = {
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True)
class Machines:
    """The wanted machines, and the GPUs in each (0: its CPU, with one process a machine)."""

    nodes: int = 1
    gpus_per_node: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= 512 or not 0 <= self.gpus_per_node <= 64:
            raise UserError(
                _(
                    "Machines: {machines}, GPUs in each: {gpus}. That is not possible.",
                    machines=self.nodes,
                    gpus=self.gpus_per_node,
                ),
                _("Choose 1 to 512 machines with 0 to 64 GPUs each."),
            )

    @property
    def processes(self) -> int:
        """The processes of all machines together, which accelerate calls num_processes."""
        return self.nodes * max(1, self.gpus_per_node)

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The cards of one machine, of unknown kind: the training process finds out what they can do."""
        return (Gpu("GPU", 0, None),) * self.gpus_per_node

    def settings(self, config: TrainConfig) -> TrainConfig:
        """`config` on these machines; which one is which, and where they meet, are flags of the line."""
        return replace(
            config, num_processes=self.processes, num_machines=self.nodes, rendezvous="c10d", main_process_ip="HEAD"
        )

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of the line; accelerate takes a CPU only when it is named."""
        return VARIABLES if self.gpus_per_node else {**VARIABLES, "ACCELERATE_USE_CPU": "true"}


def make_run(config: TrainConfig, machines: Machines, owner: str = LOCAL_OWNER) -> Run:
    """Make a run's folder for another machine: checked and copied as for this one, without the limits of this one.

    Its state comes from its events alone, since no process of this machine trains it. Raises UserError, leaving nothing.
    """
    config.check()
    if config.accelerate_config:
        raise UserError(_("accelerate_config: a job has its own, made for its machines."), _("Leave it out."))
    if config.parallel in ENGINES and not machines.gpus:
        words = _("parallel: {parallel} needs GPUs.", parallel=config.parallel)
        raise UserError(words, _("Ask for some, or choose auto."))
    here = {"num_processes": 1, "parallel": "auto", "precision": "auto", "max_minutes": 0, "max_rows": 0}
    run = create_run(replace(config, **here), owner)
    kept = {name: getattr(config, name) for name in here} | {"num_processes": machines.processes}
    write_text(run.config_file, replace(run.config(), **kept).to_yaml())
    return run


def announce(run: Run, message: str, **job) -> None:
    """Write the first event of a run that waits for a machine elsewhere, and its job.json with the values `job`."""
    config = run.config()
    write_json(run.job_file, job)
    EventLog(run).write("preparing", message=message, base=config.base, base_reason=config.base_reason)


def write_accelerate_config(run: Run, machines: Machines) -> Path:
    """Write what accelerate reads in a file; what it takes only as a flag is in `launch_line`. Returns the file."""
    file = run.folder / ACCELERATE_FILE  # card "all": those that Slurm or SkyPilot leaves visible
    write_text(file, accelerate_yaml(machines.settings(run.config()), machines.gpus, card="all"))
    return file


def launch_line(machines: Machines, rank: str, head: str, port: str, python: str = "python") -> str:
    """Return the line for a POSIX shell on one machine. `rank`, `head` and `port` are shell words, $RUN is the run's folder."""
    words = [python, "-m", "accelerate.commands.launch", "--config_file", f'"$RUN/{ACCELERATE_FILE}"']
    if machines.processes > 1:
        conf = f'"is_host=$(( {rank} == 0 )),join_timeout={JOIN_SECONDS}"'
        words += ["--rdzv_backend", "c10d", "--max_restarts", str(MAX_RESTARTS), "--rdzv_conf", conf]
        words += ["--machine_rank", f'"{rank}"', "--main_process_ip", f'"{head}"', "--main_process_port", f'"{port}"']
    return " ".join([*words, "-m", "trainer.train", "--run", '"$RUN"'])


def exports(variables: dict[str, str]) -> str:
    """Return `export` lines of a shell script."""
    return "\n".join(f"export {name}={value}" for name, value in variables.items())
