"""The page's handlers over plain HTTP, as an attacker calls them: each one asks whose run it is."""

import json
import os
import subprocess
import sys
import urllib.request

import pytest

from common.paths import REPOSITORY, runs_folder
from tests.browser.driving import answers, free_port, wait_for
from trainer.config import TrainConfig
from trainer.launcher import create_run
from trainer.run import EventLog
from ui.owner import new_key, owner_of


class Page:
    """The endpoints of a running app by their api_name."""

    def __init__(self, url: str) -> None:
        self.url = url
        with urllib.request.urlopen(f"{url}/config", timeout=30) as response:
            config = json.load(response)
        self.endpoints = {item["api_name"]: item for item in config["dependencies"] if item["api_name"]}
        self.kinds = {item["id"]: item["type"] for item in config["components"]}
        self.defaults = {item["id"]: item["props"].get("value") for item in config["components"]}

    def call(self, name: str, key: str, **given) -> dict:
        """The last message of the event `name`, called with `key` in the browser's place and `given` by position."""
        endpoint = self.endpoints[name]
        data = []
        for place, component in enumerate(endpoint["inputs"]):
            value = key if self.kinds[component] == "browserstate" else self.defaults[component]
            data.append(given.get(f"at_{place}", value))
        session = new_key()
        body = json.dumps({"data": data, "fn_index": endpoint["id"], "session_hash": session}).encode()
        request = urllib.request.Request(
            f"{self.url}/gradio_api/queue/join", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=30).close()
        with urllib.request.urlopen(f"{self.url}/gradio_api/queue/data?session_hash={session}", timeout=60) as stream:
            for line in stream:
                message = json.loads(line[6:]) if line.startswith(b"data: ") else {}
                if message.get("msg") == "process_completed":
                    return message
        raise AssertionError("no answer")


@pytest.fixture(scope="module")
def space_home(tmp_path_factory):
    return tmp_path_factory.mktemp("space")


@pytest.fixture(scope="module")
def server(space_home):
    """The app as on a Space, once for all tests here: visitors are who their browser's key says."""
    port = free_port()
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    environment |= {"SPACE_ID": "someone/studio", "STUDIO_HOME": str(space_home), "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen([sys.executable, "app.py"], cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL)
    wait_for(lambda: answers(port), 60, "the app does not answer")
    yield Page(f"http://127.0.0.1:{port}")
    process.kill()
    process.wait()


@pytest.fixture
def space(server, space_home, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    monkeypatch.setenv("STUDIO_HOME", str(space_home))
    return server


@pytest.fixture
def alices_run(space, tiny_base):
    """A finished run of one visitor: (run, key of its owner)."""
    key = new_key()
    run = create_run(TrainConfig(name="secret-plan", base=str(tiny_base)), owner_of(key, None))
    run.log_file.write_text("what alice's training printed\n")
    EventLog(run).write("stopped", message="")
    return run, key


def failed(message: dict) -> str:
    """The sentence of a refusal."""
    assert not message["success"], "it was not refused"
    return message["output"]["error"] or ""


@pytest.mark.parametrize("name", ["stop", "resume", "discard", "log", "bundle", "cure"])
def test_another_visitors_run_cannot_be_touched_by_its_name(space, alices_run, name):
    run, _ = alices_run
    before = sorted(path.name for path in run.folder.iterdir())
    sentence = failed(space.call(name, new_key(), at_1=run.id))
    assert "There is no run" in sentence and str(runs_folder()) not in sentence
    assert sorted(path.name for path in run.folder.iterdir()) == before


@pytest.mark.parametrize("name", ["compare_runs", "rename", "delete_runs"])
def test_another_visitors_runs_cannot_be_listed_renamed_or_deleted(space, alices_run, name):
    run, _ = alices_run
    # two layers refuse: the list holds only what this visitor was shown, and each handler looks the run up for its owner
    assert failed(space.call(name, new_key(), at_1="", at_2=[run.id, run.id][: 1 + (name != "rename")]))
    assert run.config_file.exists() and not run.about_file.exists()


def test_the_owner_can_do_what_others_cannot(space, alices_run):
    run, key = alices_run
    assert space.call("log", key, at_1=run.id)["success"]
    assert space.call("discard", key, at_1=run.id)["success"] and not run.folder.exists()


@pytest.mark.parametrize("key", ["", "local", "../local", None])
def test_without_a_proper_key_nothing_happens(space, alices_run, key):
    run, _ = alices_run
    assert "does not know you" in failed(space.call("stop", key, at_1=run.id))


@pytest.mark.parametrize("run_id", ["../x", "..", "/etc", "a/b", {"a": 1}, ["x"], 7, None, "x" * 10_000])
def test_a_run_id_is_a_name_and_never_a_path(space, run_id):
    sentence = failed(space.call("stop", new_key(), at_1=run_id))
    assert sentence and "Traceback" not in sentence
