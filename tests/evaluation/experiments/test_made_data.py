"""Real rows, made rows and both are compared on rows that are real."""

import json
from dataclasses import replace

from common.files import read_json_lines, write_text
from data.near_duplicates import text_of
from evaluation.experiments.__main__ import main
from evaluation.experiments.arms import arms_of, data_of
from evaluation.experiments.experiment import list_experiments
from evaluation.experiments.made_data import made_experiment
from evaluation.experiments.prepare import prepare_experiment
from tests.data.test_made import ORIGIN
from tests.evaluation.experiments.experiments import make_experiment, write_rows


def test_what_is_asked_is_real_and_no_arm_is_trained_on_it_while_made_rows_keep_who_made_them(tmp_path):
    real = write_rows(tmp_path / "real.jsonl", 60)
    village = write_rows(tmp_path / "village.jsonl", 30, "village")
    rows = [*map(json.loads, village.read_text().splitlines()), *map(json.loads, real.read_text().splitlines())]
    made = tmp_path / "made.jsonl"
    write_text(made, "".join(json.dumps({**row, "made": ORIGIN}) + "\n" for row in rows))
    config = made_experiment(str(real), str(made), {"base": "embedded"})
    config.check()
    assert [arm.name for arm in arms_of(config)] == ["Base", "Real", "Made", "Both"]
    assert data_of(config)[0] == str(real)

    experiment = make_experiment()
    write_text(experiment.config_file, replace(config, test_sets=["held-out"]).to_yaml())
    prepare_experiment(experiment, lambda words: None)
    split = experiment.known_split()
    assert [one["rows"] for one in split["train"].values()] == [42, 72, 114]
    asked = read_json_lines(experiment.data_folder / "held-out.jsonl")
    assert len(asked) == 12 and not any("made" in row for row in asked)
    trained = {name: read_json_lines(experiment.data_folder / one["file"]) for name, one in split["train"].items()}
    untouched = {text_of(row) for row in asked}
    assert not any(text_of(row) in untouched for rows in trained.values() for row in rows)
    assert [sum("made" in row for row in rows) for rows in trained.values()] == [0, 72, 72]


def test_the_command_line_starts_it_with_the_settings_that_were_typed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("evaluation.background.start_process", lambda *given: None)
    files = [str(write_rows(tmp_path / f"{name}.jsonl", 3, name)) for name in ("real", "made")]
    assert main(["made", *files, "--base=embedded", "--max-steps=7"]) == 0
    (experiment,) = list_experiments()
    config = experiment.config()
    assert config.settings["max_steps"] == 7 and [arm.get("data") for arm in config.arms[1:3]] == files
