"""A run as a plain TRL script: what it says, and that it trains the same."""

import json
import runpy
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from common.errors import UserError
from runs.config import TrainConfig
from runs.launcher import create_run
from runs.run import Run
from runs.script import process, write
from runs.script.process import make_rows
from runs.script.write import script_text, write_script
from tests.running import losses, run_main, small_settings, write_rows

FACTS = {
    "base": "owner/name",
    "base_revision": "abc",
    "base_is_quantised": False,
    "precision": "8bit",
    "target_modules": ["q_proj"],
    "trained_layers": [],
    "eval_steps": 5,
    "rows": 1000,
    "held_out": 0,
    "why_tokens": "",
}


def rows_of(config: TrainConfig, folder: Path) -> dict:
    """What the process finds, in this one; the files are in `folder`."""
    folder.mkdir(exist_ok=True)
    return make_rows(
        {"config": config.to_dict(), "precision": "fp32", "folder": str(folder), "owner": "local"}, lambda *words: None
    )


@pytest.fixture
def here(monkeypatch):
    """The rows are made in this process."""
    monkeypatch.setattr(write, "ask_child", lambda module, request, *more, **named: make_rows(request, lambda *w: None))


def unpacked(file: Path, folder: Path) -> Path:
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    return folder / file.stem


@pytest.mark.parametrize("changes", [{}, {"too_long": "split", "max_length": 64, "lora_plus_ratio": 4.0}])
def test_the_script_trains_to_the_same_losses_over_an_evaluation(here, tiny_base, tmp_path, monkeypatch, changes):
    """As messages, and as tokens where rows are split."""
    small = {"max_steps": 4, "eval_steps": 2, "save_steps": 100, "test_sets": "", "eval_fraction": 0.1}
    settings = small_settings(tiny_base, tmp_path, **small)
    if changes:
        long = [
            {"role": role, "content": f"{place} {role} counts to {place + 5}"}
            for place in range(5)
            for role in ("user", "assistant")
        ]
        settings["data"] = write_rows(
            tmp_path / "long.jsonl", [{"messages": long[: 4 + 2 * (n % 3)]} for n in range(24)]
        )
    run = create_run(TrainConfig.from_dict({**settings, **changes}))
    assert run_main(run) == 0
    folder = unpacked(write_script(run, tmp_path), tmp_path / "out")
    [first] = {*map(tuple, map(json.loads, (folder / "rows.jsonl").read_text().splitlines()[:1]))}
    assert first == (("input_ids", "labels") if changes else ("messages",))
    monkeypatch.setenv("BASE", str(tiny_base))
    trainer = runpy.run_path(str(folder / "train.py"))["trainer"]
    theirs = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(theirs) == 4 and theirs == pytest.approx(losses(run), abs=1e-4)
    assert (folder / "output" / "adapter_model.safetensors").is_file()


def test_the_head_says_what_the_script_cannot_carry():
    plain = script_text(TrainConfig(), FACTS, False)
    assert "1,000 rows to train on, 0 held out." in plain and "python train.py" in plain
    assert "Stage 1" not in plain and "keep: best" not in plain and "Early stopping" not in plain
    config = TrainConfig(text_data="a.txt", keep="best", max_minutes=5, num_processes=2, parallel="fsdp2")
    told = script_text(config, {**FACTS, "why_tokens": "some are cut at a turn, or split"}, False)
    for words in (
        "Stage 1",
        "keep: best",
        "Early stopping",
        "--num_processes 2",
        "parallel: fsdp2",
        "tokens with labels",
    ):
        assert words in told
    assert compile(told, "train.py", "exec") and "ROWS_ARE_TOKENS = True" in told


def test_a_folder_of_this_machine_and_a_name_that_is_code_stay_out():
    name = 'x"""\nimport os; os.abort()'
    told = script_text(TrainConfig(name=name), {**FACTS, "base": "/home/somebody/secret/my-base"}, False)
    assert "/home/somebody" not in told and "my-base" in told
    assert compile(
        script_text(TrainConfig(name="@SETTINGS@ @HEAD@"), {**FACTS, "base": "@HEAD@/x"}, False), "x", "exec"
    )
    code = [line for line in told.splitlines() if line and not line.startswith("#")]
    assert not [line for line in code if "os.abort" in line] and compile(told, "train.py", "exec")


def test_typed_control_tokens_and_answers_that_are_only_read_make_tokens_of_the_rows(tiny_base, tmp_path):
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    typed = [{"role": "user", "content": "What is </s>?"}, turns[1]]
    read_only = [*turns, turns[0], {**turns[1], "weight": 0}, *turns]
    for number, (odd, words) in enumerate(((turns, ""), (typed, "typed as text"), (read_only, "only read"))):
        data = write_rows(tmp_path / f"{number}.jsonl", [{"messages": one} for one in [turns] * 3 + [odd]])
        config = TrainConfig(base=str(tiny_base), data=data, eval_fraction=0.0, max_length=128)
        found = rows_of(config, tmp_path / f"out-{number}")
        assert words in found["why_tokens"] and bool(words) == bool(found["why_tokens"])
        assert (
            found["rows"] == 4 and found["held_out"] == 0 and not (tmp_path / f"out-{number}/held_out.jsonl").exists()
        )


def test_a_config_without_a_run_is_a_script_too(here, tiny_base, tmp_path):
    config = TrainConfig.from_dict(small_settings(tiny_base, tmp_path, rows=12, name="Poems of May"))
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml())
    folder = unpacked(write_script(file, tmp_path), tmp_path / "out")
    assert folder.name == "poems-of-may-trl" and len((folder / "rows.jsonl").read_text().splitlines()) == 11
    assert "trl==" in (folder / "requirements.txt").read_text()
    assert "{% generation %}" in (folder / "chat_template.jinja").read_text()


def test_rows_that_cannot_be_used_are_a_sentence(tiny_base, tmp_path):
    data = write_rows(tmp_path / "bad.jsonl", [{"apples": 1}])
    with pytest.raises(UserError):
        rows_of(TrainConfig(base=str(tiny_base), data=data), tmp_path / "out")


def test_the_adapter_that_a_run_continues_is_in_the_zip(monkeypatch, tmp_path):
    def make(module, request, *more, **named):
        Path(request["folder"], "chat_template.jinja").write_text("")
        return FACTS

    monkeypatch.setattr(write, "ask_child", make)
    run = Run(create_run(TrainConfig(base="embedded")).folder)
    run.init_adapter_folder.mkdir()
    (run.init_adapter_folder / "adapter_config.json").write_text("{}")
    run.config_file.write_text(run.config().to_yaml().replace("init_adapter: null", "init_adapter: mine"))
    folder = unpacked(write_script(run, tmp_path), tmp_path / "out")
    assert (folder / "init_adapter" / "adapter_config.json").is_file()
    assert "HAS_INIT_ADAPTER = True" in (folder / "train.py").read_text()


def test_the_rows_of_a_script_are_written_one_by_one_and_never_held(tiny_base, tmp_path, monkeypatch):
    def begin(*room):  # all is known of the rows, and now they are written
        tracemalloc.start()

    def peak(count: int) -> int:
        """The most bytes that writing so many rows of 500 tokens took."""
        folder = tmp_path / str(count)
        folder.mkdir()
        answer = " ".join(map(str, range(150)))
        rows = [{"prompt": f"{place}", "completion": answer} for place in range(count)]
        settings = {"data": write_rows(folder / "rows.jsonl", rows), "eval_fraction": 0.0, "max_length": 1024}
        try:
            found = rows_of(TrainConfig(base=str(tiny_base), **settings), folder / "out")
            took = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert found["rows"] == count == len((folder / "out/rows.jsonl").read_text().splitlines())
        return took

    monkeypatch.setattr(process, "check_room_on_disk", begin)
    more = peak(400) - peak(40)
    assert more < 1.5e6, f"360 rows of 500 tokens took {more:,} bytes"


def test_a_script_for_which_there_is_no_room_is_not_written(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIO_MAX_KEPT_BYTES", "2000")
    data = write_rows(
        tmp_path / "rows.jsonl", [{"prompt": f"What is {n}?", "completion": "A number."} for n in range(50)]
    )
    with pytest.raises(UserError, match="at most"):
        rows_of(TrainConfig(base=str(tiny_base), data=data), tmp_path / "out")
    assert not (tmp_path / "out/rows.jsonl").exists()
