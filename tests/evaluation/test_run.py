"""An evaluation's folder: what it says of itself, whose it is, and what is refused before anything starts."""

import json
import os
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.errors import UserError
from common.files import write_json
from common.language import _, language
from common.paths import adapters_folder, evaluations_folder
from evaluation import pace
from evaluation.asked import ask
from evaluation.background import delete_work
from evaluation.config import EvaluationConfig
from evaluation.pace import Pace, Work
from evaluation.run import Evaluation, Progress, find_evaluation, list_evaluations, read_progress
from evaluation.start import default_config, resume, start
from runs.processes import this_process
from tests.queueing import make_run

CONFIG = EvaluationConfig("Is it better?", ["base"], ["questions"], base="embedded")


def make_evaluation(name: str = "one", owner: str = "local", config: EvaluationConfig = CONFIG) -> Evaluation:
    evaluation = Evaluation(evaluations_folder(owner) / name)
    evaluation.folder.mkdir(parents=True)
    evaluation.config_file.write_text(config.to_yaml())
    return evaluation


def make_adapter(name: str, owner: str = "local", base: str = "HuggingFaceTB/SmolLM2-135M-Instruct") -> Path:
    """The files of an adapter that nobody loads."""
    folder = adapters_folder(owner) / name
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(name.encode())
    write_json(folder / "adapter_config.json", {"base_model_name_or_path": base, "r": 8})
    write_json(folder / "metrics.json", {"base_source": "embedded", "created": time.time()})
    return folder


@pytest.fixture
def launched(monkeypatch) -> list[dict]:
    """What would have been started: the arguments of each process."""
    made = []

    class Sleeper:
        pid = os.getpid()  # it counts as alive

        def __init__(self, command, **how) -> None:
            made.append({"command": command, **how})

        def wait(self) -> None:
            pass

    monkeypatch.setattr(subprocess, "Popen", Sleeper)
    return made


def test_settings_come_back_from_their_file_as_they_were():
    config = EvaluationConfig(
        "한국어 제목", ["base", "adapter:mine"], ["run:a", "my-exam"], ["exact"], format_rule="a|b\n"
    )
    assert make_evaluation(config=config).config() == config
    assert EvaluationConfig.from_dict({"candidates": ["base"], "shots": "5"}).shots == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"candidates": []},
        {"candidates": ["base", "base"]},
        {"candidates": ["adapter:../../bob/theirs"]},
        {"candidates": ["/etc/passwd"]},
        {"candidates": [f"adapter:a{number}" for number in range(9)]},
        {"candidates": ["no candidate"] * 100_000},
        {"test_sets": []},
        {"scores": ["loss", "loss"]},
        {"test_sets": ["run:../x"]},
        {"test_sets": ["../../../etc"]},
        {"shots": 0},
        {"max_new_tokens": 100_000},
        {"max_items": -1},
        {"precision": "1bit"},
        {"title": "two\nlines"},
        {"format_rule": "x" * 100_000},
    ],
    ids=lambda wrong: "-".join(wrong),
)
def test_settings_that_mean_nothing_or_too_much_are_refused(wrong):
    with pytest.raises(UserError, match="cannot be used"):
        replace(CONFIG, **wrong).check()


def test_more_questions_than_memory_holds_are_refused_before_they_are_compared(monkeypatch):
    monkeypatch.setattr("evaluation.asked.MAX_ASKED", 49)
    with pytest.raises(UserError, match="at most 49 questions"):
        ask(make_evaluation(), lambda words: None)
    assert len(ask(make_evaluation("less", config=replace(CONFIG, max_items=3)), lambda words: None)[0].items) == 3


def test_shots_of_its_own_file_are_shown_and_no_row_of_a_test_set_is_taken_away_for_them():
    own = [{"number": n, "messages": [{"role": "user", "content": f"Q{n}"}], "answer": f"A{n}"} for n in range(1, 6)]
    config = replace(CONFIG, candidates=["base", "few-shot"], test_sets=["questions", "general"], shots=3)
    taken, given = make_evaluation("taken", config=config), make_evaluation("given", config=config)
    given.items_folder.mkdir()
    given.shots_file.write_text("\n".join(map(json.dumps, own)))
    (questions, general), (all_questions, all_general) = (ask(one, lambda words: None) for one in (taken, given))
    assert (len(questions.items), len(questions.shots)) == (47, 3) and not general.shots
    assert len(all_questions.items) == 50 and all_questions.shots == own[:3], "the first ones, though numbers are alike"
    assert all_general.items == general.items and not all_general.shots, "a text shows no examples"
    assert given.known()["test_sets"]["questions"]["shots"] == []
    assert ask(given, lambda words: None)[0] == all_questions, "a resume shows the same"


@pytest.mark.parametrize(("is_measured", "ends"), [(True, []), (False, [1])])
def test_a_process_that_hangs_after_its_time_gives_the_accelerator_back(is_measured, ends, monkeypatch):
    stop, measured, exits = threading.Event(), threading.Event(), []
    monkeypatch.setattr(pace, "LATE_SECONDS", 0.01)
    monkeypatch.setattr(os, "_exit", exits.append)
    evaluation = make_evaluation()
    evaluation.stop_file.touch()
    if is_measured:
        measured.set()
    pace.watch(evaluation, 0, stop, measured)
    assert stop.is_set() and exits == ends


@pytest.mark.parametrize(
    "text", ["", "[]", "seed: x", "unknown: 1", "candidates: base", "a: &a [1]\nb: *a", "title: [[[[1]]]]", "\x00"]
)
def test_a_damaged_file_of_settings_is_a_sentence(text):
    evaluation = make_evaluation()
    evaluation.config_file.write_text(text)
    with pytest.raises(UserError):
        evaluation.config()


def test_progress_is_what_was_written_last_while_somebody_computes():
    evaluation = make_evaluation()
    assert read_progress(evaluation).status == "interrupted", "nobody computes it"
    write_json(evaluation.process_file, {"process": this_process(os.getpid())})
    assert read_progress(evaluation) == Progress("running")
    evaluation.write_progress(Progress("running", _("Preparing"), 3, 12, 60.0))
    assert read_progress(evaluation).fraction == 0.25
    with language("ko"):
        assert str(read_progress(evaluation).activity) != "Preparing", "a reader gets their own language"
    # its number was given away
    write_json(evaluation.process_file, {"process": this_process(os.getpid()) | {"ticks": 1}})
    ended = read_progress(evaluation)
    assert (ended.status, ended.done, ended.total, ended.activity) == ("interrupted", 3, 12, "")
    assert "Resume" in ended.hint
    evaluation.write_progress(Progress("done", "", 12, 12))
    assert read_progress(evaluation).status == "done"


@pytest.mark.parametrize("damage", ["", "[]", '{"status": "flying"}', '{"status": "done"}', '{"process": 1}', "\x00"])
def test_a_damaged_file_of_an_evaluation_breaks_nothing(damage):
    evaluation = make_evaluation()
    for file in (evaluation.progress_file, evaluation.process_file, evaluation.versions_file, evaluation.table_file):
        file.write_text(damage)
    assert read_progress(evaluation).status == "interrupted" and evaluation.versions() is None
    assert list_evaluations() == [evaluation]


def test_nobody_finds_the_evaluations_of_somebody_else():
    make_evaluation("secret", "alice")
    assert list_evaluations("bob") == []
    for name in ("secret", "../alice/secret", "..", "/etc", "SECRET"):
        with pytest.raises(UserError):
            find_evaluation(name, "bob")
    assert find_evaluation("secret", "alice").owner == "alice"


def test_the_process_is_in_its_own_session_and_has_no_token(launched, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    evaluation = start(CONFIG, token="hf_secret")
    (process,) = launched
    assert process["start_new_session"] and "secret" not in json.dumps([process["command"], process["env"]])
    kept = "".join(file.read_text() for file in evaluation.folder.rglob("*") if file.is_file())
    assert "secret" not in kept and evaluation.is_alive() and evaluation.id == "is-it-better"
    with pytest.raises(UserError, match="already running"):
        resume(evaluation)
    with pytest.raises(UserError, match="still running"):
        delete_work(evaluation)
    evaluation.process_file.unlink()
    delete_work(evaluation)
    assert list_evaluations() == [] and not list(evaluations_folder().iterdir())


def test_what_is_not_there_or_does_not_go_together_is_refused_and_leaves_nothing(launched):
    make_adapter("mine")
    make_adapter("large", base="TinyLlama/TinyLlama-1.1B-Chat-v1.0")
    make_adapter("theirs", "bob")
    cases = [
        (
            replace(CONFIG, base="", candidates=["base", "adapter:mine", "adapter:large"]),
            "'mine' was trained on .*SmolLM2",
        ),
        (replace(CONFIG, candidates=["adapter:large"]), "was trained on TinyLlama.*this base is"),
        (replace(CONFIG, candidates=["adapter:theirs"]), "There is no adapter 'theirs'"),
        (replace(CONFIG, test_sets=["gone"]), "There is no test set 'gone'"),
        (replace(CONFIG, test_sets=["run:gone"]), "There is no run 'gone'"),
        (replace(CONFIG, scores=["charm"]), "There is no score 'charm'"),
        (replace(CONFIG, base="nobody/nothing"), "."),
    ]
    for config, words in cases:
        with pytest.raises(UserError, match=words):
            start(config)
    assert not launched and not evaluations_folder().exists()


def test_an_adapter_that_may_not_be_read_any_more_is_asked_nothing(launched, monkeypatch):
    folder = make_adapter("mine")
    config = replace(CONFIG, candidates=["base", "adapter:mine"])
    evaluation = start(config)
    evaluation.process_file.unlink()
    write_json(folder / "studio.json", {"origin": {"kind": "pulled", "repo_id": "alice/private", "public": False}})
    monkeypatch.setenv("SPACE_ID", "me/space")  # where nobody answers for the repository here
    for again in (lambda: start(config), lambda: resume(evaluation)):
        with pytest.raises(UserError):
            again()
    assert len(launched) == 1


def test_a_process_that_cannot_be_started_leaves_nothing(monkeypatch):
    def refuse(*command, **how):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(OSError):
        start(CONFIG)
    assert list(evaluations_folder().iterdir()) == []


def test_on_a_space_each_has_one_under_way_all_guests_one_and_keeps_some(launched, monkeypatch):
    monkeypatch.setenv("STUDIO_MAX_EVALUATIONS_PER_USER", "1")
    monkeypatch.setenv("STUDIO_MAX_KEPT_EVALUATIONS", "2")
    monkeypatch.setenv("STUDIO_MAX_ROWS", "1000")
    monkeypatch.setenv("STUDIO_MAX_MINUTES", "30")
    first = start(CONFIG, "guest-1")
    assert (first.config().max_items, first.config().max_minutes) == (1000, 30)
    with pytest.raises(UserError, match="another guest"):
        start(CONFIG, "guest-2")
    mine = start(CONFIG, "user-ann")
    with pytest.raises(UserError, match="under way"):
        start(CONFIG, "user-ann")
    with pytest.raises(UserError, match="30"):
        start(replace(CONFIG, max_minutes=31), "user-bob")
    mine.write_progress(Progress("done"))
    start(CONFIG, "user-ann").write_progress(Progress("done"))
    with pytest.raises(UserError, match="You have 2 evaluations"):
        start(CONFIG, "user-ann")


def test_everybody_together_has_as_many_under_way_as_runs_may_wait(launched, monkeypatch):
    monkeypatch.setenv("STUDIO_MAX_QUEUE", "2")
    lines = [["python", "-m", "evaluation.process", "--evaluation", "x"], None, ["python", "app.py"]]
    processes = [SimpleNamespace(info={"cmdline": line}) for line in lines]
    monkeypatch.setattr("psutil.process_iter", lambda attributes: processes)
    start(CONFIG, "user-ann")
    processes += processes[:1]
    with pytest.raises(UserError, match="2 evaluations are under way here"):
        start(CONFIG, "user-bob")
    assert not list_evaluations("user-bob")


def test_without_a_choice_the_newest_adapter_is_asked_beside_its_base_on_what_its_run_held_out():
    run = make_run("first")
    folder = make_adapter("first")
    (folder / "training_config.yaml").write_bytes(run.config_file.read_bytes())
    os.utime(folder)
    config = default_config()
    assert config.candidates == ["base", "adapter:first"] and config.test_sets == ["run:first", "questions", "general"]
    make_adapter("pulled")
    assert default_config().candidates[1] == "adapter:pulled"
    assert default_config().test_sets == ["questions", "general"], "nobody knows its rows"


def test_the_rest_is_forecast_by_the_pace_of_each_kind_of_work(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("evaluation.pace.time", type("Clock", (), {"monotonic": staticmethod(lambda: now[0])}))
    evaluation = make_evaluation()
    write_json(evaluation.process_file, {"process": this_process(os.getpid())})
    pace = Pace(evaluation)
    slow, fast, other = Work("a", "answer"), Work("a", "loss"), Work("b", "answer")
    pace.plan([slow] * 20 + [fast] * 20 + [other] * 2, there := 5)
    assert pace.eta_seconds() is None and pace.total == 42 + there
    pace.begin(_("Preparing"))
    for number in range(8):
        now[0] += 17 if number == 0 else 1  # the first ones wait for the model
        pace.add(slow)
        assert (pace.eta_seconds() is None) == (number < 7), "a few say little"
    assert pace.eta_seconds() == 3 * (12 + 2 + 20), "what was never measured takes as long as the mean"
    pace.begin(_("Preparing"))
    for _number in range(10):
        now[0] += 0.5
        pace.add(fast)
    assert pace.eta_seconds() == pytest.approx(3 * (12 + 2) + 10 * 0.5)
    shown = read_progress(evaluation)
    assert shown.done == 5 + 18 and shown.is_running, "written at most once a second"
    pace.end("stopped", _("Stopped."))
    assert read_progress(evaluation) == Progress("stopped", "", 5 + 18, 47, None, _("Stopped."), "")
