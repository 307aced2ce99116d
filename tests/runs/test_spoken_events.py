"""A process without a visitor writes sentences; each reader reads them in their own language."""

import json
import subprocess
import sys
import zipfile

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo

from common import language
from common.language import KOREAN, Sentence, _, joined
from common.paths import REPOSITORY, runs_folder
from runs.backup.backup import note_backup, read_backup
from runs.bundle import write_bundle
from runs.config import TrainConfig
from runs.events import parse_event
from runs.run import EventLog, Run, read_state

TRAINER = """
import sys
import zipfile
from pathlib import Path
from common.language import _, n_
from runs.run import EventLog, Run
events = EventLog(Run(Path(sys.argv[1])))
events.write("note", message=_("Rows of {file}: {count}.", file="a.csv", count=_("{count:,} of them", count=1234)))
cure = {"label": _("Halve the batch"), "changes": {"per_device_train_batch_size": 2}}
events.write("failed", message=n_("One row is bad.", "{count} rows are bad.", 3), hint="Plain text.", cure=cure)
"""


@pytest.fixture
def korean(tmp_path, monkeypatch):
    """A Korean catalogue of a few sentences in the place of ko.mo."""
    catalogue = Catalog(locale="ko")
    catalogue.add("Rows of {file}: {count}.", "{count}: {file}의 행.")
    catalogue.add("{count:,} of them", "{count:,}개")
    catalogue.add("Halve the batch", "배치를 반으로")
    catalogue.add(("One row is bad.", "{count} rows are bad."), ("행 {count}개가 잘못됐어요.",))
    with open(tmp_path / "ko.mo", "wb") as file:
        write_mo(file, catalogue)
    monkeypatch.setattr(language, "FOLDER", tmp_path)
    language._catalogue.cache_clear()
    yield
    language._catalogue.cache_clear()


@pytest.fixture
def run() -> Run:
    found = Run(runs_folder() / "run")
    found.folder.mkdir(parents=True)
    return found


def test_what_a_training_process_says_is_read_in_the_language_of_the_reader(run, korean):
    subprocess.run([sys.executable, "-c", TRAINER, run.folder], cwd=REPOSITORY, check=True)
    state = read_state(run)
    assert (str(state.notes[0]), str(state.message)) == ("Rows of a.csv: 1,234 of them.", "3 rows are bad.")
    with language.language(KOREAN):
        assert (str(state.notes[0]), str(state.message)) == ("1,234개: a.csv의 행.", "행 3개가 잘못됐어요.")
        assert state.hint == "Plain text." and state.cure and str(state.cure["label"]) == "배치를 반으로"
        assert read_state(run).message == "행 3개가 잘못됐어요."


def test_the_newest_step_and_the_note_of_a_backup_hold_sentences_too(run, korean):
    EventLog(run).write("training")
    EventLog(run).write_step(9_001, loss=1.0, message=_("Halve the batch"))
    assert json.loads(run.progress_file.read_text())["message"] == {"msgid": "Halve the batch", "values": {}}
    note_backup(run.folder, problem=_("Halve the batch"))
    known = read_backup(run.folder)
    with language.language(KOREAN):
        assert known and str(known.problem) == "배치를 반으로"


def test_the_reason_for_the_base_is_a_sentence_in_the_settings_of_a_run(run, korean):
    reason = joined([_("Halve the batch"), "Because: 7 {braces}."])
    run.config_file.write_text(TrainConfig(base_reason=reason).to_yaml())
    read = run.config()
    EventLog(run).write("queued", base_reason=TrainConfig.from_dict(read.to_dict()).base_reason)
    with language.language(KOREAN):
        assert str(read.base_reason) == str(read_state(run).base_reason) == "배치를 반으로 Because: 7 {braces}."


ENDLESS = '{"msgid":"{a}{a}{a}{a}","values":{"a":[' * 12 + "7" + "]}}" * 12  # 4 to the 12th characters
REASONS = ['{"msgid"', '{"msgid": 7, "values": {}}', '{"msgid": "{a}{a}", "values": []}', "{}", ENDLESS]


@pytest.mark.parametrize("text", REASONS)
def test_a_reason_that_only_looks_like_a_sentence_is_text(text):
    assert TrainConfig.from_dict({"base_reason": text}).base_reason == text


@pytest.mark.parametrize(
    "line",
    [
        '{"event":"note","message":{"msgid":7,"values":{}}}',
        '{"event":"note","message":{"msgid":"x","values":[]}}',
        '{"msgid":"x","values":{}}',
        '{"event":"note","message":{"msgid":"' + "{a}" * 9 + '","values":{"a":"words"}}}',
        '{"event":"note","message":{"msgid":"{a}{a}","values":{"a":{"msgid":"x","values":{}}}}}',
        '{"event":"note","message":' + '{"msgid":"{a}","values":{"a":' * 2000 + "7" + "}}" * 2000 + "}",
        '{"event":"note","message":' + '{"msgid":"{a}","values":{"a":' * 40 + "7" + "}}" * 40 + "}",
        '{"event":"note","message":' + ENDLESS + "}",
        '{"event":"samples","step":1,"answers":[{"prompt":"?","answer":"' + "a " * 9_000 + '"}]}',
        '{"event":"samples","step":1,"answers":[' + ",".join(['{"prompt":"?","answer":"a"}'] * 99) + "]}",
    ],
)
def test_a_line_with_what_only_looks_like_a_sentence_or_has_answers_without_end_is_damaged(line):
    assert parse_event(line.encode()) is None


@pytest.mark.parametrize("text", ["{a.__class__} {a:>99999999}", "{a:c}", "{b}"])
def test_the_sentence_of_a_stranger_names_no_more_than_values(text):
    event = parse_event(json.dumps({"event": "note", "message": {"msgid": text, "values": {"a": 0xD800}}}).encode())
    assert event and isinstance(event["message"], Sentence) and event["message"] == text


def test_a_number_that_has_no_such_form_is_told_as_it_is():
    event = parse_event(b'{"event":"note","message":{"msgid":"{a:.1f}","values":{"a":1' + b"0" * 400 + b"}}}")
    assert event and event["message"] == "1" + "0" * 400


def test_a_bundle_is_in_english_whoever_asks_for_it(run, korean, tmp_path):
    run.config_file.write_text(TrainConfig().to_yaml())
    EventLog(run).write("stopped", message=_("Halve the batch"))
    with language.language(KOREAN):
        bundle = write_bundle(run, tmp_path)
    with zipfile.ZipFile(bundle) as archive:
        assert json.loads(archive.read("run/metrics.json"))["message"] == "Halve the batch"
