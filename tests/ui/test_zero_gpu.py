"""The app as on a ZeroGPU Space: the real `spaces`, whose forks chat and train; quotas are their visitors'."""

import io
import os
import subprocess
import sys
import zipfile
from contextlib import suppress

import psutil
import pytest

from chat.engine import Engine, Model, Sampling
from common.paths import REPOSITORY
from runs.fields import label_of
from runs.run import Run, read_state
from tests.adapters.making import make_adapter
from tests.browser.driving import answers, free_port, wait_for
from tests.chaos import client as http
from tests.chaos.client import Client, Refused
from tests.chat.asking import say
from tests.hub_server import HubServer
from tests.zero_gpu import DeviceApi
from ui.train.form_values import PASTE

BASE = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
OTHER = "tests/tiny-base"
QUOTA = (429, {"left": 12, "wait": 5400})


class Space:
    """The app in a process of its own, what it asks ZeroGPU for, and a new visitor with a token of their own."""

    def __init__(self, url: str, api: DeviceApi, home) -> None:
        self.url, self.api, self.home = url, api, home

    def visitor(self, token: str) -> Client:
        visitor = Client(self.url, "1.2.3.4")
        visitor.http.headers["x-ip-token"] = token
        return visitor


@pytest.fixture(scope="module")
def space(tmp_path_factory, tiny_base):
    folder, api, port = tmp_path_factory.mktemp("space"), DeviceApi(), free_port()
    (folder / "cgroup").write_text("0::/space\n")
    with HubServer({BASE: tiny_base, OTHER: tiny_base}) as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "MAX_ANSWER_SECONDS", 600)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "STUDIO_"))}
        environment |= {"STUDIO_HOME": str(folder / "home"), "HOME": str(folder), "HF_HOME": str(folder / "hf")}
        environment |= {"GRADIO_TEMP_DIR": str(folder / "home" / "temporary"), "HF_ENDPOINT": hub.url}
        environment |= {"SPACE_ID": "someone/studio", "GRADIO_SERVER_NAME": "127.0.0.1", "HF_HUB_DISABLE_XET": "1"}
        environment |= {"SPACES_ZERO_GPU": "true", "SPACES_ZERO_DEVICE_API_URL": api.start()}
        environment |= {"ZEROGPU_PROC_SELF_CGROUP_PATH": str(folder / "cgroup"), "GRADIO_SERVER_PORT": str(port)}
        with open(folder / "app.log", "wb") as log:
            command = [sys.executable, "-m", "tests.zero_gpu"]
            process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
        try:
            wait_for(lambda: answers(port), 300, "the app does not answer")
            yield Space(f"http://127.0.0.1:{port}", api, folder / "home")
        finally:
            forks = psutil.Process(process.pid).children(recursive=True)  # they wait for the next answer, whatever ends
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            for one in (process, *forks):
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            print((folder / "app.log").read_text()[-3000:])


def talk(visitor: Client, model: str = f"base:{BASE}") -> str:
    (answer,) = visitor.call("chat", ["Hello there", None, model, "", 8, 0.0, 0.95, 0, 1.0, 0, True])
    return answer["text"]


def test_an_answer_takes_the_quota_of_who_asks_and_of_nobody_else(space):
    ann, ben = space.visitor("a.token.ann"), space.visitor("a.token.ben")
    before = len(space.api.asked)
    assert talk(ann) == talk(ben) != ""
    asked = space.api.asked[before:]
    assert [one.get("token") for one in asked] == ["a.token.ann", "a.token.ben"]
    assert {one["durationSeconds"] for one in asked} == {"15"}


def test_an_exhausted_quota_is_a_sentence_and_the_next_answer_comes(space):
    ann = space.visitor("a.token.ann")
    space.api.refusals.append(QUOTA)
    with pytest.raises(Refused, match=r"Your ZeroGPU quota is used up: .* 12 s left. Try again in 1 h 30 min"):
        talk(ann)
    assert talk(ann)


def test_an_adapter_of_another_base_and_the_base_that_is_held_answer_as_anywhere_else(space, tiny_base, tmp_path):
    adapter, packed, ann = make_adapter(tmp_path / "made", tiny_base, base=OTHER), io.BytesIO(), space.visitor("a.b.c")
    with zipfile.ZipFile(packed, "w") as archive:
        for path in adapter.iterdir():
            archive.writestr(path.name, path.read_bytes())
    ann.call("import_adapter", {"A zip with an adapter": ann.upload("made.zip", packed.getvalue())})
    engine, sampling = Engine(), Sampling(max_new_tokens=8, temperature=0.0)
    here = [say(engine, Model(tiny_base, "bf16", folder), sampling=sampling) for folder in (adapter, None)]
    assert [talk(ann, "adapter:made"), talk(ann)] == here


def started(space, visitor: Client, name: str, steps: int) -> Run:
    """A run of so many steps that was started and waits for its page."""
    rows = "\n".join(f'{{"prompt": "What is {n}?", "completion": "It is {n}."}}' for n in range(12))
    values = {
        "Base model": BASE,
        "Name of the adapter": name,
        "Examples to learn from": PASTE,
        "JSON lines, a table, or plain text": rows,
        label_of("max_steps"): steps,
        label_of("max_length"): 128,
    }
    visitor.call("start_training", values)
    (folder,) = space.home.glob(f"runs/*/{name}")
    return Run(folder)


def test_a_training_goes_on_slice_by_slice_on_the_quota_of_its_owner(space):
    ann, ben = space.visitor("a.token.ann"), space.visitor("a.token.ben")
    run = started(space, ann, "sliced", steps=2)
    assert read_state(run).status == "stopped", "it waits for the page"
    before = len(space.api.asked)
    with pytest.raises(Refused, match="no run"):
        ben.call("train_in_slices", [ben.key, "sliced"])
    assert len(space.api.asked) == before
    ann.call("train_in_slices", [ann.key, "sliced"])
    state = read_state(run)
    assert state.status == "done" and state.step == 2, state.message + run.log_tail()
    assert [one.get("token") for one in space.api.asked[before:]] == 3 * ["a.token.ann"]
    with pytest.raises(Refused, match="is not waiting"):
        ann.call("train_in_slices", [ann.key, "sliced"])


def test_a_page_that_is_closed_ends_the_training_with_its_slice(space):
    ann = space.visitor("a.token.ann")
    run = started(space, ann, "left", steps=50)
    endpoint = ann.endpoints["train_in_slices"]["id"]
    body = {"data": [ann.key, "left"], "fn_index": endpoint, "session_hash": "the-page"}
    ann.politely("POST", "/gradio_api/queue/join", json=body)
    with ann.http.stream("GET", "/gradio_api/queue/data?session_hash=the-page"):
        wait_for(lambda: read_state(run).step >= 1, 300, "it does not train")
    wait_for(lambda: not read_state(run).is_running, 120, "it goes on without a page")
    state = read_state(run)
    assert state.status == "interrupted" and 1 <= state.step < 50 and "The page was closed" in state.message
