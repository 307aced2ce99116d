"""What makes a training faster changes nothing of it. How much faster is measured in benchmarks/."""

import pytest
import torch

from common.files import read_json_lines
from common.paths import runs_folder
from models.precision import load_base_model
from runs.run import Run
from tests.running import events
from trainer.patches import row_attention

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


def told(run: Run, kind: str) -> dict[int, float]:
    return {event["step"]: event["loss"] for event in events(run, kind)}


def test_a_look_back_at_step_0_sees_what_a_look_before_step_1_saw(make_trainer):
    rows = [{"input_ids": [number + 5] * 9, "labels": [number + 5] * 9} for number in range(14)]
    settings = {"max_steps": 3, "eval_steps": 2, "learning_rate": 0.02, "lora_dropout": 0.1}
    runs = [Run(runs_folder() / name) for name in ("before", "later")]
    for run in runs:
        run.folder.mkdir(parents=True)
    given = {"train": rows[2:], "held_out": rows[:2], **settings}
    before = make_trainer(run=runs[0], **given)
    before.evaluate()
    before.train()
    later = make_trainer(run=runs[1], **given)
    later.first_evaluation = later.evaluate
    later.train()
    losses, looks = ([told(run, kind) for run in runs] for kind in ("step", "eval"))
    assert looks[0] == looks[1] and list(looks[1]) == [0, 2, 3]
    assert losses[0] == losses[1] and len(losses[1]) == 3
    kinds = [event["event"] for event in read_json_lines(runs[1].events_file)]
    assert kinds.index("step") < kinds.index("eval"), "the first loss does not wait for it"
