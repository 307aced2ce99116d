"""What nobody uses any more is freed: a closed or forgotten engine, a replaced base, the adapters beyond the bound."""

import gc
import shutil
import time
import weakref

import pytest

from chat.engine import Engine, Model, Sampling
from tests.chat.asking import HELLO, SHORT, say


def freed(reference: weakref.ref) -> bool:
    """True when it goes within a minute: a thread may be just about to end."""
    deadline = time.monotonic() + 60
    while reference() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.05)
    return reference() is None


def weight_of(engine: Engine) -> weakref.ref:
    """A reference to the first weight of the base in memory."""
    return weakref.ref(next(iter(engine.resident.network.parameters())))


@pytest.mark.parametrize("fate", ["closed", "forgotten"])
def test_an_engine_that_is_closed_or_forgotten_frees_its_weights(tiny_base, adapters, fate):
    engine = Engine()
    say(engine, Model(tiny_base, adapter_folder=adapters[0]))
    weight = weight_of(engine)
    if fate == "forgotten":
        del engine
    else:
        engine.close()
        with pytest.raises(RuntimeError, match="ended"):
            say(engine, Model(tiny_base))
    assert freed(weight)


def test_a_base_that_is_replaced_is_freed_with_what_was_read_by_it(tiny_base, adapters, tmp_path):
    engine, other, weights = Engine(), shutil.copytree(tiny_base, tmp_path / "other"), []
    for model in (Model(tiny_base, "fp32", adapters[0]), Model(tiny_base, "8bit"), Model(other), Model(tiny_base)):
        list(engine.reply(model, HELLO, SHORT, conversation="c"))
        assert len(engine.caches) == 1
        weights.append(weight_of(engine))
    assert all(freed(weight) for weight in weights[:-1]) and weights[-1]() is not None
    assert engine.resident.bases_loaded == 4


def test_of_twenty_adapters_those_beyond_the_bound_are_freed(tiny_base, adapters, tmp_path):
    engine, weights = Engine(most_adapters=2), []
    for number in range(20):
        folder = shutil.copytree(adapters[number % 2], tmp_path / f"copy-{number}")
        say(engine, Model(tiny_base, adapter_folder=folder), sampling=Sampling(max_new_tokens=1))
        layer = engine.resident.network.base_model.model.model.layers[0].self_attn.q_proj
        weights.append(weakref.ref(layer.lora_A[engine.resident.network.active_adapter].weight))
        shutil.rmtree(folder)
    assert all(freed(weight) for weight in weights[:-2])
    assert sum(weight() is not None for weight in weights) == 2 and len(layer.lora_A) == 2
