"""Qwen2.5 and Qwen3 are trained, chatted with, merged and exported like a Llama; what is not known is refused by name."""

import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from adapters.export.gguf_file import write_adapter, write_models
from adapters.export.gguf_words import QWEN2_PATTERN
from adapters.export.merge import merge_adapter
from adapters.export.serve import QWEN_SYSTEM, write_modelfile
from adapters.intake import import_adapter
from adapters.library import read_adapter
from chat.batch import JoinedCaches, read_prompt
from chat.cache import Cache
from chat.engine import Engine, Model, Sampling
from chat.resident import Resident
from common.errors import UserError
from common.files import read_object, write_json
from common.paths import adapters_folder
from models.base import check_folder
from models.family import FAMILIES, family_of, shape_from, shape_of
from models.precision import load_base_model
from models.prompt import encode_messages
from models.templates import training_template
from models.templates.known import recognise
from models.tokenizer import load_tokenizer
from runs.config import TrainConfig
from runs.launcher import create_run
from tests.adapters.making import make_adapter
from tests.running import losses, run_main, small_settings
from tests.tiny import make_tiny_qwen
from trainer.patches import loss_head, row_attention
from trainer.recipe import lora_config

# what the Hub's config.json of each says beside the sizes, in the keys of its time
PUBLISHED = {
    "qwen2": {"use_sliding_window": False, "sliding_window": 32768, "max_window_layers": 21, "rope_theta": 1e6},
    "qwen3": {"attention_bias": False, "use_sliding_window": False, "sliding_window": None, "rope_scaling": None},
}
ASKED = [{"role": "user", "content": "Hello! Who are you?"}]
SHORT = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module", params=["qwen2", "qwen3"])
def base(request, tmp_path_factory) -> Path:
    return make_tiny_qwen(tmp_path_factory.mktemp("base") / request.param, request.param)


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("adapters") / "mine", base, str(base))


def logits(network, ids) -> torch.Tensor:
    with torch.inference_mode():
        return network(input_ids=ids).logits


def test_its_shape_counts_the_parameters_of_the_model(base):
    model, shape = load_base_model(base, "fp32"), shape_of(base)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    sizes = {name: (layer.in_features, layer.out_features) for name, layer in linears(model).items()}
    assert shape.modules == sizes and list(sizes) == list(shape.family.modules)
    assert {name for name, layer in linears(model).items() if layer.bias is not None} == set(shape.biased)


def linears(model) -> dict[str, torch.nn.Linear]:
    named = model.model.layers[0].named_modules()
    return {name.split(".")[-1]: part for name, part in named if isinstance(part, torch.nn.Linear)}


def test_what_the_hub_writes_of_it_is_read(base):
    config = {**read_object(base / "config.json"), **PUBLISHED[base.name]}
    del config["layer_types"]
    assert shape_from(config, "it") == shape_of(base)


def test_it_is_trained_and_its_adapter_answers(base, tmp_path):
    settings = {**small_settings(base, tmp_path), "max_steps": 8, "learning_rate": 0.01, "lora_dropout": 0.0}
    run = create_run(TrainConfig(name="learned", **settings))
    assert run_main(run) == 0
    assert losses(run)[-1] < losses(run)[0] - 0.2
    engine, folder = Engine(), adapters_folder() / "learned"
    plain, learned = (list(engine.reply(Model(base, "fp32", one), ASKED, SHORT))[-1].text for one in (None, folder))
    assert plain != learned
    assert list(engine.reply(Model(base, "fp32"), ASKED, SHORT))[-1].text == plain


@pytest.mark.parametrize("target", ["attention", "mlp"])
def test_the_loss_and_its_gradients_are_those_of_transformers(base, target):
    """Two rows end to end, scored where they are trained, against each row by itself."""
    ids = torch.randint(3, 900, (1, 40), generator=torch.Generator().manual_seed(0))
    bounds = {"cu_seq_lens_q": torch.tensor([0, 15, 40]), "max_length_q": 25}
    positions = torch.cat([torch.arange(15), torch.arange(25)])[None]
    places = torch.tensor([3, 7, 20, 38])
    found, config = [], TrainConfig(lora_dropout=0.0, target_modules=target)
    for is_ours in (False, True):
        torch.manual_seed(0)
        model = get_peft_model(load_base_model(base, "fp32"), lora_config(config, shape_of(base)))
        own = model.get_base_model()
        if is_ours:
            row_attention.install(own)
            loss_head.install(own)
            with row_attention.without_masks(model):
                loss = model(input_ids=ids, position_ids=positions, places=places, targets=ids[0, places + 1], **bounds)
        else:
            rows = [own(input_ids=ids[:, :15]).logits, own(input_ids=ids[:, 15:]).logits]
            scores = torch.cat(rows, 1)[0, places]
            loss = torch.nn.functional.cross_entropy(scores, ids[0, places + 1], reduction="sum")
        weights = [weight for name, weight in model.named_parameters() if weight.requires_grad and "lora_B" in name]
        found.append((loss, torch.autograd.grad(loss, weights)))
    (expected, gradients), (got, ours) = found
    assert got.item() == pytest.approx(expected.item(), rel=1e-5)
    for one, other in zip(ours, gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_the_chat_computes_what_transformers_computes(base, adapter):
    """Read in pieces, alone and side by side; with an adapter what PEFT says; switched off, bit for bit the base."""
    ids = torch.arange(100, 160)[None]
    plain = AutoModelForCausalLM.from_pretrained(base).eval()
    expected = logits(plain, ids)
    resident = Resident()
    key = resident.load(Model(base, "fp32"))
    before = logits(resident.network, ids)
    torch.testing.assert_close(before, expected, atol=1e-5, rtol=1e-4)
    with torch.inference_mode():
        caches = [Cache(key), Cache(key)]
        read_prompt(resident.network, caches[0], ids[0, :50].tolist())
        read_prompt(resident.network, caches[0], ids[0, 50:57].tolist())
        read_prompt(resident.network, caches[1], ids[0, :20].tolist())
        together = JoinedCaches(resident.network)
        rows = together.step(caches, ids[0, [57, 20]].tolist())
        together.split()
        alone = read_prompt(resident.network, caches[0], [ids[0, 58].item()])
    torch.testing.assert_close(rows, expected[0, [57, 20]], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(alone, expected[0, 58], atol=1e-5, rtol=1e-4)
    resident.load(Model(base, "fp32", adapter))
    learned = logits(PeftModel.from_pretrained(plain, adapter).eval(), ids)
    torch.testing.assert_close(logits(resident.network, ids), learned, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(learned, expected, atol=1e-2)
    resident.load(Model(base, "fp32"))
    assert torch.equal(logits(resident.network, ids), before)


def test_in_8_bits_it_is_close_to_itself(base):
    resident, ids = Resident(), torch.arange(100, 160)[None]
    resident.load(Model(base, "8bit"))
    expected = logits(load_base_model(base, "fp32"), ids)
    assert (logits(resident.network, ids) - expected).norm() < 0.05 * expected.norm()


def test_it_is_merged_and_written_to_gguf(base, adapter, tmp_path):
    """What is read back is compared by the export itself, tensor by tensor: rows of q and k are not permuted."""
    merged = merge_adapter(read_adapter(adapter), base, tmp_path / "merged", "fp32")
    assert merged.agreement == 1.0
    written = write_models(merged.folder, tmp_path)
    assert [file.path.name for file in written] == ["merged-f16.gguf", "merged-q8_0.gguf"]

    from gguf import GGUFReader

    reader = GGUFReader(written[0].path)
    assert reader.get_field("general.architecture").contents() == base.name
    assert reader.get_field("tokenizer.ggml.pre").contents() == "qwen2"
    heads = shape_of(base).head_dim
    assert reader.get_field(f"{base.name}.attention.key_length").contents() == heads
    modelfile = write_modelfile(merged.folder, written[0].path).read_text()
    assert (f'SYSTEM """{QWEN_SYSTEM}"""' in modelfile) == (base.name == "qwen2")
    assert QWEN_SYSTEM in load_tokenizer(base).chat_template or "SYSTEM" not in modelfile
    alone = write_adapter(read_adapter(adapter), base, tmp_path / "adapter.gguf")
    assert alone.tensors == 2 * 7 * 2 and alone.largest_difference == 0


def test_how_its_tokenizer_splits_is_what_transformers_says():
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    assert QWEN2_PATTERN == PRETOKENIZE_REGEX


def test_its_template_is_known_and_its_answers_are_trained(base):
    tokenizer = load_tokenizer(base)
    name = recognise(tokenizer.chat_template)
    assert name == {"qwen2": "qwen2.5", "qwen3": "qwen3"}[base.name]
    messages = [*ASKED, {"role": "assistant", "content": "A model."}]
    ids, trained = encode_messages(messages, tokenizer, training_template(tokenizer))
    assert tokenizer.decode(ids) == tokenizer.apply_chat_template(messages, tokenize=False)
    learned = tokenizer.decode([token for token, is_trained in zip(ids, trained, strict=True) if is_trained])
    assert learned.strip().endswith("A model.<|im_end|>") and "Who are you" not in learned


def test_an_adapter_of_it_is_taken_in_and_one_of_another_shape_is_not(base, adapter, tiny_base, tmp_path):
    assert import_adapter(adapter).notes == []
    other = shutil.copytree(adapter, tmp_path / "other")
    file = other / "adapter_config.json"
    write_json(file, {**read_object(file), "base_model_name_or_path": str(tiny_base)})
    if shape_of(base).modules == shape_of(tiny_base).modules:  # nothing tells them apart but the name of the base
        assert import_adapter(other)
        return
    with pytest.raises(UserError, match="does not fit its base"):
        import_adapter(other)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "gemma2"}, "architecture gemma2, which is not"),
        ({"model_type": "cohere", "logit_scale": 0.06}, "architecture cohere, which is not"),
        ({"model_type": "qwen2_moe"}, "architecture qwen2_moe, which is not"),
        ({"model_type": "qwen2", "use_sliding_window": True}, "sliding_window"),
        ({"model_type": "qwen3", "layer_types": ["full_attention", "sliding_attention"]}, "sliding_window"),
        ({"model_type": "qwen3", "layer_types": [["full_attention"]]}, "sliding_window"),
        ({"model_type": ["llama"]}, r"architecture \['llama'\], which is not"),
        ({}, "names its architecture"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path, config, words):
    with pytest.raises(UserError, match=words):
        family_of(config, "This one")
    write_json(tmp_path / "config.json", config)
    with pytest.raises(UserError, match=words):
        check_folder(tmp_path)


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("cohere", {"logit_scale": 0.0625}, "logit_scale"),
        ("gemma2", {"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ("granite", {"logits_scaling": 8.0}, "logits_scaling"),
        ("phi", {}, "a bias of its head"),
    ],
)
def test_the_loss_is_not_computed_of_scores_that_are_changed(kind, settings, words):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model(kind, **sizes, num_key_value_heads=2, vocab_size=64, pad_token_id=0, **settings)
    with pytest.raises(UserError, match=words):
        loss_head.install(AutoModelForCausalLM.from_config(config))


def test_every_family_is_one_that_transformers_and_gguf_have():
    from gguf import MODEL_ARCH_NAMES

    for family in FAMILIES.values():
        assert AutoConfig.for_model(family.model_type).model_type == family.model_type
        assert family.model_type in MODEL_ARCH_NAMES.values()
        assert LoraConfig(target_modules=list(family.targets("all-linear"))).target_modules == set(family.modules)
