"""Precision is what was asked for, and the card can do it."""

import logging

import pytest
import torch

from common.errors import UserError
from models.precision import compute_dtype, hush_libraries, load_base_model, resolve_precision


def test_auto_is_8bit_on_a_gpu_and_fp32_on_a_cpu():
    assert resolve_precision("auto", has_cuda=True) == "8bit" and resolve_precision("auto", has_cuda=False) == "fp32"
    assert resolve_precision("8bit", has_cuda=False) == "8bit"


@pytest.mark.parametrize("precision", ["fp16", "int3"])
def test_what_a_cpu_cannot_do_is_refused(precision):
    with pytest.raises(UserError, match="Choose"):
        resolve_precision(precision, has_cuda=False)


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)])
def test_bf16_only_where_the_card_has_it(monkeypatch, capability, dtype):
    """A T4 (7.5) says that it supports bf16, by emulation."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    for precision in ("8bit", "4bit", "bf16"):
        assert compute_dtype(precision) == dtype
    assert compute_dtype("fp32") == torch.float32 and compute_dtype("fp16") == torch.float16


def test_a_quantised_base_is_loaded_in_the_dtype_it_computes_in(tiny_base, monkeypatch):
    """Finding B: without the dtype, norms and embeddings are fp32 and pull every int8 layer to fp32 with them."""
    monkeypatch.setattr("models.precision.compute_dtype", lambda precision: torch.bfloat16)
    model = load_base_model(tiny_base, "8bit")
    assert {p.dtype for p in model.parameters() if p.is_floating_point()} == {torch.bfloat16}


def test_8bit_really_is_8bit(tiny_base):
    import bitsandbytes

    model = load_base_model(tiny_base, "8bit")
    linear = model.model.layers[0].self_attn.q_proj
    assert isinstance(linear, bitsandbytes.nn.Linear8bitLt) and linear.weight.dtype == torch.int8


def test_bitsandbytes_warns_once_not_at_every_call(tiny_base, caplog):
    hush_libraries()
    hush_libraries()
    model = load_base_model(tiny_base, "8bit").eval()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            model(input_ids=torch.tensor([[1, 2, 3]]))
    assert sum("inputs will be cast" in record.getMessage() for record in caplog.records) <= 1
