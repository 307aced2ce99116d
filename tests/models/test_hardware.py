"""What the machine has, as the page and the launcher are told."""

import subprocess
import sys

import pytest

from common.paths import REPOSITORY
from models import hardware
from models.hardware import available_memory, find_hardware, peak_resident_bytes, space_flavor
from models.hub.errors import child_environment


def write_cgroup(folder, limit: str, used: int, cached: int) -> None:
    (folder / "memory.max").write_text(limit)
    (folder / "memory.current").write_text(str(used))
    (folder / "memory.stat").write_text(f"anon {used - cached}\ninactive_file {cached}\n")


def test_a_containers_limit_counts_when_it_is_lower(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "CGROUPS", tmp_path)
    whole = available_memory()
    write_cgroup(tmp_path, str(500 * 2**20), used=300 * 2**20, cached=100 * 2**20)
    assert available_memory() == 300 * 2**20 < whole, "what is cached can be freed"
    write_cgroup(tmp_path, "max", used=300 * 2**20, cached=0)
    assert available_memory() > 500 * 2**20, "no limit"


@pytest.mark.parametrize(
    ("variables", "flavor"),
    [
        ({}, None),
        ({"ACCELERATOR": "t4-small"}, None),
        ({"SPACE_ID": "a/b", "ACCELERATOR": "t4-small"}, "t4-small"),
        ({"SPACE_ID": "a/b", "ACCELERATOR": "none", "CPU_CORES": "2"}, "cpu-basic"),
        ({"SPACE_ID": "a/b", "ACCELERATOR": "none", "CPU_CORES": "8"}, "cpu-upgrade"),
    ],
)
def test_the_flavour_is_told_only_on_a_space(monkeypatch, variables, flavor):
    for name in ("SPACE_ID", "ACCELERATOR", "CPU_CORES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert space_flavor() == flavor


def test_this_machine_is_described():
    found = find_hardware()
    assert found.cpu_count >= 1 and found.available_bytes > 2**20 and found.description


def test_on_zero_gpu_there_is_one_card_without_asking_for_it_and_none_in_other_processes(monkeypatch):
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setattr(hardware, "_query", lambda _what: pytest.fail("asked for"))
    (card,) = hardware.find_gpus.__wrapped__()
    assert card.name == "ZeroGPU" and card.memory_bytes > 40e9
    assert "SPACES_ZERO_GPU" not in child_environment()


@pytest.mark.parametrize("said", [{}, {"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}])
def test_threads_wait_briefly_unless_a_person_chose_how(monkeypatch, said):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    found = child_environment()
    assert {name: found.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in found} == (
        said or {"GOMP_SPINCOUNT": "5000"}
    )


def test_the_peak_of_a_process_is_its_own_and_not_that_of_whoever_started_it():
    """getrusage's peak begins with the parent's: a small process of a large app would have needed gigabytes."""
    ballast = bytearray(600 * 2**20)
    code = "from models.hardware import peak_resident_bytes as peak; small = peak(); own = bytearray(200 * 2**20)\n"
    code += "own[::4096] = b'x' * len(own[::4096]); print(small, peak())"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    small, large = map(int, done.stdout.split())
    assert small < 300 * 2**20 and 200 * 2**20 < large < 500 * 2**20 and len(ballast)
    assert peak_resident_bytes() > 600 * 2**20


def test_a_kernel_that_tells_no_peak_is_asked_another_way(monkeypatch):
    """gVisor writes only VmSize, VmRSS and VmData."""
    usual, real = "VmPeak:\t 9 kB\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n", hardware.Path.read_text
    for status, wanted in ((usual, {2 * 2**20}), ("VmSize:\t 9 kB\nVmRSS:\t 1 kB\n", range(2**22, 2**40))):
        monkeypatch.setattr(
            hardware.Path, "read_text", lambda path, status=status: status if "proc" in str(path) else real(path)
        )
        assert peak_resident_bytes() in wanted
