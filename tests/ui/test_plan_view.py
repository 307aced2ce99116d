"""What a plan says before the start."""

import re
from dataclasses import replace

import pytest
from huggingface_hub import constants

import runs.resolve
from common.errors import UserError
from models.base import Base
from models.family import TINYLLAMA_SHAPE
from models.hardware import Hardware
from runs.config import TrainConfig
from runs.forecast.estimate import EXAMPLE_FACTS, estimate
from runs.forecast.memory import Memory
from runs.forecast.presets import Forecast
from runs.presets import DEFAULT, QUICK, THOROUGH, preset_values
from runs.resolve import resolve
from tests.runs.test_estimate import CPU, FAST
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


@pytest.fixture
def slow_space(monkeypatch):
    """A Space without a GPU and without a volume, where the example takes half an hour with TinyLlama, and jobs may be run."""
    tinyllama = Base("cache", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", None, "")
    monkeypatch.setattr("ui.train.plan_events.base_in_minute", lambda *choice: tinyllama)
    monkeypatch.setattr(runs.resolve, "find_hardware", lambda: CPU)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    monkeypatch.setenv("OAUTH_SCOPES", "openid profile contribute-repos jobs")


def proposed(is_signed_in=True, keeps_checkpoints=False, **settings) -> tuple[str, bool]:
    """The proposals before a start, and whether the button that keeps checkpoints is shown."""
    views = plan_views(TrainConfig(**settings), None, "user-alice", is_signed_in, keeps_checkpoints)
    return views[-3].value, views[-2].visible


def test_before_a_long_start_a_job_is_proposed_with_its_cost_and_leads_to_its_section(slow_space, monkeypatch):
    words, _ = proposed()
    assert re.search(
        r"This takes about \d+ min here. On <a href='#jobs' class='to-field'>Hugging Face Jobs</a> it", words
    )
    assert re.search(r"cost about \$0\.\d\d \(Nvidia T4 - small, 16 GB\)", words)
    assert "Jobs" not in proposed(**preset_values(QUICK))[0], "it is short"
    monkeypatch.setenv("OAUTH_SCOPES", "openid profile contribute-repos")
    assert "Jobs" not in proposed()[0], "this Space cannot run them"


def test_who_is_not_signed_in_is_told_that_first(slow_space):
    words, is_offered = proposed(is_signed_in=False)
    assert "<a " not in words and words.count("Sign in at the top of the page.") == 2 and not is_offered


def test_where_a_restart_loses_all_checkpoints_are_one_click_away(slow_space, monkeypatch):
    words, is_offered = proposed()
    assert "This Space loses a training of about" in words and is_offered
    words, is_offered = proposed(keeps_checkpoints=True)
    assert "loses only the steps since the last checkpoint" in words and not is_offered
    assert proposed(**preset_values(QUICK)) == ("", False)
    monkeypatch.delenv("SPACE_ID")
    words, is_offered = proposed()
    assert "Space" not in words and "Jobs" in words and not is_offered


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
