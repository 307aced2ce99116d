"""Caches of conversations: what is shared stays, the number and the memory are bounded, another model shares nothing."""

import random

import pytest

from chat.cache import Cache, Caches, shared_length
from chat.engine import Engine, Model, Sampling

SHORT = Sampling(max_new_tokens=6)


class FakeLayer:
    def __init__(self, tokens):
        self.keys = self.values = type("Tensor", (), {"nbytes": 100 * tokens})()


class FakeKv:
    """Keys and values of 100 bytes a token, each."""

    def __init__(self, tokens):
        self.layers = [FakeLayer(tokens)]

    def crop(self, tokens):
        self.cropped = tokens


def cache(*ids, model="m"):
    return Cache(model, list(ids), FakeKv(len(ids)))


def test_the_shared_beginning_is_found():
    assert shared_length([1, 2, 3], [1, 2, 4]) == 2
    assert shared_length([1, 2], [1, 2, 4]) == 2
    assert shared_length([], [1]) == 0


def test_an_edit_crops_and_the_last_token_is_always_read():
    caches = Caches(2, 10_000)
    caches.put("a", cache(1, 2, 3, 4))
    taken = caches.take("a", "m", [1, 2, 9])
    assert taken.ids == [1, 2] and taken.kv.cropped == -2
    caches.put("a", cache(1, 2, 3))
    assert caches.take("a", "m", [1, 2, 3]).ids == [1, 2]


def test_another_model_gets_nothing_of_it():
    caches = Caches(2, 10_000)
    caches.put("a", cache(1, 2, 3))
    assert caches.take("a", "other", [1, 2, 3]) is None and len(caches) == 0


def test_the_longest_unused_goes_first_by_number_and_by_memory():
    caches = Caches(2, 10_000)
    for name in "abc":
        caches.put(name, cache(1, 2))
    assert caches.take("a", "m", [1, 2, 3]) is None and caches.take("c", "m", [1, 2, 3]) is not None
    caches = Caches(10, 1_000)
    caches.put("a", cache(1, 2, 3))
    caches.put("b", cache(1, 2, 3))
    assert len(caches) == 1 and caches.memory_bytes() <= 1_000
    caches.put("c", cache(*range(100)))
    assert len(caches) == 0, "one that is larger than all the memory is not kept"


@pytest.mark.parametrize("seed", range(4))
def test_greedy_answers_are_the_same_with_and_without_a_cache(tiny_base, adapters, seed):
    """Random sequences of what people do: ask, edit, undo, retry, continue, switch the model, until turns are left out."""
    luck = random.Random(seed)
    kept, anew = Engine(), Engine(most_conversations=0)
    folder, messages, reused, left_out = None, [], 0, 0
    for step in range(25):
        action = luck.choice(["ask"] * 6 + ["edit", "undo", "retry", "continue", "model"])
        if action == "model":
            folder = luck.choice([None, *adapters])
        elif action in ("undo", "retry") and len(messages) > 1:
            messages = messages[:-2] if action == "undo" else messages
        elif action == "edit" and len(messages) > 3:
            messages = [*messages[:2], {"role": "user", "content": f"Edited {step}"}, *messages[3:]]
        if action == "continue" and messages and messages[-1]["content"].strip():
            asked, continuing = messages, True
        elif action == "retry" and messages:
            asked, continuing = messages[:-1], False
        else:
            asked, continuing = [*messages, {"role": "user", "content": f"Word {step} " * luck.randint(1, 6)}], False
        model = Model(tiny_base, adapter_folder=folder)
        before = len(kept.caches._kept["c"].ids) if "c" in kept.caches._kept else 0
        reused += before
        with_cache = list(kept.reply(model, asked, SHORT, conversation="c", continuing=continuing))[-1]
        without = list(anew.reply(model, asked, SHORT, conversation="c", continuing=continuing))[-1]
        assert with_cache.text == without.text, f"step {step}: {action}"
        left_out = max(left_out, with_cache.left_out)
        messages = [*(asked[:-1] if continuing else asked), {"role": "assistant", "content": with_cache.text}]
    assert reused and left_out, "the sequence never used a cache, or never filled the window"


def test_a_second_turn_reads_only_what_is_new(tiny_base, monkeypatch):
    from chat import scheduler

    read, original = [], scheduler.read_prompt
    monkeypatch.setattr(scheduler, "read_prompt", lambda n, c, ids: (read.append(len(ids)), original(n, c, ids))[1])
    engine, messages = Engine(), [{"role": "user", "content": "Tell me about llamas " * 8}]
    first = list(engine.reply(Model(tiny_base), messages, SHORT, conversation="c"))[-1]
    messages += [{"role": "assistant", "content": first.text}, {"role": "user", "content": "More"}]
    second = list(engine.reply(Model(tiny_base), messages, SHORT, conversation="c"))[-1]
    assert read[0] == first.tokens_used > 40
    assert read[1] < second.tokens_used - first.tokens_used + 8
