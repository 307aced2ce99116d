"""Data sets through the real `datasets` library against a Hub on loopback: rows, streams, refusals, nobody's token."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from common.paths import REPOSITORY

COMMIT = "c" * 40
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
from trainer.data.reading import read_rows
for options in json.loads(sys.argv[1]):
    try:
        print(json.dumps(read_rows(**options)))
    except UserError as error:
        print(json.dumps(str(error)))
"""


class DatasetHub(BaseHTTPRequestHandler):
    """Serves the files in `folder` as the data set me/data; me/gated is gated, all else is not there."""

    protocol_version = "HTTP/1.1"
    folder: Path
    tokens_seen: list[str]

    def do_GET(self) -> None:
        self.tokens_seen += self.headers.get_all("Authorization") or []
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        is_api = parts[0] == "api"
        name, rest = "/".join(parts[1 + is_api : 3 + is_api]), parts[3 + is_api :]
        if name == "me/gated":
            return self._refuse(403, "GatedRepo")
        if name != "me/data":
            return self._refuse(404, "RepoNotFound")
        if len(rest) > 1 and rest[1] not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        if not is_api:
            return self._file(self.folder / "/".join(rest[2:]))
        if rest[:1] == ["tree"]:
            return self._json([self._entry(path) for path in sorted(self.folder.iterdir())])
        if rest[:1] == ["paths-info"]:
            length = int(self.headers.get("Content-Length", 0))
            wanted = self._paths(self.rfile.read(length).decode())
            return self._json([self._entry(self.folder / path) for path in wanted if (self.folder / path).is_file()])
        files = [{"rfilename": path.name, "size": path.stat().st_size} for path in sorted(self.folder.iterdir())]
        return self._json({"id": name, "sha": COMMIT, "siblings": files, "private": False, "tags": []})

    do_HEAD = do_POST = do_GET

    def _paths(self, body: str) -> list[str]:
        paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body).get("paths", [])
        return [paths] if isinstance(paths, str) else paths

    def _entry(self, path: Path) -> dict:
        oid = hashlib.sha1(path.read_bytes()).hexdigest()
        return {"type": "file", "oid": oid, "size": path.stat().st_size, "path": path.name}

    def _file(self, path: Path) -> None:
        if not path.is_file():
            return self._refuse(404, "EntryNotFound")
        content = path.read_bytes()
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = content[int(first) : int(last) + 1 if last else None]
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        if "Range" in self.headers:
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self._body(part)

    def _json(self, value) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self._body(json.dumps(value).encode())

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self._body(b"")

    def _body(self, content: bytes) -> None:
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *details) -> None:
        """Quiet."""


@pytest.fixture
def hub(tmp_path):
    """(url, tokens that were sent) of a Hub with one data set of two configurations."""
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "README.md").write_text(CARD)
    for name in ("en", "ko", "test"):
        rows = [{"prompt": f"{name} {number}", "completion": "A"} for number in range(20)]
        (tmp_path / "hub" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    handler = type("Handler", (DatasetHub,), {"folder": tmp_path / "hub", "tokens_seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler.tokens_seen
    server.shutdown()
    server.server_close()


def read(url: str, *options: dict, offline: str = "0") -> list:
    """What reading says, option by option, in a process of its own (the library reads HF_ENDPOINT once)."""
    environment = {**os.environ, "HF_ENDPOINT": url, "HF_HUB_OFFLINE": offline, "HF_TOKEN": "hf_secret"}
    command = [sys.executable, "-c", READ, json.dumps(options)]
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_data_set_gives_rows_or_a_sentence_with_the_names_to_choose_from(hub):
    url, tokens_seen = hub
    whole, streamed, split, no_config, wrong_config, wrong_split, gated, nothing, revision = read(
        url,
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
    assert "gated" in gated and "nor a public data set" in nothing and "no such revision" in revision
    assert not tokens_seen, "somebody's token went out"


def test_without_a_network_it_is_said_and_what_is_cached_is_read(hub):
    read(hub[0], {"data": "me/data", "config": "en"})
    for options in ({"data": "me/other"}, {"data": "me/data", "config": "en", "max_rows": 1}):
        assert "the Hub cannot be reached" in read("http://127.0.0.1:9", options)[0]
    (cached,) = read(hub[0], {"data": "me/data", "config": "en"}, offline="1")
    assert len(cached) == 20


LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 8))


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("README.md", f"---\n{LAUGHS}---\n", "YAML that repeats itself"),
        ("README.md", f"---\n{MERGES}---\n", "YAML that repeats itself"),
        (".huggingface.yaml", LAUGHS, "YAML that repeats itself"),
        ("README.md", f"---\na: {'[' * 500_000}\n---\n", "is nested deeply"),
        ("README.md", "---\na: {b: [\n---\n", "cannot be read"),
        ("README.md", f"---\n{CARD}{' ' * 1_100_000}", "README.md of 'me/data' has 1.1 MB"),
        (".huggingface.yaml", " " * 1_100_000, "has 1.1 MB"),
        ("dataset_infos.json", " " * 1_100_000, "has 1.1 MB"),
    ],
)
def test_a_hostile_card_is_refused_before_the_library_reads_it(hub, tmp_path, file, content, words):
    (tmp_path / "hub" / file).write_text(content)
    whole, streamed = read(hub[0], {"data": "me/data"}, {"data": "me/data", "config": "en", "max_rows": 1})
    assert words in whole and words in streamed


@pytest.fixture
def empty(hub, tmp_path):
    """The Hub's folder without a file in it."""
    for path in (tmp_path / "hub").iterdir():
        path.unlink()
    return tmp_path / "hub"


def test_a_loading_script_is_not_run(hub, empty, tmp_path):
    (empty / "data.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')\n")
    (answer,) = read(hub[0], {"data": "me/data"})
    assert "scripts are no longer supported" in answer and not (tmp_path / "owned").exists()


def test_an_archive_with_a_pickle_is_not_read(hub, empty):
    with tarfile.open(empty / "train.tar", "w") as archive:
        for name, content in (("0.pyd", b"cos\nsystem\n(S'true'\ntR."), ("0.json", b'{"text": "a"}')):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    for answer in read(hub[0], {"data": "me/data"}, {"data": "me/data", "max_rows": 1}):
        assert "would be read as webdataset" in answer and "json, csv, parquet, text, arrow" in answer


def test_a_data_set_that_is_too_large_asks_for_max_rows(hub, tmp_path):
    with open(tmp_path / "hub" / "large.bin", "wb") as file:
        file.truncate(10_000)
    code = f"from trainer.data import hub_data; hub_data.MOST_DOWNLOAD_BYTES = 9_000\n{READ}"
    environment = {**os.environ, "HF_ENDPOINT": hub[0], "HF_HUB_OFFLINE": "0"}
    options = json.dumps([{"data": "me/data", "config": "en"}, {"data": "me/data", "config": "en", "max_rows": 1}])
    result = subprocess.run(
        [sys.executable, "-c", code, options],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    refused, streamed = map(json.loads, result.stdout.splitlines())
    assert "Set max_rows" in refused and len(streamed) == 1


@pytest.mark.parametrize(
    "name", ["text", "json", "csv", "trainer/accelerate", "a/b/c", "../x", "owner/..", "/etc/passwd"]
)
def test_what_is_no_id_is_refused_before_the_library_takes_it_for_files_here(name):
    from common.errors import UserError
    from trainer.data.hub_data import check_id

    with pytest.raises(UserError, match="neither a file here nor a data set"):
        check_id(name)
    check_id("owner/name")


LAUNCH = """
import json, sys
from trainer.config import TrainConfig
from trainer.launcher import create_run
for options in json.loads(sys.argv[1]):
    config = create_run(TrainConfig(base="embedded", **options)).config()
    print(json.dumps(next(getattr(config, name) for name in (*options, "data_revision") if name.endswith("_revision"))))
"""


def revisions(url: str, *options: dict, offline: str = "0") -> list:
    """The data_revision that a launch writes into the run, in a process of its own."""
    environment = {**os.environ, "HF_ENDPOINT": url, "HF_HUB_OFFLINE": offline, "HF_TOKEN": "hf_secret"}
    command = [sys.executable, "-c", LAUNCH, json.dumps(options)]
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_launch_keeps_the_commit_that_the_data_set_has_now(hub, tmp_path):
    url, tokens_seen = hub
    (tmp_path / "rows").write_text("{}")
    data = ({"data": "me/data"}, {"data": "me/data", "data_revision": "main"}, {"data": "me/nothing"})
    files = ({"data": "example"}, {"data": str(tmp_path / "rows")}, {"data": "gone.jsonl"}, {"data": "not a name/x"})
    assert revisions(url, *data, *files) == [COMMIT, COMMIT, None, None, None, None, None]
    assert not tokens_seen, "somebody's token went out"


def test_a_launch_keeps_the_commits_of_the_text_and_of_the_held_out_rows_as_well(hub):
    open_ones = (
        {"text_data": "me/data", "text_data_revision": None},
        {"eval_data": "me/data", "eval_data_revision": None},
    )
    files = ({"text_data_revision": None}, {"eval_data_revision": "v1"})
    assert revisions(hub[0], *open_ones, *files) == [COMMIT, COMMIT, None, "v1"]


def test_a_launch_without_a_network_leaves_the_revision_open(hub):
    pinned = {"data": "me/data", "data_revision": "v1"}
    assert revisions("http://127.0.0.1:9", {"data": "me/data"}, pinned) == [None, "v1"]
    assert revisions(hub[0], {"data": "me/data"}, offline="1") == [None]
