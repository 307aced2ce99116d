"""`python -m data` and `studio.make`: from a document to a data set, with a teacher that is bad on purpose."""

import io
import re
from pathlib import Path

import pytest

import studio
from common.files import read_json_lines
from data.__main__ import main
from data.feedback import read_rows
from making.made import find_made, list_made
from tests.making.making import document
from tests.teacher import teacher, wait_for

KEY = "key-of-a-person-4711"


@pytest.fixture(autouse=True)
def loopback_may_be_called(monkeypatch):
    """The Hub is off in tests; its client would call nobody at all then."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


def test_a_document_becomes_a_data_set_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{KEY}\n"))
    with teacher(["good", "refused", "good", "injected"]) as (server, url):
        given = [str(document(tmp_path)), "--server", url, "--model", "tiny", "--rows", "6", "--parallel", "1"]
        assert main(["make", *given, "--plan"]) == 0 and not list_made() and not server.asked
        assert main(["make", *given, "--licence", "mit", "--key"]) == 0
        assert {*server.keys} == {KEY}
    said = capsys.readouterr().out
    assert "6 requests to tiny" in said and "6 rows: 0 accepted" in said and "refusal" in said and "done." in said
    assert (
        main(["list"]) == 0 and main(["show", "guide"]) == 0 and main(["review", "guide", "--finding", "injected"]) == 0
    )
    said = capsys.readouterr().out
    assert KEY not in said and "licence: mit" in said and "PWNED" in said
    key = re.search(r"^([0-9a-f]{16})  guide\.txt \d+-\d+$", said, re.MULTILINE)[1]
    assert main(["review", "guide", "--accept", key]) == 0 and main(["review", "guide", "--undo"]) == 0
    assert main(["review", "guide", "--reject", key]) == 0
    assert "6 rows: 0 accepted, 1 rejected" in capsys.readouterr().out.splitlines()[-14:]
    assert main(["keep", "guide", "mine", "--accept-rest"]) == 0
    rows = read_rows("mine")
    assert len(rows) == 4 and {row["made"]["licence"] for row in rows} == {"mit"}
    wait_for(lambda: not find_made("guide").is_alive())
    assert main(["delete", "guide"]) == 0 and not list_made() and len(read_rows("mine")) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["make"],
        ["make", "/nowhere.md"],
        ["show", "gone"],
        ["resume", "gone"],
        ["keep", "gone", "x"],
        ["review", "../x"],
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_an_exit_code(arguments, capsys):
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said and len(said.splitlines()) == 1


def test_a_script_makes_rows_and_keeps_those_without_findings(tmp_path):
    words: list[str] = []
    with teacher(["ungrounded"]) as (_server, url):
        rows = studio.make([str(document(tmp_path))], progress=words.append, model="tiny", server=url, rows=5)
        found = rows.wait()
    assert "5 requests" in words[0] and len(found) == 5 and sum("ungrounded" in row.findings for row in found) == 1
    kept = read_json_lines(Path(rows.keep("mine")))
    assert [row["key"] for row in kept] == [row.key for row in found if not row.findings] and len(kept) in (3, 4)
    assert all(row["made"]["document"] == "guide.txt" for row in kept)
    assert rows.progress.status == "done"
