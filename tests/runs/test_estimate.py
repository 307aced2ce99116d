"""What a person is told before the start."""

import json
import time
from statistics import mean

import pytest

from common.errors import UserError
from models.base import Base, shape_for
from models.family import EMBEDDED_SHAPE, TINYLLAMA_SHAPE, shape_of
from models.hardware import Gpu, Hardware
from runs.config import TrainConfig
from runs.forecast import presets
from runs.forecast.advice import advice
from runs.forecast.estimate import (
    EXAMPLE_FACTS,
    Cost,
    count_weights,
    estimate,
    estimate_cost,
    estimate_time,
    predicted_memory,
    record_estimate,
)
from runs.forecast.plan import DataFacts, evaluated_rows, facts_in, plan_steps, tokens_a_test_set
from runs.forecast.presets import AS_SET, forecast_each, forecast_of_presets
from runs.forecast.speed import Speed
from runs.presets import DEFAULT, PRESETS, QUICK, THOROUGH, preset_values
from runs.resolve import ResolvedConfig, TrainingWords, training_in_words

CPU = Hardware((), 2, 16 * 2**30, "no GPU, 2 CPU cores")
SPACE = Hardware((), 8, 30 * 2**30, "no GPU, 8 CPU cores", "t4-small")
FAST = Speed(0.01, "measured on this machine")


def test_an_estimate_is_json_and_says_it_in_a_sentence():
    answer = json.loads(json.dumps(estimate(TrainConfig(), EMBEDDED_SHAPE, EXAMPLE_FACTS, CPU, FAST).to_json()))
    assert answer["plan"]["total_steps"] == 110 and answer["memory"]["fits"] and answer["make_it_fit"] is None
    assert answer["seconds"] > 0 and answer["seconds_source"] == FAST.source and answer["cost"] is None
    assert answer["sentence"].startswith("110 steps (2 epochs of 55)") and "takes about 8 min" in answer["sentence"]


@pytest.mark.parametrize(
    ("settings", "held_out", "words"),
    [
        ({}, True, "110 steps (2 epochs of 55) with 6 warm-up steps and 3 evaluations"),
        ({"max_steps": 20}, True, "20 steps (0.4 epochs of 55) with 1 warm-up step and 2 evaluations"),
        ({"num_train_epochs": 1.0}, False, "55 steps (1 epoch of 55) with 3 warm-up steps"),
    ],
)
def test_the_plan_is_said_in_one_sentence(settings, held_out, words):
    assert plan_steps(TrainConfig(**settings), 220, held_out).sentence() == words


TWO_CARDS = Hardware((Gpu("NVIDIA L4", 22 * 2**30, 8.9),) * 2, 12, 20 * 2**30, "2 GPUs")


@pytest.mark.parametrize(
    ("settings", "hardware", "words"),
    [
        ({}, CPU, ("32 bits", "LoRA r16", "on the CPU")),
        ({"num_processes": 2, "precision": "bf16"}, CPU, ("bf16", "LoRA r16", "2 CPU processes by DDP")),
        ({"use_dora": True, "lora_r": 8}, TWO_CARDS, ("8 bits", "DoRA r8", "1 GPU")),
        ({"num_processes": 2}, TWO_CARDS, ("8 bits", "LoRA r16", "2 GPUs by DDP")),
        (
            {"num_processes": 2, "parallel": "zero3", "precision": "4bit", "init_adapter": "mine"},
            TWO_CARDS,
            ("4 bits", "continuing mine", "2 GPUs by DeepSpeed ZeRO-3"),
        ),
        ({"method": "full"}, TWO_CARDS, ("bf16", "all weights", "1 GPU", "method")),
        ({"method": "last-n", "last_layers": 4}, CPU, ("32 bits", "the last 4 layers", "on the CPU", "method")),
    ],
)
def test_a_training_is_said_in_four_parts(settings, hardware, words):
    base = Base("cache", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", None, "")
    resolved = ResolvedConfig(TrainConfig(**settings), base, hardware)
    assert training_in_words(resolved) == TrainingWords("TinyLlama-1.1B-Chat-v1.0", *words)


@pytest.mark.parametrize("hardware", [CPU, TWO_CARDS], ids=["cpu", "gpus"])
def test_time_and_memory_of_each_preset_are_known_at_once(hardware):
    resolved = ResolvedConfig(TrainConfig(), Base("cache", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", None, ""), hardware)
    began = time.thread_time()
    found = forecast_of_presets(resolved, EXAMPLE_FACTS)
    assert time.thread_time() - began < 1
    assert found[QUICK].seconds < found[DEFAULT].seconds < found[THOROUGH].seconds
    assert all(10**9 < one.memory.total < 2 * 10**10 and not one.is_measured for one in found.values())
    assert forecast_of_presets(resolved, None) == {}, "no row is known"


def test_what_was_measured_takes_the_place_of_a_guess(monkeypatch):
    resolved = ResolvedConfig(TrainConfig(), Base("embedded", "SmolLM2", None, ""), CPU)
    guessed = forecast_of_presets(resolved, EXAMPLE_FACTS)
    monkeypatch.setattr(presets, "known", lambda config, *_: FAST if config == TrainConfig() else None)
    found = forecast_of_presets(resolved, EXAMPLE_FACTS)
    assert [found[one].is_measured for one in (QUICK, DEFAULT, THOROUGH, AS_SET)] == [False, True, False, True]
    assert found[DEFAULT].seconds == estimate_time(TrainConfig(), EXAMPLE_FACTS, FAST)
    faster = guessed[DEFAULT].seconds / found[DEFAULT].seconds  # which holds for the guesses of the others, too
    assert guessed[QUICK].seconds / found[QUICK].seconds == pytest.approx(faster, rel=0.05) != 1


def test_each_of_several_trainings_has_its_own_rows_and_memory():
    base = Base("embedded", "SmolLM2", None, "")
    few: DataFacts = {**EXAMPLE_FACTS, "train_rows": 22, "tokens": 2274, "trained_tokens": 1516}
    wanted = {"all": (TrainConfig(), EXAMPLE_FACTS), "few": (TrainConfig(), few), "r 1": (TrainConfig(lora_r=1), few)}
    found = forecast_each(wanted, base, CPU)
    assert 5 < found["all"].seconds / found["few"].seconds < 11
    assert found["few"].memory.fits and found["few"].memory.total > found["r 1"].memory.total
    assert forecast_each(wanted, Base("hub", "o/unknown", None, ""), CPU) == {}, "its shape is not known"


def test_the_plan_says_how_many_weights_are_trained_and_their_share():
    assert count_weights(TrainConfig(method="full"), EMBEDDED_SHAPE).words() == "134.5 M of 134.5 M weights, 100.00%"
    attention = TrainConfig(target_modules="attention")
    assert count_weights(attention, TINYLLAMA_SHAPE).words() == "4.5 M of 1,104.6 M weights, 0.41%"
    last = estimate(TrainConfig(last_layers=4), TINYLLAMA_SHAPE, EXAMPLE_FACTS, CPU)
    assert last.weights.trained * 22 == count_weights(TrainConfig(), TINYLLAMA_SHAPE).trained * 4
    assert last.sentence().endswith("Trained: 2.3 M of 1,102.3 M weights, 0.21%.")
    assert last.to_json()["weights"]["total"] == last.weights.total


@pytest.mark.parametrize(
    ("settings", "rows", "used"),
    [
        ({"max_steps": 20}, 23, 16),
        ({"max_steps": 40}, 23, 22),
        ({"max_steps": 4}, 23, 16),
        ({"max_steps": 4}, 9, 9),
        ({"num_train_epochs": 1.0}, 23, 23),
        ({}, 23, 23),
        ({"max_steps": 20, "eval_steps": 5}, 23, 23),
        ({"max_steps": 20, "eval_data": "mine.jsonl"}, 9000, 9000),
    ],
)
def test_a_short_run_evaluates_fewer_rows_unless_it_was_told_which(settings, rows, used):
    assert evaluated_rows(TrainConfig(**settings), 220, rows) == used


@pytest.mark.parametrize(
    ("test_sets", "trained", "evaluations", "tokens"),
    [
        (1, 10**6, 3, 4000),
        (1, 16_000, 2, 960),
        (2, 16_000, 2, 500),
        (1, 100, 2, 500),
        (0, 10**6, 3, 0),
        (1, 10**6, 0, 0),
    ],
)
def test_a_short_run_measures_fewer_tokens_of_its_test_sets(test_sets, trained, evaluations, tokens):
    assert tokens_a_test_set(test_sets, trained, evaluations) == tokens


def test_the_time_counts_the_test_sets():
    with_it, without = (estimate_time(TrainConfig(test_sets=line), EXAMPLE_FACTS, FAST) for line in ("general", ""))
    assert with_it and without and 1.02 < with_it / without < 1.08


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, []),
        ({"learning_rate": 1e-4, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}, []),
        ({"learning_rate": 5e-5}, []),
        ({"learning_rate": 2e-3}, []),
        ({"learning_rate": 2e-5}, ["A learning rate of 2e-05 is low for LoRA"]),
        ({"learning_rate": 0.01}, ["A learning rate of 0.01 is high for LoRA"]),
        ({"per_device_train_batch_size": 8, "num_processes": 5}, ["40 examples per step: above 32"]),
        ({"gradient_accumulation_steps": 16, "learning_rate": 1e-5}, ["1e-05 is low", "64 examples per step"]),
        (
            {"early_stopping_patience": 3},
            ["3 evaluations after its best step and keep the last step: keep the best one"],
        ),
        ({"early_stopping_patience": 3, "keep": "best"}, []),
        ({"method": "full", "learning_rate": 5e-5, "gradient_accumulation_steps": 16}, []),
        ({"method": "full"}, ["0.0005 is far from what suits weights of the base itself: 1e-05 to 0.0001"]),
    ],
)
def test_what_is_known_to_train_badly_is_told_with_its_source_and_not_refused(settings, words):
    config = TrainConfig(**settings)
    found = advice(config)
    assert len(found) == len(words) and all(part in said for part, said in zip(words, found, strict=True))
    assert all("lora_without_regret" in said for said in found if "LoRA" in said) and not config.problems()


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_is_advised_against(preset):
    assert advice(TrainConfig(**preset_values(preset))) == []


def test_without_a_measurement_there_is_no_time_and_no_cost():
    answer = estimate(TrainConfig(), EMBEDDED_SHAPE, EXAMPLE_FACTS, SPACE)
    assert answer.seconds is answer.seconds_source is answer.cost is None
    assert " min" not in answer.sentence() and "$" not in answer.sentence()


def test_a_run_that_does_not_fit_comes_with_settings_that_do():
    small = Hardware((), 2, 7 * 10**9, "no GPU, 2 CPU cores")
    config = TrainConfig(per_device_train_batch_size=16, max_length=512)
    report = {**EXAMPLE_FACTS, "lengths": {"edges": [0, 150, 300], "counts": [200, 43]}, "text": None}
    answer = estimate(config, TINYLLAMA_SHAPE, facts_in(report), small)
    assert not answer.memory.fits and "too little" in answer.sentence() and answer.make_it_fit
    changed = TrainConfig.from_dict({**config.to_dict(), **answer.make_it_fit})
    assert not changed.problems() and estimate(changed, TINYLLAMA_SHAPE, EXAMPLE_FACTS, small).memory.fits


def test_cost_is_shown_only_on_a_space_whose_price_is_known():
    assert estimate_cost(1800, SPACE) == Cost("t4-small", 0.40, 0.20)
    assert estimate_cost(1800, CPU) is None
    assert estimate_cost(1800, Hardware((), 8, 1, "", "a100-large")) is None, "its price is not known for sure"


def test_time_grows_with_epochs_and_ends_at_the_limit():
    one, two = (estimate_time(TrainConfig(num_train_epochs=n), EXAMPLE_FACTS, FAST) for n in (1, 2))
    assert EXAMPLE_FACTS["tokens"] * 0.01 < one < two < 2 * one
    assert estimate_time(TrainConfig(num_train_epochs=1000, max_minutes=5), EXAMPLE_FACTS, FAST) == 300


def test_the_facts_of_the_example_are_counted(tinyllama_tokenizer, tmp_path):
    from data.intake import load_data
    from data.settings import DataSettings

    data = load_data(DataSettings(), tmp_path, tinyllama_tokenizer)
    lengths = [len(row["input_ids"]) for row in data.train.rows]
    assert len(lengths) == EXAMPLE_FACTS["train_rows"] and len(data.held_out.rows) == EXAMPLE_FACTS["held_out_rows"]
    assert sum(lengths) == EXAMPLE_FACTS["tokens"] and max(lengths) == EXAMPLE_FACTS["longest"]
    assert mean(lengths) == pytest.approx(EXAMPLE_FACTS["mean_length"], abs=0.1)
    trained = sum(label >= 0 for row in data.train.rows for label in row["labels"])
    assert trained == EXAMPLE_FACTS["trained_tokens"]


def test_known_bases_need_no_download(tiny_base):
    assert shape_for(Base("hub", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "abc", "")) == TINYLLAMA_SHAPE
    assert shape_for(Base("embedded", "HuggingFaceTB/SmolLM2-135M-Instruct", None, "")) == EMBEDDED_SHAPE
    assert shape_for(Base("folder", str(tiny_base), None, "")).num_hidden_layers == 2
    assert shape_for(Base("hub", "nobody/nothing", None, "")) is None


@pytest.mark.parametrize("content", ["{}", "[]", "no json", '{"hidden_size": "x"}'])
def test_a_folder_without_a_llama_says_so(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json"):
        shape_of(tmp_path)


def test_a_run_keeps_what_was_predicted(tmp_path):
    assert predicted_memory(tmp_path) is None
    found = estimate(TrainConfig(), EMBEDDED_SHAPE, EXAMPLE_FACTS, CPU)
    record_estimate(tmp_path, found)
    assert predicted_memory(tmp_path) == found.memory.total
    for damaged in ("{", "[]", '{"memory": 3}', '{"memory": {"total": "x"}}'):
        (tmp_path / "estimate.json").write_text(damaged)
        assert predicted_memory(tmp_path) is None


def test_the_text_of_stage_1_counts_in_steps_time_and_memory():
    config = TrainConfig(text_data="notes.txt", max_length=512)
    facts = {**EXAMPLE_FACTS, "text": {"train_rows": 95, "tokens": 51_200}}
    plain, staged = (estimate(config, EMBEDDED_SHAPE, given, CPU, FAST) for given in (EXAMPLE_FACTS, facts))
    assert plain.text_plan is None and staged.plan == plain.plan
    assert staged.text_plan.total_steps == 24, "95 full rows, four a step"
    assert staged.memory.total > plain.memory.total, "its rows are full, those of the example are not"
    longer = staged.seconds - plain.seconds
    assert longer == pytest.approx(51_200 * 0.95 * 0.01 * config.text_epochs, rel=0.15)
    assert estimate(TrainConfig(), EMBEDDED_SHAPE, facts, CPU, FAST).text_plan is None, "this run has no stage 1"
