"""How long does an evaluation take on a CPU, and what do batches and prompts that are read once give?

    python -m benchmarks.evaluation_speed [--full]

Questions of the example, the embedded base, fp32. The rivals compute the same one by one: likelihood with transformers' own model
and its labels, each choice with its prompt; answers with our engine, one at a time. Losses must be the rival's within 1e-3 nats,
and answers the same texts. The time for 1,000 questions is scaled from those that were measured. Each side is a process of its
own, with the model loaded.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.chat_sides import Side
from benchmarks.inputs import embedded_base
from benchmarks.rows import Row, faster, main, within
from chat.engine import Engine, Model
from chat.resident import Resident
from data.reading import EXAMPLE_TRAIN, read_rows
from data.test_sets import Item
from evaluation.generate import answers
from evaluation.likelihood import answer_losses, choice_losses
from evaluation.questions import chat_question
from models.prompt import PromptFormat

TOKENS, CHOICES = 64, 4
AIM_LIKELIHOOD, AIM_ANSWERS = 3.0, 2.0  # times one by one
MAX_SECONDS = 600  # for 1,000 questions
SAME = 1e-3  # nats
NEVER = threading.Event()


def example_items(count: int) -> list[Item]:
    """Return questions of the example; the choices are the first lines of their own answer and of three others."""
    talks = [row["messages"] for row in list(read_rows(str(EXAMPLE_TRAIN)))[:count]]
    lines = [talk[-1]["content"].splitlines()[0] for talk in talks]
    return [
        Item(
            number=number,
            messages=talk[:-1],
            answer=talk[-1]["content"],
            choices=[lines[(number + 7 * step) % count] for step in range(CHOICES)],
        )
        for number, talk in enumerate(talks)
    ]


def make_losses(folder: Path) -> Callable[[str, list[Item]], tuple[float, list[float]]]:
    """Load the base; return what gives (seconds, losses in the order of the items) of answers or choices."""
    resident, model = Resident(), Model(folder, "fp32")
    resident.load(model)

    def run(what: str, items: list[Item]) -> tuple[float, list[float]]:
        began = perf_counter()
        losses = choice_losses if what == "choices" else answer_losses
        found = {one["item"]: one for one in losses(resident, model, items, NEVER)}
        values = [found[item["number"]] for item in items]
        seconds = perf_counter() - began
        return seconds, [loss for one in values for loss in one.get("choice_losses", [one.get("loss", 0.0)])]

    return run


def make_plain(folder: Path) -> Callable[[str, list[Item]], tuple[float, list[float]]]:
    """The same as `make_losses`, by transformers' model, one answer or choice after the other with its whole prompt."""
    import torch
    from transformers import AutoModelForCausalLM

    from models.tokenizer import load_tokenizer

    network, format = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        PromptFormat(load_tokenizer(folder)),
    )

    def loss(prompt: list[int], answer: list[int]) -> float:
        ids, labels = torch.tensor([prompt + answer]), torch.tensor([[-100] * len(prompt) + answer])
        return float(network(input_ids=ids, labels=labels).loss) * len(answer)

    def run(what: str, items: list[Item]) -> tuple[float, list[float]]:
        began, found = perf_counter(), []
        with torch.inference_mode():
            for item in items:
                texts = item["choices"] if what == "choices" else [item["answer"]]
                question = chat_question(format, 0, item["messages"], texts, 8192, with_stop=what != "choices")
                found += [loss(row.prompt, branch) for row in question.rows for branch in row.branches]
        return perf_counter() - began, found

    return run


def make_answers(folder: Path, at_once: int) -> Callable[[list[Item]], tuple[float, list[str]]]:
    """Make an engine with its base loaded; return what gives (seconds, answers)."""
    engine, model = Engine(most_at_once=at_once), Model(folder, "fp32")

    def run(items: list[Item]) -> tuple[float, list[str]]:
        began = perf_counter()
        found = [result["answer"] for result in answers(engine, model, items, TOKENS, NEVER)]
        return perf_counter() - began, found

    return run


def compare(ours: Side, rival: Side, pairs: int, items: list[Item], *what: str) -> tuple[list, list, list[float]]:
    """Return what each side found, and the medians of its seconds. Before that each loads its model and answers one item."""
    for side in (ours, rival):
        side(*what, items[:1])
    done = [(ours(*what, items), rival(*what, items)) for _ in range(pairs)]
    (_, mine), (_, theirs) = done[0]
    return mine, theirs, [median(seconds for seconds, _ in side) for side in zip(*done, strict=True)]


def rows(quick: bool) -> Iterator[Row]:
    """Likelihood and answers against one by one; not quick also the time for 1,000 questions."""
    folder, (count, pairs) = embedded_base(), (8, 1) if quick else (128, 3)
    items, total = example_items(count), 0.0
    note = f"{count} questions, {pairs} pairs"
    with Side(make_losses, folder) as ours, Side(make_plain, folder) as plain:
        for what in ("choices",) if quick else ("choices", "answers"):
            mine, theirs, seconds = compare(ours, plain, pairs, items, what)
            gaps = [abs(a - b) for a, b in zip(mine, theirs, strict=True)]
            if max(gaps) > SAME:
                raise RuntimeError(f"the losses of {what} differ by {max(gaps)} nats")
            total += seconds[0]
            name = f"evaluation: likelihood of {f'{CHOICES} choices' if what == 'choices' else 'answers'}, fp32"
            aim = AIM_LIKELIHOOD if what == "choices" else None
            yield faster(name, *(count / one for one in seconds), "questions/s", aim, note)
    with Side(make_answers, folder, 16) as ours, Side(make_answers, folder, 1) as single:
        mine, theirs, seconds = compare(ours, single, pairs, items)
    if mine != theirs:
        raise RuntimeError("a batch gives other answers")
    name = f"evaluation: answers of at most {TOKENS} tokens, fp32"
    yield faster(name, *(count / one for one in seconds), "questions/s", AIM_ANSWERS, note)
    if not quick:
        name = "evaluation: 1,000 questions: answers, their loss and that of four choices, fp32"
        yield within(name, 1000 / count * (total + seconds[0]), MAX_SECONDS, "s", f"scaled from {note}")


if __name__ == "__main__":
    main(rows, __doc__)
