"""Two machines: network namespaces with addresses of their own on one wire, a launcher and a data folder in each.

They train one model over gloo; then the wire is cut, and both say so in bounded time; then they go on, with --all past a killed
process, too.
"""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from common.files import read_json_lines
from common.paths import REPOSITORY
from runs.checkpoints import whole_steps
from runs.config import TrainConfig
from runs.launcher import create_run
from runs.run import Run, read_state
from tests.running import events, losses, run_main, small_settings

SECONDS = 180
ADDRESSES = ("10.77.0.1", "10.77.0.2")
LEFT, RIGHT = "studio-left", "studio-right"


def ip(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


def missing() -> str:
    """Why this machine cannot play two; "" when it can."""
    if not shutil.which("ip"):
        return "there is no `ip` command (iproute2)"
    tried = ip("netns", "add", LEFT)
    ip("netns", "del", LEFT)
    return f"no right to make network namespaces: {tried.stderr.strip()}" if tried.returncode else ""


class Wire:
    """Two network namespaces, joined by a veth pair."""

    def __init__(self) -> None:
        self.close()
        for name in (LEFT, RIGHT):
            self.must("netns", "add", name)
        self.must("link", "add", "wire0", "netns", LEFT, "type", "veth", "peer", "name", "wire0", "netns", RIGHT)
        for name, address in zip((LEFT, RIGHT), ADDRESSES, strict=True):
            self.must("-n", name, "addr", "add", f"{address}/24", "dev", "wire0")
            self.must("-n", name, "link", "set", "lo", "up")
        self.set("up")

    @staticmethod
    def must(*words: str) -> None:
        done = ip(*words)
        assert done.returncode == 0, done.stderr

    def set(self, state: str) -> None:
        for name in (LEFT, RIGHT):
            self.must("-n", name, "link", "set", "wire0", state)

    @staticmethod
    def close() -> None:
        for name in (LEFT, RIGHT):
            ip("netns", "del", name)


@pytest.fixture
def wire():
    if reason := missing():
        pytest.skip(f"two machines on one need network namespaces: {reason}")
    made = Wire()
    yield made
    made.close()


class Machine:
    """One of the two: a namespace, a STUDIO_HOME, and the command line of this app in it."""

    def __init__(self, number: int, folder) -> None:
        self.number, self.namespace, self.home = number, (LEFT, RIGHT)[number], folder / f"machine-{number}"
        self.process: subprocess.Popen | None = None

    @property
    def run(self) -> Run:
        return Run(self.home / "runs" / "local" / "both")

    def start(self, *arguments: str) -> None:
        command = ["ip", "netns", "exec", self.namespace, sys.executable, "-m", "trainer", *arguments]
        variables = {**os.environ, "STUDIO_HOME": str(self.home)}
        with open(self.home.with_suffix(".txt"), "ab") as log:
            self.process = subprocess.Popen(command, cwd=REPOSITORY, env=variables, stdout=log, stderr=log)

    def end(self) -> None:
        """Wait for the command to end; it ends when the run has."""
        self.process.wait(timeout=SECONDS)

    def said(self) -> str:
        return self.home.with_suffix(".txt").read_text() + self.run.log_tail(60)


def wait(machines, until) -> None:
    deadline = time.monotonic() + SECONDS
    while not until():
        assert time.monotonic() < deadline, "\n\n".join(machine.said() for machine in machines)
        time.sleep(0.05)


def worker_of(run: Run) -> psutil.Process:
    """The one training process of a machine."""
    found = [
        process for process in psutil.process_iter(["cmdline"]) if str(run.folder) in (process.info["cmdline"] or [])
    ]
    return next(process for process in found if "accelerate.commands.launch" not in process.info["cmdline"])


def flags(settings: dict) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]


def kill_one(machines) -> None:
    """Kill the process of the second machine: the first one's notices, and both start again from a newer checkpoint."""
    folder = machines[1].run.checkpoints_folder
    before = whole_steps(folder)[-1]
    wait(machines, lambda: whole_steps(folder)[-1] > before)
    worker_of(machines[1].run).kill()
    wait(machines, lambda: all(len(events(machine.run, "resumed")) == 2 for machine in machines))
    steps = [events(machine.run, "resumed")[1]["step"] for machine in machines]
    assert steps[0] == steps[1] > before
    for machine in machines:
        assert "Restarted after a process died (1 of 2)" in " ".join(read_state(machine.run).notes), machine.said()


def test_two_machines_train_one_model_and_survive_a_cut_wire_and_a_killed_process(
    wire, tiny_base, tmp_path, sample, warm_starts
):
    changed = {"eval_fraction": 0.17, "max_steps": 300, "max_length": 128, "lora_dropout": 0.0, "eval_steps": 1000}
    alike = small_settings(tiny_base, tmp_path, sample_prompts="Hello", **changed)
    both = {"name": "both", "num_processes": 2, "num_machines": 2, "main_process_ip": ADDRESSES[0]}
    both |= {"per_device_train_batch_size": 2, "ddp_timeout": 8, **alike}
    machines = [Machine(number, tmp_path) for number in (0, 1)]
    for machine in machines:
        machine.start("train", *flags({**both, "machine_rank": machine.number}))
    wait(machines, lambda: all(len(losses(machine.run)) >= 6 for machine in machines))
    wire.set("down")
    began = time.monotonic()
    wait(machines, lambda: all(events(machine.run, "failed") for machine in machines))
    assert time.monotonic() - began < 60, "8 s, on a slow machine"
    for machine in machines:
        machine.end()
        state = read_state(machine.run)
        assert state.code in ("process_silent", "process_lost") and machine.process.returncode == 1, machine.said()

    wire.set("up")
    for machine in machines:
        config = replace(machine.run.config(), rendezvous="c10d", max_restarts=2)  # now they meet the other way
        machine.run.config_file.write_text(config.to_yaml())
        machine.start("resume", "both")
    wait(machines, lambda: all(len(events(machine.run, "resumed")) == 1 for machine in machines))
    steps = {events(machine.run, "resumed")[0]["step"] for machine in machines}
    assert len(steps) == 1 and steps.pop() >= 4, "both go on from the checkpoint that both have"
    first = len(losses(machines[1].run))
    if sample(True, False):
        kill_one(machines)
    wait(machines, lambda: all(len(losses(machine.run)) >= first + 15 for machine in machines))
    machines[0].run.request_stop()  # on one of them
    for machine in machines:
        machine.end()
        assert read_state(machine.run).status == "stopped", machine.said()
        assert (machine.home / "adapters" / "local" / "both" / "adapter_model.safetensors").exists()
    left, right = (dict(read_state(machine.run).losses) for machine in machines)
    assert left == right and whole_steps(machines[0].run.checkpoints_folder)[-1] == max(left)
    one = create_run(TrainConfig(name="one", per_device_train_batch_size=4, **alike))
    assert run_main(one, stop_at=max(left)) == 0
    assert [left[step] for step in sorted(left)] == pytest.approx(losses(one)[: len(left)], rel=1e-4)
    assert not [event for event in read_json_lines(machines[1].run.events_file) if event["event"] == "samples"]
