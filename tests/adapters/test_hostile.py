"""Each trick of an attacker who writes an adapter's files has its sentence: config, tokenizer, template, weights, settings."""

import json
import os
import struct

import pytest

from adapters.check import HARMLESS, REFUSED, SWITCHES, check_template
from adapters.intake import import_adapter
from adapters.library import list_adapters
from common.errors import UserError
from models.templates import NAMES, read_template, without_marks
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
        ({"rank_pattern": {"(a+)+$": 2}}, "different ranks"),
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
        ({"base_model_name_or_path": "../../etc"}, "The base is named"),
        ({"base_model_name_or_path": "/etc"}, "of another machine"),
        ({"base_model_name_or_path": 5}, "The base is named"),
        ({"revision": "../../../etc/passwd"}, "revision"),
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

    checked = {
        "r",
        "lora_alpha",
        "lora_dropout",
        "target_modules",
        "base_model_name_or_path",
        "revision",
        "peft_version",
    }
    known = {field.name for field in fields(LoraConfig)}
    assert known <= checked | set(REFUSED) | set(HARMLESS) | set(SWITCHES)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}, "code of its own"),
        ({"tokenizer_class": "os.system"}, "no tokenizer of transformers"),
        ({"chat_template": "{% for a in range(99999) %}x{% endfor %}"}, "run for ever"),
        ({"chat_template": "{{ 'a' * 10000000000 }}"}, "run for ever"),
        ({"chat_template": "x" * 30_000}, "30,000 characters"),
        ({"chat_template": [{"name": "default", "template": "{{ 9 ** 9 ** 9 }}"}]}, "run for ever"),
        ({"chat_template": "{% if %}"}, "cannot be read"),
        ({"chat_template": 5}, "not text"),
    ],
)
def test_a_hostile_tokenizer_config_is_refused(copy, values, words):
    change(copy, "tokenizer_config.json", **values)
    refused(copy, words)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a'|center(9999999999) }}",
        "{{ 'a'.ljust(9999999999) }}",
        "{{ 'a'['lju' ~ 'st'](9999999999) }}",
        "{{ '%9999999999d' % 1 }}",
        "{% set f = '%9999999999d' %}{{ f % 1 }}",
        "{{ 'a\nb'|indent(9999999999) }}",
        "{{ 'a'|attr('zfill')(9999999999) }}",
        "{% set n = namespace(x='ab') %}{% for m in messages %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x|length }}",
        "{% set n = namespace(x='a') %}{% for m in messages %}{% set n.x = n.x.replace('a', 'aaaa') %}{% endfor %}",
        "{{ undefined_function() }}",
    ],
)
def test_a_template_that_fills_the_memory_is_refused(template):
    with pytest.raises(UserError, match="chat template"):
        check_template(template)


def test_the_trial_alone_stops_what_no_word_gives_away():
    from adapters.try_template import try_template

    hungry = "{% set w = 'abc' %}{% for m in messages %}{% set w = w|indent(999999999, true) %}{{ w }}{% endfor %}"
    for template in ("{{ 'a'|center(9999999999) }}", hungry):
        with pytest.raises(UserError, match="too much time or memory"):
            try_template(template)


@pytest.mark.parametrize("name", NAMES)
def test_the_templates_of_real_models_pass(name):
    check_template(read_template(name))
    check_template(without_marks(read_template(name)))


def test_a_deeply_nested_json_is_a_sentence_not_a_crash(copy):
    (copy / "tokenizer.json").write_text("[" * 100_000)
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
