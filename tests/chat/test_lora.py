"""An adapter's branches say what PEFT says, in every kind of LoRA and after every switch."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from chat.engine import Model
from chat.resident import Resident

IDS = torch.arange(100, 140)[None]
KINDS = {
    "all": {"target_modules": "all-linear"},
    "some": {"target_modules": ["q_proj", "down_proj"], "r": 4, "lora_alpha": 7, "use_rslora": True},
    "dora": {"target_modules": "all-linear", "use_dora": True},
    "bias": {"target_modules": ["q_proj"], "lora_bias": True},
}


@pytest.fixture(scope="module")
def kinds(tiny_base, tmp_path_factory):
    """{kind: its folder}; weights large enough to tell them apart."""
    folder = tmp_path_factory.mktemp("kinds")
    for kind, settings in KINDS.items():
        torch.manual_seed(len(kind))
        config = LoraConfig(init_lora_weights=False, **settings)
        get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base), config).save_pretrained(folder / kind)
    return {kind: folder / kind for kind in KINDS}


def peft_logits(tiny_base, folder):
    network = AutoModelForCausalLM.from_pretrained(tiny_base).eval()
    network = PeftModel.from_pretrained(network, folder).eval() if folder else network
    with torch.inference_mode():
        return network(input_ids=IDS).logits


def test_every_kind_says_what_peft_says_after_every_switch(tiny_base, kinds):
    wanted = {kind: peft_logits(tiny_base, folder) for kind, folder in {"base": None, **kinds}.items()}
    resident = Resident()
    for kind in ("some", "all", "base", "dora", "some", "bias", "base", "all", "dora", "all"):
        resident.load(Model(tiny_base, "fp32", kinds.get(kind)))
        with torch.inference_mode():
            found = resident.network(input_ids=IDS).logits
        assert torch.allclose(found, wanted[kind], atol=1e-5), kind
    assert not torch.allclose(wanted["all"], wanted["base"], atol=1e-2)


def test_in_8bit_a_branch_is_close_to_itself_in_fp32(tiny_base, kinds):
    resident, base = Resident(), Resident()
    resident.load(Model(tiny_base, "8bit", kinds["all"]))
    base.load(Model(tiny_base, "8bit"))
    with torch.inference_mode():
        difference = resident.network(input_ids=IDS).logits - peft_logits(tiny_base, kinds["all"])
        without = base.network(input_ids=IDS).logits - peft_logits(tiny_base, kinds["all"])
    assert difference.norm() < 0.2 * without.norm()
