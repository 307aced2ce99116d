"""What an adapter costs in the chat: seconds to attach one, to switch, and back; tokens a second with it, and of a comparison.

    python -m benchmarks.chat_adapters [--full]

On the embedded base; adapters of rank 16 on all linear layers with random weights. The rival of a speed is the same base alone,
in an engine that never saw an adapter. A comparison asks the base and its adapters at the same moment; its speed is that of
all answers together.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.chat_bases import QUESTION, embedded_base, endless, take_turns
from benchmarks.rows import Row, faster, table, within
from benchmarks.sides import Side
from chat.engine import Engine, Model, Sampling
from chat.resident import Resident
from common.paths import home

PRECISIONS = {"fp32": "fp32", "8bit": "int8"}
MOST_SECONDS = 0.5  # to attach, and to switch
ROUNDS = 5


def rows(quick: bool) -> list[Row]:
    folder, tokens, pairs = embedded_base(), *((32, 3) if quick else (64, 5))
    with tempfile.TemporaryDirectory() as temporary:
        adapters = [random_adapter(folder, Path(temporary) / f"adapter-{number}") for number in range(3)]
        found = []
        for precision in PRECISIONS:
            found += switch_rows(folder, precision, adapters)
            found += speed_rows(folder, precision, adapters, tokens, pairs)
    return found


def random_adapter(base: Path, folder: Path) -> Path:
    """An adapter of rank 16 for every linear layer."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(r=16, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder


def switch_rows(folder: Path, precision: str, adapters: list[Path]) -> list[Row]:
    """Attaching, switching to another adapter, and switching all of them off; medians."""
    resident, base, name = Resident(), Model(folder, precision), PRECISIONS[precision]
    resident.load(base)
    models = [Model(folder, precision, adapter) for adapter in adapters]
    attach, switch, bare = [timed(resident, model) for model in models], [], []
    for _ in range(ROUNDS):
        switch += [timed(resident, model) for model in models]
        bare.append(timed(resident, base))
    return [
        within(f"chat: an adapter attached, {name}", median(attach), MOST_SECONDS, "s"),
        within(f"chat: switched to another adapter, {name}", median(switch), MOST_SECONDS, "s"),
        within(f"chat: switched to the base, {name}", median(bare), MOST_SECONDS, "s"),
    ]


def timed(resident: Resident, model: Model) -> float:
    began = time.perf_counter()
    resident.load(model)
    return time.perf_counter() - began


def speed_rows(folder: Path, precision: str, adapters: list[Path], tokens: int, pairs: int) -> list[Row]:
    """The base beside adapters, one adapter, and the base at once with one and with three, each against the base alone."""
    base, tuned, name = (
        Model(folder, precision),
        [Model(folder, precision, one) for one in adapters],
        PRECISIONS[precision],
    )
    models = {
        f"chat: the base with an adapter beside it, {name}": [base],
        f"chat: base and adapter, {name}": tuned[:1],
        f"chat: both compared at once, together, {name}": [base, tuned[0]],
        f"chat: the base and three adapters compared at once, together, {name}": [base, *tuned],
    }
    with Side(make_together) as alone, Side(make_together) as engine:
        runs = {words: lambda asked=asked: engine(asked, tokens) for words, asked in models.items()}
        seconds = take_turns({"alone": lambda: alone([base], tokens), **runs}, pairs)
    speed = tokens / seconds["alone"]
    note = f"the rival is the base alone; {tokens} tokens an answer, {pairs} pairs"
    return [
        faster(words, len(asked) * tokens / seconds[words], speed, "tokens/s", None, note)
        for words, asked in models.items()
    ]


def make_together() -> Callable[[list[Model], int], float]:
    engine = endless(Engine(most_conversations=0))
    return lambda models, tokens: together(engine, models, tokens)


def together(engine: Engine, models: list[Model], tokens: int) -> float:
    """Seconds until all of them have answered, asked at the same moment."""

    def ask(model: Model) -> None:
        list(engine.reply(model, QUESTION, Sampling(max_new_tokens=tokens)))

    threads = [threading.Thread(target=ask, args=(model,)) for model in models]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="longer answers, more pairs")
    home().mkdir(parents=True, exist_ok=True)
    print(table(rows(not parser.parse_args().full)))


if __name__ == "__main__":
    main()
