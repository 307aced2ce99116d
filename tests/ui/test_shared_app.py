"""The real app, shared by a tunnel that only its far end is made up of: what it prints, who gets in, and where the key lies."""

import os
import re
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from common.paths import REPOSITORY, home
from tests import fake_tunnel
from tests.browser.driving import MAX_WAIT_SECONDS, free_port
from ui.sharing import Who, new_key

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(isolated_home):
    port, tunnel = free_port(), free_port()
    found = {**os.environ, **fake_tunnel.install(isolated_home.parent / "hf"), "FAKE_TUNNEL_PORT": str(tunnel)}
    return {**found, "GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False", "HF_TOKEN": "hf_mine"}


@pytest.fixture
def started(environment):
    """`started()` is the log of the real app, shared, once it has printed its link, and its process."""
    processes = []

    def start():
        log, deadline = home() / "app.log", time.monotonic() + MAX_WAIT_SECONDS
        with open(log, "wb") as file:
            command = [sys.executable, "app.py", "--share"]
            process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=file, stderr=file)
        processes.append(process)
        while "another-key" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        return log, psutil.Process(process.pid)

    yield start
    for process in processes:
        for child in [*psutil.Process(process.pid).children(recursive=True), process]:
            child.kill()


def key_in(text: str) -> str:
    return re.search(r"\?key=([\w-]{43})\s", text)[1]


def cookie_for(address: str, key: str) -> dict[str, str]:
    answer = httpx.post(address, data={"key": key})
    assert answer.status_code == 303, answer.text
    return dict(answer.cookies)


def test_a_shared_app_lets_in_who_has_its_key_and_nobody_else(environment, started):
    from gradio_client import Client
    from gradio_client.exceptions import AuthenticationError

    log, app = started()
    words = log.read_text()
    assert re.findall(r"https?://\S+", words) == [f"https://{fake_tunnel.NAME}/?key={key_in(words)}"], "the one link"
    tunnel, here = (f"http://127.0.0.1:{environment[name]}" for name in ("FAKE_TUNNEL_PORT", "GRADIO_SERVER_PORT"))
    for address in (tunnel, here):
        with pytest.raises(AuthenticationError):
            Client(address, verbose=False)

    # a browser there, by the link; then a program with a key of its own
    by_hand = {"sec-fetch-dest": "document", "accept-language": "ko"}
    with httpx.Client(base_url=tunnel, headers=by_hand) as browser:
        answer = browser.get("/", params={"key": key_in(words)})
        assert answer.status_code == 303 and "secure" in answer.headers["set-cookie"].lower()
        cookies = dict(answer.cookies)
        page = browser.get("/", cookies=cookies).text
        assert "/assets/" in page and "amazonaws" not in page, "its scripts are the app's own"
    program = Client(tunnel, verbose=False, httpx_kwargs={"cookies": cookie_for(tunnel, new_key(Who.OWNER))})
    assert program.predict(api_name="/runs") == []
    # a guest's program: the same calls, and nothing of the machine
    guests = {"cookies": cookie_for(tunnel, new_key(Who.GUEST))}
    guest = Client(tunnel, verbose=False, httpx_kwargs=guests)
    assert guest.predict(api_name="/runs") == []
    with pytest.raises(Exception, match="not the ID of a dataset"):
        guest.predict({"data": str(REPOSITORY / "README.md")}, [], api_name="/check")
    # renewed
    command = [sys.executable, "app.py", "--new-key"]
    newest = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True).stdout
    assert f"https://{fake_tunnel.NAME}/?key=" in newest
    assert httpx.get(f"{tunnel}/config", cookies=cookies).status_code == 401
    assert httpx.post(tunnel, data={"key": key_in(words)}).status_code == 401
    owner = cookie_for(tunnel, key_in(newest))
    assert httpx.get(f"{tunnel}/config", cookies=owner).status_code == 200
    # where the keys are not
    keys = (key_in(newest), *cookies.values(), *owner.values())
    held = [text for one in (app, *app.children(recursive=True)) for text in (*one.cmdline(), *one.environ().values())]
    held += [file.read_text(errors="replace") for file in home().rglob("*") if file.is_file()]
    assert not any(key in text for key in keys for text in held)
    assert words.count(key_in(words)) == log.read_text().count(key_in(words)) == 1, (
        "printed once, and no address is logged"
    )


def test_without_the_internet_the_app_says_so_and_still_asks_for_its_key(environment, started):
    del environment["GRADIO_SHARE_SERVER_ADDRESS"]
    environment["HTTPS_PROXY"] = "http://127.0.0.1:1"
    words, here = started()[0].read_text(), f"http://127.0.0.1:{environment['GRADIO_SERVER_PORT']}/"
    assert "needs the internet" in words and f"{here}?key=" in words
    assert httpx.get(f"{here}config").status_code == 401
