"""Several people at once: nobody's words cross over, everybody's turn comes, the memory is bounded."""

import shutil

import peft
import pytest

from chat import scheduler
from chat.engine import Engine, Model, Sampling
from common.errors import UserError
from tests.chat.asking import LONG, alone, question, say, started, together


@pytest.mark.parametrize("sampling", [Sampling(40), Sampling(20, temperature=1.5, seed=3)], ids=["greedy", "luck"])
def test_everybody_gets_the_answer_that_they_get_alone(tiny_base, adapters, sampling):
    models = [Model(tiny_base, adapter_folder=[None, *adapters][person % 3]) for person in range(9)]
    wanted = alone(models, sampling)
    assert len(set(wanted)) > 5, "nothing is told by it"
    assert together(Engine(), models, sampling) == wanted


def test_one_who_fails_or_leaves_does_not_disturb_the_others(tiny_base, tmp_path):
    engine = Engine()
    leaver = engine.reply(Model(tiny_base), question(5), Sampling(max_new_tokens=150))
    next(leaver)
    stranger = engine.reply(Model(tiny_base, adapter_folder=tmp_path / "gone"), question(6), LONG)
    staying = engine.reply(Model(tiny_base), question(1), LONG)
    next(staying)
    with pytest.raises(UserError, match="'gone' is gone"):
        list(stranger)
    leaver.close()
    assert list(staying)[-1].text == say(Engine(), Model(tiny_base), question(1), LONG)


def test_another_base_waits_for_its_turn_and_gets_it(tiny_base, tmp_path):
    other = shutil.copytree(tiny_base, tmp_path / "other-base")
    answers = together(Engine(), [Model(tiny_base), Model(other), Model(tiny_base), Model(other)])
    assert answers[1] == say(Engine(), Model(tiny_base), question(1), LONG) and all(answers)


def test_the_adapters_in_memory_are_bounded(tiny_base, adapters, tmp_path):
    engine, base = Engine(most_adapters=2), say(Engine(), Model(tiny_base))
    folders = [shutil.copytree(adapters[number % 2], tmp_path / f"copy-{number}") for number in range(5)]
    answers = [say(engine, Model(tiny_base, adapter_folder=folder)) for folder in (*folders, folders[0])]
    assert answers[0] == answers[2] == answers[5] != answers[1]
    assert len(engine.resident.network.peft_config) <= 3 and engine.resident.bases_loaded == 1
    assert say(engine, Model(tiny_base)) == base


@pytest.mark.parametrize("fate", ["whole", "damaged", "half attached"])
def test_an_adapter_that_comes_does_not_disturb_those_in_mid_answer(tiny_base, adapters, tmp_path, monkeypatch, fate):
    models, mine = [Model(tiny_base)] * 2, shutil.copytree(adapters[0], tmp_path / "mine")
    wanted, engine = alone(models), Engine()
    streams = started(engine, models)

    def half(*args, **kwargs):
        raise RuntimeError("half attached")

    if fate == "damaged":
        (mine / "adapter_model.safetensors").write_bytes(b"x")
    if fate == "half attached":
        monkeypatch.setattr(peft.PeftModel, "from_pretrained", half)
    if fate == "whole":
        expected = say(Engine(), Model(tiny_base, adapter_folder=adapters[0]))
        assert say(engine, Model(tiny_base, adapter_folder=mine)) == expected
    else:
        with pytest.raises(UserError, match=r"'mine' cannot be read" if fate == "damaged" else fate):
            say(engine, Model(tiny_base, adapter_folder=mine))
    assert [list(stream)[-1].text for stream in streams] == wanted
    if fate == "damaged":
        assert engine.resident.bases_loaded == 1, "a damaged file unloaded the base"


def test_one_whose_choice_fails_is_alone_with_it(tiny_base, monkeypatch):
    class Breaks(scheduler.Chooser):
        def __init__(self, sampling, device):
            super().__init__(sampling, device)
            self.left = 5 if sampling.seed == 13 else 1000

        def choose(self, logits, ids):
            self.left -= 1
            if not self.left:
                raise RuntimeError("no number")
            return super().choose(logits, ids)

    monkeypatch.setattr(scheduler, "Chooser", Breaks)
    models, engine = [Model(tiny_base)] * 2, Engine()
    wanted = alone(models)
    broken = engine.reply(Model(tiny_base), question(0), Sampling(max_new_tokens=100, seed=13))
    streams = started(engine, models)
    with pytest.raises(RuntimeError, match="no number"):
        list(broken)
    assert [list(stream)[-1].text for stream in streams] == wanted
