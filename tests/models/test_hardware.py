"""What the machine has, as the page and the launcher are told."""

import pytest

from models import hardware
from models.hardware import available_memory, find_hardware, space_flavor


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
