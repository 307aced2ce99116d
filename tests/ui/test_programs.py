"""The endpoints for programs: what is shown of them, who calls them, and a training over them with Gradio's own client."""

import json
import socket
import time
from collections import Counter
from functools import partial

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from starlette.requests import Request

from common.paths import GUEST_PREFIX, adapters_folder, runs_folder
from evaluation.run import find_evaluation
from tests.adapters.conftest import hub, made  # noqa: F401
from tests.adapters.making import put
from tests.running import write_rows
from tests.ui.evaluations import put_adapter, put_evaluation
from ui import programs
from ui.guard import guarded
from ui.owner import BROWSER_COOKIE, MAX_REFUSED_TOKENS, owner_of, program_of
from ui.page import build

COOKIE = "c" * 32


def request_of(**headers: str) -> gr.Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return gr.Request(Request({"type": "http", "client": ("127.0.0.1", 1), "headers": raw}))


def test_programs_are_shown_what_is_for_them_and_nothing_else(page):
    shown = page.get_api_info(all_endpoints=True)
    assert set(shown["named_endpoints"]) == {f"/{name}" for name in programs.PUBLIC} and not shown["unnamed_endpoints"]
    for endpoint in shown["named_endpoints"].values():
        assert endpoint["description"].strip()
        names = [one["parameter_name"] for one in endpoint["parameters"]]
        assert "browser_key" not in names and not [name for name in names if name.startswith("param_")]
        assert all(one["type"] for one in endpoint["parameters"])


@pytest.fixture(scope="module")
def address():
    """The whole page behind its guard, in this process: it takes three seconds to build, and keeps nothing between calls."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = build().queue()
    page.launch(server_port=port, prevent_thread_lock=True, quiet=True, ssr_mode=False, app_kwargs=guarded("127.0.0.1"))
    yield f"http://127.0.0.1:{port}"
    page.close()


@pytest.fixture(scope="module")
def client(address):
    """Gradio's own client."""
    return Client(address, verbose=False)


def test_parameters_at_the_end_may_be_left_out_by_who_knows_no_defaults(client, tiny_base):
    """As curl calls: gradio_client fills in the defaults by itself."""
    address = f"{client.src.rstrip('/')}/gradio_api/call/check"
    started = httpx.post(
        address, json={"data": [{"base": str(tiny_base)}]}, headers=client.headers, cookies=client.cookies
    )
    answer = httpx.get(
        f"{address}/{started.json()['event_id']}", headers=client.headers, cookies=client.cookies, timeout=60
    )
    assert "event: complete" in answer.text and "held_out" in answer.text, answer.text[:300]


def test_a_program_trains_on_its_file_follows_the_run_and_takes_the_adapter(client, tiny_base, tmp_path, warm_starts):
    """Its settings are an object or YAML."""
    rows = [{"prompt": f"What is {n} + 1?", "completion": str(n + 1)} for n in range(40)]
    file = write_rows(tmp_path / "sums.jsonl", rows)
    config = {"base": str(tiny_base), "max_steps": 2, "name": "Sums", "max_length": 128, "sample_prompts": "Hi"}
    as_yaml = "".join(f"{name}: {value}\n" for name, value in config.items())
    for given in (config, as_yaml):
        report = client.predict(given, [handle_file(file)], api_name="/check")
        assert report["rows"] == 40 and not [one for one in report["findings"] if one["level"] == "stop"]
    run = client.predict(as_yaml, [handle_file(file)], api_name="/start")["run"]
    assert client.predict(api_name="/runs") == [run]
    deadline = time.monotonic() + 600
    while (state := client.predict(run, api_name="/status"))["status"] not in ("done", "failed"):
        assert time.monotonic() < deadline, state
        time.sleep(1)
    assert state["status"] == "done" and state["step"] == 2 and len(state["losses"]) == 2, state
    [adapter] = client.predict(api_name="/adapters")
    assert adapter["name"] == state["adapter"] and adapter["loss_after"] is not None
    [archive] = client.predict(adapter["name"], api_name="/export")
    with open(archive["path"] if isinstance(archive, dict) else archive, "rb") as exported:
        assert exported.read(2) == b"PK"


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("start", [{"nonsense": 1}], "nonsense"),
        ("start", ["a: [b"], "YAML"),
        ("start", [7], "neither an object nor YAML"),
        ("start", [{}, [{"path": "/etc/passwd"}]], "uploaded"),
        ("check", [{}, ["/etc/passwd"]], "not an uploaded file"),
        ("status", ["../x"], "not a valid name"),
        ("status", [""], "No run was named"),
        ("stop", ["unknown"], "There is no run"),
        ("export", ["unknown"], "There is no adapter"),
        ("evaluate", ["unknown"], "There is no adapter"),
        ("evaluate", ["", 5], "not an object"),
        ("evaluation", ["../x"], "not a valid name"),
        ("evaluation", ["unknown"], "There is no evaluation"),
        ("pull", [{"a": 1}], "not the name of a repository"),
    ],
)
def test_what_a_program_cannot_do_is_a_sentence_and_leaves_nothing(client, name, arguments, sentence):
    with pytest.raises((AppError, ValueError), match=sentence):
        client.predict(*arguments, api_name=f"/{name}")
    assert not runs_folder().is_dir() or not list(runs_folder().iterdir())


def test_on_a_space_a_program_is_the_account_of_its_token_or_the_guest_of_its_cookie(hub, monkeypatch):  # noqa: F811
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    assert program_of(None, request_of(x_hf_authorization=f"Bearer {hub.alice}")).owner == "user-alice"
    guest = program_of(None, request_of(cookie=f"{BROWSER_COOKIE}={COOKIE}")).owner
    assert guest == owner_of(COOKIE, None) and guest.startswith(GUEST_PREFIX)
    for headers in (
        {},
        {"cookie": f"{BROWSER_COOKIE}=../../user-alice"},
        {"x_hf_authorization": "Basic alice"},
        {"x_hf_authorization": "Bearer é"},
    ):
        with pytest.raises(Exception, match="does not know you"):
            program_of(None, request_of(**headers))
    with pytest.raises(Exception, match="does not accept this sign-in"):
        program_of(None, request_of(x_hf_authorization="Bearer hf_forged"))


def test_many_wrong_tokens_of_one_address_ask_the_hub_no_more(hub, monkeypatch):  # noqa: F811
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    monkeypatch.setattr("ui.owner.time.time", lambda: 60.0)
    monkeypatch.setattr("ui.owner._refused", Counter())
    for number in range(MAX_REFUSED_TOKENS):
        with pytest.raises(Exception, match="does not accept this sign-in"):
            program_of(None, request_of(x_hf_authorization=f"Bearer hf_forged{number}"))
    monkeypatch.setattr("ui.owner.account_of", None)  # nobody is asked
    with pytest.raises(Exception, match="Too many wrong tokens"):
        program_of(None, request_of(x_hf_authorization="Bearer hf_forged"))


def test_a_program_starts_an_evaluation_and_reads_its_table(monkeypatch):
    monkeypatch.setattr("evaluation.background.start_process", lambda *given: None)
    with pytest.raises(gr.Error, match="No adapter"):
        programs.evaluate()
    put_adapter()
    started = programs.evaluate(config={"test_sets": ["general"], "max_items": 5})
    config = find_evaluation(started["evaluation"]).config()
    assert config.candidates == ["base", "adapter:coach"] and config.test_sets == ["general"] and config.max_items == 5
    for wrong in ({"nonsense": 1}, {"scores": ["x"]}, {"candidates": ["adapter:../x"]}):
        with pytest.raises(gr.Error):
            programs.evaluate("coach", wrong)
    facts = programs.evaluation(put_evaluation().id)
    assert facts["status"] == "done" and [line["score"] for line in facts["table"]] == [
        "loss",
        "loss",
        "exact",
        "exact",
    ]
    assert facts["table"][1]["difference"]["verdict"] == "better" and facts["table"][1]["difference"]["n"] == 40


def test_on_a_space_no_program_evaluates_a_folder_of_the_server(hub, monkeypatch):  # noqa: F811
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    guest = request_of(cookie=f"{BROWSER_COOKIE}={COOKIE}")
    put_adapter(owner=program_of(None, guest).owner)
    for place in ("/etc", "../x", str(adapters_folder())):
        with pytest.raises(gr.Error, match="not a model ID"):
            programs.evaluate("coach", {"base": place}, request=guest)


def test_on_a_space_one_guest_sees_nothing_of_another(hub, made, monkeypatch):  # noqa: F811
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    mine, other = (request_of(cookie=f"{BROWSER_COOKIE}={letter * 32}") for letter in "ab")
    put("hers", made, program_of(None, mine).owner)
    assert [one["name"] for one in programs.adapters(None, mine)] == ["hers"] and programs.adapters(None, other) == []
    calls = [partial(call, "hers", request=other) for call in (programs.export, programs.push, programs.evaluate)]
    put_evaluation("first", program_of(None, mine).owner)
    with pytest.raises(gr.Error, match="There is no evaluation"):
        programs.evaluation("first", request=other)
    for call in calls:
        with pytest.raises(gr.Error, match="There is no adapter"):
            call()
    with pytest.raises(gr.Error, match="signed in"):
        programs.export("hers", "merged", request=mine)
    for place in ("/etc", "../x", str(adapters_folder())):
        with pytest.raises(gr.Error):
            programs.start(json.dumps({"base": place, "data": "example"}), request=mine)
