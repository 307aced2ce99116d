"""The sbatch file, executed by a Slurm that consists of three shell scripts: two nodes are two processes of this machine."""

import os
import random
import socket
import subprocess
import sys

import pytest
import yaml

from common.errors import UserError
from jobs.line import Machines
from jobs.slurm import SlurmOptions, script, write_job
from runs.config import TrainConfig
from runs.machines import parallel
from runs.run import read_state
from tests.fakes import conversation
from tests.jobs.conftest import wait_for, write_commands
from tests.running import events, losses, run_main, write_rows

CPU_PAIR = Machines(nodes=2, gpus_per_node=0)
FAKES = {
    # every node runs the command that follows the options, as srun does
    "srun": """while [ "${1#--}" != "$1" ]; do shift; done
pids=""
for node in $(seq 0 $((SLURM_NNODES - 1))); do SLURM_NODEID=$node "$@" & pids="$pids $!"; done
code=0
for pid in $pids; do wait "$pid" || code=$?; done
exit $code
""",
    "scontrol": """[ "$1" = show ] && printf 'localhost\\nlocalhost\\n'
[ "$1" = requeue ] && echo "$2" >> "$FAKE_SLURM/requeued"
exit 0
""",
}


@pytest.fixture
def slurm(tmp_path):
    """Runs an sbatch file as a job of two nodes; `slurm.requeued` tells which jobs were put back."""
    write_commands(tmp_path, **FAKES)

    def start(file, job_id: int, nodes: int = 2) -> subprocess.Popen:
        facts = {"SLURM_JOB_ID": str(job_id), "SLURM_NNODES": str(nodes), "SLURM_JOB_NODELIST": "localhost"}
        facts |= {"SLURM_CPUS_PER_TASK": "6"}
        environment = {**os.environ, **facts, "FAKE_SLURM": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        return subprocess.Popen(
            ["bash", str(file)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    start.requeued = tmp_path / "requeued"
    return start


def free_job_id() -> int:
    """A job whose port nobody on this machine uses: other tests may run beside this one."""
    while True:
        job_id = random.randrange(1, 12_000)  # below the ports that the system hands out by itself
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", 20_000 + job_id)) != 0:
                return job_id


def small(tiny_base, tmp_path, **settings) -> TrainConfig:
    rows = [{"messages": conversation(words=number % 3 + 2)} for number in range(16)]
    values = {"base": str(tiny_base), "data": write_rows(tmp_path / "rows.jsonl", rows), "max_length": 64}
    values |= {"per_device_train_batch_size": 2, "eval_fraction": 0.0, "lora_r": 4, "sample_prompts": "Hi"}
    return TrainConfig.from_dict({**values, **settings})


def test_the_file_is_a_shell_script_with_what_was_asked_for(tiny_base, tmp_path):
    options = SlurmOptions(Machines(2, 4), "1-12:00:00", "gpu", "lab")
    run, file = write_job(small(tiny_base, tmp_path), options)
    assert subprocess.run(["bash", "-n", str(file)], check=False).returncode == 0
    text = file.read_text()
    for words in ("nodes=2", "gpus-per-node=4", "time=1-12:00:00", "partition=gpu", "account=lab", "requeue"):
        assert f"#SBATCH --{words}\n" in text
    assert run.config().num_processes == 8 and "num_processes: 8" in (run.folder / "job.accelerate.yaml").read_text()
    assert "HF_TOKEN" not in text and "hf_" not in text
    assert read_state(run).status == "preparing" and "sbatch" in read_state(run).message


@pytest.mark.parametrize(
    ("machines", "settings", "kind", "template"),
    [
        (Machines(2, 4), {"parallel": "fsdp2", "precision": "bf16"}, "FSDP", "fsdp2.yaml"),
        (Machines(1, 2), {"parallel": "zero2", "precision": "8bit"}, "DEEPSPEED", "zero2.yaml"),
        (Machines(2, 4), {}, "MULTI_GPU", "multi_node_c10d.yaml"),
        (Machines(1, 1), {"precision": "fp32"}, "NO", "single_gpu.yaml"),
        (CPU_PAIR, {}, "MULTI_GPU", "multi_node_c10d.yaml"),
    ],
)
def test_what_accelerate_reads_is_the_template_of_the_mode_and_leaves_the_cards_to_the_cluster(
    tiny_base, tmp_path, monkeypatch, machines, settings, kind, template
):
    from runs.machines.command import CONFIGS

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")  # of the machine that writes the file
    monkeypatch.setattr(parallel.importlib.util, "find_spec", lambda name: True)
    run, _ = write_job(small(tiny_base, tmp_path, **settings), SlurmOptions(machines))
    text = (run.folder / "job.accelerate.yaml").read_text()
    found = yaml.safe_load(text)
    assert text.splitlines()[0] == (CONFIGS / template).read_text().splitlines()[0]
    assert found["distributed_type"] == kind and found["num_processes"] == machines.processes
    assert found["num_machines"] == machines.nodes and found["use_cpu"] == (not machines.gpus)
    assert found.get("gpu_ids", "all") == "all"
    assert found["mixed_precision"] == ("bf16" if machines.gpus and settings.get("precision") != "fp32" else "no")
    assert run.config().parallel == settings.get("parallel", "auto")


def test_an_engine_without_gpus_and_a_config_of_ones_own_are_refused_and_leave_nothing(
    tiny_base, tmp_path, isolated_home
):
    with pytest.raises(UserError, match="DeepSpeed"):
        write_job(small(tiny_base, tmp_path, parallel="zero2"), SlurmOptions(Machines(1, 2)))
    with pytest.raises(UserError, match="needs GPUs"):
        write_job(small(tiny_base, tmp_path, parallel="fsdp2", precision="bf16"), SlurmOptions(CPU_PAIR))
    own = tmp_path / "own.yaml"
    own.write_text("distributed_type: MULTI_GPU\nnum_processes: 2\nuse_cpu: true\n")
    with pytest.raises(UserError, match="has its own"):
        write_job(small(tiny_base, tmp_path, accelerate_config=str(own)), SlurmOptions(CPU_PAIR))
    assert not list(isolated_home.glob("runs/*/*"))


WORDS = [{"time": "soon"}, {"time": "1:00; rm"}, {"partition": "a b"}, {"partition": "$(id)"}, {"account": "x\ny"}]
MACHINES = [{"nodes": 0}, {"nodes": 513}, {"gpus_per_node": -1}, {"gpus_per_node": 65}]


@pytest.mark.parametrize(("machines", "words"), [*(({}, one) for one in WORDS), *((one, {}) for one in MACHINES)])
def test_what_slurm_cannot_be_asked_for_is_refused_and_leaves_nothing(
    tiny_base, tmp_path, isolated_home, machines, words
):
    with pytest.raises(UserError):
        wanted = SlurmOptions(Machines(**{"nodes": 2, "gpus_per_node": 0, **machines}), **words)
        write_job(small(tiny_base, tmp_path), wanted)
    assert not list(isolated_home.glob("runs/*/*"))


def test_names_with_spaces_and_quotes_stay_one_word(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "it's a home"))
    run, _ = write_job(small(tiny_base, tmp_path), SlurmOptions(CPU_PAIR))
    shown = subprocess.run(
        ["bash", "-c", f'{script(run, SlurmOptions(CPU_PAIR)).split("HEAD_NODE=")[0]}\nprintf %s "$RUN"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == str(run.folder)


@pytest.mark.slow
def test_two_nodes_train_one_run_and_a_time_limit_only_interrupts_it(tiny_base, tmp_path, slurm):
    run, file = write_job(small(tiny_base, tmp_path, max_steps=200, save_steps=2), SlurmOptions(CPU_PAIR, "00:10:00"))
    job_id = free_job_id()
    first = slurm(file, job_id)
    wait_for(lambda: len(losses(run)) >= 2 or first.poll() is not None, "two steps")
    first.send_signal(10)  # USR1: what --signal=B:USR1@180 sends
    output = first.communicate(timeout=240)[0]
    assert first.returncode == 0 and slurm.requeued.read_text() == f"{job_id}\n", output
    reached = read_state(run)
    assert reached.status == "stopped" and 2 <= reached.step < 200
    longer = run.config_file.read_text().replace("max_steps: 200", f"max_steps: {reached.step + 2}")
    run.config_file.write_text(longer)

    run.stop_file.unlink()  # as the file does at its start
    assert run_main(run) == 0  # the line's own process, without a launcher: a third of the time
    done = read_state(run)
    assert done.status == "done" and done.step == reached.step + 2
    assert [event["step"] for event in events(run, "resumed")] == [reached.step]


def test_submitting_it_again_takes_an_old_stop_away_and_hands_the_trainings_code_on(tiny_base, tmp_path, slurm):
    run, file = write_job(small(tiny_base, tmp_path), SlurmOptions(CPU_PAIR))
    run.stop_file.touch()
    said = 'echo "node $SLURM_NODEID: $@; cores $SRUN_CPUS_PER_TASK"\ntest ! -e "$RUN/stop" || exit 9\nexit 3'
    write_commands(tmp_path, fake=said)
    fake = tmp_path / "fake"
    file.write_text(file.read_text().replace(f"export PYTHON={sys.executable}", f"export PYTHON={fake}"))
    job = slurm(file, 99)
    output = job.communicate(timeout=60)[0]
    assert job.returncode == 3 and not slurm.requeued.exists()
    for node in (0, 1):
        assert f"node {node}: -m accelerate.commands.launch" in output and f"is_host={int(node == 0)}" in output
    assert "cores 6" in output, "srun does not take them from sbatch by itself"
    assert f"--run {run.folder}" in output and "--main_process_ip localhost --main_process_port 20099" in output
