"""The tests have a home of their own, each test its data folder. Small Llamas stand in where weights do not matter.

HOME, the temporary folder and all caches lead into one folder that is removed after the last test: nothing is left in the
user's. Workers of pytest-xdist and the processes that tests start inherit it.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import hypothesis
import pytest

from common.paths import bases_folder, home, runs_folder
from models import embedded
from models.hardware import find_gpus
from tests.tiny import TOKENIZER, make_tiny_base

REPOSITORY = Path(__file__).resolve().parents[1]
TESTS_HOME = "STUDIO_TESTS_HOME"  # the variable that names the folder
CACHES = "Library/Caches" if sys.platform == "darwin" else ".cache"
# what tests use that take longer than a moment: fixtures and modules
PROCESS = {
    "tiny_base",
    "embedded_base",
    "popen",
    "small_disk",
    "make_tiny_qwen",
    "fewer_resamples",
    "trainer",
    "subprocess",
    "torch",
    "transformers",
    "parse_documents",
}
# a file that imports one of these at its top starts processes, or takes ten seconds to import
HEAVY = r"subprocess|torch|transformers|trl|peft|benchmarks|trainer(?!\.__main__)"
# the same examples each time, and no file of those that failed
hypothesis.settings.register_profile("studio", max_examples=50, derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("studio")
FOREIGN = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "GRADIO_", "XDG_", "MPLCONFIGDIR", "STUDIO_HOME")


def link_files(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in source.iterdir():
        (folder / file.name).symlink_to(file)


def make_home() -> Callable[[], None] | None:
    """Make the home and return what removes it; None in a worker of pytest-xdist, whose controller has made it.

    Called when this file is imported: conftest files of folders that are named on the command line come right after it, and
    import libraries that read the environment once.
    """
    if TESTS_HOME in os.environ:
        return None
    folder = Path(tempfile.mkdtemp(prefix="studio-tests-"))
    before, temporary = dict(os.environ), tempfile.tempdir
    installed, wheels = embedded.folder(), bases_folder() / "wheels"
    os.environ.setdefault("PLAYWRIGHT_BROWSERS_PATH", str(Path.home() / CACHES / "ms-playwright"))
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    tempfile.tempdir = str(folder / "tmp")
    os.environ |= {TESTS_HOME: str(folder), "HOME": str(folder), "USERPROFILE": str(folder), "TMPDIR": tempfile.tempdir}
    os.environ |= {"STUDIO_HOME": str(folder / "studio"), "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1"}
    (folder / "tmp").mkdir()
    if installed.is_dir():  # what the user has is read where it lies
        link_files(installed, embedded.folder())
        link_files(installed.parents[1] / "refs", embedded.repository() / "refs")
    if wheels.is_dir():
        link_files(wheels, bases_folder() / "wheels")

    def clean_up() -> None:
        os.environ.clear()
        os.environ.update(before)
        tempfile.tempdir = temporary
        shutil.rmtree(folder, ignore_errors=True)

    return clean_up


remove_home = make_home()
# threads that spin while they wait take the cores from the other tests: a training beside them was three times as slow
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["STUDIO_WARM_START"] = "0"  # no training process waits for a run while forms are tested
if "PYTEST_XDIST_WORKER" in os.environ:  # two workers with a thread on each of two cores wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser) -> None:
    parser.addoption(
        "--all", action="store_true", help="every kill, broken file, bad configuration and cut wire, not a few"
    )


def pytest_configure(config) -> None:
    if remove_home:
        config.add_cleanup(remove_home)


def pytest_sessionstart(session) -> None:
    """Say which order this is; a quiet pytest leaves out the line of pytest-randomly."""
    seed = session.config.getoption("randomly_seed", None)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if seed is not None and reporter:
        reporter.write_line(f"The order is --randomly-seed={seed}")


@cache
def is_heavy(file: Path) -> bool:
    """Whether all tests of a file are slower than a moment, by what it imports when it is imported itself."""
    text = file.read_text(encoding="utf-8") if file.suffix == ".py" else ""
    return bool(re.search(rf"^(?:from|import) (?:{HEAVY})\b", text, re.MULTILINE))


def pytest_ignore_collect(collection_path, config) -> bool | None:
    """For the unit tests alone, leave files alone that have none."""
    return (config.option.markexpr == "unit" and collection_path.is_file() and is_heavy(collection_path)) or None


def pytest_collection_modifyitems(items) -> None:
    """Put every test into its tier by what it uses. Files with slow ones come first: no worker is left alone with one."""
    for item in items:
        uses = {*item.fixturenames, *vars(item.module), *item.function.__code__.co_names}
        is_slow = item.get_closest_marker("slow") or item.get_closest_marker("gpu")
        if "browser" in item.path.parts:
            item.add_marker("browser")
        elif uses & PROCESS or is_slow or is_heavy(item.path):
            item.add_marker("process")
        else:
            item.add_marker("unit")
    slow = {item.path for item in items if not item.get_closest_marker("unit")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def homes(tmp_path_factory) -> Path:
    """Where each test's home lies: pytest would count all folders of its own again for every new one."""
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def isolated_home(homes, monkeypatch) -> Path:
    """An empty STUDIO_HOME and an empty Hub cache, for this process and its children; the Hub is off."""
    from huggingface_hub import constants

    folder, session = Path(tempfile.mkdtemp(dir=homes)), os.environ["HF_HOME"]
    for name, value in list(vars(constants).items()):  # read from HF_HOME once, at import
        if isinstance(value, str) and value.startswith(session):
            monkeypatch.setattr(constants, name, value.replace(session, str(folder / "hf"), 1))
    monkeypatch.setenv("STUDIO_HOME", str(folder / "home"))
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
    for name in ("SPACE_ID", "OAUTH_CLIENT_ID", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    home().mkdir()
    return home()


@pytest.fixture
def sample(request) -> Callable:
    """`sample(everything, few)` of a test that repeats one thing: `few`, with --all `everything`."""
    return lambda everything, few: everything if request.config.getoption("--all") else few


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    """A training in this process handles signals its own way: Ctrl-C must still end the tests after it."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def tinyllama_tokenizer():
    """TinyLlama's tokenizer with its own chat template."""
    from models.tokenizer import load_tokenizer

    return load_tokenizer(TOKENIZER)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    """A folder with a two-layer Llama, random weights, TinyLlama's tokenizer."""
    return make_tiny_base(tmp_path_factory.mktemp("tiny-base"))


@pytest.fixture(scope="session")
def embedded_bases() -> Path:
    """The bases folder that all tests share, with the embedded base: the user's, or converted once (seconds)."""
    folder = Path(os.environ[TESTS_HOME]) / "studio"
    command = [sys.executable, "-m", "models.embedded"]
    environment = {**os.environ, "STUDIO_HOME": str(folder)}
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.DEVNULL)
    return folder / "bases"


@pytest.fixture
def embedded_base(isolated_home, embedded_bases) -> Path:
    """The embedded base, linked into this test's home."""
    bases_folder().symlink_to(embedded_bases)
    return embedded.folder()


@pytest.fixture(scope="session")
def popen(tmp_path_factory) -> Iterator[type]:
    """A Popen whose trainings and evaluations begin warm; subprocess's own where there is a GPU: CUDA survives no fork."""
    from tests import warm

    if sys.platform != "linux" or find_gpus():
        yield subprocess.Popen
        return
    nurse = warm.start(tmp_path_factory.mktemp("warm"))
    yield warm.Popen
    nurse.kill()
    nurse.communicate()


@pytest.fixture
def warm_starts(popen, monkeypatch) -> None:
    """Trainings and evaluations that this test starts begin warm."""
    monkeypatch.setattr(subprocess, "Popen", popen)


@pytest.fixture
def small_disk(tmp_path, monkeypatch) -> Iterator[Path]:
    """STUDIO_HOME on a disk of its own, of 16 MB."""
    from runs import disk
    from tests.faults import mounted

    folder, size = tmp_path / "disk", 16 * 2**20
    folder.mkdir()
    mounted(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")
    monkeypatch.setenv("STUDIO_HOME", str(folder / "home"))
    monkeypatch.setattr(disk, "DISK_NEEDED_BYTES", -size)  # nothing looks ahead: the disk itself is full
    home().mkdir()
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def settings(tiny_base, tmp_path) -> dict:
    """A run of thirty steps on the two-layer model."""
    from tests.running import small_settings

    return small_settings(tiny_base, tmp_path)


@pytest.fixture
def run():
    """The folder of a run without files."""
    from runs.run import Run

    run = Run(runs_folder() / "run")
    run.folder.mkdir(parents=True)
    return run
