"""An adapter's branches say what PEFT says, in every kind of LoRA, after every switch, and row by row in one batch."""

import gc
import weakref

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM

from chat.engine import Model
from chat.patches import lora
from chat.resident import Resident
from models.precision import load_base_model

IDS = torch.arange(100, 140)[None]


def logits(network, rows: int = 1):
    with torch.inference_mode():
        return network(input_ids=IDS.expand(rows, -1)).logits


def peft_logits(tiny_base, folder):
    network = AutoModelForCausalLM.from_pretrained(tiny_base).eval()
    return logits(PeftModel.from_pretrained(network, folder).eval() if folder else network)


def is_close(found, wanted) -> bool:
    return torch.allclose(found, wanted, atol=1e-5)


def test_every_kind_says_what_peft_says_after_every_switch(tiny_base, kinds):
    wanted = {kind: peft_logits(tiny_base, folder) for kind, folder in {"base": None, **kinds}.items()}
    resident, mixable = Resident(), {}
    for kind in ("some", "all", "base", "dora", "some", "bias", "base", "all", "dora", "all", "embeds"):
        mixable[kind] = resident.is_mixable(resident.load(Model(tiny_base, "fp32", kinds.get(kind))))
        assert is_close(logits(resident.network), wanted[kind]), kind
    assert [kind for kind, is_mixable in mixable.items() if is_mixable] == ["some", "all", "base"]
    assert not torch.allclose(wanted["all"], wanted["base"], atol=1e-2)


def test_in_8bit_a_branch_is_close_to_itself_in_fp32(tiny_base, kinds):
    resident, base, wanted = Resident(), Resident(), peft_logits(tiny_base, kinds["all"])
    resident.load(Model(tiny_base, "8bit", kinds["all"]))
    base.load(Model(tiny_base, "8bit"))
    assert (logits(resident.network) - wanted).norm() < 0.2 * (logits(base.network) - wanted).norm()


def test_each_row_of_a_batch_says_what_its_adapter_says_alone(tiny_base, kinds):
    resident, folders = Resident(), [kinds["all"], None, kinds["some"], kinds["some"]]
    keys = [resident.attach(Model(tiny_base, "fp32", folder)) for folder in folders]
    resident.switch(keys)
    for row, folder in zip(logits(resident.network, 4), folders, strict=True):
        assert is_close(row, peft_logits(tiny_base, folder)[0])
    resident.switch(keys[:1])
    assert is_close(logits(resident.network), peft_logits(tiny_base, kinds["all"]))


@pytest.mark.parametrize("precision", ["8bit", "4bit"])
def test_rows_over_bitsandbytes_layers_say_what_peft_says(tiny_base, kinds, precision):
    """The layers that a GPU has; bitsandbytes' own CPU code computes them here. Rows in one batch, PEFT one by one."""
    network = load_base_model(tiny_base, precision, None).eval()
    network = PeftModel.from_pretrained(network, kinds["all"], adapter_name="all").eval()
    network.load_adapter(kinds["some"], adapter_name="some")
    wanted = {}
    for name in ("all", "some"):
        network.set_adapter(name)
        wanted[name] = logits(network)[0]
    with network.disable_adapter():
        wanted[None] = logits(network)[0]
    names = ["some", None, "all"]
    assert lora.is_mixable(network, "all") and lora.is_mixable(network, "some")
    lora.set_rows(network, names)
    for row, name in zip(logits(network, 3), names, strict=True):
        difference = (row - wanted[name]).norm() / wanted[name].norm()
        assert difference < 0.02, (name, float(difference))
    assert (wanted["all"] - wanted["some"]).norm() > 0.2 * wanted["all"].norm()


def test_a_switch_that_fails_half_way_leaves_nobody_with_anothers_adapter(tiny_base, kinds, monkeypatch):
    """The memory ends at the fifth layer; who answers next gets their own adapter in every layer."""
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
    assert is_close(logits(resident.network), peft_logits(tiny_base, kinds["some"]))


def test_weights_that_were_pushed_out_are_freed(tiny_base, adapters):
    resident = Resident(most_adapters=1)
    resident.load(Model(tiny_base, "fp32", adapters[0]))
    layer = next(module for module in resident.network.modules() if isinstance(module, LoraLayer))
    weight = weakref.ref(next(iter(layer.lora_A.values())).weight)
    resident.attach(Model(tiny_base, "fp32", adapters[1]))
    gc.collect()
    assert weight() is None
