"""What was made of files is kept only while they are as they were."""

import os
import time

import pytest

from common.files import write_text
from common.remembered import Remembered, stamps


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("first")
    age(path)
    return path


def age(path) -> None:
    """As if it had been written an hour ago."""
    os.utime(path, (time.time() - 3600, time.time() - 3600))


def test_a_file_is_read_once_while_it_stays_as_it_is(file):
    known, read = Remembered(10), []

    def look() -> str:
        return known.get("a", stamps(str(file.parent), "a.json", "b.json"), lambda: read.append(1) or file.read_text())

    assert look() == look() == "first" and len(read) == 1


@pytest.mark.parametrize("change", ["replaced", "written over", "touched", "gone", "another came"])
def test_every_change_is_seen_at_once(file, change):
    known, folder = Remembered(10), file.parent

    def look() -> list[str]:
        now = stamps(str(folder), "a.json", "b.json")
        return known.get("a", now, lambda: [path.read_text() for path in sorted(folder.iterdir())])

    assert look() == ["first"]
    if change == "replaced":
        write_text(file, "other")
    elif change == "written over":
        file.write_text("other")
    elif change == "touched":
        os.utime(file)
    elif change == "gone":
        file.unlink()
    else:
        (folder / "b.json").write_text("more")
    assert look() == [path.read_text() for path in sorted(folder.iterdir())]


def test_a_file_of_this_moment_is_read_again_whatever_its_stamp(file):
    known = Remembered(10)
    os.utime(file, ns=(time.time_ns(), time.time_ns()))
    now, read = stamps(str(file.parent), "a.json"), iter(["early", "late"])
    assert [known.get("a", now, lambda: next(read)) for _ in range(2)] == ["early", "late"]


def test_a_folder_changes_with_every_file_that_comes_goes_or_is_replaced(file):
    folder = file.parent
    for change in (lambda: write_text(file, "x"), lambda: (folder / "new").touch(), file.unlink):
        age(folder)
        before = stamps(str(folder))
        change()
        assert stamps(str(folder)) != before
    assert stamps(str(folder / "none")) == (None,)


def test_what_is_kept_is_bounded_and_the_oldest_goes_first():
    known = Remembered(3)
    for number in range(5):
        known.get(number, (), lambda number=number: number)
    assert len(known) == 3
    assert known.get(0, (), lambda: "made again") == "made again" and known.get(4, (), lambda: "again") == 4
