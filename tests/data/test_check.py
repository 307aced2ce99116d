"""The check runs in a process of its own, without torch in the one that asks, without a token, within limits."""

import json
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import psutil
import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo

import common.language
from common.errors import UserError
from common.language import KOREAN, language, unpacked
from common.paths import REPOSITORY
from data.check import check
from data.settings import DataSettings
from runs.config import TrainConfig
from trainer.__main__ import main


@pytest.fixture
def settings(tiny_base) -> DataSettings:
    return DataSettings(base=str(tiny_base), max_length=256)


def test_the_settings_of_the_data_are_those_of_a_run():
    assert TrainConfig().data_settings() == DataSettings()


@pytest.mark.slow
def test_the_example_is_checked_with_sentences_on_the_way(settings):
    told = []
    report = check(settings, rows=3, progress=told.append)
    assert report["rows"] == 220 and report["train_rows"] > 200 and len(report["preview"]) == 3
    assert report["base_reason"] == "A folder on this machine."
    assert "Reading the data" in told and "Tokenising 220 rows" in told


@pytest.fixture
def korean(tmp_path, monkeypatch):
    """Some sentences in Korean, in place of ui/words/ko.mo."""
    known = Catalog(locale="ko")
    known.add("Reading the data", "데이터를 읽고 있어요")
    known.add("Leave these out", "빼고 진행")
    known.add("Line {line}", "{line}번째 줄")
    known.add("There is no file '{name}'.", "'{name}' 파일이 없어요.")
    known.add(("{count:,} row cannot be used.", "{count:,} rows cannot be used."), ("{count:,}개 행을 쓸 수 없어요.",))
    with open(tmp_path / "ko.mo", "wb") as file:
        write_mo(file, known)
    monkeypatch.setattr(common.language, "FOLDER", tmp_path)
    common.language._catalogue.cache_clear()
    yield
    common.language._catalogue.cache_clear()


@pytest.mark.slow
def test_what_the_process_says_is_read_in_the_language_of_its_reader(settings, tmp_path, korean, warm_starts):
    rows, told = tmp_path / "rows.jsonl", []
    rows.write_text('{"prompt": "Hi", "completion": "Hello."}\n{"prompt": \n')
    report = check(replace(settings, data=str(rows)), rows=1, progress=told.append)
    found = next(item for item in report["findings"] if item["code"] == "bad_rows")
    assert found["message"].startswith("1 row cannot be used. Line 2: This line is not JSON")
    assert (found["rows"][0]["where"], found["rows"][0]["text"]) == ("Line 2", '{"prompt": \n')
    with language(KOREAN):
        assert "데이터를 읽고 있어요" in [str(sentence) for sentence in told]
        assert str(found["message"]).startswith("1개 행을 쓸 수 없어요. 2번째 줄: ")
        assert str(found["cure"]["label"]) == "빼고 진행" and found["cure"]["changes"] == {"skip_bad_rows": True}
        with pytest.raises(UserError) as refused:
            check(replace(settings, data=str(tmp_path / "none.jsonl")))
        assert str(refused.value) == "'none.jsonl' 파일이 없어요."


@pytest.mark.slow
def test_a_file_that_cannot_be_read_is_a_user_error(settings, tmp_path, warm_starts):
    with pytest.raises(UserError, match="There is no file"):
        check(replace(settings, data=str(tmp_path / "none.jsonl")))


def test_a_check_that_is_stopped_ends_its_process_at_once(settings):
    stop, started = threading.Event(), time.monotonic()
    threading.Timer(0.5, stop.set).start()
    with pytest.raises(UserError, match="stopped"):
        check(settings, stop=stop)
    assert time.monotonic() - started < 10
    commands = [child.cmdline() for child in psutil.Process().children(recursive=True)]
    assert not any("data.check" in command for command in commands)


def test_settings_that_cannot_be_are_refused_before_anything_starts(capsys):
    assert main(["check", "example", "--max-length", "1"]) and "Max sequence length" in capsys.readouterr().err


def test_a_preview_marks_what_is_trained_and_says_why_a_row_is_not_used(tiny_base, tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Hi", "completion": "Hello."}\n{"x": 1}\nbroken\n')
    assert main(["preview", str(tmp_path / "rows.jsonl"), "--base", str(tiny_base), "--rows", "3"]) == 0
    out = capsys.readouterr().out
    assert "[[Hello.</s>]]" in out and "row 2, 0 tokens, not used: None of the known shapes" in out
    assert "row 3, 0 tokens, not used: This line is not JSON" in out
    columns = ["--columns", '{"prompt": "prompt", "completion": "x"}']
    assert main(["preview", str(tmp_path / "rows.jsonl"), "--base", str(tiny_base), "--rows", "1", *columns]) == 0
    assert "There is no column 'x'" in capsys.readouterr().out
    assert main(["preview", str(tmp_path / "rows.jsonl"), "--base", str(tiny_base), "--columns", "{"])
    assert "Write a JSON object" in capsys.readouterr().err


def test_asking_imports_no_torch():
    code = "import sys, data.check, data.reading, data.shapes"
    code += "; sys.exit(bool({'torch', 'transformers', 'datasets', 'pandas', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded by Linux")
@pytest.mark.parametrize("asked", [{"rows": 1}, {"title": "Mine", "owner": "local"}], ids=["check", "test set"])
def test_data_that_takes_too_much_memory_is_a_sentence(settings, tmp_path, monkeypatch, asked):
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "home"))
    rows = tmp_path / "rows.json"  # the one kind that is parsed as a whole
    pairs = [{"prompt": f"question {number} " * 20, "completion": "answer " * 20} for number in range(100_000)]
    rows.write_text(json.dumps(pairs))
    request, result = tmp_path / "request.json", tmp_path / "result.json"
    request.write_text(json.dumps({"settings": asdict(replace(settings, data=str(rows))), **asked}))
    code = "import sys, data.check as c; c.MAX_DATA_BYTES = 30_000_000; c.main(sys.argv[1:])"
    subprocess.run([sys.executable, "-c", code, str(request), str(result)], cwd=REPOSITORY, check=False)
    assert "needs more memory" in unpacked(json.loads(result.read_text()))["error"]["message"]


@pytest.mark.slow
def test_a_template_that_only_trl_knows_is_checked_too(settings, tiny_base, tmp_path, warm_starts):
    """TRL needs torch, which the check does without at first."""
    from trl import chat_template_utils

    shutil.copytree(tiny_base, tmp_path / "base")
    file = tmp_path / "base" / "tokenizer_config.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "chat_template": chat_template_utils.qwen2_5_chat_template}))
    report = check(replace(settings, base=str(tmp_path / "base")))
    assert report["train_rows"] > 100 and not any(item["level"] == "stop" for item in report["findings"])
