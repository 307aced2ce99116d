"""The short step has transformers' numbers: alone, beside others, behind a room that ends, and with every kind of adapter."""

import pytest
import torch

from chat.batch import JoinedCaches, read_prompt
from chat.cache import Cache
from chat.engine import Model
from chat.patches.room import ROOM_TOKENS
from chat.patches.step import step_of
from chat.resident import Resident
from tests.chat.conftest import KINDS
from tests.tiny import make_tiny_qwen


@pytest.fixture(scope="module", params=["llama", "qwen2", "qwen3"])
def base(request, tiny_base, tmp_path_factory):
    """A tiny base of each family, with norms that are not 1."""
    if request.param != "llama":
        return make_tiny_qwen(tmp_path_factory.mktemp("tiny") / request.param, request.param)
    return tiny_base


def loaded(model: Model):
    """Return the network of `model`, switched to it."""
    resident = Resident()
    resident.load(model)
    return resident.network


def own_and_short(network, steps: int):
    """Yield the logits of transformers' own step and of the short one, for `steps` tokens behind a prompt of 20."""
    own, short, joined = Cache("model"), Cache("model"), JoinedCaches(network)
    with torch.inference_mode():
        for cache in (own, short):
            read_prompt(network, cache, list(range(5, 25)))
        for token in range(100, 100 + steps):
            yield read_prompt(network, own, [token]), joined.step([short], [token])[0]
        joined.leave(short)
    assert short.ids == own.ids
    for mine, theirs in zip(short.kv.layers, own.kv.layers, strict=True):
        torch.testing.assert_close(mine.keys, theirs.keys, atol=0.05, rtol=0.05)


def test_in_fp32_the_numbers_are_the_same_to_the_bit(base):
    network = loaded(Model(base, "fp32"))
    assert step_of(network)
    assert all(torch.equal(own, short) for own, short in own_and_short(network, ROOM_TOKENS + 2))


@pytest.mark.parametrize("precision", ["bf16", "8bit"])
def test_in_other_precisions_they_differ_by_a_rounding(base, precision):
    for own, short in own_and_short(loaded(Model(base, precision)), 5):
        assert short.dtype == own.dtype and (short - own).norm() < 0.02 * own.norm()


@pytest.mark.parametrize("kind", KINDS)
def test_with_every_kind_of_adapter(tiny_base, kinds, kind):
    with_it = list(own_and_short(loaded(Model(tiny_base, "fp32", kinds[kind])), 3))
    base = list(own_and_short(loaded(Model(tiny_base, "fp32")), 3))
    for (own, short), (_, bare) in zip(with_it, base, strict=True):
        torch.testing.assert_close(short, own, atol=1e-6, rtol=1e-6)
        assert not torch.allclose(short, bare, atol=1e-3)


def test_an_unknown_model_computes_by_itself():
    from transformers import GPT2Config, GPT2LMHeadModel

    assert step_of(GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2))) is None


def test_int8_weights_that_are_multiplied_together_are_held_once(tiny_base):
    network = loaded(Model(tiny_base, "8bit"))
    with torch.inference_mode():
        before = network(torch.arange(5, 25)[None]).logits
        for _ in range(2):
            step_of(network)
        assert torch.equal(network(torch.arange(5, 25)[None]).logits, before)
    attention = network.model.layers[0].self_attn
    parts = [layer.weight for layer in (attention.q_proj, attention.k_proj, attention.v_proj)]
    assert len({part.untyped_storage().data_ptr() for part in parts}) == 1
    assert parts[0].untyped_storage().nbytes() == sum(part.nbytes for part in parts)
