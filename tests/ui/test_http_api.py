"""The page's handlers over plain HTTP, as an attacker calls them: each one asks whose run it is."""

import gradio as gr
import pytest

from common.files import append_json_line, write_text
from common.paths import runs_folder
from runs.history import NEWEST
from runs.labels import Labels, labels_of
from runs.run import Run
from tests.ui.conftest import handler
from ui.owner import new_key, owner_of
from ui.train import run_view

KEY = "a" * 32


@pytest.fixture
def call(space):
    """Call an endpoint with `key` in the browser's place and `given` by position; return its sentence, "" for none."""
    browser = space()

    def called(name: str, key: object, **given) -> str:
        endpoint = handler(browser, name)
        data = [getattr(part, "value", None) for part in endpoint.inputs]
        data = [
            key if isinstance(part, gr.BrowserState) else at for part, at in zip(endpoint.inputs, data, strict=True)
        ]
        data = [given.get(f"at_{place}", value) for place, value in enumerate(data)]
        body = {"data": data, "fn_index": endpoint._id, "session_hash": "s"}
        answer = browser.post("/gradio_api/run/predict", json=body)
        assert answer.status_code in (200, 500)
        return "" if answer.status_code == 200 else answer.json()["error"]

    return called


@pytest.fixture
def run(space) -> Run:
    """A stopped run of the visitor whose key is KEY."""
    run = Run(runs_folder(owner_of(KEY, None)) / "secret-plan")
    run.folder.mkdir(parents=True)
    write_text(run.config_file, "name: secret-plan\nbase: embedded\ndata: example\n")
    write_text(run.log_file, "what her training printed\n")
    append_json_line(run.events_file, {"event": "stopped", "message": ""})
    return run


@pytest.mark.parametrize("name", ["stop_run", "resume_run", "discard", "log", "bundle", "cure"])
def test_another_visitors_run_cannot_be_touched_by_its_name(call, run, name):
    before = sorted(path.name for path in run.folder.iterdir())
    sentence = call(name, new_key(), at_1=run.id)
    assert "There is no run" in sentence and str(runs_folder()) not in sentence
    assert sorted(path.name for path in run.folder.iterdir()) == before


@pytest.mark.parametrize("name", ["compare_runs", "rename", "label", "star", "delete_runs"])
def test_another_visitors_runs_cannot_be_listed_labelled_or_deleted(call, run, name):
    # two layers refuse: the list holds only what this visitor was shown, and each handler looks the run up for its owner
    assert call(name, new_key(), at_1="", at_2=[run.id, run.id][: 1 + (name not in ("rename", "label"))])
    assert run.config_file.exists() and not run.about_file.exists()


def test_the_owner_can_do_what_others_cannot(call, run):
    assert call("log", KEY, at_1=run.id) == call("discard", KEY, at_1=run.id) == "" and not run.folder.exists()


def test_the_owner_labels_a_run_and_hostile_words_stay_words(call, run):
    hostile = "<img src=x onerror=alert(1)>"
    assert call("on_select", KEY) == ""  # the page lists the run
    assert call("label", KEY, at_2=[run.id], at_3=f"poems, {hostile}", at_4=f"see {hostile}") == ""
    assert call("star", KEY, at_2=[run.id]) == call("rename", KEY, at_2=[run.id], at_3=hostile) == ""
    assert labels_of(run) == Labels(hostile, f"see {hostile}", ("poems", hostile), True)
    view = run_view.render(run)[0]
    assert "<img" not in view and view.count("&lt;img") == 4
    assert call("star", KEY, at_2=[run.id]) == "" and not labels_of(run).starred
    assert "at most 40 characters" in call("label", KEY, at_2=[run.id], at_3="x" * 41)
    assert "Choose one" in call("label", KEY, at_3="poems") and "No run is chosen" in call("star", KEY)
    assert call("on_select", KEY, at_3=["poems"], at_4=True) == call("on_select", KEY, at_3=["gone"]) == ""


def test_what_acts_on_chosen_runs_is_inactive_while_none_is_chosen(space, run):
    browser = space()
    choose = handler(browser, "on_choose")
    assert {part.interactive for part in choose.outputs} == {False} and len(choose.outputs) == 10

    def updates(name: str, *data) -> list[dict]:
        body = {"data": [KEY, *data], "fn_index": handler(browser, name)._id, "session_hash": "her page"}
        return browser.post("/gradio_api/run/predict", json=body).json()["data"]

    updates("on_select", "", [], [], False, NEWEST)  # the page lists the run
    for ids in ([run.id], []):
        assert {update["interactive"] for update in updates("on_choose", ids)} == {bool(ids)}


@pytest.mark.parametrize("key", ["", "local", "../local", None])
def test_without_a_proper_key_nothing_happens(call, run, key):
    assert "does not know you" in call("stop_run", key, at_1=run.id)


@pytest.mark.parametrize("run_id", ["../x", "..", "/etc", "a/b", {"a": 1}, ["x"], 7, None, "x" * 10_000])
def test_a_run_id_is_a_name_and_never_a_path(call, run_id):
    sentence = call("stop_run", new_key(), at_1=run_id)
    assert sentence and "Traceback" not in sentence
