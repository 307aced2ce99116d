"""The browser's list: what an import may bring, what another version left there, and a model that is gone."""

import json

import gradio as gr
import pytest

from chat.conversation import ask, new_conversation
from chat.records import MAX_CONVERSATIONS
from tests.ui.test_chat_handlers import chat  # noqa: F401
from ui.chat.conversations import NOT_FOUND, ConversationHandlers
from ui.chat.data import DataHandlers, lay_out_data
from ui.chat.layout import NONE_YET, lay_out_conversations
from ui.chat.tab import _without_those_gone

TOMORROW = {"id": "unread-1", "changed": 1, "unread": '{"version": 3}'}


def talked(text: str) -> dict:
    conversation = new_conversation(["remote:m"])
    ask(conversation, text)
    return conversation


@pytest.fixture
def listed(chat, tmp_path):  # noqa: F811
    """(the handlers of the list, what the page sends, function that imports a text)."""
    handlers, values, _ = chat
    with gr.Blocks():
        listed = ConversationHandlers(lay_out_conversations(), handlers)
    parts, file = listed.parts, tmp_path / "given.json"
    values |= {parts.search_box: "", parts.picked_box: "", parts.gone: None, parts.import_button: str(file)}

    def bring(text: str) -> dict:
        file.write_text(text)
        return listed.import_one(values, None)

    return listed, values, bring


def test_an_import_never_pushes_out_what_is_there(listed):
    list_of, values, bring = listed
    own = list_of.chat.layout
    values[own.store] = [talked(f"mine {number}") for number in range(MAX_CONVERSATIONS - 1)]
    mine = {one["id"] for one in values[own.store]}
    with pytest.raises(gr.Error, match="no room"):
        bring(json.dumps([talked("a"), talked("b")]))
    values[own.store] = values[own.store][:10]
    kept = {one["id"] for one in bring(json.dumps([talked("a"), talked("b")]))[own.store]}
    assert len(mine & kept) == 10 and len(kept) == 13, "with the one that is open"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not a conversation"),
        ("[]", "not a conversation"),
        ('{"panes": 3}', "between 1 and 4 panes"),
        ("[" * 100_000, "not a conversation"),
        ('{"panes": [{"model": "m", "messages": [{"role": "user", "content": 7}]}]}', "alternate"),
        (json.dumps([talked("x")] * 51), "51 chats; at most 50"),
        ("x" * 5_000_001, "larger than 5 MB"),
    ],
)
def test_a_file_that_is_no_export_is_a_sentence(listed, text, sentence):
    with pytest.raises(gr.Error, match=sentence):
        listed[2](text)


def test_marks_and_numbers_of_a_forged_file_do_no_harm(listed):
    list_of, _, bring = listed
    forged = talked("x")
    forged["panes"][0] |= {"left_out": -7, "used": "9", "who": ["x"], "window": True}
    forged["panes"][0]["messages"][1] |= {"rated": {"a": 1}, "by": "<script>", "end": "<script>", "content": "y"}
    page = bring(json.dumps(forged))
    pane = page[list_of.chat.layout.conversation]["panes"][0]
    assert pane["left_out"] == 0 and pane["messages"][1]["rated"] is None and "end" not in pane["messages"][1]
    shown = page[list_of.chat.layout.panes.chatbots[0]].value
    assert "<script>" not in str(shown)


def test_what_cannot_be_read_is_offered_as_a_file(listed):
    list_of, values, _ = listed
    values[list_of.chat.layout.store] = [talked("mine"), TOMORROW, {"id": "x", "changed": 1, "panes": "damaged"}]
    button = list_of.choices(values)[list_of.parts.unread_button]
    assert button.visible and "2 unreadable chats" in button.value
    text, name = list_of.export_unread(values, None)
    assert name.endswith(".json") and json.loads(text)[0] == TOMORROW and "damaged" in text


def test_a_deleted_chat_comes_back_as_it_was(listed):
    list_of, values, _ = listed
    own, parts = list_of.chat.layout, list_of.parts
    before = values[own.conversation]
    page = list_of.delete(values, None)
    assert page[parts.undo_button].visible and [one.get("deleted") for one in page[own.store]] == [True]
    now = {**values, own.store: page[own.store], own.conversation: page[own.conversation], parts.gone: page[parts.gone]}
    page = list_of.undo_delete(now, None)
    assert {**page[own.conversation], "changed": 0} == {**before, "changed": 0} and not page[parts.undo_button].visible
    with pytest.raises(gr.Error, match="no deleted chat"):
        list_of.undo_delete({**now, own.store: page[own.store]}, None)


def test_an_empty_list_says_why(listed):
    list_of, values, _ = listed
    own, parts = list_of.chat.layout, list_of.parts
    assert list_of.choices({**values, own.store: []})[parts.list_radio].info == NONE_YET
    values |= {own.store: [talked("llamas")], parts.search_box: "camels"}
    assert list_of.choices(values)[parts.list_radio].info == NOT_FOUND


def test_a_title_that_is_being_written_is_kept_until_another_chat_is_opened(listed):
    list_of, values, _ = listed
    own, box = list_of.chat.layout, list_of.parts.title_box
    open_one, other = talked("llamas"), talked("camels")
    values |= {own.conversation: open_one, own.store: [open_one, other]}
    for shown in ("", "llamas", "camels"):  # what the page itself put there
        assert list_of.list_them({**values, box: shown}, None)[box] == "llamas"
    values[box] = "Under ano"
    assert list_of.list_them(values, None)[box] == gr.skip(), "what was written is gone"
    assert list_of.delete(values, None)[box] == "", "the next chat has the title of the one before"
    assert list_of.rename(values, None)[box] == "Under ano"


def test_a_model_that_is_gone_is_named_and_never_replaced_silently(chat, monkeypatch):  # noqa: F811
    handlers, values, _ = chat
    said, own = [], handlers.layout
    monkeypatch.setattr(gr, "Warning", lambda words, **_: said.append(words))
    assert _without_those_gone(handlers, values, [("m", "remote:m"), ("b", "base:auto")]) == {} and not said
    page = _without_those_gone(handlers, values, [("b", "base:auto")])
    assert "No longer there: m." in said[0] and "Base: " in said[0]
    assert page[own.conversation]["panes"][0]["model"] == "base:auto"
    assert page[own.conversation]["panes"][0]["messages"][1]["content"] == "answer 0", "what was said is lost"


def test_of_answers_that_are_the_same_none_is_better(chat):  # noqa: F811
    handlers, values, _ = chat
    own = handlers.layout
    with gr.Blocks():
        data = DataHandlers(lay_out_data(), handlers)
    values |= {own.beside_dropdown: ["base:auto"], data.parts.name_box: "from-chat"}
    with pytest.raises(gr.Error, match="none is better"):
        data.better(1)(values, None)
