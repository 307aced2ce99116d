"""LoRA added in place is PEFT's LoRA: same outputs, same gradients, and PEFT's own way where there is more to it."""

import pytest
import torch

from benchmarks import fused_lora
from benchmarks.fused_lora import AddLora


def results_of(trainer, inputs) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(3)
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, dict(inputs), num_items_in_batch=torch.tensor(37))
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("precision", ["fp32", "8bit", "4bit"])
@pytest.mark.parametrize("settings", [{}, {"gradient_checkpointing": "on"}, {"use_rslora": True}], ids=str)
def test_it_has_pefts_loss_and_gradients(make_trainer, monkeypatch, precision, settings):
    """With dropout: the same random numbers."""
    monkeypatch.setattr(fused_lora, "install", lambda model: None)
    trainer = make_trainer(precision, **{"lora_dropout": 0.1, **settings})
    for name, weight in trainer.model.named_parameters():  # or B's zeroes hide A
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    inputs = trainer.data_collator([trainer.train_dataset[n] for n in range(4)])
    trainer.model.train()
    expected = results_of(trainer, inputs)
    monkeypatch.undo()
    fused_lora.install(trainer.model)
    got = results_of(trainer, inputs)
    assert got[0].item() == pytest.approx(expected[0].item(), rel=1e-5)
    for name, gradient in expected[1].items():
        torch.testing.assert_close(got[1][name], gradient, atol=1e-5, rtol=1e-3)
    assert any(gradient.abs().max() > 1e-4 for gradient in got[1].values())


def test_its_gradients_are_the_numeric_ones():
    x, a, b = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 3, 5), (2, 5), (4, 2)))
    base = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda base, x, a, b: AddLora.apply(base * 1, x, a, b, 2.0), (base, x, a, b))


def test_a_16_bit_base_keeps_its_inputs_as_they_are():
    """Adapters in fp32, everything else bf16: gradients come back in each one's own dtype."""
    x, base = torch.randn(3, 8, dtype=torch.bfloat16, requires_grad=True), torch.randn(3, 4, dtype=torch.bfloat16)
    a, b = torch.randn(2, 8, requires_grad=True), torch.randn(4, 2, requires_grad=True)
    AddLora.apply(base.clone(), x, a, b, 2.0).float().sum().backward()
    assert (x.grad.dtype, a.grad.dtype, b.grad.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    expected = torch.autograd.grad((base.float() + x.detach().float() @ a.T @ b.T * 2.0).sum(), (a, b))
    torch.testing.assert_close((a.grad, b.grad), expected, atol=0.1, rtol=0.05)


def test_a_switched_off_adapter_stays_off_and_dora_stays_pefts(make_trainer):
    trainer = make_trainer()
    fused_lora.install(trainer.model)
    ids = {"input_ids": torch.tensor([[5, 6, 7]])}
    torch.nn.init.normal_(trainer.model.get_base_model().model.layers[0].mlp.up_proj.lora_B["default"].weight)
    with trainer.model.disable_adapter():
        off = trainer.model(**ids).logits
    assert not torch.equal(off, trainer.model(**ids).logits)
    dora = make_trainer(use_dora=True)
    fused_lora.install(dora.model)
    assert not [layer for layer in dora.model.modules() if "forward" in vars(layer) and hasattr(layer, "lora_A")]
