"""The Experiments tab over HTTP, as a stranger speaks to it on a Space, and as its owner does."""

import itertools
import zipfile

import pytest

from common.errors import UserError
from common.paths import experiments_folder
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import find_experiment, list_experiments
from evaluation.experiments.notes import NOTES
from evaluation.run import Progress
from jobs.prices import Flavor
from tests.adapters.conftest import hub  # noqa: F401
from tests.ui.calling import RUN
from tests.ui.conftest import handler as handler_of
from tests.ui.experiments import put_experiment
from tests.ui.space import GUEST, space_call
from ui.experiments.downloads import BUNDLE, FIGURES, made_file
from ui.experiments.form import form_values
from ui.experiments.ready import ready_choices
from ui.experiments.result import experiment_choices, render, status_views
from ui.experiments.tab import WATCHED
from ui.owner import owner_of

SECRET = "words-of-alice-alone"
ALICE = "user-alice"


@pytest.fixture
def call(hub, monkeypatch):  # noqa: F811
    """A function that calls a handler of a Space's page by its name; alice has an experiment there."""
    monkeypatch.setattr("evaluation.background.start_process", lambda *given: None)
    monkeypatch.setattr("evaluation.experiments.start.start_process", lambda *given: None)
    put_experiment("mine", ALICE, "stopped", SECRET)
    called = space_call(monkeypatch, hub.alice)
    called.hub = hub
    return called


HANDLERS = {
    "show_experiment": lambda name: [name],
    "experiment_status": lambda name: [name],
    "version_of_experiment": lambda name: [name],
    "stop_experiment": lambda name: [name],
    "resume_experiment": lambda name: [name],
    "add_seeds": lambda name: [name, "4"],
    "delete_experiment": lambda name: [name],
    "experiment_table_tex": lambda name: [name],
    "experiment_bundle": lambda name: [name],
}
NAMES = ["mine", "../user-alice/mine", "user-alice/mine", "..", "/etc/passwd", "mine\x00", "mine.partial", ["mine"], 5]


def test_anothers_experiment_by_name_is_out_of_reach(call):
    before = {path: path.read_bytes() for path in experiments_folder(ALICE).rglob("*") if path.is_file()}
    for name, (handler, given) in itertools.product(NAMES, HANDLERS.items()):
        status, text = call(handler, GUEST, *given(name))
        assert status != 200 and SECRET not in text, handler
        if isinstance(name, str):
            assert "is not a valid name" in text or "There is no experiment" in text, (handler, text)
    assert before == {path: path.read_bytes() for path in experiments_folder(ALICE).rglob("*") if path.is_file()}


def test_its_owner_sees_it(call):
    status, text = call("show_experiment", "", "mine", oauth_token=call.hub.alice)
    assert status == 200 and SECRET in text and "Methods of" in text
    status, text = call("experiment_lists", GUEST, "mine", None, "")
    assert status == 200 and SECRET not in text and NOTES[0].id in text, "the claims are everybody's"


def test_on_a_laptop_the_lists_are_there_before_the_browser_has_its_key(call, monkeypatch):
    assert NOTES[0].id not in call("experiment_lists", "", None, None, "")[1], "on a Space nobody is known yet"
    monkeypatch.delenv("SPACE_ID")
    assert NOTES[0].id in call("experiment_lists", "", None, None, "")[1]


def test_what_starts_is_the_yaml_and_only_while_the_form_says_the_same(call):
    config = ExperimentConfig("Mine", {"base": "embedded"}, {"method": ["none", "lora"]})
    values = form_values(config)
    status, text = call("start_experiment", GUEST, config.to_yaml(), *(values | {"seeds": "7"}).values())
    assert status != 200 and "has just changed" in text and list_experiments(owner_of(GUEST, None)) == []
    assert call("start_experiment", GUEST, config.to_yaml(), *values.values())[0] == 200
    (started,) = list_experiments(owner_of(GUEST, None))
    assert started.config().vary == config.vary


def test_nothing_of_the_server_and_of_another_is_in_an_experiment(call):
    for settings in ({"data": "/etc/passwd"}, {"data": str(experiments_folder(ALICE) / "mine" / "config.yaml")}):
        config = ExperimentConfig("Mine", settings, {"method": ["lora"]})
        status, text = call("start_experiment", GUEST, config.to_yaml(), *form_values(config).values())
        assert status != 200 and "is not the ID of a dataset" in text, text
        status, text = call("read_experiment", GUEST, config.to_yaml())
        assert status == 200 and "is not the ID of a dataset" in text and SECRET not in text
    assert list_experiments(owner_of(GUEST, None)) == []


@pytest.mark.parametrize("text", ["a: [", "- 1", "seeds: x", "&a [*a]", "x" * 200_000, {"a": 1}, 5])
def test_a_yaml_that_is_none_is_a_sentence(call, caplog, text):
    values = form_values(ExperimentConfig(arms=[{"method": "none"}]))
    for handler, given in (
        ("read_experiment", []),
        ("plan_experiment", values.values()),
        ("start_experiment", values.values()),
    ):
        call(handler, GUEST, text, *given)
        assert "A handler failed" not in caplog.text, handler


def test_what_is_chosen_in_the_form_is_told_as_arms_at_once(call):
    config = ExperimentConfig(settings={"base": "embedded"}, arms=[{"method": "none"}])
    values = form_values(config) | {"methods": ["none", "lora"], "lora_r": "4, 16"}
    status, text = call("plan_experiment", GUEST, config.to_yaml(), *values.values())
    assert status == 200 and "3 arms: LoRA r4, LoRA r16, Base." in text, text


def test_a_claim_becomes_its_experiment_with_the_chosen_base_and_one_that_a_script_measures_none(call):
    ready = next(note for note in NOTES if note.vary)
    told = next(note for note in NOTES if not note.vary)
    base = ExperimentConfig(settings={"base": "embedded"}, arms=[{"method": "none"}]).to_yaml()
    status, text = call("ready_experiment", GUEST, ready.id, base)
    assert status == 200 and "base: embedded" in text and "runs" in text
    status, text = call("ready_experiment", GUEST, told.id, base)
    assert status == 200 and "A script measures this one" in text
    values = form_values(ExperimentConfig(arms=[{"method": "none"}]))
    assert "There is no experiment to start" in call("start_experiment", GUEST, "", *values.values())[1]


def test_the_price_of_the_same_as_jobs_is_told_for_a_machine(call, monkeypatch):
    monkeypatch.setattr(
        "ui.experiments.form_events.flavors", lambda token: [Flavor("a10g-small", 1.0, 1, "Nvidia A10G, 24 GB")]
    )
    text = ExperimentConfig(settings={"base": "embedded"}, arms=[{"method": "lora"}], seeds=[1]).to_yaml()
    status, told = call("price_experiment", GUEST, text, "a10g-small")
    assert status == 200 and "As jobs on a10g-small" in told, told
    assert "No machine is chosen" in call("price_experiment", GUEST, text, "another")[1]


def test_only_what_is_under_way_can_be_stopped_and_only_what_did_not_end_well_goes_on(monkeypatch):
    monkeypatch.setattr("evaluation.run.Background.is_alive", lambda self: True)

    def buttons(status: str) -> list[bool]:
        return [one.visible for one in render(put_experiment(status, status=status))[2:5]]

    # stop, resume, delete
    assert buttons("running") == [True, False, False] and buttons("done") == [False, False, True]
    assert buttons("stopped") == buttons("failed") == [False, True, True]
    find_experiment("running").stop_file.touch()
    assert "<b>Stopping</b>" in status_views(find_experiment("running"))[0]


def test_the_page_asks_again_only_for_what_has_changed():
    experiment = put_experiment()
    seen, whole = WATCHED.version(experiment), WATCHED.phase(experiment)
    assert (WATCHED.version(experiment), WATCHED.phase(experiment)) == (seen, whole)
    experiment.write_progress(Progress("done", "", 1, 2))
    assert WATCHED.version(experiment) != seen and WATCHED.phase(experiment) == whole, (
        "a number alone brings the status alone"
    )
    experiment.write_progress(Progress("failed", "", 1, 2))
    assert WATCHED.phase(experiment) != whole and WATCHED.version(None) == WATCHED.phase(None) == ""


def test_an_experiment_whose_settings_are_damaged_hides_no_other():
    put_experiment("whole")
    put_experiment("damaged").config_file.write_text("- 1")
    assert sorted(name for _label, name in experiment_choices("local")) == ["damaged", "whole"]
    assert render(find_experiment("damaged"))[1] == "" and len(ready_choices("local")) == len(NOTES)


def test_a_claim_is_told_with_what_the_newest_experiment_found_of_it():
    assert not any("here" in label.split("\n")[-1] for label, _name in ready_choices("local"))
    put_experiment()
    labels = {name: label for label, name in ready_choices("local")}
    assert labels["as-good"].endswith("Supported here")


def test_a_bundle_for_which_there_is_no_room_is_not_written(monkeypatch):
    monkeypatch.setattr("runs.disk._free_bytes", lambda: 1_000_000)
    with pytest.raises(UserError, match="MB of disk space are free"):
        made_file(put_experiment(), BUNDLE)


def test_no_upload_is_a_file_of_the_server(space):
    browser, file = space(), put_experiment("mine", ALICE, "stopped", SECRET).config_file
    for name, given in (("load_experiment", []), ("repeat_experiment", []), ("compare_with_bundle", ["mine"])):
        for upload in (str(file), {"path": str(file), "meta": {"_type": "gradio.FileData"}}):
            data = {"data": [GUEST, *given, upload], "fn_index": handler_of(browser, name)._id, "session_hash": "s"}
            answer = browser.post(RUN, json=data)
            assert answer.status_code != 200 and SECRET not in answer.text, (name, answer.text)
    assert browser.get(f"/gradio_api/file={file}").status_code == 403


def test_the_files_for_a_paper_are_those_of_the_results_and_before_them_a_sentence():
    experiment = put_experiment(table=None)
    for wanted in ("table.tex", FIGURES):
        with pytest.raises(UserError, match="not there yet"):
            made_file(experiment, wanted)
    (experiment.results_folder / "figures").mkdir()
    (experiment.results_folder / "figures" / "scores.pdf").write_bytes(b"%PDF")
    (experiment.results_folder / "table.tex").write_text("\\begin{table}")
    assert made_file(experiment, "table.tex").read_text() == "\\begin{table}"
    assert zipfile.ZipFile(made_file(experiment, FIGURES)).namelist() == ["scores.pdf"]
