"""The way out of "does not fit": as few fields as possible, in the order of what they cost a person."""

import pytest

from runs.config import TrainConfig
from runs.forecast.fitting import make_it_fit


def size(config: TrainConfig) -> float:
    """A stand-in for the estimate: weights, and activations by batch and length."""
    weights = {"8bit": 25, "4bit": 15}.get(config.precision, 100) if config.makes_adapter else 300
    rows = config.per_device_train_batch_size * config.max_length / 1024
    return weights + rows * (5 if config.gradient_checkpointing == "on" else 25)


def fit(limit: float, lengths=None, **settings):
    return make_it_fit(TrainConfig(**settings), lambda config: size(config) <= limit, False, lengths)


def batch(rows: int, gathered: int = 1) -> dict:
    return {"per_device_train_batch_size": rows, "gradient_accumulation_steps": gathered}


ON, OFF = {"gradient_checkpointing": "on"}, {"gradient_checkpointing": "off"}


@pytest.mark.parametrize(
    ("settings", "limit", "change"),
    [
        ({}, 200, {}),
        (OFF, 150, ON),
        ({**ON, **batch(16)}, 150, batch(8, 2)),
        ({**ON, **batch(16, 3)}, 112, batch(2, 24)),
        (batch(2), 105, {"precision": "8bit"}),  # alone, although checkpointing and half the batch come earlier
        (OFF, 28, {**ON, **batch(2, 2), "precision": "4bit"}),
        ({}, 10, None),
        ({**ON, **batch(1), "precision": "8bit"}, 20, {"precision": "4bit"}),
        ({**ON, **batch(1), "precision": "4bit"}, 15, None),
        ({**ON, **batch(1), "method": "full"}, 120, {"method": "lora"}),
    ],
    ids=range(10),
)
def test_the_fewest_settings_that_make_it_fit_keep_the_effective_batch(settings, limit, change):
    assert fit(limit, **settings) == change


def test_what_is_on_by_itself_is_not_offered():
    assert "gradient_checkpointing" not in fit(150)


def test_max_length_is_lowered_only_when_few_rows_are_longer():
    """By the lengths as the check of the data tells them."""
    few, many = ({"edges": [0, 128, 1024], "counts": counts} for counts in ([99, 1], [50, 50]))
    assert fit(115, few, **ON, **batch(5)) == {"max_length": 512}
    assert "max_length" not in fit(115, many, **ON, **batch(5))
