"""Base and adapters are written in one batch, each row as it would be alone; what cannot be mixed takes turns with the rest."""

import gc
import itertools
import os
import shutil
import weakref
from collections import Counter

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM

from chat.batch import SideBySide
from chat.engine import Engine, Model, Sampling
from chat.resident import Resident
from chat.turns import TURN
from common.errors import UserError
from common.files import read_json, write_json
from models.precision import load_base_model
from tests.chat.test_engine import adapters, say  # noqa: F401
from tests.chat.test_lora import IDS, kinds, peft_logits  # noqa: F401
from tests.chat.test_several_people import question, started, together

LONG = Sampling(max_new_tokens=100)


@pytest.fixture
def steps(monkeypatch):
    """What was written in each step: the keys of the models, in the order of the rows."""
    noted, step = [], SideBySide.step

    def note(self, caches, tokens):
        noted.append([cache.model[-1] for cache in caches])
        return step(self, caches, tokens)

    monkeypatch.setattr(SideBySide, "step", note)
    return noted


def alone(models):
    return [say(Engine(), model, question(person), LONG) for person, model in enumerate(models)]


def test_a_comparison_of_base_and_adapters_is_written_in_one_step(tiny_base, adapters, steps):  # noqa: F811
    models = [Model(tiny_base, adapter_folder=folder) for folder in (adapters[0], None, adapters[1], adapters[0])]
    wanted = alone(models)
    streams = started(Engine(), models, LONG)
    steps.clear()
    assert [list(stream)[-1].text for stream in streams] == wanted
    rows = [len(step) for step in steps]
    assert rows.count(4) > 30 and rows == sorted(rows, reverse=True), "none waits for another, whoever has ended"
    assert all(len(list(itertools.groupby(step))) == len(set(step)) for step in steps), "an adapter's rows are apart"


def test_what_cannot_be_mixed_takes_turns_with_the_rest(tiny_base, kinds, steps):  # noqa: F811
    folders = [kinds["all"], kinds["dora"], None, kinds["bias"], kinds["some"]]
    models = [Model(tiny_base, adapter_folder=folder) for folder in folders]
    wanted = alone(models)
    streams = started(Engine(most_adapters=5), models, LONG)
    steps.clear()
    assert [list(stream)[-1].text for stream in streams] == wanted
    assert {len(step) for step in steps} >= {1, 3}, "the plain ones together, DoRA and bias alone"
    longest = max(len(list(same)) for _, same in itertools.groupby(steps[: 9 * TURN]))
    assert longest <= TURN, "one model kept the others waiting"


@pytest.mark.parametrize("most", [1, 2, 4])
def test_more_adapters_than_memory_holds_are_answered_at_once(tiny_base, adapters, tmp_path, most):  # noqa: F811
    copies = [shutil.copytree(adapters[number % 2], tmp_path / f"copy-{number}") for number in range(5)]
    models = [Model(tiny_base, adapter_folder=folder) for folder in (None, *copies)]
    engine = Engine(most_adapters=most)
    assert together(engine, models, LONG) == alone(models)
    assert engine.resident.bases_loaded == 1 and len(engine.resident.network.peft_config) <= most + 1


@pytest.mark.parametrize("fate", ["gone", "replaced"])
def test_an_adapter_that_changes_in_mid_answer_takes_nobody_with_it(tiny_base, adapters, tmp_path, fate):  # noqa: F811
    mine = shutil.copytree(adapters[0], tmp_path / "mine")
    models = [Model(tiny_base), Model(tiny_base, adapter_folder=mine), Model(tiny_base, adapter_folder=adapters[1])]
    wanted, engine = alone(models), Engine()
    streams = started(engine, models, LONG)
    if fate == "gone":
        shutil.rmtree(mine)
    else:
        os.utime(mine / "adapter_model.safetensors", ns=(1, 1))
    with pytest.raises(UserError, match=r"changed while it answered|is gone"):
        list(streams[1])
    assert list(streams[0])[-1].text == wanted[0]
    assert list(streams[2])[-1].text == wanted[2]
    assert engine.resident.bases_loaded == 1


def test_each_row_of_a_batch_says_what_its_adapter_says_alone(tiny_base, kinds):  # noqa: F811
    resident, folders = Resident(), [kinds["all"], None, kinds["some"], kinds["some"]]
    keys = [resident.attach(Model(tiny_base, "fp32", folder)) for folder in folders]
    resident.switch(keys)
    with torch.inference_mode():
        found = resident.network(input_ids=IDS.expand(4, -1)).logits
    for row, folder in zip(found, folders, strict=True):
        assert torch.allclose(row, peft_logits(tiny_base, folder)[0], atol=1e-5)
    resident.switch(keys[:1])
    with torch.inference_mode():
        assert torch.allclose(resident.network(input_ids=IDS).logits, peft_logits(tiny_base, kinds["all"]), atol=1e-5)


@pytest.mark.parametrize("precision", ["8bit", "4bit"])
def test_rows_over_bitsandbytes_layers_say_what_peft_says(tiny_base, kinds, precision):  # noqa: F811
    """The layers that a GPU has; bitsandbytes' own CPU code computes them here. Rows in one batch, PEFT one by one."""
    from chat.lora import is_mixable, set_rows

    network = load_base_model(tiny_base, precision, None).eval()
    network = PeftModel.from_pretrained(network, kinds["all"], adapter_name="all").eval()
    network.load_adapter(kinds["some"], adapter_name="some")
    with torch.inference_mode():
        wanted = {None: _without(network)}
        for name in ("all", "some"):
            network.set_adapter(name)
            wanted[name] = network(input_ids=IDS).logits[0]
        assert is_mixable(network, "all") and is_mixable(network, "some")
        set_rows(network, ["some", None, "all"])
        found = network(input_ids=IDS.expand(3, -1)).logits
    for row, name in zip(found, ("some", None, "all"), strict=True):
        difference = (row - wanted[name]).norm() / wanted[name].norm()
        assert difference < 0.02, (name, float(difference))
    assert (wanted["all"] - wanted["some"]).norm() > 0.2 * wanted["all"].norm()


def _without(network):
    with network.disable_adapter():
        return network(input_ids=IDS).logits[0]


def test_an_adapter_of_an_embedding_is_not_mixed(tiny_base, tmp_path):
    config = LoraConfig(target_modules=["embed_tokens", "q_proj"], init_lora_weights=False)
    network = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base), config)
    network.save_pretrained(tmp_path / "embeds", save_embedding_layers=False)
    resident = Resident()
    key = resident.attach(Model(tiny_base, "fp32", tmp_path / "embeds"))
    assert not resident.is_mixable(key)
    resident.switch([key])
    with torch.inference_mode():
        found = resident.network(input_ids=IDS).logits
    assert torch.allclose(found, peft_logits(tiny_base, tmp_path / "embeds"), atol=1e-5)


@pytest.mark.parametrize("start", ["pissa", "olora", "orthogonal"])
def test_an_adapter_that_would_change_the_base_is_refused(tiny_base, adapters, tmp_path, start):  # noqa: F811
    """PEFT would take a part out of the base's weights as it loads such a one; everybody's rows are computed with them."""
    odd = shutil.copytree(adapters[0], tmp_path / "odd")
    config = read_json(odd / "adapter_config.json")
    write_json(odd / "adapter_config.json", {**config, "init_lora_weights": start})
    engine, base = Engine(), say(Engine(), Model(tiny_base))
    say(engine, Model(tiny_base))
    with pytest.raises(UserError, match="'odd' is no LoRA"):
        say(engine, Model(tiny_base, adapter_folder=odd))
    assert say(engine, Model(tiny_base)) == base and engine.resident.bases_loaded == 1


def test_a_switch_that_fails_half_way_leaves_nobody_with_anothers_adapter(tiny_base, kinds, monkeypatch):  # noqa: F811
    """The memory ends at the fifth layer; who answers next gets their own adapter in every layer."""
    from chat import lora

    resident = Resident()
    some, whole = (resident.attach(Model(tiny_base, "fp32", kinds[kind])) for kind in ("some", "all"))
    resident.switch([some])
    made, forward = [], lora._forward

    def fails(layer, parts):
        made.append(layer)
        if len(made) == 5:
            raise torch.OutOfMemoryError("no more")
        return forward(layer, parts)

    monkeypatch.setattr(lora, "_forward", fails)
    with pytest.raises(torch.OutOfMemoryError):
        resident.switch([whole, some])
    resident.switch([some])
    with torch.inference_mode():
        assert torch.allclose(resident.network(input_ids=IDS).logits, peft_logits(tiny_base, kinds["some"]), atol=1e-5)


def test_with_more_adapters_than_memory_holds_everybody_writes_equally_often(tiny_base, adapters, tmp_path, steps):  # noqa: F811
    copies = [shutil.copytree(adapters[0], tmp_path / f"copy-{number}") for number in range(5)]
    models = [Model(tiny_base, adapter_folder=folder) for folder in copies]
    streams = started(Engine(most_adapters=3), models, Sampling(max_new_tokens=150))
    steps.clear()
    for stream in streams:
        list(stream)
    first_half = Counter(name for step in steps[: len(steps) // 2] for name in step)
    assert len(first_half) == 5 and max(first_half.values()) < 2 * min(first_half.values()), first_half


def test_weights_that_were_pushed_out_are_freed(tiny_base, adapters, tmp_path):  # noqa: F811
    resident = Resident(most_adapters=1)
    resident.load(Model(tiny_base, "fp32", adapters[0]))
    layer = next(module for module in resident.network.modules() if isinstance(module, LoraLayer))
    weight = weakref.ref(next(iter(layer.lora_A.values())).weight)
    resident.attach(Model(tiny_base, "fp32", adapters[1]))
    gc.collect()
    assert weight() is None
