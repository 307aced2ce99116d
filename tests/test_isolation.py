"""The tests leave nothing behind: pytest runs in a process of its own, with a home and a temporary folder that are looked at."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.paths import bases_folder
from models import embedded
from tests.conftest import REPOSITORY, TESTS_HOME, link_files

SAMPLE = (
    "tests/adapters/test_limits.py::test_a_base_larger_than_the_space_allows_is_not_downloaded",  # the Hub's cache
    "tests/ui/test_flood.py::test_the_client_for_programs_uploads_and_calls_without_a_key",  # the real app: gradio's folders
    "tests/models/test_templates.py::test_of_three_turns_with_chatml_exactly_the_answers_and_their_stop_tokens_are_trained",
)


@pytest.mark.slow
def test_the_tests_leave_nothing_in_the_users_home_and_temporary_folder(tmp_path, embedded_bases):
    """The user has set the app up: the embedded base is there, and is only read."""
    user, temporary = tmp_path / "user", tmp_path / "temporary"
    temporary.mkdir()
    bases = user / ".local/share/tinyllama-studio/bases"
    base = embedded.folder().relative_to(bases_folder())
    link_files(embedded_bases / base, bases / base)
    link_files(embedded_bases / base.parents[1] / "refs", bases / base.parents[1] / "refs")
    before = listing(user)

    environment = {"PATH": os.environ["PATH"], "HOME": str(user), "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *SAMPLE]
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0 and " skipped" not in result.stdout, result.stdout[-2000:]
    assert TESTS_HOME not in environment, "the run has made a home of its own"
    assert listing(user) == before
    assert listing(temporary) == {}


def listing(folder: Path) -> dict[str, int]:
    """Every path below `folder` and when it was changed."""
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}
