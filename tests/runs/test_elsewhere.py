"""A long training without a GPU: which job is proposed in its place, where none is, and what the command line says of it."""

import threading
from pathlib import Path

import pytest
from huggingface_hub import constants

from models.base import Base
from models.hardware import Hardware
from models.prices import JOBS, Flavor
from runs.config import TrainConfig
from runs.forecast import elsewhere as proposals
from runs.forecast.elsewhere import LONG_SECONDS, elsewhere, lines_at_start
from runs.forecast.estimate import EXAMPLE_FACTS
from runs.resolve import ResolvedConfig
from tests.runs.test_estimate import CPU, TWO_CARDS

TINYLLAMA = Base("cache", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", None, "")
NEVER = threading.Event()
HOURS = 6 * 3600.0


def many(times: int) -> dict:
    """The facts of the example's rows so many times."""
    counted = ("train_rows", "held_out_rows", "tokens", "trained_tokens")
    return {**EXAMPLE_FACTS, **{name: times * EXAMPLE_FACTS[name] for name in counted}}


@pytest.fixture(autouse=True)
def with_a_hub(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def propose(seconds=HOURS, base=TINYLLAMA, hardware=CPU, facts=None, **settings):
    resolved = ResolvedConfig(TrainConfig(base=base.choice, **settings), base, hardware)
    return elsewhere(resolved, facts or many(10), seconds)


def test_the_cheapest_machine_that_is_much_faster_is_proposed_with_its_time_and_cost():
    found = propose()
    assert found.flavor.name == "t4-small" and 600 < found.seconds < HOURS / 3
    assert found.dollars == pytest.approx(JOBS["t4-small"].dollars_per_hour / 60 * -(-found.seconds // 60))
    words = found.sentence()
    assert words.startswith("This takes about 6 h here. On Hugging Face Jobs it would take about 14 min")
    assert f"cost about ${found.dollars:.2f} (Nvidia T4 - small, 16 GB)" in words
    listed = [Flavor("new-card", 0.001, 1, "Nvidia L4, 24 GB"), Flavor("two-cards", 0.0001, 2, "2x Nvidia L4, 48 GB")]
    assert elsewhere(ResolvedConfig(TrainConfig(), TINYLLAMA, CPU), many(10), HOURS, listed).flavor.name == "new-card"
    # the T4 is three times faster than that no longer, an L4 is
    assert propose(seconds=3 * found.seconds - 1).flavor.name == "l4x1"


def test_a_card_that_is_too_small_is_not_proposed():
    large = {"per_device_train_batch_size": 16, "max_length": 2048, "gradient_checkpointing": "off"}
    found = propose(seconds=100 * HOURS, facts=many(10) | {"longest": 2048, "mean_length": 2000.0}, **large)
    assert found.flavor.hardware().available_bytes > 24e9


def test_the_command_of_the_job_has_the_settings_and_pays_no_more_than_its_limit():
    config = TrainConfig(base="embedded", data="my rows.jsonl", num_processes=2)
    command = propose().command(config)
    assert command.startswith(
        "python -m jobs hf --name=my-adapter --base=embedded '--data=my rows.jsonl' --flavor t4-small"
    )
    minutes, dollars = int(command.split()[-3]), float(command.split()[-1])
    assert 0 <= dollars - minutes * JOBS["t4-small"].dollars_per_hour / 60 < 0.011


def test_no_job_is_proposed_where_it_would_not_help_or_not_work(monkeypatch):
    unreached = Base("embedded", "HuggingFaceTB/SmolLM2-135M-Instruct", None, "")
    assert propose(seconds=LONG_SECONDS - 1) is None, "it is short"
    assert propose(seconds=None) is None and propose(base=Base("hub", "o/unknown", None, "")) is None
    assert propose(hardware=TWO_CARDS) is None
    assert propose(method="full") is None and propose(parallel="zero3") is None, "a job could not do it"
    assert elsewhere(ResolvedConfig(TrainConfig(), unreached, CPU), many(1000), HOURS) is None, "the Hub is away"
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert propose() is None
    monkeypatch.delenv("SPACES_ZERO_GPU")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert propose() is None


@pytest.fixture
def data(tmp_path):
    """A file that may take long, and nobody has read."""
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "Why?", "completion": "Because."}\n' * 2000)
    return str(file)


def at_start(data, **settings) -> list[str]:
    slow = Hardware((), 1, 16 * 2**30, "no GPU, 1 CPU core")
    config = TrainConfig(base=TINYLLAMA.choice, data=data, **settings)
    return [str(line) for line in lines_at_start(ResolvedConfig(config, TINYLLAMA, slow), NEVER)]


def test_the_command_line_proposes_the_job_in_one_line(data, monkeypatch):
    monkeypatch.setattr(proposals, "check", lambda settings, stop: many(10) | {"text": None, "lengths": None})
    monkeypatch.setattr(proposals, "token_of", lambda visitors: "hf_x")
    (line,) = at_start(data)
    assert "On Hugging Face Jobs it would take" in line and "Start it: python -m jobs hf --name=" in line
    monkeypatch.setattr(proposals, "token_of", lambda visitors: False)
    (line,) = at_start(data)
    assert line.endswith("Run `hf auth login`, then try again.") and "python -m jobs" not in line


def test_data_that_cannot_take_long_is_not_read_for_it(data, monkeypatch):
    monkeypatch.setattr(proposals, "check", lambda settings, stop: pytest.fail("it was read"))
    few = Path(data).with_name("few.jsonl")
    few.write_text("".join(Path(data).read_text().splitlines(keepends=True)[:100]))
    assert at_start(str(few)) == []
    assert at_start("owner/name") == [], "it would have to be downloaded first"
    resolved = ResolvedConfig(TrainConfig(base=TINYLLAMA.choice, data=data), TINYLLAMA, TWO_CARDS)
    assert lines_at_start(resolved, NEVER) == []


def test_a_space_that_forgets_says_so_before_a_long_training(monkeypatch):
    monkeypatch.setattr(proposals, "token_of", lambda visitors: "hf_x")
    assert not any("Space" in line for line in at_start("example"))
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    assert any("This Space loses all runs and adapters when it restarts" in line for line in at_start("example"))
