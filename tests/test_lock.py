"""constraints.txt: every version that is tested, for machines with and without CUDA."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def test_the_lock_agrees_with_the_requirements_and_fits_cpu_and_cuda():
    locked = pins("constraints.txt")
    wanted = pins("requirements.txt") | pins("requirements-dev.txt")
    # each machine has its own build of torch, which brings its CUDA packages
    assert wanted.pop("torch") and "torch" not in locked
    assert {name: locked.get(name) for name in wanted} == wanted
    assert not [name for name in locked if name.startswith(("nvidia", "cuda", "triton"))]


def test_the_lock_holds_no_host_path_or_hash():
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines()[2:]:
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; [\w.'<>=! ]+)?", line), line


def pins(name: str) -> dict[str, str]:
    """The packages of a requirements file and their versions."""
    found = re.findall(r"^([\w.-]+)==(\S+)", (REPOSITORY / name).read_text(), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in found}
