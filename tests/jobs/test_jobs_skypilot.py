"""The SkyPilot YAML: only fields that SkyPilot's schema has, and a script that brings the run to the bucket and starts it."""

import subprocess
from dataclasses import replace

import pytest
import yaml

from common.errors import UserError
from jobs.line import Machines
from jobs.skypilot import MOUNTED, SEED, SkyOptions, write_job
from runs.config import TrainConfig
from runs.machines.parallel import INSTALL_DEEPSPEED
from runs.run import read_state
from tests.jobs.conftest import write_commands

# of sky/utils/schemas.py (get_task_schema, get_resources_schema, get_storage_schema); a whole file was also read by
# sky.Task.from_yaml of SkyPilot 0.14.1
TASK = {
    "name",
    "workdir",
    "num_nodes",
    "resources",
    "file_mounts",
    "setup",
    "run",
    "envs",
    "secrets",
    "volumes",
    "config",
}
RESOURCES = {"accelerators", "use_spot", "job_recovery", "disk_size", "infra", "cpus", "memory", "image_id", "any_of"}
STORAGE = {"name", "source", "store", "persistent", "mode", "config"}
MODES = {"MOUNT", "COPY", "MOUNT_CACHED"}


def output_of(script: str, commands, **variables: str) -> str:
    """What a script prints where `commands` come first."""
    environment = {"PATH": f"{commands}:/usr/bin:/bin", **variables}
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def config(embedded_base):
    return TrainConfig.from_dict({"base": "embedded", "name": "Far away"})


def test_the_fields_are_those_of_the_schema(config):
    run, file = write_job(config, SkyOptions(Machines(2, 4), "A100", "s3://mine/runs"))
    task = yaml.safe_load(file.read_text())
    assert set(task) <= TASK and set(task["resources"]) <= RESOURCES
    bucket = task["file_mounts"][MOUNTED]
    assert set(bucket) <= STORAGE and bucket["mode"] in MODES and bucket["source"] == "s3://mine/runs"
    assert task["num_nodes"] == 2 and task["resources"]["accelerators"] == "A100:4" and task["resources"]["use_spot"]
    assert task["resources"]["job_recovery"] == {"max_restarts_on_errors": 2}
    assert run.config().num_processes == 8 and "sky jobs launch" in read_state(run).message
    assert "hf_" not in file.read_text().replace("HF_", "")


def test_the_machines_get_a_python_that_is_new_enough_and_the_engine_that_was_asked_for(config, tmp_path):
    _, file = write_job(replace(config, parallel="zero3", precision="bf16"), SkyOptions(Machines(1, 4)))
    task = yaml.safe_load(file.read_text())
    for part in ("setup", "run"):
        assert subprocess.run(["bash", "-n", "-c", task[part]], check=False).returncode == 0
    write_commands(tmp_path, uv='echo "uv $VIRTUAL_ENV $@"', pip="echo wrong; exit 1")
    assert output_of(task["setup"], tmp_path, HOME="/home/me").splitlines() == [
        "uv  venv -q --python 3.12 --allow-existing /home/me/studio-env",
        "uv /home/me/studio-env pip install -q -r requirements.txt",
        f"uv /home/me/studio-env {INSTALL_DEEPSPEED}",
    ]


@pytest.mark.parametrize("change", [{"card": "A 100"}, {"card": "x;y"}, {"bucket": "mine"}, {"bucket": "s3://a b"}])
def test_what_is_no_card_and_no_bucket_is_refused(config, isolated_home, change):
    with pytest.raises(UserError):
        write_job(config, SkyOptions(Machines(1, 1), **change))
    assert not list(isolated_home.glob("runs/*/*"))


def test_a_base_that_is_a_folder_of_this_machine_is_refused(tiny_base):
    with pytest.raises(UserError, match="folder on this machine"):
        write_job(TrainConfig.from_dict({"base": str(tiny_base)}), SkyOptions(Machines(1, 1)))


def test_the_first_start_brings_the_run_and_a_recovery_keeps_what_is_there(config, tmp_path):
    run, file = write_job(config, SkyOptions(Machines(2, 4)))
    write_commands(tmp_path, python='echo "$STUDIO_HOME" "$@"', sleep="")
    mounted = tmp_path / "mounted"
    script = yaml.safe_load(file.read_text())["run"].replace(MOUNTED, str(mounted)).replace(SEED, str(run.folder))

    def node(rank: int) -> str:
        return output_of(script, tmp_path, SKYPILOT_NODE_IPS="10.0.0.1\n10.0.0.2", SKYPILOT_NODE_RANK=str(rank))

    there = mounted / "runs" / "local" / run.id
    said = node(0)
    assert (there / "config.yaml").read_text() == run.config_file.read_text()
    assert f"--run {there}" in said and "--main_process_ip 10.0.0.1" in said and "is_host=1" in said
    (there / "config.yaml").write_text("newer")
    assert "--machine_rank 1" in node(1) and "is_host=0" in node(1)
    assert (there / "config.yaml").read_text() == "newer"
