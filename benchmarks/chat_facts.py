"""A conversation of 200 turns: are questions answered whose answer stands only in the last turns? On the embedded base.

    python -m benchmarks.chat_facts [--turns 200] [--window 2048]

Turns are played in, each with a fact of its own; then the model is asked for the last ones, within the same conversation. A
control asks without the history: what is right there was guessed.
"""

import argparse

from benchmarks.chat_bases import embedded_base
from chat.engine import Engine, Model, Sampling

SHORT = Sampling(max_new_tokens=24)
NAMES = ("Miso", "Bruno", "Tilda", "Pepper", "Gizmo", "Luna", "Oscar", "Zelda")
PETS = ("cat", "dog", "parrot", "rabbit", "pony", "turtle", "goat", "duck")
TOWNS = ("Oslo", "Lima", "Kyoto", "Porto", "Quito", "Tunis", "Perth", "Delhi")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--window", type=int, default=2048, help="the context window in tokens; TinyLlama's is 2048")
    options = parser.parse_args()
    engine, model = Engine(), Model(embedded_base(), "fp32")
    engine.resident.window = lambda: options.window
    messages = history(options.turns)
    asked = [
        ("What is the name of my own fish?", "Bubbles"),
        ("What is my favourite colour?", "green"),
        ("To which town do I move next month?", "Seville"),
    ]
    print("\n| question | the answer within the conversation | right | turns left out | without the history | right |")
    print("|---|---|---|---|---|---|")
    for question, wanted in asked:
        turn = {"role": "user", "content": question}
        within = list(engine.reply(model, [*messages, turn], SHORT, conversation="c"))[-1]
        without = list(engine.reply(model, [turn], SHORT))[-1]
        cells = [
            f"{_cell(one.text)} | {'yes' if wanted.lower() in one.text.lower() else 'no'}" for one in (within, without)
        ]
        print(f"| {question} | {cells[0]} | {within.left_out} | {cells[1]} |", flush=True)
        messages += [turn, {"role": "assistant", "content": within.text}]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:120]


def history(turns: int) -> list[dict]:
    """`turns` turns: facts, each asked for in the turn after it; the last three turns hold what the model is asked for."""
    said = []
    for number in range((turns - 3) // 2 + 1):
        pet, name, town = PETS[number % 8], NAMES[number * 3 % 8], TOWNS[number * 5 % 8]
        said.append((f"Neighbour {number} from {town} has a {pet} called {name}.", f"A {pet} called {name}, how nice!"))
        said.append((f"What is the name of the {pet} of neighbour {number}?", f"The {pet} is called {name}."))
    said = said[: turns - 3]
    said.append(("My own fish is called Bubbles.", "Bubbles is a good name for a fish!"))
    said.append(("My favourite colour is green.", "Green is a beautiful colour."))
    said.append(("Next month I move to Seville.", "Seville is a lovely town to move to."))
    roles = ("user", "assistant")
    return [{"role": role, "content": text} for pair in said for role, text in zip(roles, pair, strict=True)]


if __name__ == "__main__":
    main()
