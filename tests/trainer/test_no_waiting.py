"""A training step never waits for a GPU: nothing of it is read back before the step has ended."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trainer.patches.loss_head import _tiled_loss
from trainer.watchdog import LateNumbers

READ_BACK = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")  # the operations a CPU waits for
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class ReadsBack(TorchDispatchMode):
    """Remembers every operation that a CPU could only answer after waiting for its GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function.overloadpacket.__name__
        indices = arguments[1] if name in ("index", "index_put", "index_put_") else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        if name in READ_BACK or by_mask:
            self.found.append(name)
        return function(*arguments, **(keywords or {}))


ROWS = [{"input_ids": [n + 5] * (n + 9), "labels": [-100] * 4 + [n + 5] * (n + 5)} for n in range(12)]


@pytest.mark.parametrize("precision", ["fp32", "8bit"])
@pytest.mark.parametrize("checkpointing", ["off", "on"])
def test_a_step_reads_nothing_back(make_trainer, precision, checkpointing):
    """Padded, as on a GPU: forward, loss and backward; the attention row by row of a CPU knows its rows' ends."""
    trainer = make_trainer(precision, train=ROWS, gradient_checkpointing=checkpointing, neftune_noise_alpha=1.0)
    batch = trainer.data_collator([trainer.train_dataset[n] for n in range(4)])
    assert "attention_mask" in batch and not batch["attention_mask"].all()
    with ReadsBack() as watch:
        loss = trainer.training_step(trainer.model, dict(batch), torch.tensor(20))
    assert not watch.found and loss > 0
    with ReadsBack() as watch:
        super(type(trainer), trainer).compute_loss(trainer.model, {**batch, "places": None, "targets": None})
    assert watch.found, "TRL's own step does, or this test sees nothing"


def test_the_loss_from_tiles_is_that_of_one_product():
    """The head that a GPU takes, in torch's own operations."""
    hidden, weight = torch.randn(9, 16, requires_grad=True), torch.randn(50, 16)
    targets = torch.randint(0, 50, (9,))
    got = _tiled_loss(hidden, weight, targets)
    expected = torch.nn.functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    assert got.item() == pytest.approx(expected.item(), rel=1e-5)
    (one,), (other,) = torch.autograd.grad(got, hidden), torch.autograd.grad(expected, hidden)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_numbers_of_a_cpu_are_read_at_once_and_missing_ones_are_none():
    late = LateNumbers()
    assert late.swap(3, torch.tensor([1.5, 2.0])) == (3, [1.5, 2.0]) and late.swap(4, None) == (4, [])


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("packing", [False, True])
def test_no_operation_of_a_step_synchronises_the_gpu(make_trainer, packing):
    """torch itself raises at the first one that does. bitsandbytes' int8 product does, so this is in bf16."""
    trainer = make_trainer("bf16", train=ROWS, max_steps=3, packing=packing)
    trainer.train()  # warm: kernels are chosen, buffers are made
    batch = trainer.data_collator([trainer.train_dataset[n] for n in range(min(4, len(trainer.train_dataset)))])
    batch = {name: value.cuda() if torch.is_tensor(value) else value for name, value in batch.items()}
    count = torch.tensor(20, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = trainer.training_step(trainer.model, batch, count)
        trainer.loss_watch.on_step_end(trainer.args, trainer.state, trainer.control)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert loss.item() > 0


@pytest.mark.gpu
@needs_gpu
def test_numbers_of_a_gpu_are_read_a_step_later():
    late = LateNumbers()
    assert late.swap(1, torch.tensor([1.5, 2.0], device="cuda")) == (1, [])
    assert late.swap(2, torch.tensor([2.5, 3.0], device="cuda")) == (1, [1.5, 2.0])
