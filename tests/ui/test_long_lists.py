"""Long lists show their newest entries, say how many more there are, and lose none of them."""

import re

import pytest

from adapters.edit import delete_adapter, rename_adapter, set_notes, undo_delete
from adapters.library import adapter_names
from benchmarks.inputs import make_library
from chat.conversation import new_conversation
from runs import history
from runs.config import TrainConfig
from runs.history import EVERY_RUN, RunFilter
from runs.labels import set_labels
from runs.resolve import resolve, training_in_words
from runs.run import find_run, list_runs
from ui.adapters import handlers
from ui.chat import models as chat_models
from ui.chat.conversations import listed_models
from ui.chat.view import title_of
from ui.long_lists import MAX_LISTED_ENTRIES, TYPE_TO_FIND, first_with, how_many
from ui.train import history_events, history_view

COUNT = 120
OLD = "run-3"  # with so many, not among the newest


@pytest.fixture
def library(isolated_home):
    """Alice has many, bob one of the same name."""
    make_library(COUNT, "alice")
    make_library(1, "bob")


def ids(update) -> list:
    return [value for _, value in update.choices]


def names_of(cards: str) -> list[str]:
    return re.findall("data-adapter='([^']*)'", cards)


def test_the_list_of_runs_shows_the_newest_and_a_search_finds_all(library):
    runs, undo = history_view.listed("alice", EVERY_RUN, [])
    assert ids(runs) == [f"run-{number}" for number in range(COUNT - 1, COUNT - 1 - MAX_LISTED_ENTRIES, -1)]
    assert runs.info == "Showing the newest 100 of 120. Search to find the others." and not undo.visible
    assert runs.choices[0][0].startswith("Attempt 119 · Done · held-out loss 2.000 · ")
    found, _ = history_view.listed("alice", RunFilter("attempt 3"), [])
    assert (
        OLD in ids(found)
        and found.info == ""
        and history_view.listed("bob", RunFilter("attempt 3"), [])[0].choices == []
    )


def test_what_was_chosen_stays_chosen_however_old_it_is(library):
    runs, _ = history_view.listed("alice", EVERY_RUN, [OLD, "run-119", "gone"])
    assert runs.value == [OLD, "run-119"] and ids(runs)[-1] == OLD and len(runs.choices) == MAX_LISTED_ENTRIES + 1


def test_an_old_run_is_picked_and_found_by_typing(library):
    picker, *_, continued, _ = history_events.lists("alice", OLD)
    assert picker.value == OLD and OLD in ids(picker) and picker.info.startswith("Showing the newest 100 of 120. Type ")
    assert len(continued.choices) == MAX_LISTED_ENTRIES + 1 and continued.info.startswith(
        "Showing the newest 100 of 120. Type "
    )
    runs = list_runs("alice")
    assert [run_id for _, run_id in history_view.run_choices(runs, "Attempt 3 ")] == [OLD]
    assert [run_id for _, run_id in history_view.run_choices(runs, "Attempt 3 ", "run-5")] == [OLD, "run-5"]
    names = [f"run-{number}" for number in range(COUNT)]
    found = history_events.adapter_choices("alice", names, "RUN-77", "run-1")
    assert found[1:] == [("run-77", "run-77"), ("run-1", "run-1")]
    assert history_events.lists("bob", OLD)[0].value == "run-0", "another's run is not picked"


def test_what_is_deleted_renamed_or_brought_back_is_seen_at_once(library):
    set_labels(find_run(OLD, "alice"), "Poems")
    assert ids(history_view.listed("alice", RunFilter("poems"), [])[0]) == [OLD]
    history.delete(find_run("run-119", "alice"))
    runs, undo = history_view.listed("alice", EVERY_RUN, [])
    assert "run-119" not in ids(runs) and undo.visible and runs.info.startswith("Showing the newest 100 of 119.")
    history.undo_delete("alice", "run-119")
    assert ids(history_view.listed("alice", EVERY_RUN, [])[0])[0] == "run-119"
    assert ids(history_view.listed("bob", EVERY_RUN, [])[0]) == ["run-0"]


def test_the_library_shows_the_newest_adapters_and_a_search_finds_all(library):
    cards, picked = handlers._library("alice", "", None)
    assert len(names_of(cards)) == MAX_LISTED_ENTRIES and picked == "run-119"
    assert "Showing the newest 100 of 120. Search to find the others." in cards
    set_notes(OLD, "verses of a friend", "alice")
    cards, picked = handlers._library("alice", "VERSES", None)
    assert names_of(cards) == [OLD] == [picked] and "Showing the newest" not in cards
    cards, picked = handlers._library("alice", "", OLD)
    assert picked == OLD == names_of(cards)[-1], "one that came in is picked, however old"
    cards, picked = handlers._library("bob", "verses", None)
    assert names_of(cards) == [] and picked == "" and "No adapter matches “verses”." in cards


def test_a_changed_adapter_is_seen_at_once(library):
    rename_adapter(OLD, "poems", "alice")
    assert names_of(handlers._library("alice", "poems", None)[0]) == ["poems"]
    kept = delete_adapter("poems", "alice")
    assert names_of(handlers._library("alice", "poems", None)[0]) == []
    undo_delete(kept.entry, "alice")
    assert names_of(handlers._library("alice", "poems", None)[0]) == ["poems"]


def test_an_adapter_is_called_by_its_title_before_its_first_answer_and_where_a_training_starts_from_it(library):
    name = rename_adapter(OLD, "공부 코치", "alice").name
    first, gone = chat_models.with_titles(new_conversation([f"adapter:{name}", "adapter:gone"]), "alice")["panes"]
    assert (title_of(first), title_of(gone)) == ("공부 코치", "gone")
    assert title_of(chat_models.with_titles(new_conversation([f"adapter:{name}"]), "bob")["panes"][0]) == name
    names = adapter_names("alice")
    assert ("공부 코치", name) in history_events.adapter_choices("alice", names, "", name)
    assert history_events.adapter_choices("alice", names, "코치")[1:] == [("공부 코치", name)]
    resolved = resolve(TrainConfig(base="embedded", init_adapter=name))
    lines = [training_in_words(resolved, owner).trained for owner in ("alice", "bob")]
    assert lines == ["continuing 공부 코치", f"continuing {name}"]


def test_an_old_adapter_can_answer_in_the_chat(library, chat_lists):
    newest = chat_models.model_choices("alice", None)
    assert len(newest) == MAX_LISTED_ENTRIES + len(chat_models.CHOICES)
    assert ("Adapter: run-3", "adapter:run-3") in chat_models.model_choices("alice", None, [f"adapter:{OLD}"])
    assert ("Adapter: run-3", "adapter:run-3") in chat_models.model_choices("alice", None, [], "run-3")
    assert "adapter:run-3" not in dict(map(reversed, chat_models.model_choices("bob", None, [f"adapter:{OLD}"])))
    conversation = new_conversation([f"adapter:{OLD}", "adapter:run-4", "adapter:gone"])
    models = [pane["model"] for pane in conversation["panes"]]
    choices = chat_models.model_choices("alice", None, models)
    first, beside = listed_models(chat_lists, choices, models[0], models[1:]).values()
    assert first.value == f"adapter:{OLD}" and beside.value == ["adapter:run-4"], "what is gone is not picked"


@pytest.fixture
def chat_lists():
    import gradio as gr

    from ui.chat.layout import lay_out
    from ui.chat.store import conversation_store

    with gr.Blocks():
        return lay_out(conversation_store())


def test_what_is_called_just_so_comes_before_what_only_holds_it(library):
    runs, _ = history_view.listed("alice", RunFilter("attempt 1"), [])
    assert ids(runs)[0] == "run-1" and ids(runs)[1] == "run-119"
    assert names_of(handlers._library("alice", "run-1", None)[0])[:2] == ["run-1", "run-119"]
    assert history_events.adapter_choices("alice", [f"run-{n}" for n in range(120, 0, -1)], "run-1")[1][0] == "run-1"
    assert chat_models.model_choices("alice", None, [], "run-1")[0][1] == "adapter:run-1"


def test_what_is_typed_is_compared_as_the_dropdown_compares_it():
    choices = [(f"Adapter: A-{number}", str(number)) for number in range(500)]
    assert first_with(choices, "a-49")[:2] == [("Adapter: A-49", "49"), ("Adapter: A-490", "490")]
    assert len(first_with(choices, "")) == MAX_LISTED_ENTRIES and first_with(choices, "nothing") == []
    assert how_many(MAX_LISTED_ENTRIES, TYPE_TO_FIND) == "" and "12,345" in how_many(12_345, TYPE_TO_FIND)
