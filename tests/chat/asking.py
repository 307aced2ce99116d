"""Asks an engine: alone, together, side by side."""

import threading

from chat.engine import Engine, Model, Sampling

HELLO = [{"role": "user", "content": "Hello there"}]
SHORT, LONG = (Sampling(max_new_tokens=most, stop_repetition=False) for most in (12, 100))


def say(engine: Engine, model: Model, messages=HELLO, sampling=SHORT) -> str:
    """What `model` answers in the end."""
    return list(engine.reply(model, messages, sampling))[-1].text


def question(person: int) -> list[dict]:
    return [{"role": "user", "content": f"I am person {person}, my marker is {person * 7919}. " * (1 + person % 3)}]


def alone(models, sampling=LONG) -> list[str]:
    """What each model answers to the question of its person, with an engine of its own."""
    return [say(Engine(), model, question(person), sampling) for person, model in enumerate(models)]


def together(engine, models, sampling=LONG) -> list[str]:
    """What they answer when all ask at the same moment."""
    answers: list = [None] * len(models)

    def ask(person):
        answers[person] = say(engine, models[person], question(person), sampling)

    threads = [threading.Thread(target=ask, args=(person,)) for person in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def started(engine, models, sampling=LONG) -> list:
    """Streams of answers that have begun, and are written side by side."""
    streams = [engine.reply(model, question(person), sampling) for person, model in enumerate(models)]
    for stream in streams:
        while not next(stream).new_tokens:
            pass
    return streams
