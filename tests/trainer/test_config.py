"""One dataclass feeds everything, and says all that is wrong at once."""

from dataclasses import fields

import pytest

from common.errors import UserError
from trainer.config import GROUPS, TrainConfig
from trainer.fields import Mark


def test_the_defaults_have_no_problem():
    assert TrainConfig().problems() == []


def test_a_setting_that_does_not_say_what_it_means_to_others_fails_here():
    for item in fields(TrainConfig):
        assert "marks" in item.metadata, f"TrainConfig.{item.name} has no metadata: make it with `setting(...)`."
        assert item.metadata["help"].endswith(".") and item.metadata["group"] in GROUPS, item.name
        leaves = {Mark.TOLD, Mark.CARD, Mark.KEPT} & {*item.metadata["marks"]}
        assert len(leaves) == 1, f"TrainConfig.{item.name}: may it travel with an adapter? Mark it TOLD, CARD or KEPT."
        is_free_text = isinstance(item.default, str | None) and not item.metadata["choices"]
        assert not (is_free_text and leaves != {Mark.KEPT} and item.name != "base_revision"), f"{item.name} is a word"


def test_all_problems_are_told_together():
    config = TrainConfig(name=" ", learning_rate=5.0, lora_r=0, lr_scheduler_type="zigzag", precision="3bit")
    assert {problem.field for problem in config.problems()} == {
        *("name", "learning_rate", "lora_r", "lr_scheduler_type", "precision"),
    }
    with pytest.raises(UserError) as error:
        config.check()
    assert all(name in str(error.value) for name in ("learning_rate", "lora_r", "precision"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_numbers_that_are_none_are_problems(value):
    assert TrainConfig(learning_rate=value).problems()


def test_yaml_round_trip_keeps_every_value(tmp_path):
    config = TrainConfig(
        name="한국어: #1 'x'\nline", learning_rate=3e-5, skip_bad_rows=True, gradient_checkpointing="off"
    )
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml(), encoding="utf-8")
    assert TrainConfig.from_yaml(file) == config


def test_values_may_come_as_text():
    config = TrainConfig.from_dict(
        {"learning_rate": "2e-4", "max_steps": "10", "skip_bad_rows": "yes", "eval_data": ""}
    )
    assert (config.learning_rate, config.max_steps, config.skip_bad_rows, config.eval_data) == (2e-4, 10, True, None)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lerning_rate": 1}, "Unknown settings: lerning_rate"),
        ({"max_steps": "ten"}, "max_steps: 'ten' is not a number"),
        ({"max_steps": 1.5}, "not a whole number"),
        ({"max_steps": "inf"}, "not a whole number"),
        ({"skip_bad_rows": "perhaps"}, "neither true nor false"),
    ],
)
def test_a_wrong_value_is_named(values, words):
    with pytest.raises(UserError, match=words):
        TrainConfig.from_dict(values)


@pytest.mark.parametrize("text", ["[1, 2]", "a: b: c", "", "!!python/object:os.system {}", "\x00"])
def test_a_file_that_is_no_config_is_refused(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError):
        TrainConfig.from_yaml(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "first\nsecond",
        "ends with a line\n",
        " # no comment\n# at all",
        "'quoted' \"twice\"\n\n\nthree lines on",
        "nel \x85 separators \u2028 \u2029",
        "x" * 9999 + "\n" + "words " * 1500,
        "- a\n- b: c",
        "null",
        "yes",
        "0x10",
        "2020-01-01",
        "\ttab",
        "  spaces  ",
        "---\n...\n",
        "|",
        "emoji 👩‍🚀 한국어",
    ],
)
def test_any_text_survives_the_file_and_its_comments(tmp_path, text):
    config = TrainConfig(sample_prompts=text, name=text, data=text, eval_data=text)
    file = tmp_path / "config.yaml"
    file.write_bytes(config.to_yaml().encode())
    assert TrainConfig.from_yaml(file) == config
