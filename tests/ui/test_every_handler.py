"""Every handler of the page, the unnamed ones too, called with another's names: none shows or changes what is another's."""

import json

import pytest

import evaluation.background
import evaluation.experiments.start
import evaluation.start
import making.start
from common.files import append_json_line, write_json, write_text
from common.paths import datasets_folder, home, runs_folder
from runs import queue
from tests.adapters.conftest import hub, made  # noqa: F401
from tests.adapters.making import put, write_history
from tests.ui.evaluations import put_evaluation
from tests.ui.experiments import put_experiment
from tests.ui.made_sets import put_made
from tests.ui.space import GUEST, space_client
from ui.train import run_trackers
from ui.train.form_values import EXAMPLE_DATA, HUB

SECRET = "words-of-alice-alone"


@pytest.fixture
def page(hub, made, monkeypatch, warm_starts):  # noqa: F811
    """(client, the page's handlers, its components) of a Space on which alice has an adapter, a run and rows."""
    monkeypatch.setattr(queue, "advance_if_possible", lambda: None)  # what bob starts trains nothing
    for place in (evaluation.background, evaluation.start, evaluation.experiments.start, making.start):
        monkeypatch.setattr(place, "start_process", lambda folder, *given: None)
    for work in ("track", "send_to_space", "write_script"):  # each a process of seconds
        monkeypatch.setattr(run_trackers, work, lambda *given: 1 / 0)
    adapter = put("mine", made, "user-alice")
    write_json(adapter / "studio.json", {"notes": SECRET, "former_names": ["older"]})
    write_history(adapter)
    run = runs_folder("user-alice") / "mine"
    run.mkdir(parents=True)
    write_text(run / "config.yaml", f"name: mine\nbase: tests/tiny-base\ndata: example\nsample_prompts: {SECRET}\n")
    append_json_line(run / "events.jsonl", {"event": "note", "message": SECRET})
    (run / "train.log").write_text(SECRET)
    (run / "data").mkdir()
    (run / "data" / "data.jsonl").write_text(json.dumps({"text": SECRET}))
    datasets_folder("user-alice").mkdir(parents=True)
    (datasets_folder("user-alice") / "mine.jsonl").write_text(json.dumps({"text": SECRET}))
    put_evaluation("mine", "user-alice", title=SECRET, answers=(SECRET, SECRET), question=SECRET)
    put_experiment("mine", "user-alice", title=SECRET)
    put_made("mine", "user-alice", title=SECRET)
    client = space_client(monkeypatch, hub.alice)
    config = client.get("/config").json()
    components = {one["id"]: (one["type"], one["props"].get("value")) for one in config["components"]}
    return client, [one for one in config["dependencies"] if one["backend_fn"]], components


def everything_of_alice() -> dict:
    """{file: (bytes, time of its last change)} of all that is hers."""
    files = [path for path in home().rglob("*") if path.is_file() and "user-alice" in path.parts]
    return {path: (path.read_bytes(), path.stat().st_mtime) for path in files}


def given(handler, components: dict, word: object) -> list:
    """The key of a guest where the page sends one, the word for all that a person types or picks by name, data too."""
    places = {"browserstate": GUEST, "state": None, "checkboxgroup": [word]}
    places |= dict.fromkeys(("textbox", "dropdown", "html", "code"), word)
    values = [places.get(kind, value) for kind, value in (components[one] for one in handler["inputs"])]
    return [HUB if value == EXAMPLE_DATA and "/" in str(word) else value for value in values]


def shown_by(page, body: dict, word: object) -> set[str]:
    """The handlers that show alice's words when they are called with `word`."""
    client, handlers, components = page
    clicked = {
        "index": [0, 0],
        "value": "mine",
        "row_value": ["mine"] * 12,
        "name": "mine",
        "selected": True,
        "target": None,
    }
    found = set()
    for handler in handlers:
        data = {"data": given(handler, components, word), "fn_index": handler["id"], "session_hash": "s"}
        answer = client.post("/gradio_api/run/predict", json={**data, **body, "event_data": clicked})
        found |= {handler["api_name"]} if SECRET in answer.text else set()
    return found


@pytest.mark.parametrize("who", ["guest", "bob"])
def test_no_handler_shows_or_changes_what_is_anothers(page, hub, who):  # noqa: F811
    before, token = everything_of_alice(), {"oauth_token": hub.bob} if who == "bob" else {}
    assert len(page[1]) > 60
    run, rows = runs_folder("user-alice") / "mine", datasets_folder("user-alice") / "mine.jsonl"
    words = ["mine", "../user-alice/mine", str(run), f"{run / 'data' / 'data.jsonl'}:0.5, {rows}:0.5"]
    for word in words:
        assert shown_by(page, token, word) == set()
    assert everything_of_alice() == before and hub.alice not in hub.seen_tokens
    assert not any(name.startswith(("alice/", "bob/")) for name in hub.repositories)


def test_the_same_calls_do_show_it_to_its_owner(page, hub):  # noqa: F811
    assert "adapter" in (found := shown_by(page, {"oauth_token": hub.alice}, "mine")) and len(found) > 5


@pytest.mark.parametrize(
    "clicked", [None, 5, [], {}, {"name": None}, {"name": ["mine"], "number": [0]}, {"name": "../user-alice/mine"}]
)
@pytest.mark.parametrize(("name", "given", "status"), [("on_card", GUEST, 500), ("on_cure", None, 200)])
def test_a_click_on_no_card_and_on_no_cure_is_no_bug(page, caplog, clicked, name, given, status):
    handler = next(one for one in page[1] if one["api_name"] == name)
    body = {"data": [given], "fn_index": handler["id"], "session_hash": "s", "event_data": clicked}
    answer = page[0].post("/gradio_api/run/predict", json=body)
    assert answer.status_code == status and SECRET not in answer.text and "A handler failed" not in caplog.text


@pytest.mark.parametrize("word", [None, 5, [], ["mine"], {"a": 1}, "\x00", "x\ny", "<b>", "%2e%2e", "a" * 10_000])
def test_odd_values_are_never_a_bug_of_the_adapters_handlers(page, caplog, word):
    client, handlers, components = page
    names = {
        "adapter",
        "rename_adapter",
        "note_adapter",
        "choose_template",
        "choose_score",
        "delete_adapter",
        "undo_delete",
    }
    names |= {
        "export_adapter",
        "plan_push",
        "push_adapter",
        "look",
        "name_base",
        "name_hub_base",
        "pull_adapter",
        "search_hub",
        "search_mine",
        "import_adapter",
    }
    names |= {"plan_dataset_push", "push_dataset", "pull_dataset"}
    names |= {"on_card", "on_load", "on_line", "import_conversation", "on_refresh", "models", "new_conversation"}
    names |= {"evaluation_lists", "show_evaluation", "stop_evaluation", "resume_evaluation", "delete_evaluation"}
    names |= {"differing_rows", "compare_evaluations", "evaluation_table", "keep_test_set", "delete_test_set"}
    names |= {
        "experiment_lists",
        "show_experiment",
        "stop_experiment",
        "resume_experiment",
        "delete_experiment",
        "add_seeds",
    }
    names |= {"start_experiment", "plan_experiment", "read_experiment", "take_from_train", "experiment_bundle"}
    names |= {
        "made_lists",
        "plan_rows",
        "teacher_of_rows",
        "make_rows",
        "show_made_set",
        "stop_making",
        "resume_making",
    }
    names |= {
        "delete_made",
        "accept_row",
        "edit_row",
        "save_row",
        "next_row",
        "undo_decision",
        "filter_rows",
        "review_rows",
    }
    names |= {"accept_rest", "use_made_rows", "pick_row"}
    assert names <= {handler["api_name"] for handler in handlers}
    for handler in handlers:
        if handler["api_name"] in names:
            body = {"data": given(handler, components, word), "fn_index": handler["id"], "session_hash": "s"}
            client.post("/gradio_api/run/predict", json=body)
            assert "A handler failed" not in caplog.text, handler["api_name"]
