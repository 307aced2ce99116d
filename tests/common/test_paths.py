"""Names given by people never leave the data folder."""

import pytest

from common.errors import UserError
from common.paths import as_title, contained, free_name, home, slug


@pytest.mark.parametrize("name", ["..", "../x", "/etc", "a/b", "", ".hidden", "a\x00b", "A", "x" * 81, "é"])
def test_a_name_that_is_no_plain_name_is_refused(tmp_path, name):
    with pytest.raises(UserError):
        contained(tmp_path, name)


def test_a_link_that_leaves_the_root_is_refused(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    with pytest.raises(UserError):
        contained(tmp_path / "root", "link")


def test_home_follows_studio_home(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "elsewhere"))
    assert home() == tmp_path / "elsewhere"


def test_any_text_becomes_a_usable_name(tmp_path):
    for text in ("My Adapter!", "../../etc", "한국어", "", "a" * 500):
        assert contained(tmp_path, slug(text)).parent == tmp_path.resolve()


@pytest.mark.parametrize(
    ("title", "folder"),
    [("공부 코치", "gongbu-koci"), ("Café №2", "cafe-no2"), ("\u1100\u1161 b", "ga-b"), ("学习", "run")],
)
def test_a_folder_has_its_title_in_ascii(title, folder):
    assert slug(title) == folder


@pytest.mark.parametrize(
    ("typed", "title"),
    [("  공부  코치 ", "공부 코치"), ("a\nb\x00\u202ec", "a b c"), (" \t\u200b", ""), ("x" * 500, "x" * 100)],
)
def test_a_title_is_what_was_typed_on_one_line(typed, title):
    assert as_title(typed) == title


def test_a_taken_name_gets_a_number(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x-2.partial").mkdir()
    assert free_name("x", tmp_path) == "x-3"
