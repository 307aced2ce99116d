"""The user's own `accelerate config` file: taken as it is, and read for the plan and for `problems()`. Light: no accelerate.

It goes to `accelerate launch --config_file` unchanged; its processes, machines and mode win over those of the settings.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.language import _
from models.plain_yaml import read_yaml

if TYPE_CHECKING:  # it asks this module for its problems
    from runs.config import TrainConfig

MAX_CHARACTERS = 100_000
MAX_DEPTH = 20  # a plugin of DeepSpeed or of FSDP is a table in a table
Values = dict[str, Any]
FILE = "accelerate_user.yaml"  # its copy in the run's folder
HINT = _("Make one with `accelerate config --config_file FILE`.")
MODES = {"NO": "auto", "MULTI_GPU": "ddp", "DEEPSPEED": "zero2", "FSDP": "fsdp2"}
KEYS = (  # of accelerate's ClusterConfig; a test compares
    *("compute_environment", "distributed_type", "mixed_precision", "use_cpu", "debug", "num_processes"),
    *("machine_rank", "num_machines", "gpu_ids", "main_process_ip", "main_process_port", "rdzv_backend"),
    *("same_network", "main_training_function", "enable_cpu_affinity", "fp8_config", "deepspeed_config"),
    *("fsdp_config", "parallelism_config", "megatron_lm_config", "mpirun_config", "downcast_bf16", "tpu_name"),
    *("tpu_zone", "tpu_use_cluster", "tpu_use_sudo", "command_file", "commands", "tpu_vm", "tpu_env", "dynamo_config"),
    *("fp16", "dynamo_backend"),  # of older files, which accelerate still converts
)


def read_user_config(path: str | Path) -> Values:
    """Read the file's values. Raises UserError when it is no accelerate config that can train here."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_CHARACTERS + 1)
        values = read_yaml(text, MAX_DEPTH) if len(text) <= MAX_CHARACTERS else None
    except (OSError, ValueError) as error:
        first_line = (str(error).splitlines() or [""])[0][:200]
        raise UserError(
            _("'{file}' cannot be read as an accelerate config: {why}", file=Path(path).name[:80], why=first_line), HINT
        ) from error
    if not isinstance(values, dict) or "distributed_type" not in values:
        raise UserError(
            _("'{file}' is not an accelerate config: it has no distributed_type.", file=Path(path).name[:80]), HINT
        )
    unknown = sorted(str(name)[:40] for name in set(values) - set(KEYS))
    if unknown:
        names = ", ".join(unknown[:10])
        raise UserError(_("accelerate does not know these keys of its config: {names}.", names=names), HINT)
    kind = str(values["distributed_type"])
    for name in ("fsdp_config", "mpirun_config", "deepspeed_config"):
        if not isinstance(values.get(name) or {}, dict):
            raise UserError(_("{name} in the accelerate config holds no settings.", name=name), HINT)
    if values.get("compute_environment", "LOCAL_MACHINE") != "LOCAL_MACHINE":
        raise UserError(_("This accelerate config starts jobs in a cloud, not processes on this machine."), HINT)
    if kind == "MULTI_CPU" and not (values.get("mpirun_config") or {}).get("mpirun_hostfile"):
        raise UserError(
            _("For MULTI_CPU without mpirun, accelerate starts a single process, whatever num_processes says."),
            _("Write distributed_type: MULTI_GPU and use_cpu: true."),
        )
    if kind not in (*MODES, "MULTI_CPU"):
        raise UserError(
            _("distributed_type {kind} is not supported.", kind=kind[:40]),
            _("Use one of {kinds}.", kinds=", ".join(MODES)),
        )
    if kind == "FSDP" and (values.get("fsdp_config") or {}).get("fsdp_version", 1) != 2:
        raise UserError(_("FSDP version 1 is not supported."), _("Write fsdp_version: 2 in fsdp_config."))
    return values


def with_user_config(config: "TrainConfig") -> "TrainConfig":
    """Return `config` with the numbers of its `accelerate_config` in place of its own, where it has one. Raises UserError."""
    if not config.accelerate_config or config.accelerate_config == FILE:  # of a run: its numbers were taken over
        return config
    return replace(config, **settings_of(read_user_config(config.accelerate_config)))


def settings_of(values: Values) -> Values:
    """Return the fields of TrainConfig that the file decides. Raises UserError for a number that is none."""
    mode = MODES.get(str(values["distributed_type"]), "ddp")
    if mode == "zero2" and _number(values.get("deepspeed_config") or {}, "zero_stage", 2) == 3:
        mode = "zero3"
    machines = _number(values, "num_machines", 1)
    # accelerate reads it from no file, only as a flag
    meeting = {"rendezvous": "c10d"} if values.get("rdzv_backend") == "c10d" else {}
    return {
        **meeting,
        "parallel": mode,
        "num_processes": _number(values, "num_processes", 1) if mode != "auto" else 1,
        "num_machines": machines,
        "machine_rank": _number(values, "machine_rank", 0),
        "main_process_ip": str(values.get("main_process_ip") or ""),
        "main_process_port": _number(values, "main_process_port", 29500) or 29500,
    }


def _number(values: Values, name: str, default: int) -> int:
    value = values.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", str(value)):
        raise UserError(
            _("{name} in the accelerate config is '{value}', not a number.", name=name, value=str(value)[:40]), HINT
        )
    return int(value)
