"""The real client and a teacher that lies, breaks off or belongs to a provider: a sentence each, and nothing executed."""

import threading

import pytest

from making import plan as planning
from making import teacher as teachers
from making.config import MakingConfig
from making.teacher import RemoteTeacher, Secret, Stopped, TeacherFailure
from tests.teacher import Said, teacher

SECRET = Secret(url="", key="hf_visitor")


@pytest.fixture(autouse=True)
def loopback_may_be_called(monkeypatch):
    """The Hub is off in tests; its client would call nobody at all then."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


def ask(url: str, **settings) -> str:
    config = MakingConfig.from_dict({"server": url, "model": "tiny", **settings})
    return RemoteTeacher(config, SECRET).ask("Say it.", 3, threading.Event()).text


@pytest.mark.parametrize(
    "raw",
    [
        b"<html>This is no stream.</html>",
        b"data: [1]\n\n",
        b"data: 7\n\n",
        b'data: {"choices": null}\n\n',
        b'data: {"choices": [{"delta": null}]}\n\n',
        b'data: {"choices": [{"delta": {"content": 7}, "finish_reason": "stop"}]}\n\n',
        b'data: {"choices": {"a": 1}}\n\n',
        b'data: {"error": {"message": "__import__(\'os\').abort()"}}\n\n',
        b'data: {"error": "overloaded", "error_type": "overloaded"}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"data: \xff\xfe\n\n",
        b"data: [DONE]\n\n",
        b"",
    ],
    ids=range(13),
)
def test_a_lie_is_a_failure_with_a_sentence(raw):
    with teacher(lambda asked, number: Said(raw=raw, ends=None)) as (_server, url):
        with pytest.raises(TeacherFailure) as raised:
            ask(url)
        assert not raised.value.is_final and url not in str(raised.value) and "abort" not in str(raised.value)


@pytest.mark.parametrize("headers", [(), (("X-Error-Message", "No access for Bearer hf_visitor"),)])
@pytest.mark.parametrize("status", [401, 500])
def test_a_key_that_a_server_says_back_is_in_no_message(status, headers):
    with teacher(lambda asked, number: Said("No access for hf_visitor", status, headers)) as (_server, url):
        with pytest.raises(TeacherFailure) as raised:
            ask(url)
        assert "No access" in str(raised.value) and "hf_visitor" not in str(raised.value)


def test_a_server_gets_model_seed_and_limits_and_a_stop_closes_its_connection():
    stop = threading.Event()
    with teacher(["good", "slow"]) as (server, url):
        assert ask(url, temperature=0.5, max_new_tokens=33)
        wanted = {"model": "tiny", "seed": 3, "temperature": 0.5, "max_tokens": 33, "stream": True}
        assert server.asked[0].items() >= wanted.items() and server.keys == ["hf_visitor"]
        threading.Timer(0.3, stop.set).start()
        with pytest.raises(Stopped):
            RemoteTeacher(MakingConfig(server=url, model="tiny"), SECRET).ask("Say it.", 3, stop)


def test_what_a_server_says_is_told_where_it_is_ones_own():
    refusal = Said("the prompt has more than 2048 tokens\x1b[2J", 400)
    with teacher([refusal, refusal]) as (_server, url):
        with pytest.raises(TeacherFailure, match="2048 tokens"):
            ask(url)
        operators = RemoteTeacher(MakingConfig(model="tiny"), Secret(url=url, key=""))
        with pytest.raises(TeacherFailure, match=r"an error \(400\)") as raised:
            operators.ask("Say it.", 3, threading.Event())
        assert "2048" not in str(raised.value)


def test_silence_is_a_failure(monkeypatch):
    monkeypatch.setattr(teachers, "SILENT_SECONDS", 0.3)
    with teacher(["slow"]) as (_server, url), pytest.raises(TeacherFailure, match="too long"):
        ask(url)


def test_inference_providers_are_asked_as_the_person_who_signed_in(monkeypatch):
    from huggingface_hub.inference._providers import CONVERSATIONAL_AUTO_ROUTER

    with teacher(["good", "unpaid"]) as (server, url):
        monkeypatch.setattr(CONVERSATIONAL_AUTO_ROUTER, "base_url", url.removesuffix("/v1"))
        assert ask("", teacher="provider:auto", model="owner/name")
        assert server.keys == ["hf_visitor"] and server.asked[0]["model"] == "owner/name"
        with pytest.raises(TeacherFailure, match="credits") as raised:
            ask("", teacher="provider:auto", model="owner/name")
        assert raised.value.is_final


@pytest.mark.parametrize("provider", ["nobody", "groq"])
def test_a_provider_without_the_model_is_a_sentence(monkeypatch, provider):
    monkeypatch.setattr(
        "huggingface_hub.inference._providers._common._fetch_inference_provider_mapping", lambda model: []
    )
    with pytest.raises(TeacherFailure, match="does not have this model") as raised:
        ask("", teacher=f"provider:{provider}", model="owner/name")
    assert raised.value.is_final


@pytest.mark.parametrize(
    ("listed", "provider", "price"),
    [
        (
            {"data": [{"id": "a/b", "providers": [{"provider": "x", "pricing": {"input": 1, "output": 2}}]}]},
            "x",
            (1, 2),
        ),
        (
            {
                "data": [
                    {
                        "id": "a/b",
                        "providers": [
                            {"provider": "x", "pricing": {"input": 1, "output": 2}},
                            {"provider": "y", "pricing": {"input": 2, "output": 4}},
                            {"provider": "z"},
                        ],
                    }
                ]
            },
            "auto",
            (2, 4),
        ),
        ({"data": [{"id": "a/b", "providers": [{"provider": "x"}]}]}, "x", None),
        ({"data": [{"id": "a/b", "providers": [{"provider": "x", "pricing": {"input": "free"}}]}]}, "x", None),
        ({"data": []}, "x", None),
        ([], "x", None),
        (None, "x", None),
    ],
)
def test_the_price_is_the_hubs_list_or_not_known(monkeypatch, listed, provider, price):
    class Session:
        """A session that gets one answer."""

        def get(self, url, timeout):
            assert url == planning.ROUTER_MODELS
            return self

        def raise_for_status(self):
            if listed is None:
                raise OSError("offline")

        def json(self):
            return listed

    monkeypatch.setattr("huggingface_hub.utils.get_session", Session)
    planning._price.cache_clear()
    assert planning._price(provider, "a/b", 1) == price
    planning._price.cache_clear()
