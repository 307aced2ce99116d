"""A bundle: what a stranger needs for every cell, nothing of this machine; and one from elsewhere, which nobody has to trust."""

import json
import socket
import stat
import zipfile
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import pytest

from common.errors import UserError
from common.files import write_json, write_text
from common.paths import REPOSITORY, experiments_folder, home
from evaluation.experiments import bundle as bundles
from evaluation.experiments.arms import arms_of
from evaluation.experiments.bundle import check_against, open_bundle, rerun, write_bundle
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.opening import MAX_JSON_BYTES
from evaluation.experiments.table import Entry

TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrSt"
ROWS = {"train": "Train.", "train-2": "Made.", "validation": "Choose.", "held-out": "Ask."}
ENTRIES = [
    Entry("base", "exam", "exact", 0.5, 0.4, 0.6, 0, 40, False, True, [0.5]),
    Entry("lora-r4-dataset-made-jsonl", "exam", "exact", 0.7, 0.6, 0.8, 2, 40, True, False, [0.65, 0.75]),
]


def line(text: str) -> str:
    return json.dumps({"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}]}) + "\n"


@pytest.fixture
def experiment(tmp_path, monkeypatch) -> Experiment:
    """One that is done, on two files of this machine and a test set of its owner; a token stands in its title."""
    monkeypatch.setattr(socket, "gethostname", lambda: "lab-box-7")
    found = Experiment(experiments_folder() / "grid")
    found.data_folder.mkdir(parents=True)
    found.items_folder.mkdir(parents=True)
    data = {str(tmp_path / "rows.jsonl"): "train", str(tmp_path / "made.jsonl"): "train-2"}
    config = ExperimentConfig.from_dict(
        {
            "title": f"Mine {TOKEN}",
            "settings": {"base": "embedded", "test_sets": "general, secret-set", "num_train_epochs": 1},
            "vary": {"lora_r": [4, 16], "data": [*data]},
            "arms": [{"method": "none"}],
            "seeds": [1, 2],
            "rates": [1e-4, 1e-3],
            "test_sets": ["exam"],
        }
    )
    write_text(found.config_file, config.to_yaml())
    files = {}
    for name, text in ROWS.items():
        (found.data_folder / f"{name}.jsonl").write_text(line(text))
        digest = sha256(line(text).encode()).hexdigest()
        files[name] = {"file": f"{name}.jsonl", "rows": 1, "fingerprint": digest}
    split = {"train": {place: files[name] for place, name in data.items()}, "texts": {}, "left_out": 0, "notes": []}
    write_json(found.split_file, split | {"validation": files["validation"], "held_out": files["held-out"]})
    item = {"number": 1, "messages": [{"role": "user", "content": "?"}], "answer": "!"}
    (found.items_folder / "exam.jsonl").write_text(json.dumps(item) + "\n")
    found.asked.shots_file.write_text(json.dumps({"messages": item["messages"], "answer": "!"}) + "\n")
    asked = {"title": "Exam", "kind": "conversations", "labels": [], "fingerprint": "f", "dataset": "", "revision": ""}
    asked |= {"rows": 1, "asked": 1, "exact": 0, "near": 0, "shots": []}
    versions = {"base": "", "base_revision": "", "adapters": {}, "unknown_data": [], "seed": 0}
    write_json(found.versions_file, versions | {"packages": {"torch": "0.1"}, "test_sets": {"exam": asked}})
    searches = {arm.id: {"losses": {"0.0001": 2.0}, "chosen": 1e-4} for arm in arms_of(config) if arm.is_trained}
    write_json(found.rates_file, searches)
    found.results_folder.mkdir()
    (found.results_folder / "methods.md").write_text(f"Trained on {socket.gethostname()} in {home()}.\n")
    monkeypatch.setattr(bundles, "read_entries", lambda experiment: ENTRIES)
    return found


@pytest.fixture
def started(monkeypatch) -> list:
    """What `rerun` started: settings, owner, and the files that were prepared for it."""
    calls = []

    def start(config, owner, prepared):
        files = {file.relative_to(prepared).as_posix(): file.read_bytes() for file in prepared.rglob("*.json*")}
        calls.append((config, owner, files))
        return Experiment(experiments_folder(owner) / "again")

    monkeypatch.setattr(bundles, "start", start)
    return calls


def contents(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}


def test_a_bundle_makes_the_same_arms_with_the_found_rates_on_the_very_rows_and_questions(
    experiment, started, tmp_path
):
    file = write_bundle(experiment, tmp_path / "out")
    assert rerun(file, "somebody").id == "again"
    config, owner, files = started[0]
    before = arms_of(experiment.config())
    assert owner == "somebody" and [arm.id for arm in arms_of(config)] == [arm.id for arm in before]
    assert config.found_rates == {arm.id: 1e-4 for arm in before if arm.is_trained} and config.seeds == [1, 2]
    for after, arm in zip(arms_of(config), before, strict=True):
        own = {name: value for name, value in arm.settings.items() if name not in ("data", "test_sets")}
        assert after.settings.items() >= own.items() and after.settings.get("test_sets", "general") == "general"
    split = json.loads(files["data/split.json"])
    assert {arm.settings["data"] for arm in arms_of(config) if arm.is_trained} == {*split["train"]}
    assert {name: files[f"data/{name}.jsonl"].decode() for name in ROWS} == {
        one: line(text) for one, text in ROWS.items()
    }
    assert files["asked/items/exam.jsonl"] == (experiment.items_folder / "exam.jsonl").read_bytes()
    assert json.loads(files["asked/versions.json"])["packages"]["torch"] != "0.1", "the packages of who runs it again"
    assert [folder.name for folder in experiments_folder("somebody").iterdir()] == [], "nothing is left of the zip"


def test_a_bundle_tells_no_path_no_token_and_no_name_of_this_machine(experiment, tmp_path):
    found = contents(write_bundle(experiment, tmp_path / "out"))
    text = b"\n".join(found.values()).decode()
    for secret in (TOKEN, "lab-box-7", str(tmp_path), str(home()), str(REPOSITORY), "secret-set", "/tmp/"):
        assert secret not in text, secret
    assert "rerun grid.zip" in found["README.md"].decode() and "torch" in found["versions.json"].decode()
    assert "Trained on <host> in <studio>." in found["results/methods.md"].decode()


def test_without_its_data_a_bundle_holds_no_row_and_is_not_run_again(experiment, started, tmp_path):
    file = write_bundle(experiment, tmp_path / "out", include_data=False)
    assert not [name for name in contents(file) if name.endswith(".jsonl")]
    assert open_bundle(file).seeds == [1, 2] and b"fingerprint" in contents(file)["data/split.json"]
    with pytest.raises(UserError, match="The rows are not in the bundle"):
        rerun(file)
    assert not started


def test_before_its_first_score_there_is_no_bundle(experiment, monkeypatch, tmp_path):
    monkeypatch.setattr(bundles, "read_entries", lambda experiment: [])
    with pytest.raises(UserError, match="No cell of 'grid' is evaluated yet"):
        write_bundle(experiment, tmp_path)


@pytest.mark.parametrize(
    ("values", "is_inside", "is_equal"),
    [([0.65, 0.75], True, True), ([0.75, 0.65], True, False), ([0.6, 0.6], True, False), ([0.9, 0.8], False, False)],
)
def test_each_cell_is_held_against_its_interval(experiment, monkeypatch, tmp_path, values, is_inside, is_equal):
    file = write_bundle(experiment, tmp_path)
    again = [replace(ENTRIES[1], values=values, mean=sum(values) / 2)]
    monkeypatch.setattr(bundles, "read_entries", lambda experiment: again)
    missing, check = check_against(file, experiment)
    assert (check.arm, check.again) == (ENTRIES[1].arm, sum(values) / 2)
    assert (check.is_inside, check.is_equal) == (is_inside, is_equal)
    assert missing.again is None and not missing.is_inside and not missing.is_equal


def changed(file: Path, changes: dict[str, str | bytes | None]) -> Path:
    """The bundle with other contents of some files; None leaves one out."""
    found, made = contents(file), file.with_name("changed.zip")
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**found, **changes}.items():
            if content is not None:
                archive.writestr(f"x/{name}", content)
    return made


SPLIT, VERSIONS, SETTINGS, ITEMS = "data/split.json", "asked/versions.json", "experiment.yaml", "asked/items/exam.jsonl"
HOSTILE = {  # what is in the place of what, in which file of the bundle; and what is said
    "a row that is another one": ("data/train.jsonl", line("Poison."), "split.json"),
    "a file of rows elsewhere": (SPLIT, ('"file": "', '"file": "../'), "split.json"),
    "an absolute path": (SPLIT, ('"train.jsonl"', '"/etc/passwd"'), "split.json"),
    "no split": (SPLIT, "[]", "split.json"),
    "no JSON": (SPLIT, "{", "split.json"),
    "rows of no arm": (SETTINGS, ("made.jsonl", "gone.jsonl"), "split.json"),
    "settings that are none": (SETTINGS, "a: 1", "Unknown settings"),
    "settings of the server": (SETTINGS, ("lora_r: 4", "accelerate_config: /etc/x"), "decides this by itself"),
    "settings that are no text": (SETTINGS, b"\xff\xfe\x00", "damaged"),
    "endless settings": (SETTINGS, "a" * 200_000, "too large"),
    "endless JSON": (VERSIONS, " " * (MAX_JSON_BYTES + 1), "too large"),
    "a question that is none": (ITEMS, '{"number": "1", "answer": "!"}\n', "versions.json"),
    "no questions": (ITEMS, None, "versions.json"),
    "examples that are none": ("asked/items/shots.jsonl", '{"messages": "?", "answer": "!"}\n', "versions.json"),
    "a question nested without end": (ITEMS, '{"number": ' + "[" * 99_999, "versions.json"),
    "more rows than there are": (SPLIT, ('"rows": 1', '"rows": 999999999999'), "split.json"),
    # it grows while it is written again, and would not be read then
    "a split that grows": (SPLIT, ('"notes": []', f'"notes": [{",".join([chr(34) * 2] * 150_000)}]'), "split.json"),
    "a list of questions that grows": (
        VERSIONS,
        ('"labels": []', f'"labels": [{",".join([chr(34) * 2] * 150_000)}]'),
        "versions",
    ),
    "a test set elsewhere": (VERSIONS, ('"exam"', '"../exam"'), "versions.json"),
    "counts that are none": (VERSIONS, ('"asked": 1', '"asked": "1"'), "versions.json"),
    "two bundles": ("y/experiment.yaml", "", "not a bundle"),
    "no bundle": (SETTINGS, None, "not a bundle"),
    "a path that leads outside": ("../../outside", "", "leads outside"),
}


@pytest.mark.parametrize(("name", "change", "words"), HOSTILE.values(), ids=HOSTILE)
def test_a_strangers_bundle_is_refused_and_leaves_nothing(experiment, started, tmp_path, name, change, words):
    file = write_bundle(experiment, tmp_path / "out")
    if isinstance(change, tuple):
        before, change = contents(file)[name].decode(), contents(file)[name].decode().replace(*change)
        assert change != before
    with pytest.raises(UserError, match=words):
        rerun(changed(file, {name: change}), "somebody")
    assert not started and [*experiments_folder("somebody").iterdir()] == []


def test_a_link_in_a_bundle_is_refused(experiment, tmp_path):
    file = write_bundle(experiment, tmp_path / "out")
    with zipfile.ZipFile(file, "a") as archive:
        link = zipfile.ZipInfo("grid/data/train-3.jsonl")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="is a link"):
        rerun(file)


def test_a_line_that_takes_gigabytes_of_memory_is_not_parsed(experiment, started, monkeypatch, tmp_path):
    file = write_bundle(experiment, tmp_path / "out")
    monkeypatch.setattr("evaluation.experiments.opening.MAX_LINE_BYTES", 20)
    with pytest.raises(UserError, match="damaged"):
        rerun(file)
    assert not started


def test_a_small_zip_that_says_to_be_gigabytes_is_refused_before_it_is_written(
    experiment, started, monkeypatch, tmp_path
):
    file = write_bundle(experiment, tmp_path / "out")
    monkeypatch.setattr("evaluation.experiments.opening.MAX_BYTES", 10_000)
    with pytest.raises(UserError, match="'data' in the bundle is too large"):
        rerun(changed(file, {"data/train-3.jsonl": "[]" * 500_000}))
    assert not started and [*experiments_folder().glob(".bundle-*")] == []


def test_of_one_who_may_start_none_no_bundle_is_unpacked(experiment, monkeypatch, tmp_path):
    file = write_bundle(experiment, tmp_path / "out")
    monkeypatch.setenv("STUDIO_MAX_KEPT_EXPERIMENTS", "1")
    monkeypatch.setattr("evaluation.experiments.opening.Bundle.unpack", lambda *given: pytest.fail("unpacked"))
    with pytest.raises(UserError, match="at most 1"):
        rerun(file)


def test_rows_beyond_the_limit_are_refused_before_they_are_written(experiment, started, monkeypatch, tmp_path):
    file = write_bundle(experiment, tmp_path / "out")
    monkeypatch.setattr("evaluation.experiments.opening.MAX_ROWS_BYTES", 100)
    with pytest.raises(UserError, match="too large"):
        rerun(file)
    monkeypatch.undo()


@pytest.mark.parametrize(
    "entries",
    [
        {},
        [1],
        [{"arm": "base"}],
        [{**asdict(ENTRIES[0]), "arm": "<" * 10_000}],
        [{**asdict(ENTRIES[0]), "mean": "x"}],
        [{**asdict(ENTRIES[0]), "arm": ["base"]}],
    ],
)
def test_scores_that_are_none_are_no_bug(experiment, tmp_path, entries):
    file = write_bundle(experiment, tmp_path / "out")
    with pytest.raises(UserError, match=r"entries.json"):
        check_against(changed(file, {"entries.json": json.dumps(entries)}), experiment)


@pytest.mark.parametrize("title", ["x" * 900_000, {"msgid": "{a} " * 4, "values": {"a": "y" * 100_000}}])
def test_a_title_without_end_which_each_row_of_a_table_would_repeat_is_cut(experiment, started, tmp_path, title):
    file = write_bundle(experiment, tmp_path / "out")
    versions = json.loads(contents(file)[VERSIONS])
    versions["test_sets"]["exam"]["title"] = title
    rerun(changed(file, {VERSIONS: json.dumps(versions)}))
    assert len(json.loads(started[0][2][VERSIONS])["test_sets"]["exam"]["title"]) <= 100


def test_a_damaged_zip_is_a_sentence(experiment, tmp_path):
    file = write_bundle(experiment, tmp_path / "out")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        rerun(file)
