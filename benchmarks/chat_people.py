"""Several people at once against one after the other: tokens a second of all together, and the longest wait for a first token.

    python -m benchmarks.chat_people [--full]

All ask at the same moment. The rival is the same engine answering one request at a time, which is what a page without batches
does.
"""

import argparse
import threading
import time
from collections.abc import Callable
from statistics import median

from benchmarks.chat_bases import embedded_base, endless
from benchmarks.rows import Row, faster, smaller, table
from benchmarks.sides import Side
from chat.engine import Engine, Model, Sampling
from common.paths import home

PEOPLE = (1, 4, 16)


def rows(quick: bool) -> list[Row]:
    """In int8, the page's default on a CPU; the whole table also in fp32 with --full."""
    precisions, tokens, pairs = (("8bit",), 16, 3) if quick else (("8bit", "fp32"), 32, 3)
    return [row for one in precisions for row in people_rows(Model(embedded_base(), one), PEOPLE, tokens, pairs)]


def people_rows(model: Model, counts: tuple[int, ...], tokens: int, pairs: int) -> list[Row]:
    """Two rows for each number of people: speed, and the longest wait."""
    found, name = [], "int8" if model.precision == "8bit" else model.precision
    with Side(make_together, model, max(counts)) as batched, Side(make_together, model, 1) as single:
        for side in (batched, single):
            side(1, 2)
        for people in counts:
            done = [(batched(people, tokens), single(people, tokens)) for _ in range(pairs)]
            ours, theirs = ([median(values) for values in zip(*side, strict=True)] for side in zip(*done, strict=True))
            who = f"{people} {'person' if people == 1 else 'people at once'}, {name}"
            note = f"the rival answers one by one; {tokens} tokens each, {pairs} pairs"
            found.append(faster(f"chat: all together, {who}", ours[0], theirs[0], "tokens/s", None, note))
            found.append(smaller(f"chat: longest wait for a first token, {who}", ours[1], theirs[1], "s", None, note))
    return found


def make_together(model: Model, most_at_once: int) -> Callable[[int, int], tuple[float, float]]:
    engine = endless(Engine(most_at_once=most_at_once))
    return lambda people, tokens: together(engine, model, people, tokens)


def together(engine: Engine, model: Model, people: int, tokens: int) -> tuple[float, float]:
    """(tokens a second of all, longest seconds to a first token)."""
    waits = [0.0] * people

    def ask(person: int) -> None:
        words = f"I am person {person}. Tell me a long story about number {person * 37}."
        sampling = Sampling(max_new_tokens=tokens)
        reply = list(engine.reply(model, [{"role": "user", "content": words}], sampling))[-1]
        waits[person] = reply.seconds_to_first

    threads = [threading.Thread(target=ask, args=(person,)) for person in range(people)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return people * tokens / (time.perf_counter() - began), max(waits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="longer answers, fp32 too")
    home().mkdir(parents=True, exist_ok=True)
    print(table(rows(not parser.parse_args().full)))


if __name__ == "__main__":
    main()
