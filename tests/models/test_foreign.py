"""A chat template from elsewhere runs in one process with limits; whatever it does, the next call is answered."""

import os
import threading
import time

import pytest

from common.errors import UserError
from models.templates import foreign
from models.templates.foreign import MAX_CALL_SECONDS, TemplateProcess

HUNGRY = [
    "{{ 'a'|center(9999999999) }}",
    "{{ 'a'.ljust(9999999999) }}",
    "{{ 'a'['lju' ~ 'st'](9999999999) }}",
    "{{ '%9999999999d' % 1 }}",
    "{% set f = '%9999999999d' %}{{ f % 1 }}",
    "{{ 'a\nb'|indent(9999999999) }}",
    "{{ 'a'|attr('zfill')(9999999999) }}",
    "{% set n = namespace(x='ab') %}{% for m in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x|length }}",
    "{% set n = namespace(x='a') %}{% for m in range(60) %}{% set n.x = n.x.replace('a', 'aaaa') %}{% endfor %}",
    "{% set w = 'abc' %}{% for m in range(9) %}{% set w = w|indent(999999999, true) %}{{ w }}{% endfor %}",
]
ENDLESS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}" + 2 * "{% endfor %}"
)
LONG = "{% for a in range(2000) %}{{ 'x' * 1000 }}{% endfor %}"
FAILING = ["{{ undefined_function() }}", "{% if %}", "{{ raise_exception('no') }}", "{{ 1 / 0 }}", LONG]


@pytest.fixture
def process():
    one = TemplateProcess()
    yield one
    one.close()


def is_well(process) -> bool:
    return process.render("{{ messages[0].content }}", {"messages": [{"content": "Hi 한국어"}]}) == "Hi 한국어"


@pytest.mark.parametrize("template", HUNGRY, ids=range(len(HUNGRY)))
def test_a_template_that_fills_the_memory_is_ended_and_the_next_call_is_answered(process, template):
    began = time.monotonic()
    with pytest.raises(UserError, match=r"too much time or memory|fails"):
        process.render(template, {"messages": []})
    assert is_well(process) and time.monotonic() - began < MAX_CALL_SECONDS + 20


def test_a_template_that_never_ends_is_ended_after_its_time(process, monkeypatch):
    monkeypatch.setattr(foreign, "MAX_CALL_SECONDS", 1)
    assert is_well(process)
    pid, began = process._process.pid, time.monotonic()
    with pytest.raises(UserError, match="too much time or memory"):
        process.render(ENDLESS, {"messages": []})
    assert 1 <= time.monotonic() - began < 15
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert is_well(process)


@pytest.mark.parametrize("template", FAILING, ids=range(len(FAILING)))
def test_a_template_that_fails_or_writes_too_much_is_a_sentence_and_costs_no_process(process, template):
    assert is_well(process)
    pid = process._process.pid
    with pytest.raises(UserError, match="own chat template fails"):
        process.render(template, {"messages": []})
    assert is_well(process) and process._process.pid == pid


def test_every_thread_is_answered_with_its_own_text(process):
    texts = {}

    def ask(number: int) -> None:
        texts[number] = process.render("{{ number }}", {"number": number})

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {number: str(number) for number in range(20)}


def test_the_process_knows_no_token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    process = TemplateProcess()
    assert is_well(process)
    try:
        environment = open(f"/proc/{process._process.pid}/environ").read()  # noqa: SIM115
    except OSError:
        pytest.skip("the system does not show the environment of a process")
    finally:
        process.close()
    assert "PATH=" in environment and "secret" not in environment and "STUDIO_HOME" not in environment


def test_it_renders_as_transformers_does(process, tinyllama_tokenizer):
    from models.templates import NAMES, read_template
    from models.templates.choice import Template

    talk = [{"role": role, "content": f" {role} <b>\n"} for role in ("system", "user", "assistant", "user")]
    for name in NAMES:
        here, there = (Template(name, read_template(name), is_foreign) for is_foreign in (False, True))
        assert here.render(tinyllama_tokenizer, talk) == there.render(tinyllama_tokenizer, talk)
        begun = [one.render(tinyllama_tokenizer, talk[:3], continuing=True).rstrip() for one in (here, there)]
        assert begun[0] == begun[1] and begun[0].endswith("assistant <b>"), name
