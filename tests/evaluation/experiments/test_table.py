"""Cells become entries and comparisons: paired over rows and seeds, bold only when decided, and the same again."""

import pytest

from common.files import write_json
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.paper import to_markdown
from evaluation.experiments.table import difference_between, read_entries, read_table, write_table
from tests.evaluation.experiments.making import make_cells, make_experiment

ARMS = [{"name": "Base", "method": "none"}, {"name": "LoRA r4", "lora_r": 4}, {"name": "LoRA r16", "lora_r": 16}]
SHARES = {"base": 0.1, "lora-r4": 0.3, "lora-r16": 0.95}
CONFIG = ExperimentConfig("Ranks", arms=ARMS, seeds=[1, 2, 3], scores=["loss", "exact", "stop_rate"])


@pytest.fixture
def experiment():
    return make_experiment("ranks", CONFIG)


def test_the_best_arm_is_decided_against_every_other_and_an_equal_score_has_none(experiment):
    assert read_entries(experiment) == [] and read_table(experiment).arms == {}
    table = write_table(experiment, make_cells(experiment, SHARES))
    assert read_table(experiment) == table and read_entries(experiment) == table.entries
    assert write_table(experiment, make_cells(experiment, SHARES)[::-1]).arms == table.arms, "in any order of the cells"
    entries = {(one.test_set, one.score, one.arm): one for one in table.entries}
    best, base = entries["held-out", "exact", "lora-r16"], entries["held-out", "exact", "base"]
    assert best.is_best and best.seeds == 3 and len(best.values) == 3 and best.items == 40
    assert best.mean == pytest.approx(sum(best.values) / 3) and best.low < best.mean < best.high <= 1
    assert base.is_reference and base.seeds == 0 and len(base.values) == 1 and not base.is_best
    assert sum(one.is_best for one in table.entries if one.score == "exact") == 1
    assert not any(one.is_best for one in table.entries if one.score == "stop_rate"), "all end by themselves"


def test_every_two_arms_are_compared_and_the_verdict_is_corrected_for_all_pairs(experiment):
    write_table(experiment, make_cells(experiment, SHARES))
    column = [one for one in read_table(experiment).comparisons if (one.test_set, one.score) == ("held-out", "exact")]
    assert [(one.arm, one.other) for one in column] == [
        ("lora-r4", "base"),
        ("lora-r16", "base"),
        ("lora-r16", "lora-r4"),
    ]
    for one in column:
        found = one.difference
        assert one.p_holm >= found.p and one.verdict == found.verdict
        assert (one.verdict == "undecided") == (one.p_holm >= 0.05) == (found.low <= 0 <= found.high)
    table = read_table(experiment)
    there, back = (
        difference_between(table.comparisons, *pair, "held-out", "exact")
        for pair in (("lora-r16", "base"), ("base", "lora-r16"))
    )
    assert there and back and there.value == -back.value and (there.verdict, back.verdict) == ("better", "worse")


def test_one_arm_under_two_names_is_undecided_in_every_column(experiment):
    twice = ExperimentConfig("Null", arms=[{"name": "One", "lora_r": 4}, {"name": "Two", "lora_r": 4}])
    null = make_experiment("null", twice)
    write_table(null, make_cells(null, {"one": 0.5, "two": 0.5}))
    found = read_table(null).comparisons
    assert len(found) > 3 and {one.verdict for one in found} == {"undecided"}
    assert not any(one.is_best for one in read_entries(null))


def test_a_cell_that_failed_takes_its_seed_from_both_sides_and_the_table_says_so(experiment):
    table = write_table(experiment, make_cells(experiment, SHARES, missing=["lora-r4.2"]))
    entries = {(one.test_set, one.score, one.arm): one for one in table.entries}
    assert entries["held-out", "loss", "lora-r4"].seeds == 2 and entries["held-out", "loss", "lora-r16"].seeds == 3
    assert "1 cell of 7 is not there yet" in table.notes[0]
    both = difference_between(table.comparisons, "lora-r16", "lora-r4", "held-out", "loss")
    values = {arm: entries["held-out", "loss", arm].values for arm in ("lora-r4", "lora-r16")}
    paired = (values["lora-r16"][0] + values["lora-r16"][2] - sum(values["lora-r4"])) / 2
    assert both and both.value == pytest.approx(paired)


@pytest.mark.parametrize(
    ("seeds", "own", "said", "unsaid"),
    [
        ([1, 2, 3], [1e-4, 1e-5], "With 3 seeds an interval is wide", "at one learning rate"),
        ([1], [1e-4, 1e-5], "With one seed", "is wide"),
        ([1, 2, 3], [1e-4, 1e-4], "at one learning rate", "With one seed"),
    ],
)
def test_what_makes_a_table_doubtful_is_said(seeds, own, said, unsaid):
    lora, full = ({"learning_rate": rate} for rate in own)
    arms = [{"name": "LoRA", **lora}, {"name": "Full", "method": "full", **full}]
    made = make_experiment("doubtful", ExperimentConfig("Doubtful", arms=arms, seeds=seeds))
    words = " ".join(map(str, write_table(made, make_cells(made, {"lora": 0.5, "full": 0.6})).notes))
    assert said in words and unsaid not in words


def test_a_row_that_could_not_be_used_is_told_beside_the_table_and_is_no_markdown(experiment):
    write_json(experiment.split_file, {**(experiment.split() or {}), "notes": ["Left out: **row 3**"]})
    table = write_table(experiment, make_cells(experiment, SHARES))
    assert table.notes[0] == "Left out: **row 3**" and r"- Left out: \*\*row 3\*\*" in to_markdown(table)


def test_a_damaged_table_is_none(experiment):
    write_table(experiment, make_cells(experiment, SHARES))
    (experiment.results_folder / "table.json").write_text('{"entries": [{"arm": 3}], "comparisons": []}')
    assert read_table(experiment).entries == []
