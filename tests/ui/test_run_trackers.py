"""The page gives a run to other programs: each its owner's alone, and the machine's dashboard to nobody else."""

import zipfile

import gradio as gr
import pytest
from fastapi.testclient import TestClient

from common.errors import UserError
from models.hub.client import Account
from tests.queueing import make_run
from ui.train import run_trackers


@pytest.fixture
def call(page, monkeypatch):
    """Calls a handler of the page by its name with the run's name and more; returns its answer."""

    def track(run, name, folder, *more):
        folder.mkdir(parents=True)
        (folder / "file").write_text(f"{name} of {run.id}")

    monkeypatch.setattr(run_trackers, "track", track)
    monkeypatch.setattr(run_trackers, "open_dashboard", lambda folder: f"http://127.0.0.1:1/?folder={folder.name}")
    monkeypatch.setattr(run_trackers, "account_of", lambda token: Account("alice", "hf_x"))
    monkeypatch.setattr(run_trackers, "send_to_space", lambda run, space, *more: f"https://hub/{space}?<{run.id}>")
    client = TestClient(gr.routes.App.create_app(page))
    handlers = client.get("/config").json()["dependencies"]

    def do(name: str, *given):
        [number] = [one["id"] for one in handlers if one["api_name"] == name]
        data = {"data": ["a" * 32, *given], "fn_index": number, "session_hash": "s"}
        answer = client.post("/gradio_api/run/predict", json=data).json()
        return answer["data"][0] if "data" in answer else answer

    return do


def test_tensorboard_and_wandb_are_zips_and_links_are_escaped(call):
    make_run("mine")
    for name in ("tensorboard", "wandb"):
        found = call(name, "mine")
        with zipfile.ZipFile((found.get("value") or found)["path"]) as archive:
            assert archive.read(f"mine-{name}/{name}/file").decode() == f"{name} of mine"
    assert call("trackio", "mine").startswith("<a href='http://127.0.0.1:1/?folder=local'")
    sent = call("send_to_trackio", "mine", "curves")
    assert "https://hub/curves?&lt;mine&gt;" in sent and "<mine>" not in sent


def test_a_guest_of_a_space_opens_no_page_on_the_server(call, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    opened = []
    monkeypatch.setattr(run_trackers, "open_dashboard", opened.append)
    make_run("mine", run_trackers.owner_of("a" * 32, None))
    assert "error" in call("trackio", "mine") and not opened


def test_nobody_gets_anothers_run(call):
    make_run("hers", owner="alice")
    for name, more in (
        ("tensorboard", []),
        ("wandb", []),
        ("trackio", []),
        ("trl_script", []),
        ("send_to_trackio", [""]),
    ):
        assert "error" in call(name, "hers", *more)
    with pytest.raises(UserError):
        run_trackers.own_run("hers", "local")
