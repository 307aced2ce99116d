"""The time to the first token over the turns of a conversation, with the cache kept and without.

    python -m benchmarks.chat_history [--turns 20] [--folder BASE]

Equal messages at every turn; the aim is at most 1.3 times the time of turn 2 at turn 20 (median of rounds).
"""

import argparse
import statistics
from pathlib import Path

from benchmarks.chat_bases import embedded_base
from chat.engine import Engine, Model, Sampling

SHORT = Sampling(max_new_tokens=6)
WORDS = "Please tell me one more thing about llamas, and keep it as short as you can."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="a base's folder instead of the embedded base")
    options = parser.parse_args()
    model = Model(options.folder or embedded_base(), "fp32")
    kept = [talk(Engine(), model, options.turns) for _ in range(options.rounds)]
    anew = talk(Engine(most_conversations=0), model, options.turns)
    print("\n| turn | tokens in the prompt | first token, cache kept (s) | read anew (s) |\n|---|---|---|---|")
    median = [statistics.median(row) for row in zip(*([seconds for _, seconds in one] for one in kept), strict=True)]
    for turn in sorted({1, 2, 5, 10, 15, options.turns}):
        print(f"| {turn} | {anew[turn - 1][0]} | {median[turn - 1]:.2f} | {anew[turn - 1][1]:.2f} |")
    print(f"\nturn {options.turns} against turn 2: {median[-1] / median[1]:.2f} with the cache, ", end="")
    print(f"{anew[-1][1] / anew[1][1]:.2f} without")


def talk(engine: Engine, model: Model, turns: int) -> list[tuple[int, float]]:
    """(tokens of the prompt, seconds to the first token) of each turn."""
    messages, found = [], []
    list(engine.reply(model, [{"role": "user", "content": "Hi"}], SHORT))  # the base is loaded
    for _ in range(turns):
        messages.append({"role": "user", "content": WORDS})
        reply = list(engine.reply(model, messages, SHORT, conversation="c"))[-1]
        messages.append({"role": "assistant", "content": reply.text})
        found.append((reply.tokens_used, reply.seconds_to_first))
    return found


if __name__ == "__main__":
    main()
