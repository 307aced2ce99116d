"""Nobody ever reads half a file or half a folder."""

from common.files import append_json_line, publish, read_json, read_json_lines, tail, write_json, write_text


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
