"""Answers in batches are those that the chat gives one by one, they come as they are written, and a stop ends them."""

import shutil
import threading

import pytest

from chat import scheduler
from chat.engine import Engine, Model, Sampling
from evaluation.generate import answers
from evaluation.likelihood import answer_losses
from evaluation.questions import chat_prompt
from tests.chat.asking import say

NEVER = threading.Event()
ITEMS = [
    {"number": 5 * number, "messages": [{"role": "user", "content": f"I am person {number}. " * (1 + number % 3)}]}
    for number in range(1, 8)
]
SHOTS = [{"number": 90, "messages": [{"role": "user", "content": "Who am I?"}], "answer": "A llama."}]


@pytest.mark.parametrize("shots", [[], SHOTS], ids=["", "few-shot"])
def test_answers_in_batches_are_those_of_the_chat_one_by_one(tiny_base, shots):
    model = Model(tiny_base, "fp32")
    together = list(answers(Engine(most_at_once=3), model, ITEMS, 12, NEVER, shots))
    alone, sampling = Engine(), Sampling(max_new_tokens=12)
    assert [(result["item"], result["answer"]) for result in together] == [
        (item["number"], say(alone, model, chat_prompt(item, shots), sampling)) for item in ITEMS
    ]
    assert {(one["new_tokens"], one["ended"], one["is_repeating"], one["is_cut"]) for one in together} == {
        (12, False, False, False)
    }


def test_what_prompts_have_in_common_is_read_once(tiny_base, monkeypatch):
    read, original = [], scheduler.read_prompt
    monkeypatch.setattr(
        scheduler, "read_prompt", lambda network, cache, ids: (read.append(len(ids)), original(network, cache, ids))[1]
    )
    items = [{"number": number, "messages": [{"role": "user", "content": f"And {number}?"}]} for number in range(5)]
    found = list(answers(Engine(most_at_once=2), Model(tiny_base, "fp32"), items, 12, NEVER, SHOTS))
    first, *others = read
    assert first > 30 and len(others) == 4 and max(others) < 16
    alone = [*answers(Engine(), Model(tiny_base, "fp32"), items[4:], 12, NEVER, SHOTS)]
    assert found[4] == alone[0]


def test_a_repeating_answer_and_one_that_ended_are_told_apart(tiny_base, monkeypatch):
    monkeypatch.setattr("chat.scheduler.repeats_itself", lambda tokens, text_of: len(tokens) >= 5)
    engine, model = Engine(), Model(tiny_base, "fp32")
    (result,) = answers(engine, model, ITEMS[:1], 12, NEVER)
    assert (result["new_tokens"], result["ended"], result["is_repeating"]) == (5, False, True)
    engine.resident.stop_ids = lambda format: set(range(32_000))
    (result,) = answers(engine, model, ITEMS[:1], 12, NEVER)
    assert (result["new_tokens"], result["ended"], result["is_repeating"]) == (0, True, False)


def test_what_does_not_fit_is_left_out_and_said(tiny_base):
    model, question = Model(tiny_base, "fp32"), ITEMS[0]["messages"]
    older = [{"role": "user", "content": "word " * 240}, {"role": "assistant", "content": "Yes"}]
    items = [
        {"number": 1, "messages": [*older, *question]},
        {"number": 2, "messages": [{"role": "user", "content": "word " * 300}]},
        {"number": 3, "messages": question},
    ]
    found = {result["item"]: result for result in answers(Engine(), model, items, 12, NEVER)}
    assert found[2] == {"item": 2, "is_cut": True}
    assert (found[1]["is_cut"], found[3]["is_cut"]) == (True, False) and found[1]["answer"] == found[3]["answer"]


def test_each_answer_comes_before_the_last_questions_are_read_and_a_stop_ends_it(tiny_base):
    taken, stop, engine = [], threading.Event(), Engine(most_at_once=2)

    def items():
        for number in range(1000):
            taken.append(number)
            yield {**ITEMS[0], "number": number}

    results = answers(engine, Model(tiny_base, "fp32"), items(), 12, stop)
    assert next(results)["item"] == 0 and len(taken) == 4
    stop.set()
    assert list(results) == [] and len(taken) == 4
    assert say(engine, Model(tiny_base, "fp32"))  # it is free for others


def test_between_answers_the_engines_model_may_measure_likelihood_on_another_base(tiny_base, tmp_path):
    from transformers import AutoModelForCausalLM

    other = tmp_path / "other"
    shutil.copytree(tiny_base, other)
    network = AutoModelForCausalLM.from_pretrained(tiny_base)
    network.lm_head.weight.data.neg_()
    network.save_pretrained(other)

    engine, answered = Engine(), []
    for base in (tiny_base, other):
        model = Model(base, "fp32")
        items = [{**item, "answer": "Yes"} for item in ITEMS]
        assert len(list(answer_losses(engine.resident, model, items, NEVER))) == len(items)
        answered.append([result["answer"] for result in answers(engine, model, items, 12, NEVER)])
    assert answered[1] == [result["answer"] for result in answers(Engine(), Model(other, "fp32"), ITEMS, 12, NEVER)]
    assert answered[0] != answered[1]
