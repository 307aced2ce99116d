"""The bytes that are predicted against those that torch, transformers and PEFT really hold."""

from dataclasses import replace

import pytest
import torch

from models.family import EMBEDDED_SHAPE, FAMILIES, TINYLLAMA_SHAPE, ModelShape, shape_of
from models.hardware import Gpu, Hardware
from runs.config import TrainConfig
from runs.forecast.memory import (
    ROOMY,
    Batch,
    checkpointing_words,
    decided,
    estimate_memory,
    largest_batch,
    layer_bytes_a_token,
)
from trainer.patches import row_attention
from trainer.recipe import choose_weights, lora_config

FACTS = {"train_rows": 100, "held_out_rows": 10, "tokens": 20000, "trained_tokens": 10000}
FACTS |= {"longest": 500, "mean_length": 200.0}
CPU = Hardware((), 2, 16 * 2**30, "no GPU, 2 CPU cores")
T4 = Hardware((Gpu("Tesla T4", 16 * 2**30),), 4, 15 * 2**30, "Tesla T4")


def model_of(shape: ModelShape, layers: int, settings: TrainConfig):
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    names = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size")
    sizes = {name: getattr(shape, name) for name in names}
    base = AutoModelForCausalLM.from_config(AutoConfig.for_model(shape.model_type, num_hidden_layers=layers, **sizes))
    row_attention.install(base)
    shape = replace(shape, num_hidden_layers=layers)
    if settings.makes_adapter:
        return get_peft_model(base, lora_config(settings, shape)).train()
    choose_weights(base, settings, shape)
    return base.train()


def kept_bytes(model, rows: int, length: int) -> int:
    """What autograd saves in one forward pass, each storage once, weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept, alive = {}, []

    def save(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # or its address would be used again
        return tensor

    ids = torch.randint(3, 90, (1, rows * length))
    ends = torch.arange(rows + 1, dtype=torch.int32) * length
    extra = {"position_ids": torch.arange(length).repeat(rows)[None], "cu_seq_lens_q": ends}
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor), row_attention.without_masks(model):
        result = model(input_ids=ids, use_cache=False, logits_to_keep=torch.arange(1), **extra)
    return sum(kept.values()) if result.logits is not None else 0


@pytest.mark.parametrize("how", [{"lora_dropout": 0.05}, {"lora_dropout": 0.0}, {"method": "full"}], ids=str)
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("model_type", FAMILIES)
def test_what_a_layer_keeps_is_counted_to_the_byte(rows, how, model_type):
    shape = ModelShape(96, 256, 2, 6, 2, 16, 100, False, 512, model_type=model_type)
    settings = TrainConfig(lora_r=8, **how)
    one, two = (kept_bytes(model_of(shape, layers, settings), rows, 64) for layers in (1, 2))
    batch = Batch(64 * rows, 0, is_joined=rows > 1)
    predicted = layer_bytes_a_token(settings, shape, batch, 4, on_gpu=False) * batch.tokens
    assert predicted == pytest.approx(two - one, rel=0.001)


def test_the_layers_below_the_last_ones_keep_nothing_for_the_backward_pass():
    shape, settings = ModelShape(96, 256, 4, 6, 2, 16, 100, False, 512), TrainConfig(lora_r=8, last_layers=1)
    kept = [kept_bytes(model_of(shape, layers, settings), 3, 64) for layers in (2, 4)]
    assert kept[0] == kept[1]
    facts = {**FACTS, "longest": 64, "mean_length": 64.0}
    whole, last = (
        estimate_memory(TrainConfig(gradient_checkpointing="off", last_layers=count), TINYLLAMA_SHAPE, facts, CPU).parts
        for count in (0, 4)
    )
    for part in ("adapters", "gradients", "optimiser"):
        assert last[part] == pytest.approx(whole[part] * 4 / 22)
    assert last["activations"] < 0.3 * whole["activations"] and last["weights"] == whole["weights"]


@pytest.mark.parametrize("hardware", [CPU, T4], ids=["cpu", "gpu"])
def test_weights_that_are_trained_themselves_need_their_gradients_and_the_moments_of_adamw(hardware):
    shape, found = TINYLLAMA_SHAPE, {}
    for method, layers in (("full", 0), ("last-n", 4)):
        config = TrainConfig(method=method, last_layers=layers)
        found[method] = estimate_memory(config, shape, FACTS, hardware)
    for method, trained in (("full", shape.parameters), ("last-n", 4 * shape.layer_parameters)):
        parts = found[method].parts
        assert (parts["adapters"], parts["gradients"], parts["optimiser"]) == (0, 4 * trained, 8 * trained)
        copies = 2 * trained if hardware.has_gpu else 0
        assert parts["weights"] - copies == 4 * shape.parameters, "fp32, whatever is computed"
    assert not found["full"].fits and found["last-n"].fits


def test_parameters_are_those_of_the_model(tiny_base):
    from peft import get_peft_model

    from models.precision import load_base_model

    model = load_base_model(tiny_base, "fp32")
    shape = shape_of(tiny_base)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert shape.layer_parameters == sum(parameter.numel() for parameter in model.model.layers[0].parameters())
    model = get_peft_model(model, lora_config(TrainConfig(lora_r=4), shape))
    assert shape.adapter_parameters(4) == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert TINYLLAMA_SHAPE.parameters == 1_100_048_384 and EMBEDDED_SHAPE.parameters == 134_515_008


def test_parts_add_up_and_memory_is_what_the_process_may_take():
    memory, shared = (estimate_memory(TrainConfig(num_processes=n), TINYLLAMA_SHAPE, FACTS, CPU) for n in (1, 2))
    wanted = {"weights", "adapters", "gradients", "optimiser", "activations", "loss_head", "framework"}
    assert wanted <= set(memory.parts) and sum(memory.parts.values()) == memory.total and memory.fits
    assert (memory.available, shared.available) == (CPU.available_bytes, CPU.available_bytes // 2)


@pytest.mark.parametrize("hardware", [CPU, T4], ids=["cpu", "gpu"])
def test_what_saves_memory_is_predicted_to_save_it(hardware):
    def total(**settings):
        settings = {"gradient_checkpointing": "off", **settings}
        return estimate_memory(TrainConfig(**settings), TINYLLAMA_SHAPE, FACTS, hardware).total

    assert total(gradient_checkpointing="on") < total()
    assert total(per_device_train_batch_size=2) < total() < total(per_device_train_batch_size=16)
    assert total(precision="4bit") < total(precision="8bit") < total(precision="fp32")
    assert total(lora_r=8) < total() < total(use_dora=True)
    assert total(max_length=128) < total()


@pytest.mark.parametrize("hardware", [CPU, T4], ids=["cpu", "gpu"])
def test_checkpointing_is_on_by_itself_only_where_there_is_too_little_room(hardware):
    off, auto, on = (
        estimate_memory(TrainConfig(gradient_checkpointing=value), TINYLLAMA_SHAPE, FACTS, hardware)
        for value in ("off", "auto", "on")
    )
    assert auto == off and not off.checkpointing and on.checkpointing and auto.total < ROOMY * auto.available
    tight = replace(hardware, available_bytes=round(off.total / 0.9), gpus=hardware.gpus)
    found = estimate_memory(TrainConfig(), TINYLLAMA_SHAPE, FACTS, tight)
    assert found.checkpointing and found.total == on.total < off.total
    assert decided(TrainConfig(), TINYLLAMA_SHAPE, FACTS, tight).gradient_checkpointing == "on"
    assert decided(TrainConfig(), TINYLLAMA_SHAPE, FACTS, hardware).gradient_checkpointing == "off"
    words = checkpointing_words(TrainConfig(), found), checkpointing_words(TrainConfig(), off)
    assert words == ("on: there is too little memory without it", "off: there is enough memory without it")
    assert checkpointing_words(TrainConfig(gradient_checkpointing="on"), on) == "on, as set"


def test_the_largest_batch_is_between_the_mean_and_the_longest_rows():
    config = TrainConfig(per_device_train_batch_size=4)
    assert 4 * 200 < largest_batch(config, FACTS, on_gpu=False).tokens < 4 * 500
    assert largest_batch(config, FACTS, on_gpu=True).tokens == 4 * 500, "padded to the longest"
    assert largest_batch(TrainConfig(packing=True, max_length=1000), FACTS, on_gpu=True).tokens == 4 * 1000


def test_a_quantised_base_that_is_stored_as_floats_is_counted_with_its_file():
    """safetensors are mapped: every page that was read is resident, until the mapping goes."""
    parts = estimate_memory(TrainConfig(precision="8bit"), EMBEDDED_SHAPE, FACTS, CPU).parts
    assert parts["weights"] > 4 * EMBEDDED_SHAPE.parameters


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_weights_on_a_gpu_are_as_large_as_predicted(tiny_base):
    from models.precision import load_base_model

    before = torch.cuda.memory_allocated()
    load_base_model(tiny_base, "8bit", device_map="cuda")
    facts = {**FACTS, "longest": 1, "mean_length": 1}
    predicted = estimate_memory(TrainConfig(precision="8bit"), shape_of(tiny_base), facts, T4).parts["weights"]
    assert torch.cuda.memory_allocated() - before == pytest.approx(predicted, rel=0.15)
