"""From what a person wrote to the arms of an experiment."""

import time
from contextlib import suppress
from dataclasses import replace

import pytest

from common.errors import UserError
from evaluation.experiments.arms import arms_of, needs_rate, train_config
from evaluation.experiments.config import ExperimentConfig

GRID = ExperimentConfig.from_text("""
title: 랭크와 행
settings: {base: embedded, num_train_epochs: 1, learning_rate: 1e-3}
vary: {method: [lora, full, none, few-shot], lora_r: [4, "16"], max_rows: [10, 0]}
arms: [{name: Same, method: lora, lora_r: 4}, {name: Once more, lora_r: 4, learning_rate: 2e-4}]
""")


def test_settings_come_back_from_their_text_as_they_were():
    assert ExperimentConfig.from_text(GRID.to_yaml()) == GRID
    assert GRID.settings["learning_rate"] == 1e-3 and GRID.vary["lora_r"] == [4, 16]


def test_what_means_nothing_for_a_method_is_dropped_and_then_what_is_there_twice():
    names = [arm.name for arm in arms_of(GRID)]
    assert names == [
        "LoRA r4, 10 rows",
        "LoRA r4, all rows",
        "LoRA r16, 10 rows",
        "LoRA r16, all rows",
        "Full tuning, 10 rows",
        "Full tuning, all rows",
        "Base",
        "Few-shot",
        "Same",
        "Once more",
    ]
    base = next(arm for arm in arms_of(GRID) if arm.method == "none")
    assert base.settings == {"base": "embedded"} and not base.is_trained


def test_one_arm_under_two_names_is_two_arms():
    config = ExperimentConfig(arms=[{"name": "This", "lora_r": 4}, {"name": "That", "lora_r": 4}])
    assert [arm.id for arm in arms_of(config)] == ["this", "that"]
    config.check()


def test_names_that_give_one_folder_get_two():
    config = ExperimentConfig(arms=[{"name": "r 4"}, {"name": "r-4", "lora_r": 4}])
    assert [arm.id for arm in arms_of(config)] == ["r-4", "r-4-2"]


def test_the_commit_of_the_shared_base_is_not_that_of_another():
    settings = {"base": "me/one", "base_revision": "abc", "method": "lora"}
    config = ExperimentConfig(settings=settings, vary={"base": ["me/one", "me/two"]}, arms=[{"name": "Shared"}])
    assert [arm.settings.get("base_revision") for arm in arms_of(config)] == [None, None, "abc"]
    assert not any("method" in arm.settings for arm in arms_of(config))


def test_a_rate_is_searched_where_an_arm_has_none_of_its_own_and_none_is_known():
    searched = replace(GRID, rates=[1e-4, 1e-3], found_rates={"same": 3e-4})
    assert [arm.name for arm in arms_of(searched) if not needs_rate(searched, arm)] == [
        "Base",
        "Few-shot",
        "Same",
        "Once more",
    ]
    assert not any(needs_rate(GRID, arm) for arm in arms_of(GRID))
    same, once_more = arms_of(searched)[-2:]
    assert train_config(once_more, seed=3).learning_rate == 2e-4 and train_config(same, 3, 3e-4).learning_rate == 3e-4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("settings: {nothing: 1}", "no setting 'nothing'"),
        ("settings: {seed: 1}", "Seed: An experiment decides this"),
        ("vary: {eval_fraction: [0.1, 0.2]}", "decides this"),
        ("settings: {num_machines: 2}", "decides this"),
        ("vary: {method: [lora, magic]}", "'magic' is not one of"),
        ("settings: {lora_r: [4]}", "Enter text, a number"),
        ("vary: {lora_r: []}", "at least one value"),
        ("vary: {lora_r: 4}", "Enter a list"),
        ("settings: [1]", "Enter names with their values"),
        ("", "holds no settings"),
        ("title: nothing to compare", "1 to 64 arms"),
        ("vary: {lora_r: [4], seed: [1, 2]}", "decides this"),
        ("vary: {lora_r: [4, 1000]}", "LoRA r1000: LoRA rank .r.: 1000 is too high"),
        ("arms: [{name: a}, {name: a, lora_r: 4}]", "Two arms are called 'a'"),
        ("{arms: [{name: a}], seeds: [1, 1]}", "none twice"),
        ("{arms: [{name: a}], seeds: [-1]}", "Seed: -1 is too low"),
        ("{arms: [{name: a}], rates: [10]}", "Learning rate: 10.0 is too high"),
        ("{arms: [{name: a}], test_sets: [../../etc]}", "not a valid name"),
        ("{arms: [{name: a}], scores: [beauty]}", "no score 'beauty'"),
        ("{arms: [{name: a}], test_fraction: 0.6, validation_fraction: 0.5}", "Leave some rows"),
        ("a: &a [1]\nb: *a", "aliases"),
        ("arms: [[[[1]]]]", "nested too deeply"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(text, words):
    with pytest.raises(UserError, match=words):
        ExperimentConfig.from_text(text).check()


def test_a_product_without_end_is_refused_before_it_is_made():
    vary = {name: [*range(1, 100)] for name in ("lora_r", "lora_alpha", "max_rows", "max_length", "save_steps")}
    for config in (ExperimentConfig(vary=vary), ExperimentConfig(arms=[{"name": "same"}] * 1001)):
        with pytest.raises(UserError, match="more than 1,000 combinations"):
            config.check()


LARGE = {  # within the 100,000 characters of a file of settings; each took from 14 seconds to two minutes
    "values": f"vary: {{max_rows: [{'0,' * 45_000}]}}",
    "names that give one folder": f"arms: [{','.join(f'{{method: none, name: {chr(one)}}}' for one in range(0x4E00, 0x5100))}]",
    "arms with each seed and rate": f"arms: [{','.join(f'{{name: a{n}}}' for n in range(64))}]\n"
    f"seeds: {[*range(100)]}\nrates: {[n / 1000 for n in range(1, 13)]}",
    "cells": f"arms: [{','.join(f'{{name: a{n}}}' for n in range(64))}]\n"
    f"seeds: {[*range(15)]}\nrates: {[n / 1000 for n in range(1, 13)]}",
}


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE)
def test_large_settings_are_judged_in_a_moment(text):
    before = time.thread_time()
    with suppress(UserError):
        ExperimentConfig.from_text(text).check()
    assert time.thread_time() - before < 5


@pytest.mark.parametrize("text", ["arms: [{name: NUMBER}]", "vary: {sheet: [NUMBER]}", "settings: {x: NUMBER}"])
def test_a_number_that_cannot_be_printed_is_a_sentence(text):
    with pytest.raises(UserError, match="too large"):
        ExperimentConfig.from_text(text.replace("NUMBER", f"0x{'f' * 9000}"))


@pytest.mark.parametrize("values", [{"seeds": [1, 2**31, 2]}, {"seeds": [2, -1]}, {"rates": [1e-3, 5.0, 2e-3]}])
def test_one_seed_or_rate_among_others_that_no_run_takes_is_refused(values):
    with pytest.raises(UserError, match=r"is too (high|low)"):
        ExperimentConfig.from_dict({"arms": [{"method": "lora"}], **values}).check()
