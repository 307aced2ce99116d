"""The answers of one turn: every pane its own model, what came before a stop is kept, the summary is written when turns go."""

import shutil
import time

import pytest

from chat.conversation import LENGTH, ask, new_conversation
from chat.engine import Engine, Reply
from chat.sampling import Sampling
from chat.scheduler import Scheduler
from common.errors import UserError
from common.paths import LOCAL_OWNER, adapters_folder
from tests.chat.conftest import adapters  # noqa: F401
from ui.chat.answer import SHOW_SECONDS, Engines, answer, as_draft, update_summary
from ui.chat.view import meter, shown_messages
from ui.owner import Visitor

MODELS = ["adapter:adapter-0", "bare:", "adapter:adapter-1"]


class FakeEngine:
    """Says three words, one at a time, and remembers what it was asked."""

    def __init__(self, left_out=0, template="t1"):
        self.asked, self.left_out, self.template, self.closed = [], left_out, template, 0

    def reply(self, model, messages, sampling, conversation=None, continuing=False, caller=None):
        self.asked.append((model, messages, sampling, conversation, continuing))
        reply = Reply(window=256, tokens_used=9, left_out=self.left_out, template=self.template)
        text = messages[-1]["content"] if continuing else ""
        try:
            for word in ("one", " two", " three"):
                text += word
                reply.text, reply.new_tokens = text, reply.new_tokens + 1
                yield reply
            reply.ended = True
            yield reply
        finally:
            self.closed += 1


@pytest.fixture
def conversation(isolated_home, adapters):  # noqa: F811
    for number, folder in enumerate(adapters):
        shutil.copytree(folder, adapters_folder() / f"adapter-{number}")
    conversation = new_conversation(MODELS)
    ask(conversation, "Hi")
    return conversation


def run(engine, conversation, panes=(0, 1, 2), sampling=None, **more):
    return list(
        answer(Engines(engine, None), conversation, Visitor(LOCAL_OWNER), sampling or Sampling(), list(panes), **more)
    )


def test_a_pane_that_is_done_first_ends_no_other(conversation, monkeypatch):
    monkeypatch.setenv("CHAT_PRECISION", "fp32")
    take = Scheduler._take

    def end_the_first(scheduler, request, logits):
        if request.conversation.endswith("/0") and len(request.ids) - request.prompt_tokens == 3:
            return scheduler._finish(request, True)
        time.sleep(SHOW_SECONDS / 5)  # so that the end of the first is seen long before that of the second
        return take(scheduler, request, logits)

    monkeypatch.setattr(Scheduler, "_take", end_the_first)
    run(Engine(), conversation, panes=(0, 1), sampling=Sampling(max_new_tokens=40, stop_repetition=False))
    first, second = last(conversation), last(conversation, 1)
    assert first["took"]["tokens"] == 3 and "end" not in first
    assert second["took"]["tokens"] == 40 and second["end"] == LENGTH


def last(conversation, pane=0) -> dict:
    return conversation["panes"][pane]["messages"][-1]


def test_every_pane_asks_its_own_model_with_its_own_cache_and_the_same_seed(conversation):
    engine = FakeEngine()
    run(engine, conversation, sampling=Sampling(seed=3, temperature=1.0))
    folders = [model.adapter_folder and model.adapter_folder.name for model, *_ in engine.asked]
    assert folders == ["adapter-0", None, "adapter-1"]
    assert len({asked[3] for asked in engine.asked}) == 3 and {asked[2].seed for asked in engine.asked} == {3}
    assert all(last(conversation, pane)["content"] == "one two three" for pane in range(3))
    assert last(conversation)["took"]["seed"] == 3 and last(conversation)["took"]["temperature"] == 1.0
    assert [last(conversation, pane)["by"] for pane in (0, 2)] == ["adapter-0", "adapter-1"]


def test_what_came_before_a_stop_is_kept_and_the_engine_is_left(conversation):
    engine = FakeEngine()
    stream = answer(Engines(engine, None), conversation, Visitor(LOCAL_OWNER), Sampling(), [0, 1, 2])
    next(stream)
    draft = as_draft(conversation)
    assert draft["panes"][0]["messages"][-1]["end"] == "stopped", "a page that is left now does not say so"
    stream.close()
    assert last(conversation)["content"] == "one" and last(conversation)["end"] == "stopped"
    assert last(conversation)["took"]["tokens"] == 1 and "doing" not in last(conversation)


def test_a_retry_takes_the_next_seed_and_is_never_the_same_answer_again(conversation):
    engine = FakeEngine()
    last(conversation)["tries"] = 2
    run(engine, conversation, panes=[0], sampling=Sampling(seed=5))
    assert engine.asked[0][2].seed == 7 and engine.asked[0][2].temperature > 0


def test_a_continued_answer_grows(conversation):
    run(FakeEngine(), conversation)
    run(FakeEngine(), conversation, panes=[0], continuing=True)
    assert last(conversation)["content"] == "one two threeone two three"


@pytest.mark.parametrize(
    ("changes", "end", "words"),
    [
        ({"ended": True}, None, ""),
        ({}, "length", "Reached the length limit. Press Continue."),
        ({"is_repeating": True}, "repeated", "Stopped: the answer began to repeat itself."),
    ],
)
def test_an_answer_says_why_it_ended(conversation, changes, end, words):
    class Ends(FakeEngine):
        def reply(self, *_, **__):
            yield Reply("one", window=256, new_tokens=3, **changes)

    run(Ends(), conversation)
    assert last(conversation).get("end") == end
    assert words in shown_messages(conversation["panes"][0])[-1]["content"]


def test_a_conversation_that_began_under_another_template_says_so(conversation):
    run(FakeEngine(template="t1"), conversation)
    ask(conversation, "Again")
    run(FakeEngine(template="t2"), conversation)
    assert all("with another chat template (t1)" in meter(pane) for pane in conversation["panes"])


def test_the_summary_covers_what_is_left_out_once(conversation):
    run(FakeEngine(), conversation)
    for _ in range(3):
        ask(conversation, "More")
        run(FakeEngine(left_out=2), conversation)
    engine = FakeEngine()
    list(update_summary(Engines(engine, None), conversation, Visitor(LOCAL_OWNER)))
    assert conversation["summary"] == "one two three" and conversation["summarised"] == 2
    assert "user: Hi" in engine.asked[0][1][0]["content"] and engine.asked[0][1][0]["content"].count("user: ") == 2
    list(update_summary(Engines(engine, None), conversation, Visitor(LOCAL_OWNER)))
    assert len(engine.asked) == 1, "the same turns were summarised twice"


def test_an_adapter_that_is_gone_in_mid_conversation_is_a_sentence(conversation):
    run(FakeEngine(), conversation)
    shutil.rmtree(adapters_folder() / "adapter-1")
    ask(conversation, "Again")
    with pytest.raises(UserError, match="There is no adapter 'adapter-1'"):
        run(FakeEngine(), conversation)


def test_while_a_base_is_fetched_the_answers_place_says_so_and_one_can_leave(conversation, monkeypatch):
    import threading

    goes_on, begun = threading.Event(), threading.Event()

    def slow(base, progress, stop):
        progress("Downloading TinyLlama: 340 of 2200 MB", 0.15)
        begun.set()
        goes_on.wait(30)
        return "/folder"

    monkeypatch.setattr("ui.chat.models.fetch_base", slow)
    stream = answer(Engines(FakeEngine(), None), conversation, Visitor(LOCAL_OWNER), Sampling(), [0, 1, 2])
    while "Downloading" not in last(conversation).get("doing", ""):
        assert next(stream) == []
    assert begun.is_set() and "340 of 2200 MB" in shown_messages(conversation["panes"][0])[-1]["content"]
    stream.close()
    goes_on.set()

    run(FakeEngine(), conversation)
    assert last(conversation)["content"] == "one two three" and "doing" not in last(conversation)


class QuickEngine(FakeEngine):
    """Writes `count` words, one each `seconds`; whoever asks gets all that came, as the chat's engine has it."""

    def __init__(self, count, seconds):
        super().__init__()
        self.count, self.seconds = count, seconds

    def reply(self, model, messages, sampling, conversation=None, continuing=False, caller=None):
        reply = Reply(window=256, tokens_used=9, template="t1")
        yield reply  # the model is there, the prompt is read
        began = time.monotonic()
        while reply.new_tokens < self.count:
            time.sleep(max(0.0, began + (reply.new_tokens + 1) * self.seconds - time.monotonic()))
            reply.new_tokens = min(int((time.monotonic() - began) / self.seconds), self.count)
            reply.text = "a " * reply.new_tokens
            yield reply
        reply.ended = True
        yield reply


def test_words_that_come_quickly_are_shown_together_and_the_first_and_the_last_at_once(conversation):
    shown = []
    for _ in answer(Engines(QuickEngine(200, 0.003), None), conversation, Visitor(LOCAL_OWNER), Sampling(), [0]):
        shown.append((time.monotonic(), last(conversation)["content"].count("a")))
    words = [count for _, count in shown]
    assert 1 in words and words == sorted(words) and words[-1] == 200
    took = shown[-1][0] - shown[0][0]
    assert len(shown) < 5 + took / SHOW_SECONDS and took < 200 * 0.003 + 10 * SHOW_SECONDS, "it waits for no word"
    assert "doing" not in last(conversation)


def test_words_that_come_slowly_are_shown_one_by_one(conversation):
    engine, shown = QuickEngine(4, 1.5 * SHOW_SECONDS), []
    for _ in answer(Engines(engine, None), conversation, Visitor(LOCAL_OWNER), Sampling(), [0]):
        shown.append(last(conversation)["content"].count("a"))
    assert set(shown) == {0, 1, 2, 3, 4}
