"""Made rows on the page: what the form becomes, the list that a person goes through, and what a stranger may do with it."""

import itertools
import json

import pytest

from common.errors import UserError
from common.paths import making_folder
from data.feedback import keep_row, read_rows
from making.config import ADAPTER, LOCAL, RECIPES, SERVER
from making.review import decide, read_review, undo
from tests.adapters.conftest import hub  # noqa: F401
from tests.ui.made_sets import put_made
from tests.ui.space import GUEST, space_call
from ui.making.form import build_form, form_config, recipes_with
from ui.making.result import render, status_views
from ui.making.review import ALL, CLEAN, FOUND, filter_choices, review_views, written_messages
from ui.making.view import next_html, row_html

ALICE = "user-alice"
SECRET = "words-of-alice-alone"
NAMES = ["mine", "../user-alice/mine", "user-alice/mine", "..", "/etc/passwd", "mine\x00", "mine.partial", ["mine"], 5]
REVIEW = ("accept_row", "reject_row", "edit_row", "show_row", "undo_decision", "next_row", "earlier_row")
REVIEW += ("accept_rest", "reject_rest", "filter_rows")
HANDLERS = {
    **{name: lambda made: [made, "pending", "row0"] for name in REVIEW},
    **{name: lambda made: [made, "pending", "row0", "[]"] for name in ("save_row", "review_rows")},
    **{name: lambda made: [made] for name in ("show_made_set", "made_set_status", "version_of_made_set")},
    **{name: lambda made: [made] for name in ("stop_making", "delete_made")},
    "resume_making": lambda made: [made, ""],
    "use_made_rows": lambda made: [made, "stolen"],
}
GIVEN = {"recipe": "question-answer", "teacher": SERVER, "model": "tiny", "rows": 3}


@pytest.fixture
def call(hub, monkeypatch):  # noqa: F811
    """A function that calls a handler of a Space's page by its name; alice has a made set there."""
    put_made("mine", ALICE, title=SECRET)
    called = space_call(monkeypatch, hub.alice)
    called.hub = hub
    return called


def shown(views: list) -> tuple[str, bool]:
    """The key of the row that an update shows, and whether there are fields to write in."""
    return views[3], "<textarea" in views[2]


def test_anothers_made_set_by_name_is_out_of_reach(call):
    before = {path: path.read_bytes() for path in making_folder(ALICE).rglob("*") if path.is_file()}
    for name, (handler, given) in itertools.product(NAMES, HANDLERS.items()):
        status, text = call(handler, GUEST, *given(name))
        assert SECRET not in text and (status != 200 or handler == "review_rows"), (handler, text)
        if isinstance(name, str) and status != 200:
            assert "is not a valid name" in text or "There is no made set" in text, (handler, text)
    status, text = call("pick_row", GUEST, "mine", "all", event_data={"row": "row0"})
    assert status != 200 and SECRET not in text
    assert before == {path: path.read_bytes() for path in making_folder(ALICE).rglob("*") if path.is_file()}


def test_its_owner_accepts_changes_rejects_and_uses_rows(call):
    token = {"oauth_token": call.hub.alice}
    texts = json.dumps(["Asked otherwise?", "Answered otherwise."])
    for handler, given in (
        ("accept_row", ["mine", "pending", "row0"]),
        ("save_row", ["mine", "pending", "row1", texts]),
        ("reject_row", ["mine", "pending", "row2"]),
        ("reject_row", ["mine", "pending", "row3"]),
        ("undo_decision", ["mine", "pending", "row3"]),
    ):
        status, text = call(handler, "", *given, **token)
        assert status == 200, text
    decided = [(row.decision, row.is_edited) for row in read_review(put_by_alice())]
    assert decided == [("accepted", False), ("accepted", True), ("rejected", False), ("pending", False)]
    status, text = call("use_made_rows", "", "mine", "guide", **token)
    assert status == 200 and '"chat"' in text and '"value": "guide"' in text, text
    kept = read_rows("guide", ALICE)
    assert [row["messages"][-1]["content"] for row in kept] == ["Answer 0.", "Answered otherwise."]
    assert [row["made"].get("edited", False) for row in kept] == [False, True]


def test_two_steps_through_rows_are_made_at_a_time_whoever_presses(space):
    names = {*REVIEW, "save_row", "pick_row", "review_rows"}
    steps = [one for one in space().app.get_blocks().fns.values() if one.api_name in names]
    assert len(steps) == len(names)
    assert {(one.concurrency_id, one.concurrency_limit) for one in steps} == {("review", 2)}


def put_by_alice():
    from making.made import find_made

    return find_made("mine", ALICE)


@pytest.mark.parametrize(
    ("wanted", "key", "step", "expected"),
    [
        ("pending", "", 0, "row0"),
        ("pending", "row0", 1, "row1"),
        ("pending", "row1", -1, "row0"),
        ("pending", "row3", 1, "row3"),  # the last one stays
        ("pending", "row0", -1, "row0"),
        (CLEAN, "row0", 1, "row3"),
        (f"{FOUND}refusal", "row0", 0, "row2"),
        ("accepted", "row1", 1, "row2"),  # none is: what is left is shown
        (ALL, "gone", 1, "row0"),
        (5, "row1", 0, "row1"),
    ],
)
def test_a_step_leads_to_the_next_row_that_the_filter_shows(wanted, key, step, expected):
    assert shown(review_views(put_made(), wanted, key, step)) == (expected, False)


def test_a_decided_row_leaves_the_list_and_comes_back_when_it_is_undone():
    made = put_made(rows=2)
    decide(made, ["row0"], "accepted")
    assert shown(review_views(made, "pending", "row0", 1))[0] == "row1"
    decide(made, ["row1"], "rejected")
    views = review_views(made, "pending", "row1", 1)
    assert views[3] == "" and "Nothing is left" in views[2] and "1 accepted, 1 rejected, 0 not" in views[-1]
    assert not views[-3].interactive, "there is no rest to accept"
    undone = undo(made)
    assert shown(review_views(made, "pending", undone[0]))[0] == "row1"


def test_filters_count_what_was_found_and_what_was_decided():
    made = put_made()
    decide(made, ["row0"], "accepted")
    labels = [label for label, _name in filter_choices(read_review(made))]
    expected = ["Not looked at (3)", "Not looked at, nothing found (1)", "All (4)", "Accepted (1)"]
    assert labels[:4] == expected and len(labels) == 6 and "Rejected" not in str(labels)


def test_a_row_is_shown_without_its_markup_with_its_findings_and_its_passage():
    made = put_made(title="<b>x</b>")
    row = read_review(made)[1]
    for html in (row_html(row, 2, 4), row_html(row, 2, 4, writing=True), next_html([row])):
        assert "<b>x" not in html and "&lt;b&gt;x" in html
    html = row_html(row, 2, 4)
    assert "Row 2 of 4: Not looked at" in html and "a.md, characters 1,000 to 2,000" in html
    assert "what its passage does not say" in html and "A passage of" in html
    assert row_html(row, 2, 4, writing=True).count("<textarea") == 2


@pytest.mark.parametrize("written", [None, 5, "", "{}", '["one"]', '["one", 2]', "[" * 10_000, '["a", "b", "c"]'])
def test_only_a_text_for_each_message_changes_a_row(written):
    with pytest.raises(UserError, match="cannot be changed"):
        written_messages(read_review(put_made()), "row0", written)


def test_who_writes_keeps_the_fields_when_the_last_row_has_come(call):
    token = {"oauth_token": call.hub.alice}
    status, text = call("review_rows", "", "mine", "pending", "row0", '["half"]', **token)
    assert status == 200 and "Question" not in text
    status, text = call("review_rows", "", "mine", "pending", "row0", "[]", **token)
    assert status == 200 and "Question 0" in text


def test_a_set_is_stopped_while_it_runs_and_resumed_after(monkeypatch):
    monkeypatch.setattr("making.made.MadeSet.is_alive", lambda self: True)

    def buttons(status: str) -> list[bool]:
        return [one.visible for one in render(put_made(status, status=status))[2:5]]

    # stop, resume, delete
    assert buttons("running") == [True, False, False] and buttons("stopped") == [False, True, True]
    assert buttons("done") == [False, False, True]
    assert status_views(put_made("empty", rows=0))[1] == "", "no row is no list"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_gets_what_it_takes_and_nothing_that_stayed_in_hidden_inputs(recipe):
    given = {"documents": ["a.md"], "seed_rows": "owner/name", "topics": "one\n two \n\n", "labels": "x\ny"}
    config = form_config("local", {**GIVEN, **given, "recipe": recipe, "recipe_text": "{topic}"})
    assert config.topics == (["one", "two"] if recipe in recipes_with("topics") else [])
    for name in (*given, "recipe_text"):
        assert bool(getattr(config, name)) == (recipe in recipes_with(name)), name


def test_seed_rows_are_ones_own_by_name():
    messages = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Ahoy"}]
    kept = keep_row("mine", messages, "liked", "a")
    config = form_config("local", {**GIVEN, "recipe": "rewrite", "seed_rows": "mine"})
    assert config.seed_rows == str(kept.path)


def test_on_a_space_a_visitor_names_no_server_no_file_and_no_base_of_the_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    assert form_config("guest-a", {**GIVEN, "server": "http://127.0.0.1:9/v1"}).server == ""
    for changes in (
        {"recipe": "rewrite", "seed_rows": "/etc/passwd"},
        {"recipe": "rewrite", "seed_rows": str(tmp_path)},
        {"teacher": LOCAL, "model": "/etc"},
        {"teacher": LOCAL, "model": f"{ADAPTER}../user-alice/mine"},
    ):
        with pytest.raises(UserError):
            form_config("guest-a", {**GIVEN, **changes})


def test_the_key_is_no_setting_and_a_space_asks_for_none(monkeypatch):
    import gradio as gr

    with gr.Blocks():
        form = build_form()
    assert form.key_box not in form.inputs.values() and form.key_box.type == "password"
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    monkeypatch.delenv("CHAT_SERVER_URL", raising=False)
    with gr.Blocks():
        form = build_form()
    assert not form.key_box.parent.parent.visible or not form.key_box.parent.visible
    assert SERVER not in [value for _label, value in form.inputs["teacher"].choices]
