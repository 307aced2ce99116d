"""What a plan says before the start."""

import re
from dataclasses import replace

import pytest

import runs.resolve
from common.errors import UserError
from models.family import TINYLLAMA_SHAPE
from models.hardware import Hardware
from runs.config import TrainConfig
from runs.forecast.estimate import EXAMPLE_FACTS, estimate
from runs.forecast.memory import Memory
from runs.forecast.presets import Forecast
from runs.presets import DEFAULT, THOROUGH, preset_values
from runs.resolve import resolve
from tests.runs.test_estimate import FAST
from ui.train.plan_events import estimate_of, plan_views, preset_of
from ui.train.plan_view import plan_html, preset_choices


def test_the_plan_tells_the_trained_weights_and_what_is_advised_against():
    config = TrainConfig(learning_rate=2e-5, target_modules="attention")
    shown = plan_views(config, None, "local")[0]
    assert "A learning rate of 2e-05 is low for LoRA" in shown
    assert re.search(r"<b>Trained:</b> [\d.]+ M of [\d.,]+ M weights, \d\.\d\d%", shown)
    unknown = plan_views(replace(config, data="rows.jsonl"), None, "local")[0]
    assert "when the data is checked" in unknown and "is low for LoRA" in unknown


def test_a_preset_stays_chosen_with_weights_of_the_base_in_the_place_of_lora():
    config = TrainConfig(base="embedded", method="full", **preset_values(THOROUGH))
    views = plan_views(config, None, "local")
    assert preset_of(resolve(config).config) == THOROUGH
    assert "weights in fp32" in views[0] and "href='#field-method'" in views[-1] and "all weights" in views[-1]


def test_a_plan_is_of_what_a_start_would_take(monkeypatch):
    monkeypatch.setenv("STUDIO_MAX_MINUTES", "15")
    with pytest.raises(UserError, match="16 is too high; the maximum on this machine is 15"):
        plan_views(TrainConfig(base="embedded", max_minutes=16), None, "local")
    resolved = resolve(TrainConfig(base="embedded"))
    monkeypatch.setattr(runs.resolve, "choose_base", lambda *choice: pytest.fail("it was chosen"))
    assert estimate_of(resolved, None, "local").memory.available == resolved.hardware.available_bytes


def test_on_a_priced_space_the_plan_tells_the_cost_as_a_sentence():
    space = Hardware((), 8, 30 * 2**30, "no GPU, 8 CPU cores", "t4-small")
    shown = plan_html(estimate(TrainConfig(), TINYLLAMA_SHAPE, EXAMPLE_FACTS, space, FAST))
    wanted = r"<p><b>Cost:</b> about \$0\.\d\d on this Space \(t4-small, \$0\.40 per hour\)\.</p>"
    assert re.search(wanted, shown), shown


THREE_GIB = Memory({}, 3 * 2**30, 2**40)


@pytest.mark.parametrize(
    ("forecasts", "lines"),
    [
        (None, ["Estimating time", "and memory ..."]),
        ({}, ["Time and memory", "not known yet"]),
        ({DEFAULT: Forecast(240, THREE_GIB, True)}, ["about 4 min", "3.0 GiB of memory"]),
        ({DEFAULT: Forecast(240, THREE_GIB, False)}, ["4 min, estimated", "3.0 GiB of memory"]),
    ],
)
def test_a_preset_says_what_it_takes_and_whether_that_was_measured(forecasts, lines):
    card = next(label for label, preset in preset_choices(forecasts) if preset == DEFAULT)
    assert card.split("\n") == ["Good default", *lines, "2 epochs: enough for most adapters."]
