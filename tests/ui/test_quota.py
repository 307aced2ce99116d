"""What `spaces` raises when it is refused a GPU becomes a sentence: its own client, against a device API on loopback."""

from dataclasses import dataclass
from datetime import timedelta

import gradio as gr
import pytest
from huggingface_hub._space_api import ZeroGpuQuota
from spaces.config import Config
from spaces.zero import client

from common.errors import UserError
from tests.zero_gpu import DeviceApi
from ui import quota
from ui.quota import USUAL, quota_words, refusal

TOKEN = "a.e30.c"  # a JWT with nothing in it
VISITOR = {"x-ip-token": TOKEN}


@pytest.fixture
def api(monkeypatch, tmp_path):
    api = DeviceApi()
    monkeypatch.setattr(Config, "zero_device_api_url", api.start())
    monkeypatch.setattr(client.utils, "self_cgroup_device_path", lambda: "/space")
    yield api
    api.server.shutdown()


def asked(headers: dict[str, str]) -> Exception:
    """What the page says when `spaces` is refused a GPU for a request with these headers."""
    request = gr.Request(headers=headers) if headers else None
    with pytest.raises((gr.Error, RuntimeError)) as raised:
        client.schedule(1, request, timedelta(seconds=60))
    return refusal(raised.value)


@pytest.mark.parametrize(
    ("answer", "headers", "words"),
    [
        (
            (429, {"left": 12, "wait": 5400}),
            VISITOR,
            "this needs 60 s of GPU time, and you have 12 s left. Try again in 1 h 30 min",
        ),
        ((429, {"left": 0, "wait": 90000}), VISITOR, "you have 0 s left. Try again in 25 h."),
        ((429, {"left": 12, "wait": 0}), VISITOR, "as often today as your account allows"),
        ((429, {"left": 12, "wait": 60}), {}, "without your account"),
        ((429, {"left": 12, "wait": -1}), VISITOR, "does not lend a GPU for that long"),
        ((429, {"left": 1, "wait": 9}, {"X-Approve-Result": "pending-overquota-exceeded"}), VISITOR, "ZeroGPU credits"),
        ((200, "event: failed\n\n"), VISITOR, "No GPU is free"),
        ((200, "event: failed\n\n"), {}, "No GPU is free"),
        ((503, {}), VISITOR, "No GPU is free"),
        ((401, {}), VISITOR, "session has expired"),
        ((500, {}), VISITOR, "is not answering"),
    ],
)
def test_a_refusal_is_a_sentence(api, answer, headers, words):
    api.refusals.append(answer)
    found = asked(headers)
    assert isinstance(found, UserError) and words in str(found)


def test_what_a_call_itself_raised_is_no_sentence_for_visitors():
    found = refusal(gr.Error("KeyError", title="ZeroGPU worker error"))
    assert not isinstance(found, UserError) and "KeyError" in str(found)


@dataclass
class FakeHub:
    """A Hub that knows the quota of one account."""

    token: str | bool

    def get_zero_gpu_quota(self) -> ZeroGpuQuota:
        if self.token != "hf_oauth_ann":
            raise RuntimeError("403: read-billing")
        return ZeroGpuQuota({"base": 300, "current": 200, "resetsAt": None, "overquotaUsed": None})


def test_a_visitor_sees_their_own_quota_and_nobody_the_quota_of_the_space(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    monkeypatch.setenv("HF_TOKEN", "hf_oauth_ann")  # of the Space: it must not be asked with
    monkeypatch.setattr(quota, "client", FakeHub)
    ann, ben = (gr.OAuthToken(token=f"hf_oauth_{name}", scope="", expires_at=0) for name in ("ann", "ben"))
    assert quota_words(None) == quota_words(ben) == USUAL
    assert quota_words(ann) == "ZeroGPU: 3 min of your 5 min of GPU time left today."
