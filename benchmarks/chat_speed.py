"""How fast is the chat against transformers' pipeline and llama.cpp, over the turns, with several people, with adapters?

    python -m benchmarks.chat_speed [--full]

On this machine's CPU. The rivals get the same weights, the same question and the same number of tokens, on the same threads,
each side in a process of its own. The pipeline is called as people call it, in fp32; the tokens of our fp32 answer
must be its tokens. llama.cpp is measured where it can be had (`pip install xllamacpp`, into any environment: LLAMA_CPP_PYTHON
names its interpreter), with the q8_0 file of the weights that our int8 has. --full adds TinyLlama's shape with random weights,
which needs 12 GB of memory.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import psutil

from benchmarks.chat_sides import (
    QUESTION,
    Side,
    check_same_text,
    make_engine,
    make_first,
    make_talk,
    make_writer,
    turn_of,
)
from benchmarks.inputs import embedded_base, make_adapter, make_base
from benchmarks.llama_cpp import LlamaCpp, find_llama_cpp
from benchmarks.rows import Row, faster, main, seconds_of, smaller, take_turns, within
from chat.engine import Model
from chat.resident import Resident
from data.reading import EXAMPLE_HELD_OUT

NAMES = {"fp32": "fp32", "bf16": "bf16", "8bit": "int8"}  # of precisions, as people call them
NOTHING_KEPT = {"most_conversations": 0}  # of an engine
AIM_INT8 = 2.5  # of the pipeline's tokens a second, at TinyLlama's shape
TURNS, MAX_GROWTH = (1, 5, 20), 1.3  # the first token of turn 20 against that of turn 2
PEOPLE = (1, 4, 16)
MAX_SWITCH_SECONDS = 0.5  # to attach an adapter, and to switch
LOSS_RATIO = 0.99  # the loss grows by at most 1 %


def speed_rows(
    sides: dict[str, tuple], rival: Callable[[], float], tokens: int, pairs: int, note: str, rival_count: int = 1
) -> list[Row]:
    """Rows of {name: (what writes and returns its seconds, how many answers at once, aim)} against `rival`'s answers."""
    seconds = take_turns({"rival": rival, **{name: side[0] for name, side in sides.items()}}, pairs)
    note = f"{note}{tokens} tokens an answer, {pairs} pairs"
    return [
        faster(name, count * tokens / seconds[name], rival_count * tokens / seconds["rival"], "tokens/s", aim, note)
        for name, (_, count, aim) in sides.items()
    ]


def token_rows(folder: Path, name: str, tokens: int, pairs: int, aim: float | None = None) -> list[Row]:
    """Our fp32 and our int8 against the pipeline in fp32, whose words our fp32 must write."""
    check_same_text(folder, tokens)
    with Side(make_writer, folder) as pipeline, Side(make_engine, NOTHING_KEPT) as exact:
        asked = [(Model(folder, "fp32"), QUESTION)]
        sides = {f"chat, fp32, {name}": (lambda: exact(asked, tokens)[0], 1, 1.0)}
        found = speed_rows(sides, lambda: pipeline(tokens), tokens, pairs, "the pipeline's tokens; ")
    return [*found, *int8_rows(folder, name, tokens, pairs, aim)]


def int8_rows(folder: Path, name: str, tokens: int, pairs: int, aim: float | None = None) -> list[Row]:
    """Our int8, which is what the page uses on a CPU, against the pipeline in fp32."""
    with Side(make_writer, folder) as pipeline, Side(make_engine, NOTHING_KEPT) as engine:
        asked = [(Model(folder, "8bit"), QUESTION)]
        sides = {f"chat, int8 (pipeline: fp32), {name}": (lambda: engine(asked, tokens)[0], 1, aim)}
        return speed_rows(sides, lambda: pipeline(tokens), tokens, pairs, "")


def llama_rows(folder: Path, name: str, tokens: int, pairs: int) -> Iterator[Row]:
    """Our int8 against llama.cpp on the same weights: speed, memory, the last turn; nothing where it is not installed."""
    if (python := find_llama_cpp()) is None:
        return
    from adapters.export.gguf_file import write_models
    from models.tokenizer import load_tokenizer

    model, against = Model(folder, "8bit"), f"int8 (llama.cpp: q8_0), {name}"
    encode = partial(load_tokenizer(folder).apply_chat_template, add_generation_prompt=True, tokenize=False)
    with tempfile.TemporaryDirectory() as temporary:
        (file,) = write_models(folder, Path(temporary), ("q8_0",))
        for people in (1, PEOPLE[-1]):
            words = [QUESTION, *(f"I am person {n}. {QUESTION}" for n in range(1, people))]
            asked, prompts = [(model, one) for one in words], [encode([turn_of(one)]) for one in words]
            settings = {**NOTHING_KEPT, "most_at_once": people}
            who = "" if people == 1 else f", {people} people at once"
            with LlamaCpp(python, file.path, people) as llama, Side(make_engine, settings) as side:
                ours = lambda side=side, asked=asked: side(asked, tokens)[0]  # noqa: E731
                rival = partial(seconds_of, partial(llama.write_together, prompts, tokens))
                yield from speed_rows({f"chat, {against}{who}": (ours, people, None)}, rival, tokens, pairs, "", people)
                held = (psutil.Process(pid).memory_info().rss / 1e6 for pid in (side.pid.result(), llama.process.pid))
                yield smaller(f"chat: resident memory, {against}{who}", *held, "MB")
        with LlamaCpp(python, file.path) as llama:

            def first(messages: list[dict]) -> float:
                llama.write(encode(messages[:-2]), 1, keeps=True)  # the turn before
                return seconds_of(lambda: llama.write(encode(messages), 1, keeps=True))

            yield from turn_rows(model, TURNS[-1:], pairs, first, against)


def turn_rows(model: Model, turns: tuple[int, ...], pairs: int, rival: Callable, name: str = "fp32") -> list[Row]:
    """The time to the first token at each of `turns` of a conversation, and the last one's against turn 2.

    Both sides get the same history; `rival` returns its seconds.
    """
    words = "Please tell me one more thing about llamas, and keep it as short as you can."
    ours = {turn: [] for turn in range(1, max(turns) + 1)}
    theirs = {turn: [] for turn in turns}
    with Side(make_talk, model) as engine:
        for number in range(pairs + 1):
            messages = []
            for turn in ours:
                messages.append(turn_of(words))
                if turn in turns:
                    theirs[turn].append(rival(messages))
                seconds, text = engine(messages, str(number))
                ours[turn].append(seconds)
                messages.append({"role": "assistant", "content": text or "-"})
    mine, their = ({turn: median(times[1:]) for turn, times in side.items()} for side in (ours, theirs))
    found = [smaller(f"chat: first token, turn {turn}, {name}", mine[turn], their[turn], "s") for turn in turns]
    growth = mine[max(turns)] / mine[2]
    return [*found, within(f"chat: first token, turn {max(turns)} to turn 2, {name}", growth, MAX_GROWTH, "times")]


def people_rows(model: Model, counts: tuple[int, ...], tokens: int, pairs: int) -> list[Row]:
    """Several people who ask at the same moment, against an engine that answers them one by one: speed and longest wait."""
    found = []
    with Side(make_engine, {"most_at_once": max(counts)}) as batched, Side(make_engine, {"most_at_once": 1}) as single:
        for people in counts:
            asked = [(model, f"I am person {n}. Tell me a long story about number {37 * n}.") for n in range(people)]
            for side in (batched, single):
                side(asked[:1], 2)
            done = [(batched(asked, tokens), single(asked, tokens)) for _ in range(pairs)]
            ours, theirs = ([median(values) for values in zip(*side, strict=True)] for side in zip(*done, strict=True))
            who = f"{people} {'person' if people == 1 else 'people at once'}, {NAMES[model.precision]}"
            note = f"the rival answers one by one; {tokens} tokens each, {pairs} pairs"
            speeds = (people * tokens / seconds for seconds in (ours[0], theirs[0]))
            found.append(faster(f"chat: all together, {who}", *speeds, "tokens/s", None, note))
            found.append(smaller(f"chat: longest wait for a first token, {who}", ours[1], theirs[1], "s", None, note))
    return found


def switch_rows(folder: Path, precision: str, adapters: list[Path]) -> list[Row]:
    """Attaching an adapter, switching to another one, and switching all of them off; medians."""
    resident, base, name = Resident(), Model(folder, precision), NAMES[precision]
    models = [Model(folder, precision, adapter) for adapter in adapters]
    resident.load(base)
    attach, switch, bare = [seconds_of(lambda model=model: resident.load(model)) for model in models], [], []
    for _ in range(5):
        switch += [seconds_of(lambda model=model: resident.load(model)) for model in models]
        bare.append(seconds_of(lambda: resident.load(base)))
    words = {"an adapter attached": attach, "switched to another adapter": switch, "switched to the base": bare}
    return [
        within(f"chat: {what}, {name}", median(seconds), MAX_SWITCH_SECONDS, "s") for what, seconds in words.items()
    ]


def adapter_rows(folder: Path, precision: str, adapters: list[Path], tokens: int, pairs: int) -> list[Row]:
    """The base and adapters, alone and compared, against the base in an engine without adapters.

    A comparison asks the base and its adapters at the same moment; its speed is that of all answers together.
    """
    base, name = Model(folder, precision), NAMES[precision]
    tuned = [Model(folder, precision, adapter) for adapter in adapters]
    models = {
        f"chat: the base with an adapter beside it, {name}": [base],
        f"chat: base and adapter, {name}": tuned[:1],
        f"chat: both compared at once, together, {name}": [base, tuned[0]],
        f"chat: the base and three adapters compared at once, together, {name}": [base, *tuned],
    }
    with Side(make_engine, NOTHING_KEPT) as alone, Side(make_engine, NOTHING_KEPT) as side:
        asked = {words: [(model, QUESTION) for model in some] for words, some in models.items()}
        sides = {words: (lambda some=some: side(some, tokens)[0], len(some), None) for words, some in asked.items()}
        rival = lambda: alone([(base, QUESTION)], tokens)[0]  # noqa: E731
        return speed_rows(sides, rival, tokens, pairs, "the rival is the base alone; ")


def loss_rows(folder: Path, data: str, precisions: tuple[str, ...] = ("bf16", "8bit")) -> list[Row]:
    """The mean loss of all tokens of the conversations in `data`, in `precisions` against fp32: is it as good?"""
    import torch

    from data.reading import read_rows

    losses = {}
    for precision in ("fp32", *precisions):
        resident, model = Resident(), Model(folder, precision)
        resident.load(model)
        format, total, count = resident.format_of(model), 0.0, 0
        with torch.inference_mode():
            for row in read_rows(data):
                ids = torch.tensor([format.encode(row["messages"]).ids])
                logits = resident.network(input_ids=ids).logits[0, :-1].float()
                total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
                count += ids.shape[1] - 1
        losses[precision] = total / count
    exact = losses.pop("fp32")
    return [
        smaller(
            f"chat: held-out loss in {NAMES[one]} (fp32)", loss, exact, "nats", LOSS_RATIO, f"{loss / exact - 1:+.2%}"
        )
        for one, loss in losses.items()
    ]


def rows(quick: bool) -> Iterator[Row]:
    """What the page's chat does; not quick also fp32, several counts of people, adapters, and TinyLlama's shape."""
    folder, (tokens, pairs) = embedded_base(), (32, 1) if quick else (64, 5)
    exact, people = Model(folder, "fp32"), Model(folder, "8bit")
    yield from (int8_rows if quick else token_rows)(folder, "SmolLM2-135M", tokens, pairs)
    with Side(make_first, folder) as pipeline:
        yield from turn_rows(exact, TURNS[-1:] if quick else TURNS, pairs, pipeline)
    if quick:
        yield from people_rows(people, PEOPLE[-1:], 16, pairs)
        yield from loss_rows(folder, str(EXAMPLE_HELD_OUT), ("8bit",))
        return
    yield from llama_rows(folder, "SmolLM2-135M", tokens, pairs)
    for model in (people, exact):
        yield from people_rows(model, PEOPLE, 32, 3)
    yield from loss_rows(folder, str(EXAMPLE_HELD_OUT))
    with tempfile.TemporaryDirectory() as temporary:
        adapters = [make_adapter(folder, Path(temporary) / f"adapter-{number}") for number in range(3)]
        for precision in ("fp32", "8bit"):
            yield from switch_rows(folder, precision, adapters)
            yield from adapter_rows(folder, precision, adapters, tokens, pairs)
        shape = make_base(Path(temporary) / "tinyllama", dtype="float32")
        yield from token_rows(shape, "TinyLlama's shape", 32, 3, AIM_INT8)
        yield from llama_rows(shape, "TinyLlama's shape", 32, 3)


if __name__ == "__main__":
    main(rows, __doc__)
