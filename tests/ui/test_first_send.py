"""The first Send fetches the base from the Hub: how far it is stands in the answer's place, and a Stop ends the download.

The real client against a Hub on loopback, in a process of its own (it reads HF_ENDPOINT once).
"""

import json
import os
import subprocess
import sys

from common.paths import REPOSITORY
from models.base import DEFAULT_BASE
from tests.hub_server import HubServer

SEND = """
import json, sys, time
import psutil
from chat.conversation import ask, new_conversation
from chat.engine import Engine, Sampling
from common.paths import LOCAL_OWNER
from ui.chat.answer import Engines, answer
from ui.owner import Visitor

conversation, said = new_conversation(["base:auto"]), []
ask(conversation, "Hi")
stream = answer(Engines(Engine(), None), conversation, Visitor(LOCAL_OWNER), Sampling(max_new_tokens=3), [0])
message = conversation["panes"][0]["messages"][-1]
for _ in stream:
    said.append(message.get("doing", ""))
    if sys.argv[1] == "stop" and " MB" in said[-1]:
        stream.close()
deadline = time.monotonic() + 60
while psutil.Process().children() and time.monotonic() < deadline:
    time.sleep(0.05)
left = len(psutil.Process().children())
print(json.dumps({"said": said, "now": message.get("doing"), "answer": message["content"], "left": left}))
"""


def send(hub: HubServer, what: str) -> dict:
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "CHAT_PRECISION": "fp32"}
    command = [sys.executable, "-c", SEND, what]
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def test_the_first_send_shows_the_download_and_a_stop_ends_it(tiny_base):
    with HubServer({DEFAULT_BASE: tiny_base}, delay=0.015) as hub:
        stopped = send(hub, "stop")
        assert any(f"Downloading {DEFAULT_BASE}: " in words for words in stopped["said"]) and not stopped["answer"]
        assert stopped["left"] == 0, "the download goes on behind the person's back"
        hub.delay = 0.0
        answered = send(hub, "all")
    assert answered["answer"] and answered["now"] is None
