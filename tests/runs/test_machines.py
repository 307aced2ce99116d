"""One table says what works with what; every refusal has its reason; accelerate reads and starts every file that comes out; the
plan tells it before; an accelerate config of the user is used as it is.
"""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

from common.errors import UserError
from common.files import write_json
from common.paths import REPOSITORY
from models import hardware
from models.hardware import Gpu, Hardware
from models.precision import resolve_precision
from runs import resolve
from runs.bundle import write_bundle
from runs.config import TrainConfig
from runs.history import copy_settings
from runs.launcher import command, create_run
from runs.machines import parallel
from runs.machines.command import (
    CONFIGS,
    accelerate_yaml,
    launch_command,
    launch_plan,
    launch_variables,
    mixed_precision,
)
from runs.machines.parallel import KINDS, NAMES, TABLE, check_machine, kind_of, row_of
from runs.machines.user_config import FILE, KEYS, read_user_config, settings_of, with_user_config
from runs.run import EventLog, Run, read_state
from tests.running import write_rows
from trainer.__main__ import main

A100 = (Gpu("A100", 80 * 2**30, 8.0),) * 4
T4 = (Gpu("T4", 15 * 2**30, 7.5),) * 2
MACHINES = {"num_machines": 2, "num_processes": 4, "main_process_ip": "10.0.0.1"}
CONFIGS_OF = {
    "single": {},
    "ddp": {"num_processes": 2},
    "machines": MACHINES,
    **{mode: {"parallel": mode, "num_processes": 2} for mode in ("zero2", "zero3", "fsdp2")},
}
PRECISION_OF = {"none": "bf16", "8bit": "8bit", "4bit": "4bit"}


def problems(**settings) -> dict[str, str]:
    return {problem.field: problem.message for problem in TrainConfig(**settings).problems()}


def own_config(folder: Path, **values) -> str:
    file = folder / "mine.yaml"
    file.write_text("# as accelerate config wrote it\n" + yaml.safe_dump(values), encoding="utf-8")
    return str(file)


def flag(line: list[str], name: str) -> str:
    return line[line.index(name) + 1]


@pytest.mark.parametrize("mode", TABLE)
@pytest.mark.parametrize("kind", KINDS)
def test_the_config_refuses_what_the_table_refuses_and_nothing_else(mode, kind):
    settings = {**CONFIGS_OF[mode], "precision": PRECISION_OF[kind]}
    cell = TABLE[row_of(TrainConfig(**settings))][kind]
    assert row_of(TrainConfig(**settings)) == mode
    assert problems(**settings) == ({} if cell.works else {"parallel": f"{mode} does not work with 8bit: {cell.why}."})


def test_the_table_is_that_of_the_docs_and_each_refusal_names_the_nearest_thing_that_works():
    refused = {(mode, kind) for mode, row in TABLE.items() for kind, cell in row.items() if not cell.works}
    assert refused == {("zero3", "8bit"), ("fsdp2", "8bit")}
    assert all("; use " in TABLE[mode][kind].why for mode, kind in refused)
    lines = ["| | none (bf16, fp16, fp32) | 8bit | 4bit |", "|---|---|---|---|"]
    for mode, row in TABLE.items():
        cells = [f"{'works' if row[kind].works else '**refused**'}: {row[kind].why}" for kind in KINDS]
        lines.append(f"| {NAMES[mode]} | {' | '.join(cells)} |")
    assert "\n".join(lines) in (REPOSITORY / "docs" / "parallel.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("settings", "field", "words"),
    [
        ({"parallel": "fsdp2", "num_processes": 2}, "parallel", "which auto is on a GPU"),
        ({"parallel": "zero3", "precision": "4bit", "text_data": "a.txt"}, "parallel", "run of its own"),
        ({"parallel": "fsdp2", "precision": "bf16", "use_dora": True}, "use_dora", "splits them"),
        (
            {"parallel": "zero2", "precision": "bf16", "lora_plus_ratio": 16.0},
            "lora_plus_ratio",
            "not tested with zero2",
        ),
        ({**MACHINES, "num_processes": 3}, "num_processes", "total over all machines"),
        ({**MACHINES, "machine_rank": 2}, "machine_rank", "from 0 to 1"),
        ({**MACHINES, "main_process_ip": ""}, "main_process_ip", "address of machine 0"),
        ({**MACHINES, "main_process_ip": "a,is_host=1"}, "main_process_ip", "Enter an IP address"),
        ({"num_processes": 2, "max_restarts": 1, "rendezvous": "static"}, "max_restarts", "need the rendezvous c10d"),
        ({"max_restarts": 1}, "max_restarts", "several processes"),
        ({"parallel": "dp"}, "parallel", "not one of"),
        ({"main_process_port": 70000}, "main_process_port", "too high"),
        ({"accelerate_config": "/nowhere.yaml"}, "accelerate_config", "cannot be read"),
    ],
)
def test_every_refusal_names_its_field_and_its_reason(settings, field, words):
    assert words in problems(**settings)[field]


@pytest.mark.parametrize(
    ("settings", "gpus", "words"),
    [
        ({"parallel": "fsdp2", "precision": "bf16"}, (), "fsdp2 needs GPUs"),
        ({"parallel": "zero2"}, A100, "pip install deepspeed"),
        ({"num_processes": 5}, A100, "has 4 GPUs"),
        ({"num_processes": 3}, (), "2 CPU cores and no GPU"),
        ({**MACHINES, "num_processes": 10}, A100, "5 processes do not fit"),
    ],
)
def test_what_this_machine_cannot_do_is_refused_before_anything_is_written(settings, gpus, words, monkeypatch):
    monkeypatch.setattr(parallel.importlib.util, "find_spec", lambda name: None)
    check_machine(TrainConfig(**{**MACHINES, "num_processes": 8}), A100, 2)  # the total is shared by the machines
    with pytest.raises(UserError) as error:
        check_machine(TrainConfig(**settings), gpus, 2)
    assert words in f"{error.value} {error.value.hint}"


def test_auto_precision_is_8bit_on_a_gpu_only():
    assert (kind_of("auto"), kind_of(resolve_precision("auto", has_cuda=False))) == ("8bit", "none")


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
    assert arguments.multi_gpu == (mode in ("ddp", "machines")), "MULTI_CPU starts one process and says nothing"
    if mode == "machines":
        assert (arguments.main_process_ip, arguments.main_process_port) == ("10.0.0.1", 29500)
    if mode.startswith("zero"):
        assert (arguments.zero_stage, arguments.gradient_clipping) == (int(mode[-1]), 0.5)


def test_restarts_are_flags_and_each_launch_has_a_port_of_its_own():
    config = TrainConfig(num_processes=2, max_restarts=3)
    line, variables = launch_command(config, "f", (), "RUN"), launch_variables(config, ())
    assert flag(line, "--rdzv_backend") == "c10d" and flag(line, "--max_restarts") == "3"
    assert variables["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] == "1" and variables["PET_RDZV_ENDPOINT"] == "localhost:0"
    assert variables["ACCELERATE_USE_CPU"] == "true"


def test_one_process_takes_the_first_card_that_is_left_to_this_program(monkeypatch):
    own = TrainConfig(accelerate_config=FILE)  # of the user's own, without gpu_ids: all cards would be visible
    for visible, first in (("", "0"), ("3,5", "3")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert yaml.safe_load(accelerate_yaml(TrainConfig(), A100))["gpu_ids"] == first
        assert launch_variables(own, A100)["CUDA_VISIBLE_DEVICES"] == first
    assert yaml.safe_load(accelerate_yaml(TrainConfig(num_processes=2), A100))["gpu_ids"] == "all"
    assert "CUDA_VISIBLE_DEVICES" not in launch_variables(own, A100[:1])


def test_several_machines_know_the_address_and_the_interface_that_the_others_reach():
    config = TrainConfig(**{**MACHINES, "main_process_ip": "127.0.0.1", "rendezvous": "c10d"})
    variables = launch_variables(config, A100)
    assert variables["PET_LOCAL_ADDR"] == "127.0.0.1" and variables["GLOO_SOCKET_IFNAME"]
    assert "is_host=1" in flag(launch_command(config, "f", A100, "RUN"), "--rdzv_conf")
    assert "is_host=0" in flag(launch_command(replace(config, machine_rank=1), "f", A100, "RUN"), "--rdzv_conf")


def test_accelerate_and_the_training_process_agree_on_the_precision():
    wanted = {"auto": "bf16", "8bit": "bf16", "bf16": "bf16", "fp16": "fp16", "fp32": "no"}
    assert {name: mixed_precision(name, A100) for name in wanted} == wanted
    assert mixed_precision("bf16", T4) == "fp16" and mixed_precision("bf16", ()) == "no"


def test_the_plan_says_what_is_found_and_what_would_start():
    config = TrainConfig(num_processes=2, gradient_accumulation_steps=3, precision="bf16")
    plan = launch_plan(config, Hardware(A100, 8, 80 * 2**30, "A100"), 3 * 2**30)
    cards, cores = dict(plan.rows), dict(launch_plan(config, Hardware((), 8, 8 * 2**30, "CPU"), 2**30).rows)
    assert cards["Hardware"] == "4 x A100 (80 GiB), 8 CPU cores" and "2 GPUs are not used" in cards["Processes"]
    assert "4 examples per device x 3 batches x 2 processes = 24 examples per step" in cards["Batch"]
    assert "3.00 GiB on each GPU" in cards["Memory"] and "computed in bf16" in cards["Precision"]
    assert "2, one on each GPU: DDP, one machine" in cards["Processes"]
    assert "2, each with 4 CPU cores: DDP, one machine (a test" in cores["Processes"]
    assert cores["Memory"] == "about 1.00 GiB of RAM for each process"
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
    run.config_file.write_text(TrainConfig(**MACHINES).to_yaml())
    write_json(run.process_file, {"launcher": {"pid": 2**22 + 1, "started": 0.0}})
    run.log_file.write_text("torch.distributed.elastic.rendezvous.api.RendezvousTimeoutError\n")
    EventLog(run).write("preparing")
    state = read_state(run)
    assert (state.status, state.code) == ("interrupted", "process_silent") and "did not connect" in state.message


def test_the_command_line_shows_the_plan_and_says_why_not(tiny_base, capsys):
    assert main(["plan", "--base", str(tiny_base), "--num-processes", "1"]) == 0
    shown = capsys.readouterr().out
    assert "Hardware:" in shown and "Memory:" in shown and "accelerate launch --config_file" in shown
    assert "Trained:" in shown and " weights, " in shown
    assert yaml.safe_load(shown[shown.index("# One process") :])["num_processes"] == 1
    assert main(["plan", "--parallel", "zero3", "--precision", "8bit"]) == 1
    assert "use zero2 or ddp with 8bit" in capsys.readouterr().err


def test_a_config_of_the_users_own_is_used_as_it_is_and_its_numbers_win(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setattr(resolve, "cpu_count", lambda: 4)
    own = own_config(tmp_path, distributed_type="MULTI_GPU", num_processes=3, use_cpu=True, mixed_precision="no")
    data = write_rows(tmp_path / "rows.jsonl", [{"prompt": "Q", "completion": "A"}])
    run = create_run(TrainConfig(base=str(tiny_base), data=data, accelerate_config=own))
    line = command(run, run.config(), ())
    assert Path(flag(line, "--config_file")).read_bytes() == Path(own).read_bytes() and "--num_processes" not in line
    assert run.config().num_processes == 3 and run.config().problems() == []
    assert copy_settings(run).accelerate_config == str(run.folder / FILE)
    assert write_bundle(run, tmp_path).stat().st_size


def test_the_mode_of_an_own_config_is_checked_too(tmp_path):
    own = own_config(tmp_path, distributed_type="DEEPSPEED", deepspeed_config={"zero_stage": 3}, num_processes=2)
    assert settings_of(read_user_config(own))["parallel"] == "zero3"
    assert "does not work with 8bit" in problems(accelerate_config=own, precision="8bit")["parallel"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_processes": 2}, "no distributed_type"),
        ({"distributed_type": "MULTI_GPU", "max_restarts": 3}, "does not know these keys of its config: max_restarts"),
        ({"distributed_type": "MULTI_CPU", "num_processes": 2}, "accelerate starts a single process"),
        ({"distributed_type": "NO", "compute_environment": "AMAZON_SAGEMAKER"}, "in a cloud"),
        ({"distributed_type": "XLA"}, "XLA is not supported"),
        ({"distributed_type": "FSDP", "fsdp_config": {"fsdp_version": 1}}, "version 1 is not supported"),
        ({"distributed_type": "MULTI_GPU", "num_processes": "many"}, "not a number"),
        ({"distributed_type": "MULTI_GPU", "num_processes": [1]}, "not a number"),
    ],
)
def test_an_own_config_that_cannot_train_here_is_refused_with_a_sentence(tmp_path, values, words):
    assert words in problems(accelerate_config=own_config(tmp_path, **values))["accelerate_config"]


def test_the_keys_of_an_own_config_are_those_of_the_installed_accelerate():
    from accelerate.commands.config.config_args import ClusterConfig

    assert {item.name for item in fields(ClusterConfig)} == set(KEYS) - {"fp16", "dynamo_backend"}


def test_a_file_that_wants_c10d_gets_it_although_accelerate_reads_that_from_no_file(tmp_path):
    values = {"distributed_type": "MULTI_GPU", "num_processes": 2, "use_cpu": True}
    own = own_config(tmp_path, **values, rdzv_backend="c10d")
    config = with_user_config(TrainConfig(accelerate_config=own, max_restarts=2))
    assert flag(launch_command(config, own, (), "RUN"), "--rdzv_backend") == "c10d"
    assert "PET_RDZV_ENDPOINT" in launch_variables(config, ())
    static = own_config(tmp_path, **values, rdzv_backend="static")
    assert "rendezvous" not in settings_of(read_user_config(static)), "what `accelerate config` writes for everybody"


def test_the_file_that_accelerate_itself_writes_is_accepted(tmp_path):
    from accelerate.commands.config.default import write_basic_config

    for name in ("default.yaml", "default.json"):
        assert write_basic_config(save_location=str(tmp_path / name)), "it writes nothing where there is a file"
        assert settings_of(read_user_config(tmp_path / name))["num_processes"] >= 1
