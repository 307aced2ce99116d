"""Little that becomes much: settings, tokenizers and metrics that would fill the memory of whoever reads them."""

import json

import pytest

from adapters.facts import COLUMNS
from adapters.intake import import_adapter
from adapters.library import find_adapter
from adapters.package import PushOptions
from adapters.push import plan_push
from models.hub.client import account_of
from tests.adapters.hostile import refused
from tests.adapters.making import put

BOMB = "\n".join(
    [f"a0: &a0 {{{', '.join(f'k{n}: 1' for n in range(9))}}}"]
    + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)]
)
LAUGHS = (
    "a0: &a0 [x]\n"
    + "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))
    + "\nseed: *a11\n"
)
SETTINGS = [BOMB, LAUGHS, f"seed: 0x{'f' * 20_000}", "seed: {a: {b: 1}}", "[" * 50_000, "seed: .nan"]
SETTINGS += ["seed: !!python/name:os.system", f"seed: 1{':59' * 300}.5"]


@pytest.mark.parametrize("text", SETTINGS, ids=range(len(SETTINGS)))
def test_settings_that_grow_while_they_are_read_are_not_read(copy, text):
    from ui.adapters.view import facts_html

    (copy / "training_config.yaml").write_text(text)
    adapter = import_adapter(copy, "odd").adapter
    assert adapter.training_config() == {}
    assert len(facts_html(adapter)) < 5000 and all(column.value(adapter) for column in COLUMNS[:-1])


def tokenizer(**values):
    return {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, **values}


def sequence(kind, parts):
    return {"type": "Sequence", kind: parts}


REPLACE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
TEMPLATE = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 1000}
TOKENIZERS = [
    tokenizer(normalizer=sequence("normalizers", [REPLACE] * 40)),
    tokenizer(normalizer={**REPLACE, "content": "a" * 1000}),
    tokenizer(normalizer={**REPLACE, "pattern": {"String": ""}}),
    tokenizer(decoder=sequence("decoders", [REPLACE] * 40)),
    tokenizer(pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}}),
    tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    tokenizer(post_processor=TEMPLATE),
    tokenizer(padding={"strategy": {"Fixed": 10**9}}),
    tokenizer(padding={"strategy": "BatchLongest", "pad_to_multiple_of": 10**9}),
    tokenizer(model={"type": "Unigram", "vocab": []}),
    tokenizer(model={"type": "BPE", "vocab": {"a" * 5000: 0}}),
    tokenizer(added_tokens=[{"content": "a" * 5000}]),
]


@pytest.mark.parametrize("values", TOKENIZERS, ids=range(len(TOKENIZERS)))
def test_a_tokenizer_that_makes_much_out_of_little_comes_in_as_bytes(copy, values):
    """The chat reads its base's: `test_the_tokenizer_of_an_adapter_is_never_read`."""
    (copy / "tokenizer.json").write_text(json.dumps(values))
    assert (import_adapter(copy, "odd").adapter.folder / "tokenizer.json").read_text() == json.dumps(values)


def test_whatever_tokenizer_there_is_goes_to_the_hub_as_it_is(hub, made):
    folder = put("mine", made)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(model={"type": "Unigram", "vocab": []})))
    assert plan_push(find_adapter("mine"), account_of(hub.alice), PushOptions()).is_new


def test_metrics_that_are_read_with_every_list_are_small(copy):
    (copy / "metrics.json").write_text(json.dumps({"versions": "x" * 200_000}))
    refused(copy, "'metrics.json' is larger than that of any adapter")
