"""What makes a training faster changes nothing of it. How much faster is measured in benchmarks/."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from common.files import read_json_lines
from common.paths import runs_folder
from models.precision import load_base_model
from trainer.config import TrainConfig
from trainer.process import cheap_dropout, row_attention
from trainer.process.recipe import build_trainer
from trainer.progress import ProgressCallback, StopWatch
from trainer.run import EventLog, Run

REPOSITORY = Path(__file__).resolve().parents[2]
LENGTHS = (7, 1, 12, 5)


@pytest.fixture
def batch() -> dict:
    """Four rows end to end, as TRL's collator lays them."""
    tokens = torch.randint(3, 32000, (1, sum(LENGTHS)), generator=torch.Generator().manual_seed(1))
    ends = torch.tensor([0, *torch.tensor(LENGTHS).cumsum(0)], dtype=torch.int32)
    positions = torch.cat([torch.arange(length) for length in LENGTHS]).unsqueeze(0)
    bounds = {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": 12, "max_length_k": 12}
    return {"input_ids": tokens, "position_ids": positions, **bounds}


def gradients_of(model, logits) -> list[torch.Tensor]:
    return torch.autograd.grad(logits.square().mean(), list(model.parameters()))


def test_attention_row_by_row_is_that_under_a_block_mask(tiny_base, batch):
    model = load_base_model(tiny_base, "fp32")
    expected = model(**batch, use_cache=False).logits
    expected_gradients = gradients_of(model, expected)
    row_attention.install(model)
    got = model(**batch, use_cache=False).logits
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    for one, other in zip(gradients_of(model, got), expected_gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_a_row_does_not_see_the_rows_before_it(tiny_base, batch):
    model = load_base_model(tiny_base, "fp32")
    row_attention.install(model)
    together = model(**batch, use_cache=False).logits
    alone = model(input_ids=batch["input_ids"][:, 8:20], use_cache=False).logits
    torch.testing.assert_close(together[:, 8:20], alone, atol=1e-5, rtol=1e-5)


def test_answers_with_padding_stay_as_they_were(tiny_base):
    model = load_base_model(tiny_base, "fp32")
    ids, mask = torch.tensor([[2, 2, 5, 6], [7, 8, 9, 10]]), torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])

    def answer():
        return model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=8, do_sample=False, pad_token_id=2)

    expected = answer()
    row_attention.install(model)
    assert torch.equal(answer(), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_flash_kernel_agrees_with_attention_row_by_row(tiny_base, batch):
    on_gpu = {name: value.cuda() if torch.is_tensor(value) else value for name, value in batch.items()}
    model = load_base_model(tiny_base, "bf16").cuda()
    row_attention.install(model)
    got = model(**on_gpu, use_cache=False).logits.float().cpu()
    expected = load_base_model(tiny_base, "fp32")(**batch, use_cache=False).logits
    torch.testing.assert_close(got, expected, atol=3e-2, rtol=3e-2)


@pytest.fixture
def make_trainer(tiny_base, tinyllama_tokenizer):
    """Builds the real trainer, with two rows held out, in a run of its own."""

    def make(name: str):
        run = Run(runs_folder() / name)
        run.folder.mkdir(parents=True)
        config = TrainConfig(max_steps=3, eval_steps=2, learning_rate=0.02, lora_dropout=0.1, save_steps=100)
        rows = [{"input_ids": [number + 5] * 9, "labels": [number + 5] * 9} for number in range(14)]
        progress = ProgressCallback(EventLog(run), StopWatch(run))
        model = load_base_model(tiny_base, "fp32")
        return build_trainer(model, tinyllama_tokenizer, config, run, "fp32", rows[2:], rows[:2], progress)

    return make


def told(name: str, kind: str) -> dict[int, float]:
    events = read_json_lines(runs_folder() / name / "events.jsonl")
    return {event["step"]: event["loss"] for event in events if event["event"] == kind}


def test_a_look_back_at_step_0_sees_what_a_look_before_step_1_saw(make_trainer):
    before = make_trainer("before")
    before.evaluate()
    before.train()
    later = make_trainer("later")
    later.first_look = later.evaluate
    later.train()
    assert told("later", "eval") == told("before", "eval") and list(told("later", "eval")) == [0, 2, 3]
    assert told("later", "step") == told("before", "step") and len(told("later", "step")) == 3
    kinds = [event["event"] for event in read_json_lines(runs_folder() / "later" / "events.jsonl")]
    assert kinds.index("step") < kinds.index("eval"), "the first loss does not wait for it"


@pytest.mark.parametrize(("precision", "is_there"), [("auto", False), ("8bit", True), ("nonsense", True)])
def test_bitsandbytes_is_imported_only_for_a_quantised_base(tmp_path, precision, is_there):
    (tmp_path / "config.yaml").write_text(f"name: x\nprecision: {precision}\n")
    code = (
        "import sys; from trainer.process import fast_imports; fast_imports.begin(sys.argv[1]); import gc, importlib.util as u; "
        "print(u.find_spec('bitsandbytes') is not None, gc.isenabled()); fast_imports.end(); print(gc.isenabled())"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", code, str(tmp_path)]
    output = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True).stdout
    assert output.split() == [str(is_there), "False", "True"]


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_cheap_dropout_is_dropout(p):
    torch.manual_seed(0)
    dropout, x = cheap_dropout.CheapDropout(p), torch.ones(401, 1003, requires_grad=True)
    out = dropout(x)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    kept = out != 0
    assert (1 - kept.float().mean(0)).mean().item() == pytest.approx(p, abs=0.004)
    columns = [(1 - kept[:, place::4].float().mean()).item() for place in range(4)]
    assert columns == pytest.approx([p] * 4, abs=0.008), "each part of a random number counts alike"
    assert torch.equal(out[kept].unique(), torch.tensor([1 / (1 - p)])) and torch.equal(gradient, out.detach())
    assert not torch.equal(dropout(x), out) and torch.equal(dropout.eval()(x), x)
    torch.manual_seed(0)
    assert torch.equal(dropout.train()(x), out), "the seed decides"


def test_a_trainer_on_a_cpu_has_it_in_every_adapter(make_trainer):
    model = make_trainer("dropout").model
    found = [module for name, module in model.named_modules() if ".lora_dropout." in name]
    assert len(found) == 14
    assert all(isinstance(module, cheap_dropout.CheapDropout) or torch.cuda.is_available() for module in found)
