"""8-bit chat on a CPU: close to fp32, and adapters are attached and switched like on any other base."""

import pytest
import torch

from chat.engine import Engine, Model
from chat.patches.int8 import int8_linear
from chat.resident import Resident, chat_precision
from tests.chat.asking import say


@pytest.mark.parametrize("shape", [(64, 128), (576, 1536), (2048, 256)])
def test_a_layer_is_close_to_itself_in_fp32(shape):
    torch.manual_seed(0)
    linear = torch.nn.Linear(*shape, bias=shape[0] == 64)
    inputs = torch.randn(2, 5, shape[0])
    found = int8_linear(linear.to(torch.bfloat16))(inputs.to(torch.bfloat16)).float()
    wanted = linear.float()(inputs)
    assert found.shape == wanted.shape
    assert (found - wanted).norm() / wanted.norm() < 0.02


def test_the_loss_is_close_to_the_loss_in_fp32(tiny_base):
    losses = []
    for precision in ("fp32", "8bit"):
        resident = Resident()
        resident.load(Model(tiny_base, precision))
        ids = torch.arange(100, 160)[None]
        with torch.inference_mode():
            losses.append(float(resident.network(input_ids=ids, labels=ids).loss))
    assert abs(losses[1] / losses[0] - 1) < 0.01


def test_the_weights_are_a_byte_each(tiny_base):
    assert chat_precision("8bit", has_cuda=False) == "int8" and chat_precision("8bit", has_cuda=True) == "8bit"
    resident = Resident()
    resident.load(Model(tiny_base, "8bit"))
    layer = resident.network.model.layers[0].mlp.down_proj
    assert layer.weight.dtype == torch.int8 and layer.weight.shape == (64, 128)
    assert resident.network.lm_head.weight.dtype == torch.int8


def test_the_base_is_the_base_in_8bit_too(tiny_base, adapters):
    base = say(Engine(), Model(tiny_base, "8bit"))
    first = say(Engine(), Model(tiny_base, "8bit", adapters[0]))
    engine, folders = Engine(), (adapters[0], None, adapters[1], None, adapters[0])
    found = [say(engine, Model(tiny_base, "8bit", folder)) for folder in folders]
    assert found[1] == found[3] == base and found[0] == found[4] == first != base
