"""Several people at once: tokens a second of all together, and the longest wait for a first token; batched and one by one.

python -m benchmarks.chat_people [--people 1 4 16] [--folder BASE]
"""

import argparse
import threading
import time
from pathlib import Path

from benchmarks.chat_bases import embedded_base
from chat.engine import Engine, Model, Sampling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--folder", type=Path, help="a base's folder instead of the embedded base")
    options = parser.parse_args()
    model = Model(options.folder or embedded_base(), options.precision)
    print(
        "\n| people | batched: tokens/s | longest wait (s) | one by one: tokens/s | longest wait (s) |\n|---|---|---|---|---|"
    )
    engines = [Engine(most_at_once=16), Engine(most_at_once=1)]
    for engine in engines:
        engine.resident.stop_ids = lambda format: set()
        together(engine, model, 1, 2)
    for people in options.people:
        rows = [together(engine, model, people, options.tokens) for engine in engines]
        print(f"| {people} | " + " | ".join(f"{speed:.1f} | {wait:.1f}" for speed, wait in rows) + " |", flush=True)


def together(engine: Engine, model: Model, people: int, tokens: int) -> tuple[float, float]:
    """All ask at the same moment; (tokens a second, longest seconds to a first token)."""
    waits = [0.0] * people

    def ask(person: int) -> None:
        messages = [
            {"role": "user", "content": f"I am person {person}. Tell me a long story about number {person * 37}."}
        ]
        waits[person] = list(engine.reply(model, messages, Sampling(max_new_tokens=tokens)))[-1].seconds_to_first

    threads = [threading.Thread(target=ask, args=(person,)) for person in range(people)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return people * tokens / (time.perf_counter() - began), max(waits)


if __name__ == "__main__":
    main()
