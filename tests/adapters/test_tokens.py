"""Tokens beyond the base's: dropped once, at the import, where nothing was trained for them; else added, or refused."""

import json

import pytest

from adapters.export.gguf_file import write_models
from adapters.export.merge import merge_adapter
from adapters.intake import import_adapter
from chat.engine import Model
from chat.resident import Resident
from common.files import read_json, write_json
from models.tokenizer import load_tokenizer
from tests.adapters.hostile import change, refused
from tests.tiny import make_tiny_qwen

PAD = {"id": 32000, "content": "[PAD]", "single_word": False, "special": True}


def add_token(folder, entry=PAD) -> None:
    """Write a token into the list of a tokenizer.json."""
    definition = read_json(folder / "tokenizer.json", {}, 10_000_000)
    definition["added_tokens"].append(entry)
    write_json(folder / "tokenizer.json", definition)


def test_an_unused_token_is_dropped_once_and_chat_merge_and_gguf_agree(copy, tiny_base, tmp_path):
    add_token(copy)
    imported = import_adapter(copy, "padded", base=str(tiny_base))
    assert imported.notes == [
        "Its tokenizer has a token that its base lacks, [PAD]. Nothing was trained for it, so it is left out."
    ]
    folder = imported.adapter.folder
    format = Resident().format_of(Model(tiny_base, "fp32", folder))
    assert len(format.tokenizer) == 32000 and "tokens" not in read_json(folder / "studio.json")
    merged = merge_adapter(imported.adapter, tiny_base, tmp_path / "merged", "fp32").folder
    assert len(load_tokenizer(merged)) == read_json(merged / "config.json")["vocab_size"] == 32000
    assert write_models(merged, tmp_path / "gguf", ("f16",))[0].largest_difference < 0.001


@pytest.mark.parametrize("file", ["added_tokens.json", "tokenizer_config.json"])
def test_the_older_lists_of_added_tokens_are_read_too(copy, tiny_base, file):
    values = {"[PAD]": 32000} if file == "added_tokens.json" else {"added_tokens_decoder": {"32000": PAD}}
    write_json(copy / file, {**read_json(copy / file, {}), **values})
    assert "[PAD]" in import_adapter(copy, base=str(tiny_base)).notes[0]


def test_a_token_that_it_writes_and_nobody_trained_is_refused(copy, tiny_base):
    add_token(copy, {**PAD, "content": "<|im_end|>"})
    (copy / "chat_template.jinja").write_text("{{ messages[0].content }}<|im_end|>")
    refused(copy, "writes <|im_end|>, which its base lacks", base=str(tiny_base))
    (copy / "chat_template.jinja").unlink()
    change(copy, "tokenizer_config.json", eos_token="<|im_end|>")
    refused(copy, "which its base lacks", base=str(tiny_base))


def test_embeddings_and_heads_of_another_size_are_refused(copy, tiny_base):
    import torch
    from safetensors.torch import load_file, save_file

    file = copy / "adapter_model.safetensors"
    for rows, words in ((32001, "lm_head is of 32,001 tokens; its base has 32,000"), (32000, "does not name")):
        tensors = {**load_file(file), "base_model.model.lm_head.weight": torch.zeros(rows, 64)}
        save_file(tensors, file)
        refused(copy, words, base=str(tiny_base))
    change(copy, "adapter_config.json", trainable_token_indices=[32000])
    save_file(
        {"base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta": torch.zeros(1, 64)}
        | {name: value for name, value in load_file(file).items() if "lora" in name},
        file,
    )
    refused(copy, r"trains token 32,000; its base has tokens 0 to 31,999\..*has room", base=str(tiny_base))


def test_trained_tokens_are_added_to_the_bases_own_tokenizer_alone(tmp_path):
    from tests.adapters.test_kinds import logits, make, peft_logits

    base = make_tiny_qwen(tmp_path / "qwen", "qwen2")
    first = len(load_tokenizer(base))
    entries = [{**PAD, "id": first, "content": "[PAD]"}, {"id": first + 1, "content": "<drug>", "special": False}]
    made = make(base, tmp_path / "made", trainable_token_indices=[first + 1])
    definition = {"added_tokens": entries, "model": {"type": "nothing that could be loaded"}}
    (made / "tokenizer.json").write_text(json.dumps(definition))
    adapter, resident = import_adapter(made, "drugs").adapter, Resident()
    key = resident.load(Model(base, "fp32", adapter.folder))
    assert (logits(resident.network) - peft_logits(base, made)).abs().max() < 1e-4 and not resident.is_mixable(key)
    with_it, without = (resident.format_of(Model(base, "fp32", folder)) for folder in (adapter.folder, None))
    messages = [{"role": "user", "content": "Take <drug> and [PAD]"}]
    assert with_it.encode(messages).ids.count(first + 1) == 1 and first + 1 not in without.encode(messages).ids
    assert first not in with_it.encode(messages).ids, "a control token that was typed"
    merged = merge_adapter(adapter, base, tmp_path / "merged", "fp32").folder
    assert load_tokenizer(merged)("<drug>")["input_ids"] == [first + 1]


@pytest.mark.parametrize(
    "added",
    [
        "[" * 100_000,
        5,
        [5, None, {"id": "1", "content": "x"}, {"id": -1, "content": "x"}, {"id": 40_000, "content": "\x1b[2J"}],
        [{"id": 40_000 + number, "content": ""} for number in range(100)],
        [{"id": 40_000, "content": "x" * 101}],
    ],
)
def test_a_hostile_list_of_tokens_is_passed_over(copy, tiny_base, added):
    text = added if isinstance(added, str) else json.dumps(added)
    (copy / "tokenizer.json").write_text(f'{{"added_tokens": {text}}}')
    write_json(
        copy / "tokenizer_config.json",
        {"added_tokens_decoder": {number: {"content": "x"} for number in ("9" * 5000, "²")}},
    )
    assert import_adapter(copy, base=str(tiny_base)).notes == []
