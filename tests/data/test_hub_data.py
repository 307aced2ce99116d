"""Data sets through the real `datasets` library against a Hub on loopback: rows, streams, refusals, nobody's token."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile

import pytest

from common.errors import UserError
from common.paths import REPOSITORY
from data.hub_data import _explained, check_id
from tests.hub_server import HubServer

CARD = """---
configs:
- config_name: en
  data_files: [{split: train, path: en.jsonl}, {split: test, path: test.jsonl}]
- config_name: ko
  data_files: [{split: train, path: ko.jsonl}]
---
"""
READ = """
import json, sys
from common.errors import UserError
from data.reading import read_rows
for options in json.loads(sys.argv[1]):
    try:
        print(json.dumps(read_rows(**options)))
    except UserError as error:
        print(json.dumps(str(error)))
"""
MAKE = """
import json, sys
from data.settings import DataSettings
from data.test_set_intake import make_test_set
for options in json.loads(sys.argv[1]):
    one = make_test_set(DataSettings(**options), "Mine")
    print(json.dumps([one.source, one.revision, one.rows, next(one.items())["messages"][0]["content"]]))
"""


@pytest.fixture
def hub():
    """A Hub with one data set of two configurations, and one that is gated."""
    files = {"README.md": CARD.encode()}
    for name in ("en", "ko", "test"):
        rows = [{"prompt": f"{name} {number}", "completion": "A"} for number in range(20)]
        files[f"{name}.jsonl"] = "\n".join(map(json.dumps, rows)).encode()
    with HubServer() as server:
        server.add("me/data", files)
        server.add("me/gated", files, gated=True)
        yield server


def read(url: str, *options: dict, offline: str = "0", code: str = READ) -> list:
    """What reading says, option by option, in a process of its own (the library reads HF_ENDPOINT once)."""
    environment = {**os.environ, "HF_ENDPOINT": url, "HF_HUB_OFFLINE": offline, "HF_TOKEN": "hf_secret"}
    command = [sys.executable, "-c", code, json.dumps(options)]
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_split_becomes_a_test_set_that_says_of_which_commit_it_is(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path))
    place = {"data_config": "en", "data_split": "test"}
    plain, pinned = read(hub.url, {"data": "me/data", **place}, {"data": "me/data@main", **place}, code=MAKE)
    commit = plain[1]
    assert re.fullmatch("[0-9a-f]{40}", commit) and plain == pinned == ["me/data", commit, 20, "test 0"]


def test_a_data_set_gives_rows_or_a_sentence_with_the_names_to_choose_from(hub):
    whole, streamed, split, no_config, wrong_config, wrong_split, gated, nothing, revision = read(
        hub.url,
        {"data": "me/data", "config": "en"},
        {"data": "me/data", "config": "ko", "max_rows": 3},
        {"data": "me/data", "config": "en", "split": "test", "max_rows": 1},
        {"data": "me/data"},
        {"data": "me/data", "config": "fr"},
        {"data": "me/data", "config": "en", "split": "dev", "max_rows": 1},
        {"data": "me/gated"},
        {"data": "me/nothing"},
        {"data": "me/data", "config": "en", "revision": "v9"},
    )
    assert len(whole) == 20 and whole[0] == {"prompt": "en 0", "completion": "A"}
    assert [row["prompt"] for row in streamed] == ["ko 0", "ko 1", "ko 2"]
    assert split == [{"prompt": "test 0", "completion": "A"}]
    assert "data_config to one of: en, ko" in no_config and "data_config to one of: en, ko" in wrong_config
    assert "no split 'dev'" in wrong_split and "train, test" in wrong_split
    assert "gated" in gated and "nor a public dataset" in nothing and "no such revision" in revision
    assert not any(hub.seen_tokens), "somebody's token went out"


@pytest.mark.parametrize(
    ("words", "config", "told"),
    [
        ("BuilderConfig 'x' not found. Available: ['en', 'ko']", "x", "Set data_config to one of: en, ko."),
        ("Config name is missing.\nPlease pick one among: ['a', 'b']", None, "several configurations.*a, b"),
        ("Unknown split \"x\". Should be one of ['train', 'test'].", None, "no split 'x'. .* one of: train, test"),
        ("Bad split: x. Available splits: ['train']", None, "no split 'x'. Set data_split to one of: train"),
    ],
)
def test_what_a_data_set_lacks_comes_with_what_it_has(words, config, told):
    assert re.search(told, str(_explained("a/b", config, "x", words)))


def test_without_a_network_it_is_said_and_what_is_cached_is_read(hub):
    read(hub.url, {"data": "me/data", "config": "en"})
    cached = {"data": "me/data", "config": "en"}
    other, some = read("http://127.0.0.1:9", {"data": "me/other"}, {**cached, "max_rows": 1})
    assert "the Hugging Face Hub cannot be reached" in other and len(some) == 1
    assert len(read(hub.url, cached, offline="1")[0]) == 20


LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 8))


HOSTILE_CARDS = [
    ("README.md", f"---\n{LAUGHS}---\n", "repeats itself"),
    ("README.md", f"---\n{MERGES}---\n", "repeats itself"),
    (".huggingface.yaml", LAUGHS, "repeats itself"),
    ("README.md", f"---\na: {'[' * 500_000}\n---\n", "nested too deeply"),
    ("README.md", "---\na: {b: [\n---\n", "cannot be read"),
    ("README.md", f"---\n{CARD}{' ' * 1_100_000}", "README.md of 'me/data-5' is too large: 1.1 MB"),
    (".huggingface.yaml", " " * 1_100_000, "is too large: 1.1 MB"),
    ("dataset_infos.json", " " * 1_100_000, "is too large: 1.1 MB"),
]


def test_a_hostile_card_is_refused_before_the_library_reads_it(hub):
    options = []
    for number, (file, content, _words) in enumerate(HOSTILE_CARDS):
        hub.add(f"me/data-{number}", {**hub.repositories["me/data"].files, file: content.encode()})
        options += [{"data": f"me/data-{number}"}, {"data": f"me/data-{number}", "config": "en", "max_rows": 1}]
    told = read(hub.url, *options)
    for (_file, _content, words), whole, streamed in zip(HOSTILE_CARDS, told[::2], told[1::2], strict=True):
        assert words in whole and words in streamed


def test_a_loading_script_is_not_run(hub, tmp_path):
    hub.add("me/data", {"data.py": f"open({str(tmp_path / 'owned')!r}, 'w')\n".encode()})
    (answer,) = read(hub.url, {"data": "me/data"})
    assert "scripts are no longer supported" in answer and not (tmp_path / "owned").exists()


def test_an_archive_with_a_pickle_is_not_read(hub, tmp_path):
    with tarfile.open(tmp_path / "train.tar", "w") as archive:
        for name, content in (("0.pyd", b"cos\nsystem\n(S'true'\ntR."), ("0.json", b'{"text": "a"}')):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    hub.add("me/data", {"train.tar": tmp_path / "train.tar"})
    for answer in read(hub.url, {"data": "me/data"}, {"data": "me/data", "max_rows": 1}):
        assert "would be read as webdataset" in answer and "json, csv, parquet, text, arrow" in answer


def test_a_data_set_that_is_too_large_asks_for_max_rows(hub):
    hub.add("me/data", {**hub.repositories["me/data"].files, "large.bin": bytes(10_000)})
    code = f"from data import hub_data; hub_data.MAX_DOWNLOAD_BYTES = 9_000\n{READ}"
    whole = {"data": "me/data", "config": "en"}
    refused, streamed = read(hub.url, whole, {**whole, "max_rows": 1}, code=code)
    assert "Set max_rows" in refused and len(streamed) == 1


SAMPLE = """
import json, sys
from data import reading
for above, options in json.loads(sys.argv[1]):
    reading.STREAM_ABOVE_BYTES = above
    source = reading.read_source(**options)
    print(json.dumps([[[number, row["prompt"]] for number, row in source.numbered], source.notes]))
"""


def test_some_rows_are_a_sample_of_all_and_of_a_large_data_set_of_its_beginning(hub):
    options = {"data": "me/data", "config": "en", "max_rows": 5, "seed": 1}
    (rows, notes), again, (streamed, said) = read(
        hub.url, [10**6, options], [10**6, options], [0, options], code=SAMPLE
    )
    assert len(rows) == 5 and [rows, notes] == again and rows == streamed
    assert all(prompt == f"en {number - 1}" for number, prompt in rows + streamed) and len(streamed) == 5
    assert notes == said == ["5 of 20 rows of me/data are read, picked at random by the seed (max_rows)."]


@pytest.mark.parametrize("name", ["text", "json", "csv", "runs/machines", "a/b/c", "../x", "owner/..", "/etc/passwd"])
def test_what_is_no_id_is_refused_before_the_library_takes_it_for_files_here(name):
    with pytest.raises(UserError, match="neither a file here nor the ID of a dataset"):
        check_id(name)
    check_id("owner/name")


LAUNCH = """
import json, sys
from runs.config import TrainConfig
from runs.launcher import create_run
for options in json.loads(sys.argv[1]):
    config = create_run(TrainConfig(base="embedded", **options)).config()
    name = next(name for name in (*options, "data_revision") if name.endswith("_revision"))
    print(json.dumps(config.data if "," in config.data else getattr(config, name)))
"""


def test_a_launch_keeps_the_commits_that_data_text_and_held_out_rows_have_now(hub, tmp_path):
    (tmp_path / "rows").write_text("{}")
    pinned = [{"data": "me/data"}, {"data": "me/data", "data_revision": "main"}]
    pinned += [{f"{field}_data": "me/data", f"{field}_data_revision": None} for field in ("text", "eval")]
    places = ("me/nothing", "example", str(tmp_path / "rows"), "gone.jsonl", "not a name/x")
    others = [{"data": place} for place in places] + [{"text_data_revision": None}]
    mixed = {"data": "me/data@main:0.5, example:0.2, me/nothing@v1:0.3"}
    found = read(hub.url, *pinned, *others, {"eval_data_revision": "v1"}, {"data": "me/data@main"}, mixed, code=LAUNCH)
    commit = hub.commit("me/data")
    assert found[:-2] == [commit] * len(pinned) + [None] * len(others) + ["v1"]
    assert found[-2:] == [commit, f"me/data@{commit}:0.5, example:0.2, me/nothing@v1:0.3"]
    assert not any(hub.seen_tokens), "somebody's token went out"


def test_a_launch_without_a_network_leaves_the_revision_open(hub):
    pinned = {"data": "me/data", "data_revision": "v1"}
    assert read("http://127.0.0.1:9", {"data": "me/data"}, pinned, code=LAUNCH) == [None, "v1"]
    assert read(hub.url, {"data": "me/data"}, offline="1", code=LAUNCH) == [None]
