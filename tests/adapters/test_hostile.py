"""Tricks of an attacker who writes an adapter's files: config and weights are refused, a tokenizer and a template never run."""

import json
import os
import struct
import zipfile

import pytest

from adapters.facts import facts_of
from adapters.intake import import_adapter
from adapters.library import list_adapters
from adapters.package import export_zip
from adapters.trust.check import MAX_BYTES, MAX_FILE_BYTES
from adapters.trust.config import HARMLESS, REFUSED, SWITCHES
from tests.adapters.hostile import change, refused


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING"),
        ({"auto_mapping": {"base_model_class": "X", "parent_library": "os"}}, "names code to import"),
        ({"megatron_config": {"a": 1}, "megatron_core": "evil"}, "names code to import"),
        ({"megatron_core": "evil"}, "megatron_core"),
        ({"layer_replication": [[0, 1000000]]}, "repeats layers"),
        ({"modules_to_save": ["lm_head"]}, "trains whole layers"),
        ({"target_modules": "(a+)+$"}, "target_modules"),
        ({"target_modules": ["(a+)+$"]}, "target_modules"),
        ({"target_modules": ["lm_head"]}, "target_modules"),
        ({"target_modules": ["q_proj"]}, "do not belong together"),
        ({"rank_pattern": {"(a+)+$": 2}}, "rank_pattern holds .*which is a pattern"),
        ({"alpha_pattern": {"^(a+)+": 2}}, "alpha_pattern holds .*which is a pattern"),
        ({"rank_pattern": {"q_proj": 10**9}}, "rank_pattern gives a layer the value 1000000000"),
        ({"rank_pattern": {f"layers.{number}.q_proj": 4 for number in range(501)}}, "rank_pattern lists 501 names"),
        ({"rank_pattern": {"q_proj": 2}}, "The rank is 2, but"),
        ({"alpha_pattern": {"q_proj": float("nan")}}, "alpha_pattern gives a layer the value nan"),
        ({"alpha_pattern": [["q_proj", 2]]}, "alpha_pattern to"),
        ({"exclude_modules": "(a+)+$"}, "exclude_modules holds .*which is a pattern"),
        ({"exclude_modules": ["q_proj"]}, "do not belong together"),
        ({"layers_pattern": ["(a+)+$"], "layers_to_transform": [0]}, "layers_pattern holds .*which is a pattern"),
        ({"layers_pattern": "layers"}, "in a way that PEFT does not load"),
        ({"layers_to_transform": [0]}, r"have a LoRA for \w+ of layer 1"),
        ({"layers_to_transform": [10**9]}, "layers_to_transform"),
        ({"layers_to_transform": list(range(1001))}, "1,001 names"),
        ({"modules_to_save": ["(a+)+$"]}, "trains whole layers"),
        ({"modules_to_save": ["mlp"]}, "Only these are supported: embed_tokens, lm_head"),
        ({"modules_to_save": {"lm_head": 1}}, "trains whole layers"),
        ({"trainable_token_indices": [1]}, "that the weights lack"),
        ({"trainable_token_indices": list(range(1001))}, "at most 1,000 tokens"),
        ({"trainable_token_indices": {"(a+)+$": [1]}}, "trainable_token_indices"),
        ({"trainable_token_indices": [-1]}, "trainable_token_indices"),
        ({"ensure_weight_tying": True}, "ties whole layers"),
        ({"loftq_config": {"loftq_bits": 4}}, "quantises the base in its own way"),
        ({"r": 10**9}, "The rank is"),
        ({"r": "4"}, "The rank is"),
        ({"r": 8}, "The rank is 8, but"),
        ({"lora_alpha": float("inf")}, "lora_alpha"),
        ({"lora_dropout": "much"}, "lora_dropout"),
        ({"use_dora": {"a": 1}}, "use_dora"),
        ({"eva_config": {"rho": 2}}, "eva_config"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights"),
        ({"init_lora_weights": "olora"}, "init_lora_weights"),
        ({"base_model_name_or_path": "../../etc"}, "Its base is"),
        ({"base_model_name_or_path": "../.."}, "Its base is"),
        ({"base_model_name_or_path": "a--b/c"}, "Its base is"),
        ({"base_model_name_or_path": "/etc"}, "of another machine"),
        ({"base_model_name_or_path": 5}, "Its base is"),
        ({"revision": "../../../etc/passwd"}, "revision"),
        ({"target_modules": ["q_proj"] * 5000}, "5,000 names"),
        ({"target_modules": [f"{number}.q_proj" for number in range(280_007)]}, "larger than that of any adapter"),
    ],
)
def test_a_hostile_adapter_config_is_refused(copy, values, words, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "a/b")
    change(copy, "adapter_config.json", **values)
    refused(copy, words)


def test_every_field_that_peft_knows_is_judged():
    """A newer PEFT may know a field that changes what is computed: this fails until somebody has looked at it."""
    from dataclasses import fields

    from peft import LoraConfig

    checked = {"r", "lora_alpha", "lora_dropout", "base_model_name_or_path", "revision", "peft_version"}
    checked |= {"target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"}
    checked |= {"rank_pattern", "alpha_pattern", "modules_to_save", "trainable_token_indices"}
    known = {field.name for field in fields(LoraConfig)}
    assert known <= checked | set(REFUSED) | set(HARMLESS) | set(SWITCHES)


TEMPLATES = [
    "{% for a in range(99999) %}x{% endfor %}",
    "{{ 'a' * 10000000000 }}",
    "{{ 'a'|center(9999999999) }}",
    "{{ 'a'['lju' ~ 'st'](9999999999) }}",
    "{% set n = namespace(x='ab') %}{% for m in messages %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x|length }}",
    "{{ undefined_function() }}",
    "{% if %}",
    "x" * 30_000,
    "x" * 300_000,
]


@pytest.mark.parametrize("template", TEMPLATES, ids=range(len(TEMPLATES)))
@pytest.mark.parametrize("file", ["tokenizer_config.json", "chat_template.jinja"])
def test_a_hostile_template_comes_in_with_a_note_and_is_not_rendered(copy, file, template, monkeypatch):
    import jinja2

    def rendered(*given, **options):
        raise AssertionError("a template from elsewhere was read by jinja")

    monkeypatch.setattr(jinja2.Environment, "parse", rendered)
    if file == "tokenizer_config.json":
        change(copy, file, chat_template=template)
    else:
        (copy / file).write_text(template)
    imported = import_adapter(copy, "odd")
    assert any("chat template that is not known here" in note for note in imported.notes)
    assert facts_of(imported.adapter) and ("Chat template", "unknown: choose one") in facts_of(imported.adapter)


@pytest.mark.parametrize(
    "values",
    [
        {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}},
        {"tokenizer_class": "os.system"},
        {"chat_template": 5},
        {"chat_template": [1, {"name": []}, {"name": "default", "template": 5}]},
    ],
)
def test_a_hostile_tokenizer_config_comes_in_as_bytes(copy, values):
    change(copy, "tokenizer_config.json", **values)
    adapter = import_adapter(copy, "odd").adapter
    assert (adapter.folder / "tokenizer_config.json").read_bytes() == (copy / "tokenizer_config.json").read_bytes()


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\x80\x04\x95cos\nsystem\n", b'{"version": "1.0", "mod', b""])
@pytest.mark.parametrize(
    "file", ["tokenizer.json", "tokenizer.model", "special_tokens_map.json", "tokenizer_config.json"]
)
def test_a_pickled_cut_or_nested_tokenizer_comes_in_as_bytes_and_goes_out_as_it_came(copy, file, content, tmp_path):
    (copy / file).write_bytes(content)
    adapter = import_adapter(copy, "odd").adapter
    assert (adapter.folder / file).read_bytes() == content
    if not content.startswith(b"\x80"):  # the last look at what goes out knows a pickle when it sees one
        with zipfile.ZipFile(export_zip(adapter, tmp_path / "out.zip")) as archive:
            assert archive.read(f"odd/{file}") == content


LIMITS = {**MAX_BYTES, "tokenizer.json": MAX_FILE_BYTES}


@pytest.mark.parametrize("file", [name for name in LIMITS if name != "adapter_model.safetensors"])
def test_each_file_beside_the_weights_has_its_limit(copy, file):
    (copy / file).write_bytes(b" " * (LIMITS[file] + 1))
    refused(copy, "larger than that of any adapter")


def test_a_deeply_nested_json_is_a_sentence_not_a_crash(copy):
    (copy / "adapter_config.json").write_text("[" * 100_000)
    refused(copy, "damaged")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:100],
        lambda content: struct.pack("<Q", 2**60) + content[8:],
        lambda content: content + b"more",
        lambda content: content[:-4],
        lambda content: content.replace(b'"F32"', b'"F99"', 1),
        lambda content: b"\x80\x02" + content,
        lambda content: struct.pack("<Q", 5_000_000) + b"{" + b" " * 4_999_998 + b"}",
    ],
)
def test_damaged_safetensors_are_refused(copy, spoil):
    path = copy / "adapter_model.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    refused(copy, "safetensors")


def test_hostile_metrics_do_not_break_the_list(copy):
    (copy / "metrics.json").write_text(
        json.dumps({"created": "yesterday", "loss_after": "<b>", "rows": [], "versions": 5})
    )
    (copy / "training_config.yaml").write_text("a: &a [x]\nb: [*a,*a]\ndata: [1]\n")
    os.utime(copy / "metrics.json")
    import_adapter(copy, "odd")
    adapter = list_adapters()[0]
    assert adapter.loss_after is None and adapter.data() == "not known" and adapter.created > 0
