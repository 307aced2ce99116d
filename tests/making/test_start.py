"""Who may ask which teacher, where a key is and where not, and what a plan says."""

import json
import subprocess
import threading
import time
from dataclasses import replace

import psutil
import pytest

from common.errors import UserError
from common.files import write_json
from evaluation.background import delete_work, request_stop
from evaluation.experiments import facts
from evaluation.run import read_progress
from making import plan as planning
from making.config import MakingConfig
from making.made import find_made, list_made, read_rows
from making.plan import Price, plan
from making.start import resolve, resume, start
from tests.evaluation.test_run import make_adapter
from tests.making.making import document, made_set, run, seeds
from tests.teacher import teacher, wait_for

KEY = "key-of-a-person-4711"


@pytest.fixture(autouse=True)
def loopback_may_be_called(monkeypatch):
    """The Hub is off in tests; its client would call nobody at all then."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def launched(monkeypatch) -> list[dict]:
    """What would have been started, and what it was told through its standard input."""
    began: list[dict] = []
    real = subprocess.Popen

    class Told:
        """A process whose standard input is kept."""

        def __init__(self, command, stdin, **options) -> None:
            self.process, self.told = real(["sleep", "60"], stdin=subprocess.DEVNULL, start_new_session=True), b""
            self.pid, self.wait, self.stdin = self.process.pid, self.process.wait, self
            began.append({"command": command, "env": options["env"], "pipe": self})

        def write(self, text: bytes) -> None:
            self.told += text

        def __enter__(self):
            return self

        def __exit__(self, *details: object) -> None:
            pass

    monkeypatch.setattr(subprocess, "Popen", Told)
    yield began
    for one in began:
        one["pipe"].process.kill()
        one["pipe"].process.wait()


def config_of(tmp_path, **settings) -> MakingConfig:
    return MakingConfig.from_dict({"documents": [str(document(tmp_path))], "rows": 10, "model": "tiny", **settings})


def told(launched: list[dict]) -> dict:
    return json.loads(launched[-1]["pipe"].told)


def test_the_operators_server_gets_its_own_key_and_no_made_set_knows_its_address(tmp_path, monkeypatch, launched):
    monkeypatch.setenv("CHAT_SERVER_URL", "http://secret.internal:8000/v1")
    monkeypatch.setenv("CHAT_SERVER_TOKEN", "operators")
    made = start(config_of(tmp_path), "visitor", token="hf_visitor")
    assert told(launched) == {"url": "http://secret.internal:8000/v1", "key": "operators"}
    assert all("internal" not in file.read_text() for file in made.folder.iterdir())
    assert not {"CHAT_SERVER_URL", "CHAT_SERVER_TOKEN"} & {*launched[-1]["env"]}


def test_a_provider_gets_the_token_of_who_asks_and_never_another(tmp_path, monkeypatch, launched):
    monkeypatch.setenv("CHAT_SERVER_TOKEN", "operators")
    monkeypatch.setenv("HF_TOKEN", "hf_machine")
    config = config_of(tmp_path, teacher="provider:auto", model="owner/name")
    with pytest.raises(UserError, match="Hugging Face account"):
        start(config, "visitor")
    assert not list_made("visitor") and not launched
    start(config, "visitor", token="hf_visitor")
    assert told(launched) == {"url": "", "key": "hf_visitor"}
    assert "hf_machine" not in json.dumps(launched[-1]["env"]) and KEY not in str(launched[-1]["command"])


@pytest.mark.parametrize(("owner", "space"), [("visitor", ""), ("local", "owner/space"), ("guest-1", "owner/space")])
def test_nobody_but_who_owns_the_machine_names_a_server(tmp_path, monkeypatch, launched, owner, space):
    monkeypatch.setenv("SPACE_ID", space) if space else monkeypatch.delenv("SPACE_ID", raising=False)
    for url in ("http://169.254.169.254/latest", "http://127.0.0.1:1/v1"):
        with pytest.raises(UserError, match="owner of this machine"):
            start(config_of(tmp_path, server=url), owner, key=KEY)
    assert not launched


def test_a_title_does_not_tell_whether_a_file_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAT_SERVER_URL", "http://127.0.0.1:9/v1")
    for path in (document(tmp_path), tmp_path / "gone.txt"):
        config = MakingConfig(recipe="conversation", topics=[str(path)], model="tiny")
        assert resolve(config, "guest-1").title == str(path)[:100]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"server": "file:///etc/passwd"}, "not the address"),
        ({"server": "http://user:pass@host/v1"}, "not the address"),
        ({"server": "http://host/v1?key=1"}, "not the address"),
        ({"teacher": "provider:../x"}, "not a teacher"),
        ({"teacher": "provider:auto", "model": ""}, "Name the model"),
        ({"teacher": "provider:auto", "model": "http://169.254.169.254/latest"}, "not a model ID"),
        ({"teacher": "provider:hf-inference", "model": "https://internal/v1"}, "not a model ID"),
        ({"teacher": "local", "model": "adapter:../x"}, "not a valid name"),
        ({"teacher": "local", "model": "adapter:gone"}, "no adapter"),
        ({"documents": ["/nowhere/x.md"]}, "no document"),
        ({"rows": 0}, "too low"),
        ({"topics": ["x" * 501]}, "1 to 500"),
        ({"topics": ["half \ud800"]}, "Control characters"),
        ({"labels": ["good", "bad\x1b[2J"]}, "Control characters"),
        ({"documents": ["a\0b.md"]}, "Control characters"),
        ({"recipe": "poem"}, "not one of"),
        ({}, "no server that could be a teacher"),
    ],
)
def test_what_cannot_be_made_is_a_sentence_and_leaves_nothing(tmp_path, launched, settings, words):
    config = config_of(tmp_path, **settings)
    with pytest.raises(UserError, match=words):
        start(config)
    assert not launched and not list_made()
    if "documents" not in settings:
        assert plan(config).problems


def test_an_adapter_that_may_not_be_read_any_more_teaches_nothing(tmp_path, monkeypatch, launched):
    folder = make_adapter("mine")
    config = config_of(tmp_path, teacher="local", model="adapter:mine")
    made = start(config)
    made.process_file.unlink()
    write_json(folder / "studio.json", {"origin": {"kind": "pulled", "repo_id": "alice/private", "public": False}})
    monkeypatch.setenv("SPACE_ID", "me/space")  # where nobody answers for the repository here
    for again in (lambda: start(config), lambda: resume(made)):
        with pytest.raises(UserError, match="Hub"):
            again()
    assert len(launched) == 1


def test_limits_of_an_owner_hold(tmp_path, monkeypatch, launched):
    monkeypatch.setenv("CHAT_SERVER_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("STUDIO_MAX_MADE_SETS_PER_USER", "1")
    monkeypatch.setenv("STUDIO_MAX_KEPT_MADE_SETS", "2")
    monkeypatch.setenv("STUDIO_MAX_ROWS", "50")
    with pytest.raises(UserError, match="maximum on this machine is 50"):
        start(config_of(tmp_path, rows=51))
    made = start(config_of(tmp_path))
    with pytest.raises(UserError, match="under way"):
        start(config_of(tmp_path))
    with pytest.raises(UserError, match="already running"):
        resume(made)
    with pytest.raises(UserError, match="still running"):
        delete_work(made)
    start(config_of(tmp_path), "another")
    launched[0]["pipe"].process.kill()
    launched[0]["pipe"].process.wait()
    wait_for(lambda: not made.is_alive())
    assert read_progress(made).status == "interrupted"
    resume(made)
    made_set(config_of(tmp_path), "second")
    with pytest.raises(UserError, match="at most 2"):
        start(config_of(tmp_path))


def test_one_owner_finds_nothing_of_another(tmp_path):
    made_set(config_of(tmp_path), "mine", "one")
    assert find_made("mine", "one").id == "mine" and not list_made("two")
    for name in ("mine", "../one/mine", "mine.partial", ""):
        with pytest.raises(UserError):
            find_made(name, "two")


def test_a_process_makes_rows_and_its_key_is_nowhere(tmp_path):
    with teacher(lambda asked, number: "good" if number < 3 else "slow") as (server, url):
        made = start(config_of(tmp_path, server=url), key=KEY)
        wait_for(lambda: server.said.count("slow") == 4, 60)
        process = psutil.Process(json.loads(made.process_file.read_text())["process"]["pid"])
        assert KEY not in json.dumps([process.cmdline(), process.environ()]) and {*server.keys} == {KEY}
        request_stop(made)
        at = time.monotonic()
        wait_for(lambda: not read_progress(made).is_running)
        assert time.monotonic() - at < 2.5
    assert read_progress(made).status == "stopped" and len([*read_rows(made)]) == 3
    files = [file for file in made.folder.rglob("*") if file.is_file()]
    assert len(files) > 6 and all(KEY.encode() not in file.read_bytes() for file in files)
    wait_for(lambda: not made.is_alive())
    delete_work(made)
    assert not list_made() and not made.folder.exists()


def test_a_process_asks_for_as_many_rows_at_a_time_as_the_settings_allow(tmp_path):
    with teacher(pause=0.2) as (server, url):
        made = start(config_of(tmp_path, server=url, rows=32, parallel=32))
        wait_for(lambda: not read_progress(made).is_running, 60)
    assert (read_progress(made).status, len(server.asked)) == ("done", 32), read_progress(made).message


def test_a_plan_counts_requests_tokens_time_and_dollars(tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "_price", lambda provider, model, hour: Price(1.0, 3.0))
    config = config_of(tmp_path, teacher="provider:auto", model="owner/name", rows=100, licence="mit")
    found = plan(config)
    assert (found.requests, found.seconds, found.problems) == (100, None, [])
    assert 20_000 < found.tokens < 90_000 and 0.05 < found.dollars < 0.2
    assert "100 requests" in found.words and "$0." in found.words and "much alike" in found.words
    assert plan(replace(config, check_answers=True)).requests == 300
    assert "licence" in plan(replace(config, licence="")).words


def test_a_plan_knows_the_pace_of_a_teacher_from_its_last_made_set(tmp_path):
    with teacher(pause=0.05) as (_server, url):
        made = made_set(config_of(tmp_path))
        run(made, url)
        found = plan(config_of(tmp_path, server=url, rows=40))
    assert found.seconds > 40 * 0.05 / 4 and "about" in found.words and found.dollars is None


def test_a_seed_row_is_rewritten_once_and_the_plan_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAT_SERVER_URL", "http://127.0.0.1:9/v1")
    settings = {"recipe": "rewrite", "manner": "kindly", "seed_rows": str(seeds(tmp_path)), "model": "tiny"}
    found = plan(MakingConfig.from_dict(settings))
    assert found.requests == 6 and "only 6 rows to start from" in found.words


def test_no_more_than_two_plans_read_documents_at_a_time_whoever_types(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAT_SERVER_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr(facts, "CHECKS", threading.BoundedSemaphore(1))
    monkeypatch.setattr(facts, "MAX_WAIT_SECONDS", 0.01)
    config = config_of(tmp_path)
    with facts.CHECKS:
        assert "is being read at the moment" in plan(config).problems[0]
        assert not plan(MakingConfig(recipe="conversation", topics=["trees"], model="tiny")).problems
    assert not plan(config).problems


def test_paths_are_whole_for_a_process_that_works_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAT_SERVER_URL", "http://127.0.0.1:9/v1")
    document(tmp_path)
    seeds(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = resolve(MakingConfig(documents=["guide.txt"], seed_rows="seeds.jsonl", model="tiny"))
    assert found.documents == [str(tmp_path / "guide.txt")] and found.seed_rows == str(tmp_path / "seeds.jsonl")
    assert found.title == "guide"


def test_ten_thousand_passages_are_planned_in_seconds_and_never_in_memory(tmp_path):
    import tracemalloc

    from making.made import MadeSet
    from making.sources import count_units, requests_of

    made = MadeSet(tmp_path / "made")
    made.documents_folder.mkdir(parents=True)
    with open(made.documents_folder / "chunks.jsonl", "w") as file:
        for number in range(10_000):
            text = f"Passage {number}. " * 90
            chunk = {"document": "a", "start": number, "end": number + 1, "heading": "", "text": text, "page": 0}
            file.write(json.dumps(chunk) + "\n")
    config = config_of(tmp_path, rows=15_000)
    began = time.thread_time()
    tracemalloc.start()
    assert count_units(made, config) == 10_000
    places = [request.start for request in requests_of(made, config)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(places) == 15_000 and places[:10_000] == [*range(10_000)] and places[10_000:] == [*range(1, 10_000, 2)]
    assert peak < 5_000_000 and time.thread_time() - began < 10
