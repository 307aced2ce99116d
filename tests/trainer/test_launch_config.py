"""Accelerate reads every file and every line that comes out, and starts what the config says; the plan tells it before."""

from dataclasses import replace

import pytest
import yaml

from common.files import write_json
from models import hardware
from models.hardware import Gpu, Hardware
from tests.trainer.test_parallel import A100, CONFIGS_OF, MACHINES, T4
from trainer.__main__ import main
from trainer.config import TrainConfig
from trainer.machines.command import (
    CONFIGS,
    accelerate_yaml,
    launch_command,
    launch_plan,
    launch_variables,
    mixed_precision,
)
from trainer.machines.user_config import FILE
from trainer.run import EventLog, Run, read_state


@pytest.mark.parametrize("file", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_accelerate_itself_reads_every_config_and_each_says_when_to_use_it(file):
    from accelerate.commands.config.config_args import load_config_from_file

    found, text = load_config_from_file(str(CONFIGS / file)), (CONFIGS / file).read_text()
    ignored_or_refused = {"max_restarts", "rdzv_backend", "same_network"}
    assert "When: " in text and not ignored_or_refused & set(yaml.safe_load(text))
    assert found.num_processes >= found.num_machines


@pytest.mark.parametrize("mode", CONFIGS_OF)
@pytest.mark.parametrize("gpus", [(), T4, A100], ids=["cpu", "t4", "a100"])
def test_accelerate_starts_what_the_config_says(mode, gpus, tmp_path):
    """Through accelerate's own parser and validation: processes, machines, rendezvous, precision."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    config = TrainConfig(**{**CONFIGS_OF[mode], "precision": "bf16", "max_grad_norm": 0.5})
    file = tmp_path / "accelerate.yaml"
    file.write_text(accelerate_yaml(config, gpus))
    line = launch_command(config, file, gpus, "RUN")
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(line[3:]))
    assert (arguments.num_processes, arguments.num_machines) == (config.num_processes, config.num_machines)
    assert arguments.mixed_precision == ("no" if not gpus else "fp16" if gpus == T4 else "bf16")
    assert arguments.use_fsdp == (mode == "fsdp2") and arguments.use_deepspeed == mode.startswith("zero")
    assert arguments.multi_gpu == (mode in ("ddp", "machines"))
    if mode == "machines":
        assert (arguments.main_process_ip, arguments.main_process_port) == ("10.0.0.1", 29500)
    if mode.startswith("zero"):
        assert (arguments.zero_stage, arguments.gradient_clipping) == (int(mode[-1]), 0.5)


def test_restarts_are_flags_and_each_launch_has_a_port_of_its_own(tmp_path):
    config = TrainConfig(num_processes=2, max_restarts=3)
    line, variables = launch_command(config, "f", (), "RUN"), launch_variables(config, ())
    assert line[line.index("--rdzv_backend") + 1] == "c10d" and line[line.index("--max_restarts") + 1] == "3"
    assert variables["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] == "1" and variables["PET_RDZV_ENDPOINT"] == "localhost:0"
    assert variables["ACCELERATE_USE_CPU"] == "true"


def test_one_process_takes_the_first_card_that_is_left_to_this_program(monkeypatch):
    own = TrainConfig(accelerate_config=FILE)  # of the user's own, without gpu_ids: all cards would be visible
    assert yaml.safe_load(accelerate_yaml(TrainConfig(), A100))["gpu_ids"] == "0"
    assert launch_variables(own, A100)["CUDA_VISIBLE_DEVICES"] == "0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert yaml.safe_load(accelerate_yaml(TrainConfig(), A100))["gpu_ids"] == "3"
    assert launch_variables(own, A100)["CUDA_VISIBLE_DEVICES"] == "3"
    assert yaml.safe_load(accelerate_yaml(TrainConfig(num_processes=2), A100))["gpu_ids"] == "all"
    assert "CUDA_VISIBLE_DEVICES" not in launch_variables(own, A100[:1])


def test_several_machines_know_the_address_and_the_interface_that_the_others_reach():
    config = TrainConfig(**{**MACHINES, "main_process_ip": "127.0.0.1", "rendezvous": "c10d"})
    variables = launch_variables(config, A100)
    assert variables["PET_LOCAL_ADDR"] == "127.0.0.1" and variables["GLOO_SOCKET_IFNAME"]
    assert "is_host=1" in launch_command(config, "f", A100, "RUN")[8]
    assert "is_host=0" in launch_command(replace(config, machine_rank=1), "f", A100, "RUN")[8]


def test_accelerate_and_the_training_process_agree_on_the_precision():
    wanted = {"auto": "bf16", "8bit": "bf16", "bf16": "bf16", "fp16": "fp16", "fp32": "no"}
    assert {name: mixed_precision(name, A100) for name in wanted} == wanted
    assert mixed_precision("bf16", T4) == "fp16" and mixed_precision("bf16", ()) == "no"


def test_the_plan_says_what_is_found_and_what_would_start():
    found = Hardware(A100, 8, 80 * 2**30, "A100")
    config = TrainConfig(num_processes=2, gradient_accumulation_steps=3, precision="bf16")
    plan = launch_plan(config, found, 3 * 2**30)
    rows = dict(plan.rows)
    assert rows["Hardware"] == "4 x A100 (80 GiB), 8 CPU cores" and "2 of the GPUs stay unused" in rows["Processes"]
    assert "4 rows a device x 3 gathered x 2 processes = 24 rows a step" in rows["Batch"]
    assert "3.00 GiB on each card" in rows["Memory"] and "computed in bf16" in rows["Precision"]
    assert "2, one on each GPU: DDP, one machine" in rows["Processes"]
    cpu = launch_plan(config, Hardware((), 8, 8 * 2**30, "CPU"), 2**30)
    assert "2, each with 4 CPU cores: DDP, one machine (to try out" in dict(cpu.rows)["Processes"]
    assert dict(cpu.rows)["Memory"] == "about 1.00 GiB of RAM for each process"
    assert plan.command.startswith("accelerate launch --config_file accelerate.yaml")
    assert yaml.safe_load(plan.yaml)["num_processes"] == 2


def test_compute_capability_is_asked_for_and_may_be_missing(monkeypatch):
    answers = {"memory.total": [("T4", "15360")], "compute_cap": [("T4", "7.5")]}
    monkeypatch.setattr(hardware, "_query", lambda what: answers[what])
    monkeypatch.setattr(hardware.shutil, "which", lambda name: name)
    assert hardware.find_gpus.__wrapped__() == (Gpu("T4", 15 * 2**30, 7.5),)
    answers["compute_cap"] = []
    assert hardware.find_gpus.__wrapped__() == (Gpu("T4", 15 * 2**30, None),)


def test_a_command_without_the_other_machine_says_that_they_did_not_meet(tmp_path):
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    config = TrainConfig(**MACHINES)
    run.config_file.write_text(config.to_yaml())
    write_json(run.process_file, {"launcher": {"pid": 2**22 + 1, "started": 0.0}})
    run.log_file.write_text("torch.distributed.elastic.rendezvous.api.RendezvousTimeoutError\n")
    EventLog(run).write("preparing")
    state = read_state(run)
    assert (state.status, state.code) == ("interrupted", "process_silent") and "did not meet" in state.message


def test_the_command_line_shows_the_plan_and_says_why_not(tiny_base, capsys):
    assert main(["plan", "--base", str(tiny_base), "--num-processes", "1"]) == 0
    shown = capsys.readouterr().out
    assert "Hardware:" in shown and "Memory:" in shown and "accelerate launch --config_file" in shown
    assert yaml.safe_load(shown[shown.index("# One process") :])["num_processes"] == 1
    assert main(["plan", "--parallel", "zero3", "--precision", "8bit"]) == 1
    assert "take zero2 or ddp with 8bit" in capsys.readouterr().err
