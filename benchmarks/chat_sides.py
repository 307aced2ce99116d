"""Our chat and transformers' pipeline, each called as it is used and in a process of its own; they must write the same text."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.rows import seconds_of
from chat.decoding import TextStream
from chat.engine import Engine, Model, Sampling

QUESTION = "Write a long story about a llama who learns to read, with many details."
SHORT = Sampling(max_new_tokens=6, stop_repetition=False)


class Side:
    """`make(*arguments)` in a process of its own, as it runs where it is used; calling the side calls what it returned.

    Two that compute in one process slow each other down even while one of them rests: libgomp counts the threads of both, finds
    more than there are cores, and puts waiting threads to sleep at once. One token then takes 23 ms instead of 12.
    """

    run: Callable  # in the process

    def __init__(self, make: Callable[..., Callable], *arguments: object) -> None:
        settings = {"initializer": Side.prepare, "initargs": (make, *arguments)}
        self.pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), **settings)
        self.pid = self.pool.submit(os.getpid)  # starts it now: two sides get ready at the same time

    @staticmethod
    def prepare(make: Callable[..., Callable], *arguments: object) -> None:
        Side.run = make(*arguments)

    @staticmethod
    def call(*arguments: object) -> object:
        return Side.run(*arguments)

    def __call__(self, *arguments: object):
        """Raises what the function raises, and BrokenProcessPool when the process is gone."""
        return self.pool.submit(Side.call, *arguments).result()

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *details: object) -> None:
        self.pool.shutdown()


def turn_of(words: str) -> dict:
    return {"role": "user", "content": words}


def endless(engine: Engine) -> Engine:
    """Let answers go on to their longest, so that every run writes the same number of tokens."""
    engine.resident.stop_ids = lambda format: set()
    return engine


def make_engine(settings: dict) -> Callable[[list[tuple[Model, str]], int], tuple[float, float]]:
    """Make an engine; returns `together` for it. Each run reads its prompts anew, as the rivals do."""
    engine = endless(Engine(**settings))
    return lambda asked, tokens: together(engine, asked, tokens)


def together(engine: Engine, asked: list[tuple[Model, str]], tokens: int) -> tuple[float, float]:
    """Ask all at the same moment; returns (seconds until all have answered, the longest seconds to a first token)."""
    waits = []

    def ask(model: Model, words: str) -> None:
        reply = list(engine.reply(model, [turn_of(words)], Sampling(tokens, stop_repetition=False)))[-1]
        waits.append(reply.seconds_to_first)

    threads = [threading.Thread(target=ask, args=one) for one in asked]

    def run() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    seconds = seconds_of(run)
    if len(waits) != len(asked):
        raise RuntimeError(f"{len(asked) - len(waits)} of {len(asked)} got no answer")
    return seconds, max(waits)


def make_pipeline(folder: Path) -> Callable:
    """Make transformers' own text generation in fp32, as its documentation shows it."""
    import torch
    import transformers

    return transformers.pipeline("text-generation", model=str(folder), dtype=torch.float32, device="cpu")


def written(pipeline: Callable, tokens: int) -> list[int]:
    """Let the pipeline write exactly `tokens` tokens, greedily; returns them."""
    settings = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "return_tensors": True}
    return list(pipeline([turn_of(QUESTION)], **settings)[0]["generated_token_ids"])[-tokens:]


def make_writer(folder: Path) -> Callable[[int], float]:
    pipeline = make_pipeline(folder)
    return lambda tokens: seconds_of(lambda: written(pipeline, tokens))


def make_first(folder: Path) -> Callable[[list[dict]], float]:
    """Make a pipeline that is called with the whole history, as people do; a streamer sees its first token."""
    pipeline = make_pipeline(folder)

    class Streamer:
        def put(self, tokens) -> None:
            self.times.append(time.perf_counter())

        def end(self) -> None:
            pass

    def first(messages: list[dict]) -> float:
        streamer, began = Streamer(), time.perf_counter()
        streamer.times = []
        pipeline(messages, max_new_tokens=SHORT.max_new_tokens, do_sample=False, streamer=streamer)
        return streamer.times[1] - began  # the first call has the prompt

    return first


def text_of(tokenizer, tokens: list[int]) -> str:
    stream = TextStream(tokenizer, [])
    for token in tokens:
        stream.add(token)
    return stream.finish()


def check_same_text(folder: Path, tokens: int) -> None:
    """Raise RuntimeError when our answer in fp32 is not what the pipeline's tokens say."""
    pipeline = make_pipeline(folder)
    theirs = text_of(pipeline.tokenizer, written(pipeline, tokens))
    sampling = Sampling(max_new_tokens=tokens, stop_repetition=False)
    ours = list(endless(Engine()).reply(Model(folder, "fp32"), [turn_of(QUESTION)], sampling))[-1].text
    if ours != theirs:
        raise RuntimeError(f"another answer than the pipeline's:\n{ours}\n---\n{theirs}")


def make_talk(model: Model) -> Callable[[list[dict], str], tuple[float, str]]:
    """Make an engine with its base loaded; returns a function that answers: (seconds to the first token, answer)."""
    engine = Engine()
    list(engine.reply(model, [turn_of("Hi")], SHORT))

    def first(messages: list[dict], conversation: str) -> tuple[float, str]:
        reply = list(engine.reply(model, messages, SHORT, conversation=conversation))[-1]
        return reply.seconds_to_first, reply.text

    return first
