"""The measuring process: the seconds a token takes with one configuration on this machine, without a download.

    python -m trainer.calibrate REQUEST.json RESULT.json

Two models of the base's shape with few layers and random weights are trained for a few steps by the real recipe (same
trainer, precision, adapters, loss head and optimiser); the time is a straight line in the number of layers. With `last_layers`
a third one tells the time of the layers below.
`runs.forecast.speed.measure`, which imports no torch, starts this.
"""

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from common.files import read_object, write_json
from data.dataset import IGNORED
from models.family import ModelShape
from models.precision import QUANTISED, compute_dtype, load_base_model
from runs.config import TrainConfig
from runs.run import EventLog, Run
from trainer.progress import ProgressCallback, peak_memory_bytes
from trainer.recipe import build_trainer
from trainer.stop_watch import StopWatch

LAYERS = (1, 3)
TIMED_STEPS = 3
BUDGET_SECONDS = 6  # for one model; at least one step after the first is timed


class Clock(ProgressCallback):
    """The run's own clock, which ends the training when its time is up."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.began = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        """Time the step, and stop after the budget; the second step is always timed."""
        super().on_step_end(args, state, control, **kwargs)
        if state.global_step >= 2 and time.perf_counter() - self.began > BUDGET_SECONDS:
            control.should_training_stop = True


def main(request_file: str, result_file: str) -> None:
    """Read the request from one file, measure, and write the seconds a token into the other."""
    framework_bytes = peak_memory_bytes() if not torch.cuda.is_available() else None
    request = read_object(Path(request_file))
    config = TrainConfig.from_dict(request["config"])
    shape = ModelShape(**request["shape"])
    trained = len(shape.last_layers(config.last_layers))
    whole_config, frozen_config = (replace(config, last_layers=count) for count in (0, LAYERS[0]))
    seconds = [_seconds_a_batch(whole_config, shape, layers, request) for layers in LAYERS]
    a_layer = max(0.0, (seconds[1] - seconds[0]) / (LAYERS[1] - LAYERS[0]))
    whole = seconds[0] + a_layer * (trained - LAYERS[0])
    if trained < shape.num_hidden_layers:
        below = _seconds_a_batch(frozen_config, shape, LAYERS[1], request) - seconds[0]
        whole += max(0.0, below / (LAYERS[1] - LAYERS[0])) * (shape.num_hidden_layers - trained)
    result = {
        "seconds_per_token": whole / (request["rows"] * request["length"]),
        "framework_bytes": framework_bytes,
        "seconds_a_batch": dict(zip(map(str, LAYERS), seconds, strict=True)),
    }
    write_json(Path(result_file), result)


def _seconds_a_batch(config: TrainConfig, shape: ModelShape, layers: int, request: dict[str, Any]) -> float:
    """Return the median seconds of a batch on a model of `layers` layers, the first step left out."""
    precision = config.precision_on(torch.cuda.is_available())
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "run")
        run.folder.mkdir()
        clock = Clock(EventLog(run, writes=False), StopWatch(run))
        rows = _rows(request, shape, (TIMED_STEPS + 1) * request["rows"])
        settings = {"max_steps": TIMED_STEPS + 1, "save_steps": 10_000_000, "gradient_accumulation_steps": 1}
        config = replace(config, per_device_train_batch_size=request["rows"], num_processes=1, **settings)
        model = _random_model(shape, layers, config.held_in(precision), Path(folder) / "base")
        trainer = build_trainer(model, _tokenizer(), config, run, precision, rows, [], clock)
        clock.began = time.perf_counter()
        trainer.train()
    return statistics.median([seconds for seconds, _ in clock.durations][1:])


def _rows(request: dict[str, Any], shape: ModelShape, count: int) -> list[dict[str, list[int]]]:
    """Make rows of the asked length, of which the first part is not trained, as in a conversation."""
    length, trained = request["length"], max(1, round(request["length"] * request["trained_fraction"]))
    numbers = torch.randint(3, shape.vocab_size, (count, length), generator=torch.Generator().manual_seed(0)).tolist()
    ignored = length - trained
    return [{"input_ids": ids, "labels": [IGNORED] * ignored + ids[ignored:]} for ids in numbers]


def _random_model(shape: ModelShape, layers: int, precision: str, folder: Path):
    """Make a model of `shape` with `layers` layers. A quantised one goes through a file, since loading is what quantises."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        shape.model_type,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        head_dim=shape.head_dim,
        vocab_size=shape.vocab_size,
        tie_word_embeddings=shape.tie_word_embeddings,
        max_position_embeddings=shape.max_position_embeddings,
        dtype=compute_dtype(precision),
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config).to(compute_dtype(precision))
    if precision not in QUANTISED:
        return model
    model.save_pretrained(folder)
    del model
    return load_base_model(folder, precision)


def _tokenizer():
    """Make the smallest tokenizer that a trainer accepts: the rows are numbers already."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>", pad_token="</s>")


if __name__ == "__main__":
    main(*sys.argv[1:3])
