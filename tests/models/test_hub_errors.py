"""Why a download failed, in the real downloading process against loopback; and what of this process's client a child is told."""

import errno
import json
import os
import socket
import ssl
import subprocess
import sys
import threading

import pytest

from common.errors import UserError
from common.language import unpacked
from common.paths import REPOSITORY
from models.base import choose_base, fetch_base
from models.hub.errors import child_environment, client_environment, explain
from models.hub.fetch import download
from tests.adapters.conftest import hub  # noqa: F401
from tests.hub_server import HubServer


def failed(**variables: str) -> str:
    """What the downloading process says of a download that fails."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    command = [sys.executable, "-m", "models.hub.fetch", "tests/base", "main", '["*"]']
    result = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**kept, "HF_HUB_OFFLINE": "0", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1 and "Traceback" not in result.stderr
    return " ".join(map(str, unpacked(json.loads(result.stdout.splitlines()[-1])["error"])))


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        ({"HF_ENDPOINT": "http://127.0.0.1:PORT"}, "Nothing answers at 127.0.0.1:PORT"),
        ({"HF_ENDPOINT": "https://hub.invalid"}, "The name hub.invalid was not found (DNS)"),
    ],
    ids=["offline", "nothing answers", "unknown name"],
)
def test_a_download_that_cannot_reach_the_hub_says_why(variables, words):
    port = str(closed_port())
    said = failed(**{name: value.replace("PORT", port) for name, value in variables.items()})
    assert words.replace("PORT", port) in said


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_download_through_a_dead_proxy_names_the_proxy_without_its_password(scheme):
    port = closed_port()
    proxy = {f"{scheme}_proxy": f"http://me:hunter2@127.0.0.1:{port}"}
    said = failed(HF_ENDPOINT=f"{scheme}://hub.invalid", **proxy)
    assert f"through the proxy 127.0.0.1. Nothing answers at 127.0.0.1:{port}" in said and "HTTPS_PROXY" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "tests/base is not open to everybody (401)"),
        (403, "tests/base is not open to everybody (403)"),
        (404, "found nothing there (404)"),
        (429, "Too many requests to the Hugging Face Hub. Try again in 0 seconds"),
        (500, "The Hugging Face Hub reported an error (500)"),
        (503, "The Hugging Face Hub reported an error (503)"),
    ],
)
def test_a_download_that_the_hub_refuses_says_how(tiny_base, status, words):
    with HubServer({"tests/base": tiny_base}) as server:
        server.fail("GET", "/api/models", status, times=99, headers={"Retry-After": "0"})
        assert words in failed(HF_ENDPOINT=server.url)


def test_a_download_of_what_is_gated_or_not_there_says_which(tiny_base):
    with HubServer({"tests/base": tiny_base}, gated={"tests/base"}) as server:
        assert "tests/base is gated. Accept its terms" in failed(HF_ENDPOINT=server.url)
    with HubServer() as server:
        assert "There is no 'tests/base' on the Hugging Face Hub" in failed(HF_ENDPOINT=server.url)


def test_a_hub_that_takes_the_call_and_says_nothing_is_not_waited_for(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("models.base.HUB_TIMEOUT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(UserError, match=r"127\.0\.0\.1 did not answer in time"):
            choose_base("tests/base")


def test_a_hub_that_hangs_up_has_broken_the_connection(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: [server.accept()[0].close() for _ in range(9)], daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(UserError, match=r"Hub\. The connection broke"):
            choose_base("tests/base")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (RuntimeError("Data processing error: I/O error: No space left on device (os error 28)"), "The disk is full"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/cache/hub"),
            "No permission to write to the download folder",
        ),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "There is no network"),
        (ssl.SSLCertVerificationError("self-signed"), "The certificate of huggingface.co is not accepted"),
        (RuntimeError("request error: dns error: failed to lookup address"), "was not found (DNS)"),
        (RuntimeError("a new word\nand more"), "The connection broke (RuntimeError: a new word)"),
        (RuntimeError("got https://x/y?sig=1 in /data/z with hf_abc"), "(RuntimeError: got ... in ... with ...)"),
    ],
)
def test_what_the_machine_itself_does_not_allow_is_said(error, words):
    wrapped = RuntimeError("the library's own words")
    wrapped.__cause__ = error
    assert words in str(explain(error, "tests/base"))
    assert words in str(explain(wrapped, "tests/base"))


def test_the_reason_of_the_downloading_process_reaches_whoever_asked(hub):  # noqa: F811
    """The list of files comes, the files do not: the reason is found in the child."""
    hub.fail("GET", "/resolve/", 403, times=99)
    hub.fail("HEAD", "/resolve/", 403, times=99)
    with pytest.raises(UserError, match=r"tests/tiny-base is not open to everybody \(403\).*Complete files are kept"):
        download("tests/tiny-base", None, ["*"], lambda what, fraction: None)


def test_a_downloading_process_that_dies_is_no_riddle(hub, monkeypatch):  # noqa: F811
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match=r"was interrupted \(no reason given\)"):
        download("tests/tiny-base", None, ["*"], lambda what, fraction: None)


def test_children_use_the_endpoint_and_the_cache_of_this_process(hub):  # noqa: F811
    """`hub` changes only the client of this process; the variables of the environment still say that it is offline."""
    from huggingface_hub import constants

    folder = fetch_base(choose_base("tests/tiny-base"))
    assert str(folder).startswith(constants.HF_HUB_CACHE) and (folder / "model.safetensors").is_file()
    wanted = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_CACHE": constants.HF_HUB_CACHE}
    assert wanted.items() <= child_environment().items(), "the training process"


def test_a_child_reads_what_this_process_was_told(monkeypatch):
    """Every variable is one that huggingface_hub really reads, and reads as it was meant."""
    from huggingface_hub import constants

    told = {"ENDPOINT": "http://mirror.invalid", "HF_HUB_OFFLINE": True, "HF_HUB_DISABLE_XET": True}
    told |= {"HF_HOME": "/a", "HF_HUB_CACHE": "/b", "HF_XET_CACHE": "/c"}
    told |= {"HF_HUB_ETAG_TIMEOUT": 3, "HF_HUB_DOWNLOAD_TIMEOUT": 4, "HF_HUB_DISABLE_TELEMETRY": True}
    for name, value in told.items():
        monkeypatch.setattr(constants, name, value)
    code = f"import json; from huggingface_hub import constants as c; print(json.dumps({{n: getattr(c, n) for n in {[*told]}}}))"
    child = subprocess.run(
        [sys.executable, "-c", code], env=client_environment(), capture_output=True, text=True, check=True
    )
    assert json.loads(child.stdout) == told
