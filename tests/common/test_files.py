"""Nobody ever reads half a file or half a folder."""

import pytest
import yaml

from common.files import (
    append_json_line,
    plain_value,
    publish,
    read_json,
    read_json_lines,
    tail,
    write_json,
    write_text,
)
from runs.config import TrainConfig


def test_a_cut_off_last_line_is_left_out(tmp_path):
    file = tmp_path / "events.jsonl"
    append_json_line(file, {"step": 1})
    with open(file, "a") as half:
        half.write('{"step": 2, "lo')
    assert read_json_lines(file) == [{"step": 1}]


def test_what_is_missing_or_damaged_reads_as_the_default(tmp_path):
    (tmp_path / "bad.json").write_text("{")
    assert read_json(tmp_path / "none.json", {}) == {} and read_json(tmp_path / "bad.json", {"a": 1}) == {"a": 1}
    assert read_json_lines(tmp_path / "none.jsonl") == [] and tail(tmp_path / "none.log") == ""


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path):
    write_text(tmp_path / "a.txt", "one")
    write_json(tmp_path / "a.txt", {"two": 2})
    assert read_json(tmp_path / "a.txt") == {"two": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_publishing_replaces_an_older_folder(tmp_path):
    for name in ("x", "x.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "from").write_text(name)
    publish(tmp_path / "x.partial", tmp_path / "x")
    assert (tmp_path / "x" / "from").read_text() == "x.partial"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_tail_shows_the_last_state_of_a_progress_bar(tmp_path):
    (tmp_path / "log").write_text("start\nloading 1%\rloading 50%\rloading 100%\nend\n")
    assert tail(tmp_path / "log", lines=2) == "loading 100%\nend"


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nbase: embedded  # what it is\nc: d\n",
        "a: 1\nbase: org/model-1.0_x\n",
        "a: 1\nbase: 'quoted: yes'  # why\n",
        "a: 1\nbase: true\n",
        "a: 1\nbase: No\n",
        "a: 1\nbase: 1.5\n",
        "a: 1\nbase: null\n",
        "a: 1\nbase: folded\n  over lines\n",
        "a: 1\nbase: with a space\n",
        "a: 1\nbase: once\nbase: twice\n",
        "a: 1\nbase: |\n  text\n",
        "a: 1\nbase: x#y\n",
        "a: 1\nbase: x: y\n",
        "a: 1\nbase: 한국어\n",
        "base: first line\n",
        "a: 'base: no'\n",
        "",
    ],
)
def test_a_plain_value_is_what_yaml_says_or_none(text):
    try:
        said = (yaml.safe_load(text) or {}).get("base")
    except yaml.YAMLError:
        said = None
    found = plain_value(text.encode(), "base")
    assert found is None or found == said


def test_a_plain_value_is_found_in_what_a_config_writes():
    text = TrainConfig(base="a/b", data="data/rows.jsonl").to_yaml().encode()
    assert (plain_value(text, "base"), plain_value(text, "data")) == ("a/b", "data/rows.jsonl")


def test_half_a_character_is_read_and_written_as_a_sign_for_it_and_leaves_no_file_behind(tmp_path):
    (tmp_path / "a.json").write_text('{"a": "\\ud800x", "b": "\\ud83d\\ude42"}')
    assert read_json(tmp_path / "a.json") == {"a": "\ufffdx", "b": "🙂"}
    write_json(tmp_path / "b.json", {"a": "\ud800x"})
    assert read_json(tmp_path / "b.json") == {"a": "?x"}
    with pytest.raises(OSError):
        write_json(tmp_path / "a.json" / "c", {})
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_json(tmp_path / "folder", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json", "folder"]
