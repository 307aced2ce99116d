"""From the training to another person's chat: a base from the Hub, trained in the child process, pushed, pulled, talked to."""

import json
import os
import subprocess
import sys

import pytest

from adapters.library import find_adapter
from adapters.package import PushOptions
from adapters.pull import look, pull
from adapters.push import push_adapter
from chat.engine import Engine, Model, Sampling
from common.paths import REPOSITORY
from models.hub.client import account_of
from tests.fakes import conversation


@pytest.mark.slow
def test_what_one_person_trains_and_pushes_another_pulls_and_talks_to(hub, tiny_base, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"messages": conversation(words=number + 1)}) for number in range(12)))
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_TOKEN": hub.alice}
    arguments = ["--base", "tests/tiny-base", "--data", str(rows), "--max-steps", "2", "--max-length", "128"]
    command = [sys.executable, "-m", "trainer", "train", "--name", "mine", "--num-processes", "1", *arguments]
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert hub.sent("GET", "/tests/tiny-base/resolve/") and set(hub.seen_tokens) == {None}, "a token went along"

    trained = find_adapter("mine")
    push_adapter(trained, account_of(hub.alice), PushOptions(private=False))
    card = hub.repositories["alice/mine"].content("README.md").decode()
    assert "base_model: tests/tiny-base" in card and "loss.png" in hub.repositories["alice/mine"].files
    pulled = pull(look("alice/mine", hub.bob), hub.bob, "user-bob").adapter
    assert pulled.loss_after == trained.loss_after and pulled.data() == "not known, 11 rows"
    engine, said = Engine(), [{"role": "user", "content": "q0"}]
    hers, his = (
        list(engine.reply(Model(tiny_base, "fp32", one.folder), said, Sampling(max_new_tokens=6)))[-1].text
        for one in (trained, pulled)
    )
    assert hers == his
