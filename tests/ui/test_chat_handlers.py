"""Whatever fails, nothing that was there is lost, and the next message can be sent."""

import asyncio
import copy
from pathlib import Path

import gradio as gr
import pytest
from gradio.state_holder import SessionState

from chat.conversation import ask, new_conversation
from chat.engine import Reply
from chat.records import checked
from chat.sampling import Sampling
from common.errors import UserError
from common.files import write_json
from common.paths import adapters_folder
from data.feedback import keep_row, list_datasets, read_rows
from tests.fakes import conversation
from ui.chat.answer import Engines, is_answering
from ui.chat.data import DataHandlers, lay_out_data
from ui.chat.handlers import ChatHandlers
from ui.chat.layout import lay_out
from ui.chat.settings import CUSTOM, SUMMARISE, name_of, named_values
from ui.chat.store import conversation_store
from ui.chat.view import shown_messages

DRAFT = "what I was typing"


class FakeServer:
    """A server whose model says "fine", or fails."""

    url = "http://server"
    error: Exception | None = None
    fails_at = 0  # the words that come before it fails
    left_out = 0

    def models(self):
        return ["m"]

    def reply(self, model, messages, sampling, conversation=None, continuing=False, caller=None):
        yield Reply()  # a heartbeat
        is_summary = "Write down in a few" in messages[-1]["content"]
        if is_summary or (self.error and not self.fails_at):
            raise self.error or UserError("Your message is too long.")
        yield Reply("fine", 10, 256, self.left_out, 1, False, template="t")
        if self.error:
            raise self.error
        yield Reply("fine", 10, 256, self.left_out, 2, True, template="t")


@pytest.fixture
def chat(isolated_home):
    """(handlers, what the page sends, server) with a conversation of four turns."""
    with gr.Blocks():
        handlers = ChatHandlers(lay_out(conversation_store()), gr.BrowserState(""), Engines(None, FakeServer()))
    conversation = new_conversation(["remote:m"])
    for turn in range(4):
        ask(conversation, f"question {turn}")
        conversation["panes"][0]["messages"][-1] |= {"content": f"answer {turn}", "by": "m"}
    own = handlers.layout
    values = dict.fromkeys(handlers.inputs())
    values |= {part: getattr(Sampling(), name) for name, part in own.settings.sampling.items()}
    values |= {
        own.conversation: checked(conversation),
        own.store: [],
        own.model_dropdown: "remote:m",
        own.beside_dropdown: [],
    }
    return (
        handlers,
        values | {own.message_box: DRAFT, own.settings.system_box: "", own.settings.summary_box: ""},
        handlers.engines.remote,
    )


class Edit:
    index, value = 2, "edited"


EVENTS = {
    "send": lambda handlers, values: handlers.send(values, None),
    "retry": lambda handlers, values: handlers.retry(0)(values, None),
    "edit": lambda handlers, values: handlers.edit(0)(values, Edit(), None),
    "continue": lambda handlers, values: handlers.continue_answer(values, None),
}


def run(event, expects_error=True) -> dict:
    """What the page shows in the end: later changes over earlier ones."""
    page = {}

    def follow():
        for changes in event:
            page.update(changes)

    if expects_error:
        with pytest.raises(gr.Error):
            follow()
    else:
        follow()
    # after an error the conversation comes as a whole, as an update of its component
    return {part: value.value if isinstance(value, gr.HTML) else value for part, value in page.items()}


@pytest.mark.parametrize("error", [UserError("Your message has 500 tokens."), RuntimeError("a bug")])
@pytest.mark.parametrize("name", EVENTS)
def test_an_answer_that_never_begins_leaves_everything_as_it_was(chat, name, error):
    handlers, values, server = chat
    server.error, before = error, copy.deepcopy(values[handlers.layout.conversation])
    page = run(EVENTS[name](handlers, values))
    own = handlers.layout
    assert {**page[own.conversation], "changed": 0} == {**before, "changed": 0}
    assert page[own.store][0]["panes"] == before["panes"]
    assert page[own.send_button].visible and not page[own.stop_button].visible
    assert page.get(own.message_box, DRAFT) == DRAFT


def test_after_an_answer_that_never_began_the_conversation_comes_as_a_whole(chat):
    """Gradio's differences of a list within a list that became shorter would leave half a turn in the page."""
    handlers, values, server = chat
    server.error = UserError("no")
    stream, changes = handlers.send(values, None), []
    with pytest.raises(gr.Error):
        while True:
            changes.append(next(stream))
    assert isinstance(changes[-1][handlers.layout.conversation], gr.HTML)


def test_an_answer_that_breaks_off_is_kept_and_the_next_can_be_sent(chat):
    handlers, values, server = chat
    server.error, server.fails_at = RuntimeError("a bug"), 1
    page = run(handlers.send(values, None))
    own = handlers.layout
    assert page[own.conversation]["panes"][0]["messages"][-1]["content"] == "fine"
    assert page[own.send_button].visible and page[own.message_box] == ""


@pytest.mark.parametrize("error", [None, RuntimeError("a bug")])
def test_an_answer_is_kept_when_its_summary_fails(chat, error, monkeypatch):
    handlers, values, server = chat
    warnings = []
    monkeypatch.setattr(gr, "Warning", lambda words, **_: warnings.append(words))
    server.left_out, own = 2, handlers.layout
    values[own.settings.full_radio] = SUMMARISE
    server.fails_at = 1
    if error:
        monkeypatch.setattr("ui.chat.answer.summarise", lambda *_: (_ for _ in ()).throw(error))
    page = run(handlers.send(values, None), expects_error=error is not None)
    assert page[own.store][0]["panes"][0]["messages"][-1]["content"] == "fine"
    assert page[own.send_button].visible and page[own.conversation]["summary"] == ""
    assert len(warnings) == (0 if error else 1)


@pytest.mark.parametrize("index", ["abc", [], None, {}, float("inf"), 99, -1])
def test_an_index_that_names_no_message_is_a_sentence(chat, index):
    handlers, values, _ = chat
    data = Edit()
    data.index = index
    with pytest.raises(gr.Error, match="not in the conversation"):
        list(handlers.edit(0)(values, data, None))


def test_a_thumb_pressed_while_an_answer_streams_keeps_its_mark(chat):
    handlers, values, _ = chat
    own = handlers.layout
    with gr.Blocks():
        data = DataHandlers(lay_out_data(), handlers)
    stream, page = handlers.send(values, None), {}
    while "fine" not in str(page.get(own.conversation)):
        page.update(next(stream))
    pressed = {**values, own.conversation: page[own.conversation], data.parts.name_box: "from-chat"}
    like = type("Like", (), {"index": 1, "liked": True})()
    assert set(data.rate(0)(pressed, like, None)) == {data.parts.rows_html}, "it changed the page under the answer"
    like.index = len(page[own.conversation]["panes"][0]["messages"]) - 1
    with pytest.raises(gr.Error, match="not complete yet"):
        data.rate(0)(pressed, like, None)
    for changes in stream:
        page.update(changes)
    kept = page[own.store][0]["panes"][0]["messages"]
    assert kept[1]["rated"] == "Like" and kept[-1]["content"] == "fine" and not is_answering(page[own.conversation])


@pytest.mark.parametrize("end", ["length", "stopped", "repeated"])
def test_an_answer_that_was_cut_off_becomes_no_row(chat, monkeypatch, end):
    handlers, values, _ = chat
    warnings, infos = [], []
    monkeypatch.setattr(gr, "Warning", lambda words, **_: warnings.append(words))
    monkeypatch.setattr(gr, "Info", lambda words, **_: infos.append(words))
    with gr.Blocks():
        data = DataHandlers(lay_out_data(), handlers)
    messages = values[handlers.layout.conversation]["panes"][0]["messages"]
    messages[1]["end"], values[data.parts.name_box] = end, "from-chat"
    like = type("Like", (), {"index": 1, "liked": True})()
    data.rate(0)(values, like, None)
    assert list_datasets() == [] and "not complete" in warnings[0] and not infos
    like.index = 3
    data.rate(0)(values, like, None)
    assert infos == ["Saved to from-chat: 1 good."] and len(read_rows("from-chat")) == 1
    like.index, like.liked = 1, False
    data.rate(0)(values, like, None)
    assert infos[1:] == ["Saved to from-chat: 1 good, 1 bad."], "what was bad may be said of half an answer, too"


@pytest.fixture
def rating(chat, monkeypatch):
    """(press, messages, infos) of a page with two panes whose last answers differ: `press("rate", 0, index=7, liked=True)`."""
    handlers, values, _ = chat
    infos, page = [], {}
    monkeypatch.setattr(gr, "Info", lambda words, **_: infos.append(words))
    own = handlers.layout
    with gr.Blocks():
        data = DataHandlers(lay_out_data(), handlers)
    open_one = values[own.conversation]
    other = copy.deepcopy(open_one["panes"][0]) | {"model": "remote:n"}
    other["messages"][-1]["content"] = "worse"
    open_one["panes"].append(other)
    page |= {**values, own.beside_dropdown: ["remote:n"], data.parts.name_box: "from-chat"}

    def press(name: str, pane: int | None = None, **given) -> str:
        event = getattr(data, name) if pane is None else getattr(data, name)(pane)
        shown = event(page, *([type("Event", (), given)()] if given else []), None)
        update(shown if isinstance(shown, dict) else {})
        return shown[data.parts.rows_html] if isinstance(shown, dict) else shown

    def update(changes: dict) -> None:
        page.update({part: changes[part] for part in (own.conversation, own.store) if part in changes})

    def correct(text: str, page_is_first: bool) -> None:
        """The page's own event corrects the answer; which of both comes first is left to chance."""
        said = shown_messages(page[own.conversation]["panes"][0])[7]["content"]
        given = {"index": 7, "value": text, "previous_value": [{"type": "text", "text": said}]}
        corrected = list(handlers.edit(0)(page, type("Event", (), given)(), None))[-1]
        update(corrected if page_is_first else {})
        press("correct", 0, **given)
        update(corrected)

    press.correct = correct
    return press, lambda pane: page[own.conversation]["panes"][pane]["messages"], infos


def kept() -> list[tuple]:
    """The rows as (source, answer, whether it is a bad one, what it was better than)."""
    return [
        (row["source"], row["messages"][-1]["content"], row.get("label") is False, row.get("rejected", []))
        for row in read_rows("from-chat")
    ]


def test_a_thumb_down_is_a_bad_row_until_it_is_pressed_again_or_up(rating):
    press, messages, infos = rating
    press("rate", 0, index=7, liked=False)
    assert kept() == [("disliked", "answer 3", True, [])] and messages(0)[7]["rated"] == "Dislike"
    press("rate", 0, index=7, liked="")
    assert kept() == [] and messages(0)[7]["rated"] is None
    press("rate", 0, index=7, liked=False)
    press("rate", 0, index=7, liked=True)
    assert kept() == [("liked", "answer 3", False, [])]
    shown = press("undo")
    assert kept() == [("disliked", "answer 3", True, [])] and messages(0)[7]["rated"] == "Dislike"
    assert "from-chat</b>: 1 bad" in shown and "disliked" in shown
    assert infos[1] == "Taken out of from-chat: 0 good."


def test_the_better_answer_keeps_the_worse_beside_it_until_it_is_pressed_again(rating):
    press, messages, _ = rating
    press("rate", 0, index=7, liked=True)
    press("better", 1)
    assert kept() == [("picked", "worse", False, ["answer 3"])], "what was liked before has lost"
    assert (messages(0)[7]["rated"], messages(1)[7]["rated"]) == (None, "Like")
    press("undo")
    assert kept() == [("liked", "answer 3", False, [])]
    assert (messages(0)[7]["rated"], messages(1)[7]["rated"]) == ("Like", None)
    press("better", 1)
    shown = press("better", 0)
    assert (
        kept() == [("picked", "answer 3", False, ["worse"])]
        and "(rejected: worse)" in shown
        and "from-chat</b>: 1 pair" in shown
    )
    press("better", 0)
    assert kept() == [] and messages(0)[7]["rated"] is None


@pytest.mark.parametrize("page_is_first", [True, False])
def test_a_correction_stands_beside_what_the_model_said_whatever_comes_after(rating, page_is_first):
    press, messages, _ = rating
    press.correct("right", page_is_first)
    press.correct("quite right", page_is_first)
    assert kept() == [("edited", "quite right", False, ["answer 3"])]
    press("rate", 0, index=7, liked=True)
    assert kept() == [("liked", "quite right", False, ["answer 3"])]
    for answer in ("quite right", "right", "answer 3"):
        press("undo")
        assert messages(0)[7]["content"] == answer
    assert kept() == [] and not messages(0)[7].get("is_edited")
    press.correct("right", page_is_first)
    press.correct("answer 3", page_is_first)
    assert kept() == [], "it was edited back"
    press("better", 0)
    press.correct("right", page_is_first)
    assert kept() == [("edited", "right", False, ["worse", "answer 3"])]


def test_the_rows_are_downloaded_as_they_are_by_their_owner_alone(chat, monkeypatch):
    handlers, values, _ = chat
    with gr.Blocks():
        data = DataHandlers(lay_out_data(), handlers)
    path = keep_row("mine", conversation(), "disliked", "k").path
    name = {**values, data.parts.name_box: "mine"}
    assert Path(data.download(name, None)).read_bytes() == path.read_bytes()
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    for handler in (data.download, data.undo):
        for wanted in ("mine", "../local/mine"):
            with pytest.raises(gr.Error, match="no dataset"):
                handler({**name, handlers.browser_key: "b" * 32, data.parts.name_box: wanted}, None)


def test_an_adapter_is_compared_with_its_base_until_that_is_taken_out(chat, monkeypatch):
    handlers, values, _ = chat
    own = handlers.layout

    def picked(model, beside, page) -> tuple[list, dict]:
        page = handlers.models_changed({**page, own.model_dropdown: model, own.beside_dropdown: beside}, None)
        models = [pane["model"] for pane in page[own.conversation]["panes"]]
        assert models == [model, *page[own.beside_dropdown]]
        return page[own.beside_dropdown], {**values, own.conversation: page[own.conversation]}

    beside, page = picked("adapter:a", ["remote:m"], values)
    assert beside == ["bare:", "remote:m"]
    beside, page = picked("adapter:a", ["remote:m"], page)
    assert beside == ["remote:m"], "it comes back"
    beside, page = picked("adapter:b", ["bare:"], page)
    assert picked("base:auto", ["bare:"], page)[0] == [], "a base is compared with itself"


def test_prompts_to_try_are_the_adapters_own(chat, isolated_home):
    handlers, _, _ = chat
    folder = adapters_folder() / "mine"
    folder.mkdir(parents=True)
    write_json(folder / "adapter_config.json", {"base_model_name_or_path": "x", "r": 4, "peft_type": "LORA"})
    (folder / "adapter_model.safetensors").write_bytes(b"")
    prompts = ["  ", "How do I learn?", "x" * 5_000, "How do I learn?", "Why?", "When?", "Who?"]
    write_json(folder / "metrics.json", {"samples_before": [{"prompt": text, "answer": "a"} for text in prompts]})

    def tried(model) -> list[str]:
        return [one["text"] for one in handlers.prompts(None, "a" * 32, model).examples]

    assert tried("adapter:mine") == ["How do I learn?", "Why?", "When?"]
    examples = tried("base:auto")
    assert len(examples) == 3 and tried("adapter:gone") == tried(None) == examples


def test_a_named_choice_sets_the_sliders_and_a_moved_slider_makes_it_custom():
    assert (
        tuple(named_values("repeatable")) == (0.0, 0.95, 0, 1.0)
        and name_of(*named_values("repeatable")) == "repeatable"
    )
    assert name_of(*named_values("balanced")) == "balanced" and name_of(1.9, 0.5, 0, 1.0) == CUSTOM


def test_the_server_holds_a_conversation_only_while_it_is_being_answered(chat):
    handlers, values, _ = chat
    parts = [*handlers.inputs(), *handlers.outputs()]
    assert not any(isinstance(part, gr.State) for part in parts)
    for end in (list, lambda stream: stream.close()):
        stream = handlers.send(values, None)
        next(stream)
        assert len(handlers.live) == 1
        end(stream)
        assert handlers.live == {}


def test_another_model_in_mid_answer_keeps_what_came_and_says_that_it_was_stopped(chat):
    handlers, values, _ = chat
    own, page = handlers.layout, {}
    stream = handlers.send(values, None)
    while "fine" not in str(page.get(own.conversation)):
        page.update(next(stream))
    open_one = copy.deepcopy(page[own.conversation])
    stream.close()
    page = handlers.models_changed({**values, own.conversation: open_one, own.model_dropdown: "base:auto"}, None)
    message = page[own.store][0]["panes"][0]["messages"][-1]
    assert message["content"] == "fine" and message["end"] == "stopped" and message["by"] == "m"
    assert page[own.draft] is None


def test_while_an_answer_comes_the_browser_is_given_what_there_is_of_it(chat, monkeypatch):
    monkeypatch.setattr("ui.chat.handlers.DRAFT_SECONDS", 0)
    handlers, values, _ = chat
    own = handlers.layout
    drafts = [page[own.draft] for page in handlers.send(values, None) if own.draft in page]
    assert drafts[0]["panes"][0]["messages"][-2]["content"] == DRAFT, "the question is lost if the page is left at once"
    assert any(one and one["panes"][0]["messages"][-1]["content"] == "fine" for one in drafts)
    assert not any(is_answering(one) for one in drafts if one) and drafts[-1] is None


def test_a_step_of_an_answer_makes_no_chatbot_anew(chat):
    """Gradio makes a component and its schema anew for what a step leaves out: 4 ms a Chatbot, in the way of the next word."""
    handlers, values, _ = chat
    own = handlers.layout
    page = own.conversation.parent
    while page.parent:
        page = page.parent
    with page:
        own.send_button.click(handlers.send, handlers.inputs(), handlers.outputs())
    event, state = list(page.fns.values())[-1], SessionState(page)

    def boxes():
        return [state[chatbot._id] for chatbot in own.panes.chatbots]

    steps = list(handlers.send(values, None))
    assert len(steps) > 2
    asyncio.run(page.postprocess_data(event, steps[0], state))
    before = boxes()
    for step in steps[1:-1]:
        asyncio.run(page.postprocess_data(event, step, state))
    assert all(one is other for one, other in zip(before, boxes(), strict=True))
