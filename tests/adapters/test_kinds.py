"""Every kind of LoRA that is taken: in chat, merged and as GGUF it computes what PEFT computes, and the base stays the base.

The adapters are PEFT's own, with random weights and settings of each kind; they come in as a zip or a folder would.
"""

import pytest
import torch
from peft import EvaConfig, LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from adapters.export.gguf_file import _permuted, write_adapter, write_models
from adapters.export.merge import merge_adapter
from adapters.intake import import_adapter
from chat.engine import Engine, Model
from chat.resident import Resident
from models.family import shape_of
from models.precision import load_base_model
from tests.adapters.hostile import refused
from tests.chat.asking import SHORT, alone, together
from tests.tiny import make_tiny_qwen

IDS = torch.arange(100, 140)[None]
FIRST = "model.layers.0.self_attn.q_proj"
KINDS = {
    "ranks": {"rank_pattern": {f"^{FIRST}": 3, "q_proj": 2}, "alpha_pattern": {FIRST: 5, "mlp.up_proj": 40}},
    "ranks-rslora": {"rank_pattern": {"layers.1.mlp.up_proj": 2}, "alpha_pattern": {"v_proj": 3}, "use_rslora": True},
    "last-layer": {"layers_to_transform": [1], "layers_pattern": "layers"},
    "one-layer": {"layers_to_transform": 0, "target_modules": ["q_proj", "up_proj"]},
    "without": {"exclude_modules": ["k_proj", "layers.0.mlp.down_proj"]},
    "dora": {"use_dora": True, "rank_pattern": {"q_proj": 2}},
    "biased": {"bias": "all"},
    "turned": {"fan_in_fan_out": True},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "eva": {"init_lora_weights": "eva", "eva_config": EvaConfig(), "rank_pattern": {FIRST: 3}},
    "gaussian": {"init_lora_weights": "gaussian"},
    "whole": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "head": {"modules_to_save": ["lm_head"], "layers_to_transform": [1]},
    "tokens": {"trainable_token_indices": [110, 5]},
    "tokens-twice": {"trainable_token_indices": {"embed_tokens": [120, 7], "lm_head": [7, 130, 9]}},
}
MERGED = ("ranks", "ranks-rslora", "last-layer", "whole", "tokens", "tokens-twice")
MIXABLE = set(KINDS) - {"dora", "whole", "head", "tokens", "tokens-twice"}
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make(base, folder, **settings):
    """An adapter with large random weights, saved by PEFT."""
    torch.manual_seed(3)
    wanted = {"target_modules": ALL, "r": 4, "lora_alpha": 7, "task_type": "CAUSAL_LM", **settings}
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**wanted))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.1)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


@pytest.fixture(scope="module")
def made_kinds(tiny_base, tmp_path_factory):
    """{kind: the folder as PEFT saved it}."""
    folder = tmp_path_factory.mktemp("kinds")
    return {kind: make(tiny_base, folder / kind, **settings) for kind, settings in KINDS.items()}


def logits(network, rows: int = 1):
    with torch.inference_mode():
        return network(input_ids=IDS.expand(rows, -1)).logits


def peft_logits(base, folder):
    network = AutoModelForCausalLM.from_pretrained(base).eval()
    return logits(PeftModel.from_pretrained(network, folder).eval() if folder else network)


def taken(kind: str, folder):
    """The adapter as it comes in, without a word."""
    imported = import_adapter(folder, kind)
    assert imported.notes == []
    return imported.adapter


@pytest.mark.parametrize("kind", MERGED)
def test_a_merge_computes_what_peft_computes(tiny_base, made_kinds, kind, tmp_path):
    merged = merge_adapter(taken(kind, made_kinds[kind]), tiny_base, tmp_path / "merged", "fp32")
    assert merged.agreement == 1 and merged.largest_difference < 1e-4
    said = logits(load_base_model(merged.folder, "fp32").eval())
    assert torch.allclose(said, peft_logits(tiny_base, made_kinds[kind]), atol=1e-4)


def test_in_chat_every_kind_says_what_peft_says_alone_and_in_one_batch_and_the_base_stays(tiny_base, made_kinds):
    resident = Resident(most_adapters=len(KINDS))
    folders = {kind: taken(kind, folder).folder for kind, folder in made_kinds.items()}
    wanted = {kind: peft_logits(tiny_base, folder) for kind, folder in made_kinds.items()}
    resident.load(Model(tiny_base, "fp32"))
    base = logits(resident.network)
    for kind in [*folders, None, "tokens", "whole", "ranks", None, "tokens-twice", "head", "dora", None]:
        key = resident.load(Model(tiny_base, "fp32", folders.get(kind)))
        assert resident.is_mixable(key) == (kind in MIXABLE or kind is None), kind
        if kind is None:
            assert torch.equal(logits(resident.network), base)
        else:
            assert torch.allclose(logits(resident.network), wanted[kind], atol=1e-4), kind
            assert not torch.allclose(wanted[kind], base, atol=1e-2)
    kinds = [*sorted(MIXABLE), None]
    resident.switch([resident.attach(Model(tiny_base, "fp32", folders.get(kind))) for kind in kinds])
    for row, kind in zip(logits(resident.network, len(kinds)), kinds, strict=True):
        assert torch.allclose(row, (wanted[kind] if kind else base)[0], atol=1e-4), kind


def test_people_who_ask_kinds_that_cannot_stand_side_by_side_get_what_each_says_alone(tiny_base, made_kinds):
    kinds = ["tokens", "ranks", "whole", None, "tokens-twice"]
    models = [Model(tiny_base, "fp32", taken(kind, made_kinds[kind]).folder if kind else None) for kind in kinds]
    wanted = alone(models, SHORT)
    for most in (1, 5):
        assert together(Engine(most_adapters=most), models, SHORT) == wanted, most


TIED = {"tied-whole": {"modules_to_save": ["embed_tokens"]}, "tied-tokens": {"trainable_token_indices": [110, 5]}}


@pytest.mark.parametrize("kind", TIED)
def test_where_the_head_is_the_embeddings_it_does_as_peft_does(kind, tmp_path):
    base = make_tiny_qwen(tmp_path / "qwen", "qwen2")
    made = make(base, tmp_path / kind, **TIED[kind])
    adapter, wanted, resident = taken(kind, made), peft_logits(base, made), Resident()
    resident.load(Model(base, "fp32", adapter.folder))
    assert torch.allclose(logits(resident.network), wanted, atol=1e-4)
    resident.load(Model(base, "fp32"))
    assert torch.equal(logits(resident.network), logits(load_base_model(base, "fp32").eval()))
    merged = merge_adapter(adapter, base, tmp_path / "merged", "fp32").folder
    assert torch.allclose(logits(load_base_model(merged, "fp32").eval()), wanted, atol=1e-4)
    (file,) = write_models(merged, tmp_path / "gguf", ("f16",))
    assert file.largest_difference < 0.001


def test_biases_of_the_base_are_not_taken_from_anyone(tmp_path):
    base = make_tiny_qwen(tmp_path / "qwen", "qwen2")
    refused(
        make(base, tmp_path / "biased", bias="all"),
        "It trains biases of the base: .*_proj.*Train it again without that",
    )


@pytest.mark.parametrize("kind", ["whole", "head", "tokens-twice"])
def test_in_8bit_own_embeddings_are_the_adapters_and_not_the_bases(tiny_base, made_kinds, kind):
    resident, base, wanted = Resident(), Resident(), peft_logits(tiny_base, made_kinds[kind])
    base.load(Model(tiny_base, "8bit"))
    before = logits(base.network)
    resident.load(Model(tiny_base, "8bit", taken(kind, made_kinds[kind]).folder))
    assert (logits(resident.network) - wanted).norm() < 0.2 * (before - wanted).norm()
    resident.load(Model(tiny_base, "8bit"))
    assert torch.equal(logits(resident.network), before)


@pytest.mark.parametrize("kind", ["ranks", "ranks-rslora", "last-layer", "without"])
def test_a_gguf_of_the_adapter_holds_what_peft_adds_to_each_layer(tiny_base, made_kinds, kind, tmp_path):
    from gguf import GGUFReader

    adapter = import_adapter(made_kinds[kind], kind).adapter
    reader = GGUFReader(write_adapter(adapter, tiny_base, tmp_path / "adapter.gguf").path)
    tensors = {tensor.name: torch.tensor(tensor.data) for tensor in reader.tensors}
    alpha = reader.fields["adapter.lora.alpha"].contents()
    network = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), made_kinds[kind])
    names = {"self_attn.q_proj": "attn_q", "self_attn.v_proj": "attn_v", "mlp.up_proj": "ffn_up"}
    checked = 0
    for layer in range(2):
        for path, name in names.items():
            place = f"blk.{layer}.{name}.weight.lora_"
            if f"{place}a" not in tensors:
                continue
            module = network.get_submodule(f"base_model.model.model.layers.{layer}.{path}")
            wanted = _permuted(f"{path}.weight", module.get_delta_weight("default").numpy(), shape_of(tiny_base))
            up, down = tensors[f"{place}b"], tensors[f"{place}a"]
            assert torch.allclose(up @ down * alpha / up.shape[1], torch.tensor(wanted), atol=1e-5), (layer, path)
            checked += 1
    assert checked == (3 if kind == "last-layer" else 6)


def test_of_adapters_that_take_much_memory_together_the_longest_unused_go_first(tiny_base, made_kinds, monkeypatch):
    folders = [import_adapter(made_kinds["whole"], f"large-{number}").adapter.folder for number in range(4)]
    resident, held = Resident(), []
    for folder in [None, *folders]:
        resident.load(Model(tiny_base, "fp32", folder))
        held.append(sum(part.nbytes for part in resident.network.parameters()))
        if len(held) == 2:
            monkeypatch.setattr("chat.resident.MAX_ADAPTER_BYTES", 2.5 * (held[1] - held[0]))
    assert held[2] - held[1] == held[1] - held[0] > 0 and held[4] == held[3] == held[2], "two of four"
    assert torch.allclose(logits(resident.network), peft_logits(tiny_base, made_kinds["whole"]), atol=1e-4)
