"""An accelerate config of the user is used as it is, and read so that the plan and the refusals know its numbers."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from tests.trainer.running import write_rows
from tests.trainer.test_parallel import problems
from trainer import resolve
from trainer.bundle import write_bundle
from trainer.config import TrainConfig
from trainer.history import copy_settings
from trainer.launcher import command, create_run
from trainer.machines.command import launch_command, launch_variables
from trainer.machines.user_config import FILE, KEYS, read_user_config, settings_of, with_user_config


def write_config(folder, **values) -> str:
    file = folder / "mine.yaml"
    file.write_text("# as accelerate config wrote it\n" + yaml.safe_dump(values), encoding="utf-8")
    return str(file)


def test_a_config_of_the_users_own_is_used_as_it_is_and_its_numbers_win(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setattr(resolve, "cpu_count", lambda: 4)
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


def test_a_file_that_wants_c10d_gets_it_although_accelerate_reads_that_from_no_file(tmp_path):
    own = write_config(tmp_path, distributed_type="MULTI_GPU", num_processes=2, rdzv_backend="c10d", use_cpu=True)
    config = with_user_config(TrainConfig(accelerate_config=own, max_restarts=2))
    line = launch_command(config, own, (), "RUN")
    assert line[line.index("--rdzv_backend") + 1] == "c10d" and "PET_RDZV_ENDPOINT" in launch_variables(config, ())
    static = write_config(tmp_path, distributed_type="MULTI_GPU", num_processes=2, rdzv_backend="static", use_cpu=True)
    assert "rendezvous" not in settings_of(read_user_config(static)), "what `accelerate config` writes for everybody"


def test_the_file_that_accelerate_itself_writes_is_accepted(tmp_path):
    from accelerate.commands.config.default import write_basic_config

    for name in ("default.yaml", "default.json"):
        assert write_basic_config(save_location=str(tmp_path / name)), "it writes nothing where there is a file"
        assert settings_of(read_user_config(tmp_path / name))["num_processes"] >= 1
