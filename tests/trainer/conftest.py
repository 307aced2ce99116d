"""The real trainer on the two-layer model, and rows for it."""

import pytest

from data.dataset import Encoder
from data.shapes import to_conversation
from models.precision import load_base_model
from models.templates import training_template
from runs.config import TrainConfig
from runs.run import EventLog


@pytest.fixture
def bitsandbytes_as_it_was(monkeypatch):
    """The library's own product at the start, whatever a trainer before has patched; what this test patches is put back."""
    import bitsandbytes
    from bitsandbytes.autograd import _functions

    monkeypatch.setattr(bitsandbytes, "matmul", _functions.matmul)


@pytest.fixture
def rows(tinyllama_tokenizer):
    """Eight rows of different lengths, encoded."""
    pairs = [{"prompt": f"What is {n}?", "completion": f"It is {n}. " * (n + 1)} for n in range(8)]
    encoder = Encoder(tinyllama_tokenizer, training_template(tinyllama_tokenizer), 256)
    return encoder.encode_all([to_conversation(pair) for pair in pairs]).rows


@pytest.fixture
def make_trainer(tiny_base, tinyllama_tokenizer, run, rows, bitsandbytes_as_it_was):
    """Builds the real trainer on the two-layer model, on these rows unless it is given others."""

    from trainer.progress import ProgressCallback
    from trainer.recipe import build_trainer
    from trainer.stop_watch import StopWatch

    def make(precision: str = "fp32", held_out=(), train=rows, run=run, **settings):
        config = TrainConfig(
            **{"max_steps": 1, "save_steps": 1000, "lora_dropout": 0.0, "warmup_fraction": 0.0, **settings}
        )
        progress = ProgressCallback(EventLog(run), StopWatch(run))
        model = load_base_model(tiny_base, config.held_in(precision))
        return build_trainer(model, tinyllama_tokenizer, config, run, precision, train, held_out, progress)

    return make
