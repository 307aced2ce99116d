"""The way out of "does not fit": as few fields as possible, in the order of what they cost a person."""

from trainer.config import TrainConfig
from trainer.forecast.fitting import make_it_fit
from trainer.forecast.memory import uses_checkpointing


def size(config: TrainConfig) -> float:
    """A stand-in for the estimate: weights, and activations by batch and length."""
    weights = {"8bit": 25, "4bit": 15}.get(config.precision, 100)
    rows = config.per_device_train_batch_size * config.max_length / 1024
    return weights + rows * (5 if uses_checkpointing(config) else 25)


def fit(limit: float, lengths=None, **settings):
    return make_it_fit(TrainConfig(**settings), lambda config: size(config) <= limit, False, lengths)


def test_a_run_that_fits_changes_nothing():
    assert fit(200) == {}


def test_checkpointing_is_the_first_choice():
    assert fit(150, gradient_checkpointing="off") == {"gradient_checkpointing": "on"}


def test_what_is_on_by_itself_is_not_offered():
    assert "gradient_checkpointing" not in fit(150)


def test_a_halved_batch_keeps_the_effective_batch():
    assert fit(150, gradient_checkpointing="on", per_device_train_batch_size=16) == {
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
    }
    assert fit(112, gradient_checkpointing="on", per_device_train_batch_size=16, gradient_accumulation_steps=3) == {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 24,
    }


def test_max_length_is_lowered_only_when_few_rows_are_longer():
    few, many = [100] * 99 + [900], [100] * 50 + [900] * 50
    assert fit(115, few, gradient_checkpointing="on", per_device_train_batch_size=5) == {"max_length": 512}
    assert "max_length" not in fit(115, many, gradient_checkpointing="on", per_device_train_batch_size=5)


def test_one_field_is_better_than_two_that_come_earlier():
    """Checkpointing with a halved batch would do, and so would precision alone."""
    both = {"gradient_checkpointing": "on", "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
    assert size(TrainConfig(**both)) <= 105
    assert fit(105, per_device_train_batch_size=2) == {"precision": "8bit"}


def test_kinds_are_combined_when_one_is_not_enough():
    change = fit(28, per_device_train_batch_size=4, gradient_checkpointing="off")
    assert change["precision"] == "4bit" and change["gradient_checkpointing"] == "on"
    assert change["per_device_train_batch_size"] * change["gradient_accumulation_steps"] == 4


def test_nothing_is_offered_when_nothing_fits():
    assert fit(10) is None


def test_bf16_is_not_offered_on_a_cpu_and_quantised_settings_are_not_raised():
    assert fit(20, precision="8bit", per_device_train_batch_size=1, gradient_checkpointing="on") == {
        "precision": "4bit"
    }
    assert fit(15, precision="4bit", per_device_train_batch_size=1, gradient_checkpointing="on") is None
