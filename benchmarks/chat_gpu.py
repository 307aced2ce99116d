"""Chat on one GPU: tokens a second of one conversation, against `model.generate()` on the same base in memory.

    python -m benchmarks.chat_gpu [--full] [--profile]

TinyLlama's shape with random weights. Rows: the engine as it is, and with CHAT_COMPILE=1 (a cache of fixed size, the step as
a CUDA graph), each on the 8-bit base of bitsandbytes and in bf16; the rival of each is `generate()` on the same precision, and
its tokens must be ours. LLM.int8 looks for outliers at every layer, which waits for the GPU and breaks a graph: that is why
bf16 is measured beside it. --profile prints the dearest operations of 20 tokens on the 8-bit base.

NOT YET RUN ON A GPU: a test runs it in small on a CPU.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.chat_bases import QUESTION, endless, random_tinyllama, take_turns
from benchmarks.chat_speed import seconds_of
from benchmarks.rows import Row, faster, table
from chat.decoding import TextStream
from chat.engine import Engine, Model, Sampling
from common.paths import home
from models.hardware import find_gpus

AIM = 2.0  # of generate()'s tokens a second on the 8-bit base
SAME_WORDS = 16  # tokens of both that must be the same; sums of 16 bits in another order part ways some time later


class Generate:
    """`model.generate()` with a base loaded as the engine loads it, for exactly as many tokens as it is told."""

    def __init__(self, folder: Path, precision: str) -> None:
        from chat.resident import Resident

        resident, model = Resident(), Model(folder, precision)
        resident.load(model)
        self.format, self.network = resident.format_of(model), resident.network
        self.prompt = self.format.encode(QUESTION).ids

    def write(self, tokens: int) -> list[int]:
        import torch

        ids = torch.tensor([self.prompt], device=self.network.device)
        settings = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
        with torch.inference_mode():
            found = self.network.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)
        return found[0, len(self.prompt) :].tolist()

    def text(self, tokens: int) -> str:
        stream = TextStream(self.format.tokenizer, [])
        for token in self.write(tokens):
            stream.add(token)
        return stream.finish()


@contextmanager
def compiling(is_on: bool) -> Iterator[None]:
    """CHAT_COMPILE for the engines that answer meanwhile."""
    before = os.environ.get("CHAT_COMPILE", "")
    os.environ["CHAT_COMPILE"] = "1" if is_on else ""
    try:
        yield
    finally:
        os.environ["CHAT_COMPILE"] = before


def answers(folder: Path, precision: str, is_compiled: bool) -> Callable[[int], str]:
    """An engine of its own, as the function from a number of tokens to its answer of so many."""
    engine, model = endless(Engine(most_conversations=0)), Model(folder, precision)

    def write(tokens: int) -> str:
        with compiling(is_compiled):
            return list(engine.reply(model, QUESTION, Sampling(max_new_tokens=tokens)))[-1].text

    return write


def precision_rows(folder: Path, precision: str, tokens: int, pairs: int, aim: float | None) -> list[Row]:
    """The plain and the compiled engine against generate(). Raises RuntimeError when their first words differ."""
    rival = Generate(folder, precision)
    sides = {name: answers(folder, precision, name == "compiled") for name in ("plain", "compiled")}
    wanted = rival.text(SAME_WORDS)
    for name, write in sides.items():
        if (found := write(SAME_WORDS)) != wanted:
            raise RuntimeError(f"{name}, {precision}: {found!r} where generate() says {wanted!r}")
    runs = {"generate": seconds_of(lambda: rival.write(tokens))}
    runs |= {name: seconds_of(lambda write=write: write(tokens)) for name, write in sides.items()}
    speeds = {name: tokens / seconds for name, seconds in take_turns(runs, pairs).items()}
    note = f"{tokens} tokens an answer, {pairs} pairs; the first {SAME_WORDS} tokens are generate()'s"
    return [
        faster(f"chat, GPU, {precision}, {name} (generate)", speeds[name], speeds["generate"], "tokens/s", goal, note)
        for name, goal in (("plain", None), ("compiled", aim))
    ]


def measure_all(folder: Path, tokens: int, pairs: int, precisions: tuple[str, ...] = ("8bit", "bf16")) -> list[Row]:
    """All rows, and the fastest of ours against generate() on the first precision."""
    found = [row for one in precisions for row in precision_rows(folder, one, tokens, pairs, None)]
    best = max(found, key=lambda row: row.ours)
    words = f"chat, GPU, the fastest of ours (generate on {precisions[0]})"
    return [*found, faster(words, best.ours, found[0].rival, "tokens/s", AIM, f"it is: {best.name}")]


def rows(quick: bool) -> list[Row]:
    """Raises RuntimeError without a GPU."""
    if not find_gpus():
        raise RuntimeError("there is no GPU")
    with tempfile.TemporaryDirectory() as temporary:
        folder = random_tinyllama(Path(temporary) / "tinyllama", "bfloat16")
        return measure_all(folder, *((64, 3) if quick else (256, 5)))


def profile(folder: Path, precision: str, tokens: int = 20) -> str:
    """The dearest operations of an answer, as torch's profiler lists them."""
    import torch

    rival = Generate(folder, precision)
    rival.write(tokens)
    with torch.profiler.profile() as profiler:
        rival.write(tokens)
    where = "cuda" if torch.cuda.is_available() else "cpu"
    return profiler.key_averages().table(sort_by=f"self_{where}_time_total", row_limit=20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="256 tokens, 5 pairs")
    parser.add_argument("--profile", action="store_true", help="where the time goes, in place of the comparison")
    options = parser.parse_args()
    home().mkdir(parents=True, exist_ok=True)
    if not options.profile:
        print(table(rows(not options.full)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        print(profile(random_tinyllama(Path(temporary) / "tinyllama", "bfloat16"), "8bit"))


if __name__ == "__main__":
    main()
