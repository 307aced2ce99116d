"""The engine that asks for a GPU for each answer: what its calls bring, whoever waits, stops or is refused."""

import threading
import time
from contextlib import closing

import pytest

from chat.engine import Reply, Sampling
from chat.resident import Model
from chat.zero_gpu import ZeroEngine, answer_seconds
from common.errors import UserError
from tests.chat.asking import HELLO

MODEL, SHORT = Model("base"), Sampling(max_new_tokens=20)


def test_the_last_reply_comes_and_none_is_older_than_the_one_before():
    def call(*_asked):
        for number in range(100):
            yield Reply(text="x" * number, new_tokens=number)

    counts = [reply.new_tokens for reply in ZeroEngine(call).reply(MODEL, HELLO, SHORT)]
    assert counts[-1] == 99 and counts == sorted(counts)


def test_a_sentence_from_the_fork_is_raised_after_what_came_before_it():
    def call(*_asked):
        yield Reply(text="half")
        yield UserError("The GPU is out of memory.")

    replies = ZeroEngine(call).reply(MODEL, HELLO, SHORT)
    with pytest.raises(UserError, match="out of memory"):
        assert [next(replies).text, next(replies)] == ["half"]


def test_an_answer_that_waits_for_a_gpu_can_be_stopped_and_holds_no_place():
    may_go, is_closed = threading.Event(), threading.Event()

    def call(*_asked):
        may_go.wait(20)
        try:
            while True:
                yield Reply(text="x", new_tokens=1)
        finally:
            is_closed.set()

    engine = ZeroEngine(call)
    with closing(engine.reply(MODEL, HELLO, SHORT)) as waiting:
        assert next(waiting).new_tokens == 0
    assert not engine._places._held
    may_go.set()
    assert is_closed.wait(20)


def test_panes_that_wait_hold_up_no_other_one():
    def slow(*_asked):
        time.sleep(3)
        yield Reply(text="late")

    def quick(*_asked):
        yield Reply(text="early")

    late, early = (ZeroEngine(call).reply(MODEL, HELLO, SHORT) for call in (slow, quick))
    assert [next(late).text, next(early).text] == ["", "early"]
    late.close()


def test_a_longer_answer_asks_for_the_gpu_for_longer():
    seconds = [answer_seconds(MODEL, HELLO, Sampling(max_new_tokens=most), False) for most in (20, 200, 1000)]
    assert seconds == [16, 25, 65]
