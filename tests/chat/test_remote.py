"""A model on another machine: the same history, streamed; its failures are sentences."""

import time

import pytest

from chat.engine import CALLS
from chat.line import Caller
from chat.remote import RemoteEngine, RemoteModel, remote_engine
from chat.sampling import Sampling
from common.errors import UserError
from common.paths import GUEST_PREFIX
from tests.browser.driving import wait_for
from tests.chat.openai_server import BROKEN, openai_server
from tests.fakes import conversation

HELLO = [{"role": "user", "content": "Hello there"}]
TINY = RemoteModel("tiny")


@pytest.fixture(autouse=True)
def loopback_may_be_called(monkeypatch):
    """The Hub is off in tests; its client would call nobody at all then."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


def test_a_reply_streams_and_ends():
    with openai_server(pause=0.2) as (server, url):
        stream = RemoteEngine(url).reply(TINY, HELLO, Sampling(100, seed=5, top_k=3))
        replies = [(reply.text, reply.ended) for reply in stream if reply.text]  # a slow one beats first
    assert replies[0][0] == "tiny" and replies[-1] == ("tiny heard 1: Hello there 라마", True)
    assert len({text for text, _ in replies}) > 4
    (asked,) = server.asked
    assert asked["messages"] == HELLO and asked["seed"] == 5 and asked["top_k"] == 3 and asked["max_tokens"] == 100


def test_one_visitor_does_not_take_all_of_the_server():
    with openai_server(times=200, pause=0.05) as (_, url):
        engine, guest = RemoteEngine(url), Caller(f"{GUEST_PREFIX}a", "203.0.113.7")
        streams = [engine.reply(TINY, HELLO, Sampling(100), caller=guest) for _ in range(CALLS.owner + 1)]
        for stream in streams[:-1]:
            next(stream)
        with pytest.raises(UserError, match="of your own"):
            next(streams[-1])
        assert next(engine.reply(TINY, HELLO, Sampling(100), caller=Caller("user-a", "192.0.2.1")))
        streams[0].close()
        assert next(engine.reply(TINY, HELLO, Sampling(100), caller=guest))
        for stream in streams:
            stream.close()


def test_words_that_came_while_nobody_asked_are_given_together():
    """The page looks ten times a second: one word a look would be slower than most servers."""
    with openai_server(times=40) as (_, url):
        stream = RemoteEngine(url).reply(TINY, HELLO, Sampling(100))
        words = [next(stream).new_tokens]
        while words[-1] < 200:
            time.sleep(0.1)
            words.append(next(stream).new_tokens)
        stream.close()
    assert len(words) < 20 and words == sorted(words)


def test_adapters_are_model_names_and_windows_are_the_servers():
    with openai_server() as (_, url):
        assert RemoteEngine(url).models() == {"tiny": 200, "my-adapter": 2048}


def test_old_turns_are_left_out_by_the_servers_window():
    with openai_server() as (server, url):
        asked = [*conversation(30), *HELLO]
        reply = list(RemoteEngine(url).reply(TINY, asked, Sampling(max_new_tokens=50)))[-1]
    assert reply.left_out > 10 and reply.tokens_used <= 150 and reply.window == 200
    assert len(server.asked[0]["messages"]) == 61 - 2 * reply.left_out


def test_a_stop_leaves_the_stream():
    with openai_server(times=20_000) as (server, url):
        reply = RemoteEngine(url).reply(TINY, HELLO, Sampling(max_new_tokens=50))
        next(reply)
        reply.close()
    assert server.sent < 100_000


def test_a_failing_server_is_a_sentence():
    with openai_server() as (_, url), pytest.raises(UserError, match="The server answered with an error") as told:
        list(RemoteEngine(url).reply(RemoteModel("broken"), HELLO, Sampling(max_new_tokens=9)))
    assert url not in str(told.value), "its address is not the visitors'"
    with pytest.raises(UserError, match="The server did not answer"):
        list(RemoteEngine(url).reply(TINY, HELLO, Sampling(max_new_tokens=9)))
    assert RemoteEngine(url).models() == {}


@pytest.mark.parametrize("model", BROKEN)
def test_an_answer_that_breaks_off_is_no_whole_one(model):
    texts = []
    with openai_server() as (_, url), pytest.raises(UserError, match="broke off in the middle"):
        for reply in RemoteEngine(url).reply(RemoteModel(model), HELLO, Sampling(max_new_tokens=50)):
            texts.append(reply.text)
    assert texts[-1].startswith(f"{model} heard 1"), "what came is lost"


def test_only_the_environment_names_the_server(monkeypatch):
    assert remote_engine() is None
    monkeypatch.setenv("CHAT_SERVER_URL", "http://127.0.0.1:9/v1")
    assert remote_engine().url == "http://127.0.0.1:9/v1"


def test_a_stop_hangs_up_on_a_server_that_says_nothing():
    with openai_server() as (server, url):
        reply = RemoteEngine(url).reply(RemoteModel("silent"), HELLO, Sampling(max_new_tokens=50))
        began = time.monotonic()
        next(reply)  # a heartbeat: whoever reads can leave
        reply.close()
        assert time.monotonic() - began < 20, "it waited for the server"
        wait_for(lambda: getattr(server, "hung_up", False), 20, "the connection stays open")
