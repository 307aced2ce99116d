"""Gradient checkpointing by itself: on only where the run would not fit, and the losses are the same."""

from dataclasses import replace

import pytest

from models.family import EMBEDDED_SHAPE
from models.hardware import Hardware
from runs.config import TrainConfig
from runs.forecast.estimate import EXAMPLE_FACTS, estimate
from runs.launcher import create_run
from tests.running import events, losses, run_main
from trainer import gradient_checkpointing
from trainer.gradient_checkpointing import facts_of


def test_it_is_on_only_where_there_is_too_little_room_and_the_losses_are_the_same(settings, monkeypatch):
    """With dropout, whose random numbers a recomputed layer must draw again."""
    found = {}
    for name, available in (("roomy", 10**12), ("tight", 10**6)):
        monkeypatch.setattr(
            gradient_checkpointing, "_hardware", lambda stage, size=available: Hardware((), 2, size, "")
        )
        run = create_run(TrainConfig(name=name, **{**settings, "max_steps": 4, "lora_dropout": 0.1}))
        assert run_main(run) == 0
        (done,) = events(run, "done")
        notes = [event["message"] for event in events(run, "note") if "checkpointing" in event["message"]]
        found[name] = losses(run), done["metrics"]["gradient_checkpointing"], len(notes)
    assert found["roomy"][0] == pytest.approx(found["tight"][0], rel=1e-6) and len(found["roomy"][0]) == 4
    assert found["roomy"][1:] == ("off", 0) and found["tight"][1:] == ("on", 1)


def test_the_plan_says_which_and_why():
    hardware = Hardware((), 2, 16 * 2**30, "no GPU, 2 CPU cores")
    roomy = estimate(TrainConfig(), EMBEDDED_SHAPE, EXAMPLE_FACTS, hardware)
    tight = estimate(TrainConfig(), EMBEDDED_SHAPE, EXAMPLE_FACTS, replace(hardware, available_bytes=3 * 10**9))
    assert roomy.checkpointing == "off: there is enough memory without it" and roomy.checkpointing in roomy.sentence()
    assert tight.checkpointing == "on: there is too little memory without it" and tight.memory.fits


def test_the_rows_are_measured_where_they_lie(tinyllama_tokenizer, tmp_path):
    """The same facts as the check before the start tells; counted on disk."""
    from data.intake import load_data
    from data.settings import DataSettings

    facts = facts_of(load_data(DataSettings(), tmp_path, tinyllama_tokenizer).train)
    assert facts == {name: EXAMPLE_FACTS[name] for name in facts} | {"mean_length": pytest.approx(103.4, abs=0.1)}
    assert set(facts) == set(EXAMPLE_FACTS) - {"held_out_rows"}
