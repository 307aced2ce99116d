"""The time to the first token over the turns of a conversation, against transformers' pipeline called with the whole history.

    python -m benchmarks.chat_turns [--full]

Equal messages at every turn, fp32, the embedded base. Both sides get the same history, in turn; the pipeline's first token is
seen by a streamer. The cache is what makes the difference: the aim is at most 1.3 times the time of turn 2 at turn 20.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.chat_bases import embedded_base
from benchmarks.rows import Row, smaller, table, within
from benchmarks.sides import Side
from chat.engine import Engine, Model, Sampling
from common.paths import home

SHORT = Sampling(max_new_tokens=6)
WORDS = "Please tell me one more thing about llamas, and keep it as short as you can."
TURNS = (1, 5, 20)
MOST_GROWTH = 1.3  # of the last turn against turn 2


class FirstToken:
    """A streamer of transformers that notes when the first token of an answer came."""

    def __init__(self) -> None:
        self.calls, self.when = 0, 0.0

    def put(self, tokens) -> None:
        self.calls += 1  # the first call has the prompt
        self.when = time.perf_counter() if self.calls == 2 else self.when

    def end(self) -> None:
        pass


def make_pipeline(folder: Path) -> Callable[[list[dict]], float]:
    """A function that asks the pipeline: seconds from the call to its first token."""
    from benchmarks.chat_speed import TextPipeline

    pipeline = TextPipeline(folder)

    def first(messages: list[dict]) -> float:
        streamer, began = FirstToken(), time.perf_counter()
        pipeline.made(messages, max_new_tokens=SHORT.max_new_tokens, do_sample=False, streamer=streamer)
        return streamer.when - began

    return first


def make_engine(folder: Path) -> Callable[[list[dict], str], tuple[float, str]]:
    """A function that asks our engine: (seconds to the first token, answer)."""
    engine, model = Engine(), Model(folder, "fp32")
    list(engine.reply(model, [{"role": "user", "content": "Hi"}], SHORT))  # the base is loaded

    def first(messages: list[dict], conversation: str) -> tuple[float, str]:
        reply = list(engine.reply(model, messages, SHORT, conversation=conversation))[-1]
        return reply.seconds_to_first, reply.text

    return first


def talk(engine: Side, pipeline: Side, turns: tuple[int, ...], name: str) -> tuple[dict[int, float], dict[int, float]]:
    """Seconds to the first token of every turn: (ours, the pipeline's at `turns`). Both hear the same."""
    messages, ours, theirs = [], {}, {}
    for turn in range(1, max(turns) + 1):
        messages.append({"role": "user", "content": WORDS})
        if turn in turns:
            theirs[turn] = pipeline(messages)
        ours[turn], text = engine(messages, name)
        messages.append({"role": "assistant", "content": text or "-"})
    return ours, theirs


def turn_rows(folder: Path, turns: tuple[int, ...], pairs: int) -> list[Row]:
    """A row for each of `turns`, and how the last one stands to turn 2."""
    ours, theirs = defaultdict(list), defaultdict(list)
    with Side(make_engine, folder) as engine, Side(make_pipeline, folder) as pipeline:
        for number in range(pairs + 1):
            for found, sides in zip(talk(engine, pipeline, turns, str(number)), (ours, theirs), strict=True):
                for turn, seconds in found.items():
                    sides[turn].append(seconds)
    mine, rival = ({turn: median(times[1:]) for turn, times in side.items()} for side in (ours, theirs))
    found = [smaller(f"chat: first token, turn {turn}, fp32", mine[turn], rival[turn], "s") for turn in turns]
    growth = mine[max(turns)] / mine[2]
    return [*found, within(f"chat: first token, turn {max(turns)} to turn 2", growth, MOST_GROWTH, "times")]


def rows(quick: bool) -> list[Row]:
    return turn_rows(embedded_base(), TURNS, 3 if quick else 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="5 conversations, not 3")
    home().mkdir(parents=True, exist_ok=True)
    print(table(rows(not parser.parse_args().full)))


if __name__ == "__main__":
    main()
