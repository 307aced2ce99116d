"""The plan against transformers' own Trainer, on the two-layer model."""

import pytest
from trl import pack_dataset

from common.files import read_json_lines
from common.paths import runs_folder
from models.precision import load_base_model
from runs.config import TrainConfig
from runs.forecast.plan import packed_rows, plan_steps
from runs.run import EventLog, Run
from trainer.progress import ProgressCallback
from trainer.recipe import build_trainer
from trainer.stop_watch import StopWatch


def rows(count: int, length: int = 8) -> list[dict]:
    return [{"input_ids": [number % 50 + 3] * length, "labels": [number % 50 + 3] * length} for number in range(count)]


@pytest.fixture
def make_trainer(tiny_base, tinyllama_tokenizer):
    def make(config: TrainConfig, count: int, held_out: int = 0):
        run = Run(runs_folder() / "run")
        run.folder.mkdir(parents=True, exist_ok=True)
        progress = ProgressCallback(EventLog(run), StopWatch(run))
        model = load_base_model(tiny_base, "fp32")
        return build_trainer(model, tinyllama_tokenizer, config, run, "fp32", rows(count), rows(held_out), progress)

    return make


SETTINGS = [
    {},
    {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2},
    {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "num_train_epochs": 1.5},
    {"per_device_train_batch_size": 5, "num_train_epochs": 0.3, "warmup_fraction": 0.1},
    {"max_steps": 7, "warmup_fraction": 0.5},
    {"per_device_train_batch_size": 64, "gradient_accumulation_steps": 8},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("count", [1, 22, 23])
def test_the_plan_has_the_trainers_own_numbers(make_trainer, settings, count):
    config = TrainConfig(**settings)
    trainer = make_trainer(config, count)
    values = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())
    plan = plan_steps(config, count)
    assert (plan.steps_per_epoch, plan.effective_batch, plan.total_steps) == (values[1], values[4], values[6])
    assert plan.warmup_steps == trainer.args.get_warmup_steps(plan.total_steps)


@pytest.mark.parametrize("settings", [{"num_train_epochs": 1.5}, {"max_steps": 5, "eval_steps": 2}], ids=str)
def test_a_run_takes_the_steps_looks_and_checkpoints_of_its_plan(make_trainer, settings):
    config = TrainConfig(per_device_train_batch_size=4, gradient_accumulation_steps=2, save_steps=2, **settings)
    trainer = make_trainer(config, count=18, held_out=2)
    trainer.evaluate()  # as trainer.train does before the first step
    trainer.train()
    plan = plan_steps(config, 18)
    events = [event["event"] for event in read_json_lines(runs_folder() / "run" / "events.jsonl")]
    assert plan.total_steps == trainer.state.max_steps == trainer.state.global_step == events.count("step")
    assert plan.evaluations == events.count("eval") and plan.checkpoints == events.count("checkpoint")


def test_several_processes_share_the_rows():
    alone, four = (plan_steps(TrainConfig(num_processes=n), 100) for n in (1, 4))
    assert (alone.steps_per_epoch, four.steps_per_epoch) == (25, 7) and four.effective_batch == 16


def test_packing_makes_no_fewer_rows_than_predicted_and_few_more():
    from datasets import Dataset

    data = Dataset.from_list([{"input_ids": [1] * (20 + 37 * n % 90)} for n in range(200)])
    tokens = sum(len(row) for row in data["input_ids"])
    packed = len(pack_dataset(data, seq_length=256, strategy="bfd"))
    assert packed_rows(tokens, 256) <= packed <= 1.1 * packed_rows(tokens, 256) + 1
