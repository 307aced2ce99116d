"""Several people at once: nobody's words cross over, everybody's turn comes, the memory is bounded."""

import threading

import pytest

from chat.engine import Engine, Model, Sampling
from common.errors import UserError
from tests.chat.test_engine import adapters, say  # noqa: F401

LONG = Sampling(max_new_tokens=40)


def question(person: int) -> list[dict]:
    return [{"role": "user", "content": f"I am person {person}, my marker is {person * 7919}. " * (1 + person % 3)}]


def together(engine, models, sampling=LONG):
    """All ask at the same moment; returns each one's answer."""
    answers = [None] * len(models)

    def ask(person):
        answers[person] = say(engine, models[person], question(person), sampling)

    threads = [threading.Thread(target=ask, args=(person,)) for person in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def test_everybody_gets_the_answer_that_they_get_alone(tiny_base, adapters):  # noqa: F811
    models = [Model(tiny_base, adapter_folder=[None, *adapters][person % 3]) for person in range(9)]
    alone = [say(Engine(), model, question(person), LONG) for person, model in enumerate(models)]
    assert len(set(alone)) == 9
    assert together(Engine(), models) == alone


def test_the_luck_of_one_is_not_the_luck_of_another(tiny_base):
    """A sampled answer is the same whoever else is answered at the same time."""
    models = [Model(tiny_base)] * 4
    sampling = Sampling(max_new_tokens=20, temperature=1.5, seed=3)
    alone = [say(Engine(), model, question(person), sampling) for person, model in enumerate(models)]
    assert together(Engine(), models, sampling) == alone


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
    import shutil

    other = tmp_path / "other-base"
    shutil.copytree(tiny_base, other)
    answers = together(Engine(), [Model(tiny_base), Model(other), Model(tiny_base), Model(other)])
    assert answers[1] == say(Engine(), Model(tiny_base), question(1), LONG) and all(answers)


def test_the_adapters_in_memory_are_bounded(tiny_base, adapters, tmp_path):  # noqa: F811
    import shutil

    engine, base = Engine(most_adapters=2), say(Engine(), Model(tiny_base))
    folders = [shutil.copytree(adapters[number % 2], tmp_path / f"copy-{number}") for number in range(5)]
    answers = [say(engine, Model(tiny_base, adapter_folder=folder)) for folder in (*folders, folders[0])]
    assert answers[0] == answers[2] == answers[5] != answers[1]
    assert len(engine.resident.network.peft_config) <= 3 and engine.resident.bases_loaded == 1
    assert say(engine, Model(tiny_base)) == base


def started(engine, models, sampling):
    """Everybody's answer has begun, and is written side by side with the others'; returns the streams."""
    streams = [engine.reply(model, question(person), sampling) for person, model in enumerate(models)]
    for stream in streams:
        while not next(stream).new_tokens:
            pass
    return streams


def test_the_first_adapter_and_a_damaged_one_do_not_disturb_those_in_mid_answer(tiny_base, adapters, tmp_path):  # noqa: F811
    import shutil

    long = Sampling(max_new_tokens=150)
    models = [Model(tiny_base)] * 2
    alone = [say(Engine(), model, question(person), long) for person, model in enumerate(models)]
    broken = shutil.copytree(adapters[0], tmp_path / "broken")
    (broken / "adapter_model.safetensors").write_bytes(b"x")
    for folder in (adapters[0], broken):
        engine = Engine()
        streams = started(engine, models, long)
        if folder is broken:
            with pytest.raises(UserError, match="'broken'"):
                say(engine, Model(tiny_base, adapter_folder=folder))
        else:
            assert say(engine, Model(tiny_base, adapter_folder=folder)) == say(
                Engine(), Model(tiny_base, adapter_folder=folder)
            )
        assert [list(stream)[-1].text for stream in streams] == alone
        assert engine.resident.bases_loaded == 1, "a damaged file unloaded the base"


def test_an_adapter_that_fails_while_it_is_attached_does_not_disturb_the_others(tiny_base, adapters, monkeypatch):  # noqa: F811
    import peft

    long = Sampling(max_new_tokens=150)
    models = [Model(tiny_base)] * 2
    alone = [say(Engine(), model, question(person), long) for person, model in enumerate(models)]

    def half(*args, **kwargs):
        raise RuntimeError("half attached")

    engine = Engine()
    streams = started(engine, models, long)
    monkeypatch.setattr(peft.PeftModel, "from_pretrained", half)
    with pytest.raises(UserError, match="half attached"):
        say(engine, Model(tiny_base, adapter_folder=adapters[0]))
    assert [list(stream)[-1].text for stream in streams] == alone


def test_one_whose_choice_fails_is_alone_with_it(tiny_base, monkeypatch):
    from chat import scheduler

    class Breaks(scheduler.Chooser):
        def choose(self, logits, ids):
            if self.seed == 13 and len(ids) > self.first + 5:
                raise RuntimeError("no number")
            return super().choose(logits, ids)

        def __init__(self, sampling, device):
            super().__init__(sampling, device)
            self.seed, self.first = sampling.seed, len(question(0)[0]["content"])

    monkeypatch.setattr(scheduler, "Chooser", Breaks)
    long = Sampling(max_new_tokens=100)
    alone = [say(Engine(), Model(tiny_base), question(person), long) for person in range(2)]
    engine = Engine()
    broken = engine.reply(Model(tiny_base), question(0), Sampling(max_new_tokens=100, seed=13))
    streams = started(engine, [Model(tiny_base)] * 2, long)
    with pytest.raises(RuntimeError, match="no number"):
        list(broken)
    assert [list(stream)[-1].text for stream in streams] == alone
