"""The compiled step over a cache of fixed size writes the plain step's tokens: on a CPU, with torch's own tracer."""

import pytest
import torch

from chat import batch, static_decode
from chat.engine import Engine, Model, Sampling
from tests.chat.test_engine import adapters, say  # noqa: F401
from tests.chat.test_several_people import question, started

LONG = Sampling(max_new_tokens=40)


@pytest.fixture
def compiled(monkeypatch):
    """Engines that are made now take the compiled step; the numbers of tokens that it wrote."""
    torch.compiler.reset()
    steps, step = [], static_decode.StaticDecode.step
    monkeypatch.setattr(batch, "compile_options", lambda network: {"backend": "eager"})
    monkeypatch.setattr(static_decode, "SIZES", (32, 64, 128, 256))
    monkeypatch.setattr(
        static_decode.StaticDecode,
        "step",
        lambda self, cache, token: (steps.append(len(cache.ids)), step(self, cache, token))[1],
    )
    return steps


def talk(engine: Engine, model: Model) -> list[str]:
    """Three turns, of which each goes on from what the last one left in the cache."""
    messages, said = [], []
    for words in ("Hello there", "And then?", "And after that?"):
        messages.append({"role": "user", "content": words})
        said.append(list(engine.reply(model, messages, LONG, conversation="c"))[-1].text)
        messages.append({"role": "assistant", "content": said[-1]})
    return said


def test_it_writes_the_same_tokens_over_turns_sizes_and_adapters(tiny_base, adapters, request):  # noqa: F811
    models = [Model(tiny_base, adapter_folder=folder) for folder in (adapters[0], None)]
    plain = [talk(Engine(), model) for model in models]
    steps = request.getfixturevalue("compiled")
    engine = Engine()
    assert [talk(engine, model) for model in models] == plain
    assert len(steps) > 200 and min(steps) < 64 < 128 < max(steps)


def test_one_who_joins_and_leaves_does_not_change_a_word(tiny_base, request):
    model, longer = Model(tiny_base), Sampling(max_new_tokens=120)
    alone = [say(Engine(), model, question(person), longer) for person in range(2)]
    steps = request.getfixturevalue("compiled")
    engine = Engine()
    (stream,) = started(engine, [model], longer)
    assert say(engine, model, question(1), longer) == alone[1]
    assert list(stream)[-1].text == alone[0] and steps


def test_it_is_off_on_a_cpu_and_unless_it_is_asked_for(monkeypatch):
    network = torch.nn.Linear(1, 1)
    network.device = torch.device("cpu")
    monkeypatch.setenv("CHAT_COMPILE", "1")
    assert static_decode.compile_options(network) is None
    network.device = torch.device("cuda")
    assert static_decode.compile_options(network)
    monkeypatch.delenv("CHAT_COMPILE")
    assert static_decode.compile_options(network) is None
