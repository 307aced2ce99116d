"""The Evaluate tab over HTTP, as a stranger speaks to it on a Space, and as its owner does."""

import csv
import itertools
import json
import re

import pytest

from common.paths import evaluations_folder
from evaluation.run import Progress, find_evaluation, list_evaluations
from tests.adapters.conftest import hub  # noqa: F401
from tests.ui.evaluations import ADAPTER, SET, put_adapter, put_evaluation
from tests.ui.space import GUEST, space_call
from ui.evaluate.downloads import write_answers, write_csv
from ui.evaluate.result import evaluation_choices, render, rows_of, status_html
from ui.evaluate.tab import WATCHED
from ui.owner import owner_of

SECRET = "words-of-alice-alone"
ALICE = "user-alice"


@pytest.fixture
def call(hub, monkeypatch):  # noqa: F811
    """A function that calls a handler of a Space's page by its name; alice has an adapter and two evaluations there."""
    put_adapter(owner=ALICE)
    put_evaluation("mine", ALICE, "stopped", SECRET, (SECRET, "forty-two"))
    put_evaluation("other", ALICE, answers=(SECRET, "forty-two"))
    called = space_call(monkeypatch, hub.alice)
    called.hub = hub
    return called


HANDLERS = {
    "show_evaluation": lambda name: [name],
    "evaluation_status": lambda name: [name],
    "version_of_evaluation": lambda name: [name],
    "stop_evaluation": lambda name: [name],
    "resume_evaluation": lambda name: [name],
    "delete_evaluation": lambda name: [name],
    "differing_rows": lambda name: [name, SET, ADAPTER, "exact"],
    "compare_evaluations": lambda name: [name, name],
    "pair_to_judge": lambda name: [name, SET, ADAPTER, "me"],
    "judge_left": lambda name: [name, SET, ADAPTER, "me", f"{SET} 1"],
    "judged": lambda name: [name, SET, ADAPTER],
    "evaluation_table": lambda name: [name],
    "evaluation_answers": lambda name: [name],
}
NAMES = ["mine", "../user-alice/mine", "user-alice/mine", "..", "/etc/passwd", "mine\x00", "mine.partial", ["mine"], 5]


def test_anothers_evaluation_by_name_is_out_of_reach(call):
    before = {path: path.read_bytes() for path in evaluations_folder(ALICE).rglob("*") if path.is_file()}
    for name, (handler, given) in itertools.product(NAMES, HANDLERS.items()):
        status, text = call(handler, GUEST, *given(name))
        assert status != 200 and SECRET not in text, handler
        if isinstance(name, str):
            assert "is not a valid name" in text or "There is no evaluation" in text, (handler, text)
    assert before == {path: path.read_bytes() for path in evaluations_folder(ALICE).rglob("*") if path.is_file()}


def test_its_owner_sees_it_and_compares_it(call):
    token = {"oauth_token": call.hub.alice}
    for handler in ("show_evaluation", "differing_rows"):
        status, text = call(handler, "", *HANDLERS[handler]("mine"), **token)
        assert status == 200 and SECRET in text, handler
    status, text = call("compare_evaluations", "", "mine", "other", **token)
    assert status == 200 and "Study coach (First) minus Base" in text, text


def test_nothing_of_another_is_evaluated_by_its_name(call):
    settings = ["", 3, 64, 0, 0, ""]
    assert call("evaluation_lists", GUEST, "mine", ["coach"], False, [], 0)[0] == 200, "the session knows what there is"
    for adapters, sets in ((["coach"], ["general"]), ([], ["run:coach"]), ([], ["run:../user-alice/coach"])):
        status, text = call("start_evaluation", GUEST, adapters, True, sets, [], *settings)
        assert status != 200 and "Study coach" not in text, text
    assert list_evaluations(owner_of(GUEST, None)) == []


def test_the_lists_hold_what_is_ones_own_and_propose_the_newest_adapter(call):
    status, text = call("evaluation_lists", GUEST, "gone", ["gone"], False, [], 0, oauth_token=call.hub.alice)
    assert status == 200 and '"value": ["coach"]' in text and '"value": "other"' in text, text
    status, text = call("evaluation_lists", GUEST, "mine", ["coach"], False, [], 0)
    assert status == 200 and SECRET not in text and "coach" not in text and "mine" not in text, text


def test_a_button_elsewhere_fills_the_form_with_ones_own_adapter_alone(call):
    status, text = call("on_adapter_1", GUEST, "coach", oauth_token=call.hub.alice)  # of an adapter's details
    assert status == 200 and "Study coach" in text and '"value": ["run:coach", "general", "questions"]' in text, text
    status, text = call("on_adapter_1", GUEST, "coach")
    assert status != 200 and "There is no adapter" in text


def test_it_is_deleted_when_it_has_ended(call):
    assert call("delete_evaluation", "", "mine", oauth_token=call.hub.alice)[0] == 200
    assert [one.id for one in list_evaluations(ALICE)] == ["other"]


def test_only_what_is_under_way_can_be_stopped_and_only_what_did_not_end_well_goes_on(monkeypatch):
    def buttons(status: str) -> list[bool]:
        return [one.visible for one in render(put_evaluation(status, status=status))[1:6]]

    monkeypatch.setattr("evaluation.run.Evaluation.is_alive", lambda self: True)
    # stop, resume, table, answers, delete
    assert buttons("running") == [True, False, True, True, False]
    assert buttons("done") == [False, False, True, True, True]
    assert buttons("stopped") == [False, True, True, True, True]
    running = find_evaluation("running")
    running.stop_file.touch()
    assert "<b>Stopping</b>" in status_html(running) and not render(running)[1].visible


def test_the_status_tells_what_is_done_how_far_it_is_and_what_went_wrong(monkeypatch):
    evaluation = put_evaluation(title="<b>First</b>")
    monkeypatch.setattr("evaluation.run.Evaluation.is_alive", lambda self: True)
    evaluation.write_progress(Progress("running", "Asking <i>", 30, 120, 200.0))
    shown = status_html(evaluation)
    assert "<b>Asking &lt;i&gt;</b><span>30 of 120</span><span>about 3 min left</span>" in shown
    assert "aria-valuenow='25'" in shown and "&lt;b&gt;First" in shown and "<b>First" not in shown
    said = re.search("<p class='said' role='status' aria-live='polite'>(.*?)</p>", shown)
    assert said and said[1].endswith("Evaluating"), "a screen reader hears only what changes seldom"
    evaluation.write_progress(Progress("failed", "", 30, 120, None, "It <u>broke</u>.", "Mend it."))
    assert "<p class='problem'>It &lt;u&gt;broke&lt;/u&gt;. Mend it.</p>" in status_html(evaluation)


def test_the_page_asks_again_only_for_what_has_changed():
    evaluation = put_evaluation()
    seen, whole = WATCHED.version(evaluation), WATCHED.phase(evaluation)
    assert (WATCHED.version(evaluation), WATCHED.phase(evaluation)) == (seen, whole)
    evaluation.write_progress(Progress("done", "", 1, 2))
    assert WATCHED.version(evaluation) != seen and WATCHED.phase(evaluation) == whole, (
        "a number alone brings the status alone"
    )
    evaluation.write_progress(Progress("failed", "", 1, 2))
    assert WATCHED.phase(evaluation) != whole
    assert WATCHED.version(None) == WATCHED.phase(None) == ""


@pytest.mark.parametrize(
    "choice", [("x", ADAPTER, "exact"), (SET, "base", "exact"), (SET, ADAPTER, "format"), ([], {}, 5)]
)
def test_rows_of_what_is_not_in_the_table_are_a_sentence(choice):
    evaluation = put_evaluation()
    assert "Choose a test set" in rows_of(evaluation, *choice)
    assert "forty-one" in rows_of(evaluation, SET, ADAPTER, "exact")


def test_the_list_is_searched_by_title_and_keeps_the_picked_one(monkeypatch):
    put_evaluation("first")
    put_evaluation("second", title="Second")
    assert [name for _label, name in evaluation_choices("local", "second", "first")] == ["second", "first"]
    assert [name for _label, name in evaluation_choices("local", "second", "gone")] == ["second"]


def test_the_table_is_a_csv_in_which_no_title_is_a_formula():
    put_adapter(title="=HYPERLINK(1)")
    lines = list(csv.DictReader(write_csv(put_evaluation()).open(encoding="utf-8-sig")))
    assert len(lines) == 4 and lines[1]["title"] == "'=HYPERLINK(1)"
    assert [lines[1][name] for name in ("value", "n", "difference", "verdict")] == ["1.5", "40", "-1.0", "better"]
    assert lines[0]["difference"] is None and lines[3]["needed"] == "1234"


def test_the_answers_are_json_lines_with_question_reference_and_candidate():
    lines = [json.loads(line) for line in write_answers(put_evaluation()).read_text("utf-8").splitlines()]
    assert [(line["candidate"], line["result"]["answer"]) for line in lines] == [
        ("base", "forty-one"),
        (ADAPTER, "forty-two"),
    ]
    assert {line["answer"] for line in lines} == {"forty-two"} and lines[0]["messages"][0]["content"] == "What is it?"
