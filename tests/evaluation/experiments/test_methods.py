"""The methods paragraph: every setting, version, seed and fingerprint, how rates were found, no path, and only what was used."""

import re

import pytest

from common.files import write_json
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.methods import REFERENCES, cited, methods_text
from evaluation.experiments.table import write_table
from tests.evaluation.experiments.making import make_cells, make_experiment

LORA, FULL = {"name": "LoRA r4", "lora_r": 4}, {"name": "Full", "method": "full"}
SEARCH = {"losses": {"0.001": 1.5, "0.0001": 2.0}, "chosen": 0.001}


def methods_of(searches=None, **settings) -> str:
    """The methods of an experiment of LoRA and full tuning, unless its arms are given."""
    shared = {"base": "embedded", "data": "/home/somebody/secret/rows.jsonl"} | settings.pop("settings", {})
    config = ExperimentConfig("Methods", settings=shared, **{"arms": [LORA, FULL], "seeds": [7, 8], **settings})
    experiment = make_experiment("methods", config)
    write_json(experiment.rates_file, searches or {})
    split = dict(experiment.split() or {})
    write_json(
        experiment.split_file,
        split | {"train": {shared["data"]: {"file": "train.jsonl", "rows": 200, "fingerprint": "cd" * 32}}},
    )
    cells = make_cells(experiment, dict.fromkeys(("lora-r4", "full", "none", "few-shot"), 0.5))
    return methods_text(experiment, cells, write_table(experiment, cells))


def test_every_setting_that_means_something_is_named_once_and_no_folder_of_the_machine():
    text = methods_of(settings={"num_train_epochs": 3.0})
    assert "Epochs 3.0" in text and "with seed 7, 8" in text and "LoRA rank (r) 4" in text and "torch 2.13.0" in text
    assert text.count("Batch size") == 1, "what all share stands once"
    full = next(line for line in text.splitlines() if line.startswith("- Full"))
    assert "LoRA" not in full, "a setting of LoRA means nothing for full tuning"
    assert "200 rows of rows.jsonl" in text and "cd" * 32 in text
    assert "/home" not in text and "somebody" not in text


@pytest.mark.parametrize(
    ("searches", "settings", "words"),
    [
        ({}, {}, "2 given, not searched for"),
        ({}, {"rates": [1e-3, 1e-4], "found_rates": {"lora-r4": 1e-3, "full": 1e-4}}, "2 kept from an earlier search"),
        ({"lora-r4": SEARCH, "full": SEARCH}, {"rates": [1e-3, 1e-4]}, "2 found by a search over 0.001, 0.0001"),
    ],
)
def test_how_the_learning_rates_were_found_is_said(searches, settings, words):
    text = methods_of(searches, **settings)
    assert words in text and "schulman2025regret" in text
    assert ("LoRA r4 0.001" in text) == bool(searches or settings)


def test_what_is_cited_stands_in_the_bibliography_and_what_was_not_used_does_not():
    plain = methods_of()
    made = cited(plain)
    keys = {*re.findall(r"^@\w+\{(\w+),", made, re.MULTILINE)}
    assert {*re.findall(r"@(\w+)", plain)} == keys and {"hu2022lora", "holm1979", "allal2025smollm2"} <= keys
    assert (
        not {"dettmers2022int8", "liu2024dora", "rajbhandari2020zero", "brown2020fewshot", "zhang2024tinyllama"} & keys
    )


def test_what_an_arm_was_made_with_is_cited():
    arms = [
        {"name": "LoRA r4", "precision": "8bit", "use_dora": True, "num_processes": 2},
        {"name": "Few-shot", "method": "few-shot"},
    ]
    made = cited(methods_of(arms=arms))
    assert all(f"{{{key}," in made for key in ("dettmers2022int8", "liu2024dora", "li2020ddp", "brown2020fewshot"))


NONE, SHOWN = {"name": "None", "method": "none"}, {"name": "Few-shot", "method": "few-shot"}


@pytest.mark.parametrize(
    ("arms", "seeds", "by_seeds", "by_rows"),
    [
        ([LORA, FULL], [7, 8], True, False),
        ([LORA, NONE, SHOWN], [7, 8], True, True),
        ([LORA, FULL], [7], False, True),
        ([NONE, SHOWN], [7, 8], False, True),
    ],
)
def test_the_tests_that_are_named_are_those_that_were_made(arms, seeds, by_seeds, by_rows):
    text = methods_of(arms=arms, seeds=seeds)
    assert ("cameron2011multiway" in text, "mcnemar1947" in text) == (by_seeds, by_rows)
    assert "miller2024errorbars" in text and "holm1979" in text


def test_every_reference_is_whole_and_can_be_cited():
    entries = re.split(r"\n\n(?=@)", REFERENCES.read_text(encoding="utf-8"))[1:]
    source = (REFERENCES.parent / "methods.py").read_text(encoding="utf-8")
    for entry in entries:
        key = re.match(r"@(?:article|inproceedings|misc)\{(\w+),", entry)
        assert key and f"@{key[1]}" in source, entry[:40]
        assert entry.count("{") == entry.count("}") and entry.isascii() and entry.rstrip().endswith("}")
        assert all(f"  {field} = " in entry for field in ("title", "author", "year"))


def test_without_a_cell_there_is_nothing_to_say():
    experiment = make_experiment("empty", ExperimentConfig("Empty", arms=[LORA]))
    cells = make_cells(experiment, {}, missing=["lora-r4.1", "lora-r4.2", "lora-r4.3"])
    assert methods_text(experiment, cells, write_table(experiment, cells)) == ""
