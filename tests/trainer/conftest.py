"""What the tests share: a trainer and a run on the two-layer model, and a queue whose trainings only sleep."""

import json

import pytest

from common.paths import runs_folder
from data.dataset import Encoder
from data.settings import DataSettings
from data.shapes import to_conversation
from models.precision import load_base_model
from models.templates import training_template
from runs import launcher, queue
from runs.config import TrainConfig
from runs.run import EventLog, Run
from tests.trainer.queueing import end, fake_command
from tests.trainer.running import small_settings


@pytest.fixture
def settings(tiny_base, tmp_path) -> dict:
    """A run of thirty steps on the two-layer model."""
    return small_settings(tiny_base, tmp_path)


@pytest.fixture
def bitsandbytes_as_it_was(monkeypatch):
    """The library's own product at the start, whatever a trainer before has patched; what this test patches is put back."""
    import bitsandbytes
    from bitsandbytes.autograd import _functions

    monkeypatch.setattr(bitsandbytes, "matmul", _functions.matmul)


@pytest.fixture
def run() -> Run:
    run = Run(runs_folder() / "run")
    run.folder.mkdir(parents=True)
    return run


@pytest.fixture
def rows(tinyllama_tokenizer):
    """Eight rows of different lengths, encoded."""
    pairs = [{"prompt": f"What is {n}?", "completion": f"It is {n}. " * (n + 1)} for n in range(8)]
    encoder = Encoder(tinyllama_tokenizer, training_template(tinyllama_tokenizer), 256)
    return encoder.encode_all([to_conversation(pair) for pair in pairs]).rows


@pytest.fixture
def data_settings(tmp_path):
    """Settings for these rows, which are written to a file; nothing is held out unless asked."""

    def make(rows: list[dict], **values) -> DataSettings:
        file = tmp_path / "rows.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)))
        return DataSettings(data=str(file), **{"eval_fraction": 0.0, "max_length": 64, **values})

    return make


@pytest.fixture
def make_trainer(tiny_base, tinyllama_tokenizer, run, rows, bitsandbytes_as_it_was):
    """Builds the real trainer on the two-layer model, on these rows unless it is given others."""

    from trainer.progress import ProgressCallback, StopWatch
    from trainer.recipe import build_trainer

    def make(precision: str = "fp32", held_out=(), train=rows, run=run, **settings):
        config = TrainConfig(
            **{"max_steps": 1, "save_steps": 1000, "lora_dropout": 0.0, "warmup_fraction": 0.0, **settings}
        )
        progress = ProgressCallback(EventLog(run), StopWatch(run))
        model = load_base_model(tiny_base, precision)
        return build_trainer(model, tinyllama_tokenizer, config, run, precision, train, held_out, progress)

    return make


@pytest.fixture
def trainer(monkeypatch):
    """Every run is trained by a process that sleeps; what is left of them is ended afterwards."""
    monkeypatch.setattr(launcher, "command", fake_command(60))
    yield
    for folder in queue._training_processes():
        end(Run(runs_folder().parent / folder))
