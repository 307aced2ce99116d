"""Writes the SkyPilot YAML of a run: a managed job on spot machines of any cloud, that goes on where a lost one ended.

`sky jobs launch FILE` uploads the app and the run's folder, mounts a bucket of the user's for what must outlive a machine,
and runs the same line again after every recovery. Fields follow SkyPilot's own schema (sky/utils/schemas.py, 2026).
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import yaml

from common.errors import UserError
from common.files import write_text
from common.language import _
from common.paths import REPOSITORY
from jobs.line import Machines, announce, exports, launch_line, make_run, write_accelerate_config
from runs.config import TrainConfig
from runs.machines.parallel import INSTALL_DEEPSPEED, NEEDS_DEEPSPEED
from runs.run import Run

FILE = "job.sky.yaml"
MOUNTED = "/studio"  # the bucket: STUDIO_HOME on the machines
SEED = "/run-seed"  # the run's folder as it left this machine
PORT = 29500
_CARD = re.compile(r"[A-Za-z0-9][\w.-]{0,40}")
_BUCKET = re.compile(r"(s3|gs|r2|https|cos|oci|nebius|hf)://[\w./-]{1,200}")
# an environment of its own: a machine's Python may be older than the 3.11 that this app needs
SETUP = """set -e
command -v uv >/dev/null || pip install -q uv
uv venv -q --python 3.12 --allow-existing "$HOME/studio-env"
export VIRTUAL_ENV="$HOME/studio-env"
uv pip install -q -r requirements.txt
"""
RUN_SCRIPT = """set -e
export PATH="$HOME/studio-env/bin:$PATH"
export STUDIO_HOME={mounted} RUN={run}
{variables}
HEAD=$(echo "$SKYPILOT_NODE_IPS" | sed -n 1p)
mkdir -p "$RUN"
# the first start, or a recovery: what is in the bucket already is newer
if [ "$SKYPILOT_NODE_RANK" = 0 ] && [ ! -f "$RUN/config.yaml" ]; then cp -r {seed}/. "$RUN/"; fi
for _ in $(seq 300); do [ -f "$RUN/config.yaml" ] && break; sleep 2; done
test -f "$RUN/config.yaml"
rm -f "$RUN/stop"
{line}
"""


@dataclass(frozen=True)
class SkyOptions:
    """The wanted machines: `card` as `sky show-gpus` names it; a bucket of the user's, or '' for one that SkyPilot makes."""

    machines: Machines
    card: str = "L4"
    bucket: str = ""
    spot: bool = True

    def check(self) -> None:
        """Raise UserError for what is no name of a GPU or no address of a bucket."""
        if not _CARD.fullmatch(self.card):
            words = _("'{name}' is not a GPU.", name=self.card[:40])
            raise UserError(words, _("`sky show-gpus` lists them: L4, A100, H100 ..."))
        if self.bucket and not _BUCKET.fullmatch(self.bucket):
            words = _("'{name}' is not a bucket.", name=self.bucket[:60])
            raise UserError(words, _("Write s3://NAME, gs://NAME ..., or leave it out."))


def write_job(config: TrainConfig, options: SkyOptions) -> tuple[Run, Path]:
    """Make the run and its YAML; returns both. Raises UserError, leaving nothing."""
    options.check()
    if Path(config.base).is_absolute():
        raise UserError(
            _("The base model is a folder on this machine."),
            _("Choose one with an ID on the Hugging Face Hub, or embedded."),
        )
    run = make_run(config, options.machines)
    write_accelerate_config(run, options.machines)
    file = run.folder / FILE
    write_text(file, text(run, options))
    announce(run, _("Waiting for SkyPilot: {command}", command=f"sky jobs launch {file}"), kind="skypilot")
    return run, file


def text(run: Run, options: SkyOptions) -> str:
    """Return the YAML with its comments."""
    machines = options.machines
    name = f"studio-{run.id}"[:50].rstrip("-")
    accelerators = {"accelerators": f"{options.card}:{machines.gpus_per_node}"} if machines.gpus_per_node else {}
    task = {
        "name": name,
        "workdir": str(REPOSITORY),
        "num_nodes": machines.nodes,
        "resources": {
            **accelerators,
            "disk_size": 100,
            "use_spot": options.spot,
            "job_recovery": {"max_restarts_on_errors": 2},
        },
        "file_mounts": {
            # MOUNT_CACHED and not MOUNT: the events are appended to, checkpoints are renamed
            MOUNTED: {**({"source": options.bucket} if options.bucket else {"name": name}), "mode": "MOUNT_CACHED"},
            SEED: str(run.folder),
        },
        "setup": SETUP + (f"uv {INSTALL_DEEPSPEED}\n" if run.config().parallel in NEEDS_DEEPSPEED else ""),
        "run": RUN_SCRIPT.format(
            mounted=MOUNTED,
            seed=SEED,
            run=f"{MOUNTED}/runs/local/{run.id}",
            variables=exports(machines.variables),
            line=launch_line(machines, "$SKYPILOT_NODE_RANK", "$HEAD", str(PORT)),
        ),
    }
    head = (
        f"# TinyLlama Studio, run {run.id}: sky jobs launch {shlex.quote(str(run.folder / FILE))}\n"
        "# What comes out is in the bucket: adapters/local/. No token is in here; a gated base must be on the machines.\n"
    )
    return head + yaml.dump(task, Dumper=_Dumper, sort_keys=False, width=10_000)


class _Dumper(yaml.SafeDumper):
    """Writes scripts as blocks that a person can read."""


_Dumper.add_representer(
    str,
    lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None),
)
