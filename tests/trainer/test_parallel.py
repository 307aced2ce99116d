"""One table says what works with what; every refusal has its reason; accelerate reads every file that comes out."""

import pytest

from common.errors import UserError
from common.paths import REPOSITORY
from models.hardware import Gpu
from trainer.config import TrainConfig
from trainer.machines import parallel
from trainer.machines.parallel import KINDS, TABLE, check_machine, kind_of, row_of, table_markdown

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


def test_auto_precision_is_8bit_on_a_gpu_only():
    assert (kind_of("auto", True), kind_of("auto", False)) == ("8bit", "none")
