"""One table says what works with what; every refusal has its reason; accelerate reads every file that comes out."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

from common.errors import UserError
from common.files import write_json
from common.paths import REPOSITORY
from models import hardware
from models.hardware import Gpu, Hardware
from tests.trainer.running import run_main, write_rows
from trainer import limits
from trainer.__main__ import main
from trainer.bundle import write_bundle
from trainer.config import TrainConfig
from trainer.forecast.memory import estimate_memory
from trainer.history import copy_settings
from trainer.launcher import command, create_run
from trainer.machines import parallel
from trainer.machines.launch_config import CONFIGS, accelerate_yaml, launch_command, launch_variables, mixed_precision
from trainer.machines.launch_plan import launch_plan
from trainer.machines.parallel import KINDS, TABLE, check_machine, kind_of, row_of, table_markdown
from trainer.machines.user_config import FILE, KEYS, read_user_config, settings_of
from trainer.run import EventLog, Run, read_state

A100 = (Gpu("A100", 80 * 2**30, 8.0),) * 4
T4 = (Gpu("T4", 15 * 2**30, 7.5),) * 2
MACHINES = {"num_machines": 2, "num_processes": 4, "main_process_ip": "10.0.0.1"}
CONFIGS_OF = {
    "single": {},
    "ddp": {"num_processes": 2},
    "machines": MACHINES,
    "zero2": {"parallel": "zero2", "num_processes": 2},
    "zero3": {"parallel": "zero3", "num_processes": 2},
    "fsdp2": {"parallel": "fsdp2", "num_processes": 2},
}
PRECISION_OF = {"none": "bf16", "8bit": "8bit", "4bit": "4bit"}


def problems(**settings) -> dict[str, str]:
    return {problem.field: problem.message for problem in TrainConfig(**settings).problems()}


@pytest.mark.parametrize("mode", TABLE)
@pytest.mark.parametrize("kind", KINDS)
def test_the_config_refuses_what_the_table_refuses_and_nothing_else(mode, kind):
    settings = {**CONFIGS_OF[mode], "precision": PRECISION_OF[kind]}
    cell = TABLE[row_of(TrainConfig(**settings))][kind]
    assert row_of(TrainConfig(**settings)) == mode
    assert problems(**settings) == ({} if cell.works else {"parallel": f"{mode} does not go with 8bit: {cell.why}."})


def test_the_table_is_that_of_the_issue():
    refused = {(mode, kind) for mode, row in TABLE.items() for kind, cell in row.items() if not cell.works}
    assert refused == {("zero3", "8bit"), ("fsdp2", "8bit")}
    assert all("; take " in TABLE[mode][kind].why for mode, kind in refused), "the nearest thing that works"


def test_the_docs_print_the_table():
    assert table_markdown() in (REPOSITORY / "docs" / "parallel.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("settings", "field", "words"),
    [
        ({"parallel": "fsdp2", "num_processes": 2}, "parallel", "auto is 8bit on a GPU"),
        ({"parallel": "zero3", "precision": "4bit", "text_data": "a.txt"}, "parallel", "run of its own"),
        ({"parallel": "fsdp2", "precision": "bf16", "use_dora": True}, "use_dora", "splits them"),
        ({**MACHINES, "num_processes": 3}, "num_processes", "total over all of them"),
        ({**MACHINES, "machine_rank": 2}, "machine_rank", "from 0 to 1"),
        ({**MACHINES, "main_process_ip": ""}, "main_process_ip", "address of machine 0"),
        ({**MACHINES, "main_process_ip": "a,is_host=1"}, "main_process_ip", "no address"),
        ({"num_processes": 2, "max_restarts": 1, "rendezvous": "static"}, "max_restarts", "need rendezvous c10d"),
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
        ({**MACHINES, "num_processes": 10}, A100, "5 of 10 are asked for"),
    ],
)
def test_what_this_machine_cannot_do_is_refused_before_anything_is_written(settings, gpus, words, monkeypatch):
    monkeypatch.setattr(parallel.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError) as error:
        check_machine(TrainConfig(**settings), gpus, 2)
    assert words in f"{error.value} {error.value.hint}"


def test_the_total_is_shared_by_the_machines():
    check_machine(TrainConfig(**{**MACHINES, "num_processes": 8}), A100, 2)


@pytest.mark.parametrize("file", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_accelerate_itself_reads_every_config_and_each_says_when_to_use_it(file):
    from accelerate.commands.config.config_args import load_config_from_file

    found = load_config_from_file(str(CONFIGS / file))
    text = (CONFIGS / file).read_text()
    assert "When: " in text and not {"max_restarts", "rdzv_backend", "same_network"} & set(yaml.safe_load(text)), (
        "accelerate ignores or refuses these"
    )
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


def test_several_machines_know_the_address_and_the_interface_that_the_others_reach():
    config = TrainConfig(**{**MACHINES, "main_process_ip": "127.0.0.1", "rendezvous": "c10d"})
    variables = launch_variables(config, A100)
    assert variables["PET_LOCAL_ADDR"] == "127.0.0.1" and variables["GLOO_SOCKET_IFNAME"]
    assert "is_host=1" in launch_command(config, "f", A100, "RUN")[8]
    assert "is_host=0" in launch_command(replace(config, machine_rank=1), "f", A100, "RUN")[8]


def test_accelerate_and_the_training_process_agree_on_the_precision():
    assert [mixed_precision(name, A100) for name in ("auto", "8bit", "bf16", "fp16", "fp32")] == [
        *("bf16", "bf16", "bf16", "fp16", "no"),
    ]
    assert mixed_precision("bf16", T4) == "fp16" and mixed_precision("bf16", ()) == "no"


def test_split_weights_take_a_part_of_the_memory_of_each_card():
    from trainer.forecast.estimate import EXAMPLE_FACTS, TINYLLAMA_SHAPE

    found = Hardware(A100, 8, 80 * 2**30, "A100")
    whole, split = (
        estimate_memory(
            TrainConfig(precision="bf16", num_processes=4, parallel=mode), TINYLLAMA_SHAPE, EXAMPLE_FACTS, found
        )
        for mode in ("ddp", "fsdp2")
    )
    assert split.parts["weights"] < 0.35 * whole.parts["weights"] and split.total < whole.total


def test_the_plan_says_what_is_found_and_what_would_start():
    found = Hardware(A100, 8, 80 * 2**30, "A100")
    config = TrainConfig(num_processes=2, gradient_accumulation_steps=3, precision="bf16")
    plan = launch_plan(config, found, 3 * 2**30)
    rows = dict(plan.rows)
    assert rows["Hardware"] == "4 x A100 (80 GiB), 8 CPU cores" and "2 of the GPUs stay unused" in rows["Processes"]
    assert "4 rows a device x 3 gathered x 2 processes = 24 rows a step" in rows["Batch"]
    assert "3.00 GiB on each card" in rows["Memory"] and "computed in bf16" in rows["Precision"]
    assert plan.command.startswith("accelerate launch --config_file accelerate.yaml")
    assert yaml.safe_load(plan.yaml)["num_processes"] == 2


def write_config(folder, **values) -> str:
    file = folder / "mine.yaml"
    file.write_text("# as accelerate config wrote it\n" + yaml.safe_dump(values), encoding="utf-8")
    return str(file)


def test_a_config_of_the_users_own_is_used_as_it_is_and_its_numbers_win(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "cpu_count", lambda: 4)
    own = write_config(tmp_path, distributed_type="MULTI_GPU", num_processes=3, use_cpu=True, mixed_precision="no")
    data = write_rows(tmp_path / "rows.jsonl", [{"prompt": "Q", "completion": "A"}])
    run = create_run(TrainConfig(base=str(tiny_base), data=data, accelerate_config=own))
    line = command(run, run.config())
    copied = line[line.index("--config_file") + 1]
    assert Path(copied).read_bytes() == Path(own).read_bytes() and "--num_processes" not in line
    assert run.config().num_processes == 3 and run.config().problems() == []
    assert copy_settings(run).accelerate_config == str(run.folder / FILE)
    assert write_bundle(run, tmp_path).stat().st_size


def test_the_mode_of_an_own_config_is_checked_too(tmp_path):
    own = write_config(tmp_path, distributed_type="DEEPSPEED", deepspeed_config={"zero_stage": 3}, num_processes=2)
    assert settings_of(read_user_config(own))["parallel"] == "zero3"
    assert "does not go with 8bit" in problems(accelerate_config=own, precision="8bit")["parallel"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_processes": 2}, "no distributed_type"),
        ({"distributed_type": "MULTI_GPU", "max_restarts": 3}, "refuses these keys of its config: max_restarts"),
        ({"distributed_type": "MULTI_CPU", "num_processes": 2}, "starts one process for MULTI_CPU"),
        ({"distributed_type": "NO", "compute_environment": "AMAZON_SAGEMAKER"}, "in a cloud"),
        ({"distributed_type": "XLA"}, "XLA is not supported"),
        ({"distributed_type": "FSDP", "fsdp_config": {"fsdp_version": 1}}, "version 1 is not supported"),
        ({"distributed_type": "MULTI_GPU", "num_processes": "many"}, "not a number"),
        ({"distributed_type": "MULTI_GPU", "num_processes": [1]}, "not a number"),
    ],
)
def test_an_own_config_that_cannot_train_here_is_refused_with_a_sentence(tmp_path, values, words):
    assert words in problems(accelerate_config=write_config(tmp_path, **values))["accelerate_config"]


def test_the_keys_of_an_own_config_are_those_of_the_installed_accelerate():
    from accelerate.commands.config.config_args import ClusterConfig

    assert {item.name for item in fields(ClusterConfig)} == set(KEYS) - {"fp16", "dynamo_backend"}


def test_compute_capability_is_asked_for_and_may_be_missing(monkeypatch):
    answers = {"memory.total": [("T4", "15360")], "compute_cap": [("T4", "7.5")]}
    monkeypatch.setattr(hardware, "_query", lambda what: answers[what])
    monkeypatch.setattr(hardware.shutil, "which", lambda name: name)
    assert hardware.find_gpus.__wrapped__() == (Gpu("T4", 15 * 2**30, 7.5),)
    answers["compute_cap"] = []
    assert hardware.find_gpus.__wrapped__() == (Gpu("T4", 15 * 2**30, None),)


def test_auto_precision_is_8bit_on_a_gpu_only():
    assert (kind_of("auto", True), kind_of("auto", False)) == ("8bit", "none")


def test_a_process_has_its_device_before_the_base_is_loaded_and_the_base_is_never_spread(
    tiny_base, tmp_path, monkeypatch
):
    """bitsandbytes puts a base on the current device: before the processes have met, that is card 0 for all of them."""
    from accelerate.state import AcceleratorState, PartialState

    from trainer import train

    AcceleratorState._reset_state(reset_partial_state=True)
    load, seen = train.load_base_model, []

    def watched(folder, precision, device_map=None):
        seen.append((bool(PartialState._shared_state), device_map))
        return load(folder, precision, device_map)

    monkeypatch.setattr(train, "load_base_model", watched)
    data = write_rows(tmp_path / "rows.jsonl", [{"prompt": f"Q {n}", "completion": f"A {n}"} for n in range(8)])
    run = create_run(TrainConfig(base=str(tiny_base), data=data, max_steps=1, max_length=64))
    assert run_main(run) == 0 and seen == [(True, None)]


def test_split_weights_are_gathered_for_the_adapter_and_stay_fp32_beside_a_bf16_base(tiny_base, tmp_path):
    """FSDP2 for real, with one process on a CPU."""
    import torch
    from peft import get_peft_model
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    from models.precision import load_base_model
    from trainer.process.publish import whole_weights
    from trainer.process.recipe import lora_config

    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        mesh = torch.distributed.init_device_mesh("cpu", (1,))
        model = get_peft_model(load_base_model(tiny_base, "bf16"), lora_config(TrainConfig()))
        for weight in model.parameters():
            weight.data = weight.data.float() if weight.requires_grad else weight.data
        before = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
        assert whole_weights(model) is None, "each process has them whole"
        for layer in model.base_model.model.model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        assert all(isinstance(weight, DTensor) for weight in model.parameters())
        found = whole_weights(model)
        assert found.keys() == before.keys() and all(torch.equal(found[name], before[name]) for name in before)
        assert {weight.dtype for weight in found.values()} == {torch.float32}
        model.save_pretrained(tmp_path / "saved", state_dict=found)
        assert (tmp_path / "saved" / "adapter_model.safetensors").stat().st_size > 10_000
    finally:
        torch.distributed.destroy_process_group()


def test_4_bit_weights_are_stored_in_the_dtype_of_the_rest_so_that_they_can_be_split():
    import torch

    from models.precision import quantization_config

    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        assert quantization_config("4bit", dtype).bnb_4bit_quant_storage == dtype


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
