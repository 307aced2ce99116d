"""Adapters of the tiny base whose replies differ from the base's and from each other's."""

import shutil

import pytest

from tests.tiny import TOKENIZER

KINDS = {
    "all": {"target_modules": "all-linear"},
    "some": {"target_modules": ["q_proj", "down_proj"], "r": 4, "lora_alpha": 7, "use_rslora": True},
    "dora": {"target_modules": "all-linear", "use_dora": True},
    "bias": {"target_modules": ["q_proj"], "lora_bias": True},
    "embeds": {"target_modules": ["embed_tokens", "q_proj"]},
}


def make_adapter(base, folder, seed: int, std: float | None = None, **settings):
    """Save a LoRA with random weights, large ones with `std`, in `folder`; returns the folder."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(init_lora_weights=False, **settings)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    for parameter in model.parameters():
        if std and parameter.requires_grad:
            parameter.data.normal_(std=std)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


@pytest.fixture(scope="session")
def adapters(tiny_base, tmp_path_factory):
    """Two adapters with large random weights."""
    folder = tmp_path_factory.mktemp("adapters")
    return [make_adapter(tiny_base, folder / f"adapter-{n}", n, 0.5, target_modules="all-linear") for n in (1, 2)]


@pytest.fixture(scope="session")
def kinds(tiny_base, tmp_path_factory):
    """{kind: the folder of an adapter of it}."""
    folder = tmp_path_factory.mktemp("kinds")
    return {kind: make_adapter(tiny_base, folder / kind, len(kind), **settings) for kind, settings in KINDS.items()}


@pytest.fixture
def own_tokenizer(adapters, tmp_path):
    """An adapter with the files of a tokenizer beside it."""
    folder = shutil.copytree(adapters[0], tmp_path / "own")
    return shutil.copytree(TOKENIZER, folder, dirs_exist_ok=True)
