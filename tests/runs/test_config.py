"""One dataclass feeds everything, says all that is wrong at once, and what each setting means to others."""

from dataclasses import fields

import pytest

from common.errors import UserError
from runs.config import GROUPS, TrainConfig
from runs.fields import CHOICES, LABELS, Mark, choices_of, label_of
from runs.presets import PRESETS, preset_values
from runs.resolve import resolve


def wrong_fields(**settings) -> list[str]:
    return [problem.field for problem in TrainConfig(**settings).problems()]


def test_a_setting_that_does_not_say_what_it_means_to_others_fails_here():
    for item in fields(TrainConfig):
        assert "marks" in item.metadata, f"TrainConfig.{item.name} has no metadata: make it with `setting(...)`."
        assert item.metadata["help"].endswith(".") and item.metadata["group"] in GROUPS, item.name
        leaves = {Mark.TOLD, Mark.CARD, Mark.KEPT} & {*item.metadata["marks"]}
        assert len(leaves) == 1, f"TrainConfig.{item.name}: may it travel with an adapter? Mark it TOLD, CARD or KEPT."
        is_free_text = isinstance(item.default, str | None) and not item.metadata["choices"]
        assert not (is_free_text and leaves != {Mark.KEPT} and item.name != "base_revision"), f"{item.name} is a word"


def test_every_setting_has_a_label_of_its_own():
    assert set(LABELS) == {item.name for item in fields(TrainConfig)}
    assert len(set(LABELS.values())) == len(LABELS)


def test_a_choice_is_said_in_words_and_keeps_its_value():
    settings = {item.name: item for item in fields(TrainConfig)}
    assert {name: tuple(words) for name, words in CHOICES.items()} == {
        name: settings[name].metadata["choices"] for name in CHOICES
    }
    assert choices_of(settings["too_long"])[0] == ("Leave out (drop)", "drop")
    assert choices_of(settings["lr_scheduler_type"])[0] == ("cosine", "cosine")


@pytest.mark.parametrize("preset", PRESETS)
def test_the_defaults_and_the_presets_have_no_problem(preset):
    assert wrong_fields(**preset_values(preset)) == []


def test_all_problems_are_told_together():
    wrong = {"name": " ", "learning_rate": 5.0, "lora_r": 0, "lr_scheduler_type": "zigzag", "precision": "3bit"}
    assert set(wrong_fields(**wrong)) == set(wrong)
    with pytest.raises(UserError) as error:
        TrainConfig(**wrong).check()
    assert all(label_of(name) in str(error.value) for name in wrong)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("learning_rate", [float("nan"), float("inf"), -1.0]),
        ("name", ["a\x00b", "a\x1b[31m", "\ud800", "line\nbreak", "x" * 1001]),
        ("sample_prompts", ["a" * 20_001]),
        ("columns", ['{"a":' * 3000]),
    ],
)
def test_what_no_file_can_hold_or_no_training_can_use_is_a_problem_of_its_field(field, values):
    assert all(wrong_fields(**{field: value}) == [field] for value in values)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"method": "last-n"}, "last_layers"),
        ({"method": "full", "precision": "8bit"}, "precision"),
        ({"method": "last-n", "last_layers": 2, "precision": "4bit"}, "precision"),
        ({"method": "full", "init_adapter": "mine"}, "init_adapter"),
        ({"method": "full", "parallel": "zero2", "precision": "bf16"}, "parallel"),
        ({"method": "prefix"}, "method"),
    ],
)
def test_what_does_not_go_with_training_weights_of_the_base_is_a_problem_of_its_field(settings, field):
    assert wrong_fields(**settings) == [field]
    assert wrong_fields(method="full") == wrong_fields(method="last-n", last_layers=2, num_processes=2) == []


@pytest.mark.parametrize(
    ("method", "kept"), [("lora", (4, 64, True)), ("last-n", (4, 16, False)), ("full", (0, 16, False))]
)
def test_settings_of_lora_do_not_count_where_no_adapter_is_trained(method, kept):
    config = resolve(TrainConfig(base="embedded", method=method, last_layers=4, lora_r=64, use_dora=True)).config
    assert (config.last_layers, config.lora_r, config.use_dora) == kept


def test_weights_that_are_trained_themselves_are_held_in_fp32_and_never_quantised():
    adapter, whole = TrainConfig(), TrainConfig(method="full")
    assert [config.precision_on(has_gpu) for config in (adapter, whole) for has_gpu in (True, False)] == [
        *("8bit", "fp32"),
        *("bf16", "fp32"),
    ]
    assert adapter.held_in("bf16") == "bf16" and whole.held_in("bf16") == "fp32"


def test_prompts_may_have_lines_and_any_letters():
    assert wrong_fields(sample_prompts="왜?\n\tAnd \u200d👩‍🚀?\r\n") == []


def test_values_may_come_as_text():
    config = TrainConfig.from_dict(
        {"learning_rate": "2e-4", "max_steps": "10", "skip_bad_rows": "yes", "eval_data": ""}
    )
    assert (config.learning_rate, config.max_steps, config.skip_bad_rows, config.eval_data) == (2e-4, 10, True, None)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lerning_rate": 1}, "Unknown settings: lerning_rate"),
        ({"max_steps": "ten"}, "Max steps: 'ten' is not a number"),
        ({"max_steps": 1.5}, "not a whole number"),
        ({"max_steps": "inf"}, "not a whole number"),
        ({"skip_bad_rows": "perhaps"}, "neither true nor false"),
        ({"name": ["a"]}, "Name: Enter text, a number, or true or false"),
        *[
            ({"lora_r": value}, r"LoRA rank \(r\): ")
            for value in (True, [1], {"a": 1}, b"1", "", 10**5000, "9" * 5000, object())
        ],
    ],
    ids=range(14),
)
def test_a_wrong_value_is_named_in_few_words(values, words):
    with pytest.raises(UserError, match=words) as error:
        TrainConfig.from_dict(values)
    assert len(error.value.message) < 200


@pytest.mark.parametrize("text", ["[1, 2]", "a: b: c", "", "!!python/object:os.system {}", "\x00"])
def test_a_file_that_is_no_config_is_refused(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError):
        TrainConfig.from_yaml(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "data: a.jsonl:0.7, b.jsonl:0.3",
        "data: [a.jsonl:0.7, b.jsonl:0.3]",
        "data:\n- a.jsonl: 0.7\n- b.jsonl: 0.3",
        "data:\n  a.jsonl: 0.7\n  b.jsonl: 0.3",
    ],
)
def test_several_data_sets_may_be_a_line_a_list_or_a_table(text):
    assert TrainConfig.from_text(text).data == "a.jsonl:0.7, b.jsonl:0.3"


def test_what_goes_with_one_data_set_only_is_a_problem_with_several():
    assert wrong_fields(data="o/a, o/b", data_revision="main") == ["data_revision"]
    assert wrong_fields(data="o/a, o/b", eval_split="test") == ["eval_split"]
    assert wrong_fields(eval_split="train") == wrong_fields(eval_split="test", eval_data="x.csv") == ["eval_split"]
    assert wrong_fields(data="o/a:1, o/b") == ["data"]


@pytest.mark.parametrize(
    "text",
    [
        *("first\nsecond", "ends with a line\n", " # no comment\n# at all", "'quoted' \"twice\"\n\n\nthree lines on"),
        *("nel \x85 separators \u2028 \u2029", "x" * 9999 + "\n" + "words " * 1500, "- a\n- b: c", "null", "yes"),
        *("0x10", "2020-01-01", "\ttab", "  spaces  ", "---\n...\n", "|", "한국어: #1 'x'\nline", "emoji 👩‍🚀 한국어"),
    ],
    ids=range(17),
)
def test_every_value_survives_the_file_and_its_comments(tmp_path, text):
    numbers = {"learning_rate": 3e-5, "skip_bad_rows": True, "gradient_checkpointing": "off"}
    config = TrainConfig(sample_prompts=text, name=text, data=text, eval_data=text, **numbers)
    file = tmp_path / "config.yaml"
    file.write_bytes(config.to_yaml().encode())
    assert TrainConfig.from_yaml(file) == config
