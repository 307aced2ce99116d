"""The data of an experiment is split once, and nothing that is asked is trained on."""

import json
from dataclasses import replace

import pytest

from common.errors import UserError
from common.files import read_json_lines
from data.near_duplicates import text_of
from evaluation.experiments.arms import arms_of
from evaluation.experiments.prepare import prepare_experiment
from tests.evaluation.experiments.experiments import make_experiment, write_rows


def silent(words: str) -> None:
    """Hear what is done."""


def texts(experiment, name: str) -> set[str]:
    return {text_of(row) for row in read_json_lines(experiment.data_folder / name)}


def test_no_row_stands_on_two_sides_and_none_is_lost(tmp_path):
    experiment = make_experiment(settings={"data": str(write_rows(tmp_path / "rows.jsonl", 100))})
    prepare_experiment(experiment, silent)
    sides = [texts(experiment, name) for name in ("train.jsonl", "validation.jsonl", "held-out.jsonl")]
    assert [len(side) for side in sides] == [70, 10, 20]
    assert len(set.union(*sides)) == 100
    split = experiment.known_split()
    assert split["held_out"]["rows"] == 20 and split["left_out"] == 0
    asked = experiment.asked.known()["test_sets"]
    assert asked["held-out"]["asked"] == 20 and asked["questions"]["asked"] == 50
    assert [*asked] == ["held-out", "questions"]


def test_where_rows_lie_a_damaged_split_is_not_made_anew_from_what_the_settings_name(tmp_path):
    experiment = make_experiment(settings={"data": str(write_rows(tmp_path / "of-somebody-else.jsonl", 100))})
    experiment.data_folder.mkdir()
    experiment.split_file.write_text("{}")
    with pytest.raises(UserError, match="is damaged"):
        prepare_experiment(experiment, lambda words: pytest.fail("it reads"))


def test_64_data_sets_of_one_experiment_do_not_fill_the_disk(tmp_path, monkeypatch):
    data = [str(write_rows(tmp_path / f"{name}.jsonl", 40, name)) for name in ("town", "village")]
    experiment = make_experiment(vary={"data": data})
    monkeypatch.setattr("runs.disk._free_bytes", lambda: 1_000_000)
    with pytest.raises(UserError, match="MB of disk space are free"):
        prepare_experiment(experiment, silent)


def test_what_nearly_repeats_a_held_out_row_is_trained_on_in_no_data_set_of_any_arm(tmp_path):
    real = write_rows(tmp_path / "real.jsonl", 60)
    lines = real.read_text().splitlines()
    made = tmp_path / "made.jsonl"
    made.write_text("\n".join([*(line.replace("Which", "And which") for line in lines), *lines]) + "\n")
    more = write_rows(tmp_path / "more.jsonl", 30, "village")
    data = [str(real), str(made), f"{real}, {more}"]
    experiment = make_experiment(vary={"data": data})
    prepare_experiment(experiment, silent)
    split = experiment.known_split()
    assert [split["train"][one]["rows"] for one in data] == [42, 84, 72]
    untouched = texts(experiment, "held-out.jsonl") | texts(experiment, "validation.jsonl")
    assert len(untouched) == 18 and split["left_out"] == 36 + 18
    for one in data:
        trained = texts(experiment, split["train"][one]["file"])
        assert not {text.replace("And which", "Which") for text in trained} & untouched


def test_a_question_of_a_test_set_that_stands_in_training_data_or_open_text_is_not_asked(tmp_path):
    experiment = make_experiment()
    question = next(iter(read_json_lines_of("questions")))
    said = {"role": "assistant", "content": question["answer"]}
    data, text = write_rows(tmp_path / "rows.jsonl", 40), tmp_path / "open.txt"
    with open(data, "a") as file:
        file.write(json.dumps({"messages": [*question["messages"], said]}) + "\n")
    text.write_text("Once upon a time there was a town on a hill.\n")
    config = replace(
        experiment.config(), settings={"data": str(data)}, vary={"text_data": [str(text), None]}, split_seed=3
    )
    experiment.config_file.write_text(config.to_yaml())
    prepare_experiment(experiment, silent)
    assert len(texts(experiment, "train.jsonl")) == 29, "the question is trained on with this seed"
    assert experiment.asked.known()["test_sets"]["questions"]["exact"] == 1
    assert experiment.known_split()["texts"][str(text)]["rows"] == 1


def read_json_lines_of(name: str) -> list:
    from data.test_sets import find_test_set

    return list(find_test_set(name).items())


def test_the_same_seed_gives_the_same_rows_and_another_one_others(tmp_path):
    data = str(write_rows(tmp_path / "rows.jsonl", 50))
    made = [make_experiment(f"e{n}", settings={"data": data}, split_seed=seed) for n, seed in enumerate((5, 5, 6))]
    for experiment in made:
        prepare_experiment(experiment, silent)
    one, again, other = ((e.known_split(), (e.items_folder / "shots.jsonl").read_bytes()) for e in made)
    assert one == again and one != other
    assert len(one[1].splitlines()) == 16


def test_what_is_there_is_left_as_it_is_though_the_source_is_gone(tmp_path):
    data = write_rows(tmp_path / "rows.jsonl", 50)
    experiment = make_experiment(settings={"data": str(data)})

    def stop_at(words: str) -> None:
        if "test set" in words:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        prepare_experiment(experiment, stop_at)
    split = experiment.known_split()
    data.unlink()
    prepare_experiment(experiment, silent)
    assert experiment.known_split() == split and experiment.asked.versions()
    stamp = experiment.versions_file.stat().st_mtime_ns
    prepare_experiment(experiment, silent)
    assert experiment.versions_file.stat().st_mtime_ns == stamp


def test_a_number_of_rows_that_are_not_there_is_all_of_them(tmp_path):
    data = str(write_rows(tmp_path / "rows.jsonl", 50))
    experiment = make_experiment(settings={"data": data}, vary={"max_rows": [10, 30, 100, 0, 1000]})
    prepare_experiment(experiment, silent)
    assert [arm.settings["max_rows"] for arm in arms_of(experiment.config())] == [10, 30, 0]


def test_the_example_is_split_with_all_of_its_rows(tmp_path):
    experiment = make_experiment(test_sets=["held-out"], max_items=10)
    prepare_experiment(experiment, silent)
    split = experiment.known_split()
    rows = [split["train"]["example"], split["validation"], split["held_out"]]
    assert sum(one["rows"] for one in rows) + split["left_out"] == 243
    assert len(read_json_lines(experiment.asked.items_file("held-out"))) == 10


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "has no rows"), ('{"messages": []}\n', "cannot be used"), ('{"text": "one"}\n', "too few rows")],
)
def test_data_that_cannot_be_split_is_a_sentence_and_leaves_nothing_half_done(text, words, tmp_path):
    (tmp_path / "rows.jsonl").write_text(text)
    experiment = make_experiment(settings={"data": str(tmp_path / "rows.jsonl")})
    with pytest.raises(UserError, match=words):
        prepare_experiment(experiment, silent)
    assert experiment.split() is None
