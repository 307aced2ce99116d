"""8-bit chat on a CPU: tokens a second and held-out loss of fp32, bf16 and int8, side by side with transformers' own pipeline.

    python -m benchmarks.chat_int8                     the embedded base: speed and quality
    python -m benchmarks.chat_int8 --shape tinyllama   TinyLlama's shape with random weights: speed only

The variants take turns, so that what else the machine does falls on all of them alike; the best of each is shown, as other
programs only ever slow one down. With --cpu-time one thread computes and its seconds on the CPU count: on a machine that is
shared with others, that is what an idle one shows.
"""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.chat_bases import embedded_base, random_tinyllama
from chat.engine import Engine, Model, Sampling
from examples.demo import EXAMPLE_HELD_OUT
from trainer.data.dataset import read_rows

QUESTION = [{"role": "user", "content": "Write a long story about a llama who learns to read, with many details."}]
VARIANTS = ("pipeline fp32", "fp32", "bf16", "int8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=("embedded", "tinyllama"), default="embedded")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--no-loss", action="store_true")
    options = parser.parse_args()
    clock = time.process_time if options.cpu_time else time.perf_counter
    if options.cpu_time:
        import torch

        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        is_real = options.shape == "embedded"
        folder = embedded_base() if is_real else random_tinyllama(Path(temporary))
        speeds = measure_speeds(folder, options.tokens, options.rounds, clock, options.variants)
        losses = {name: held_out_loss(folder, name) for name in VARIANTS[1:]} if is_real and not options.no_loss else {}
    print(f"\n{options.shape}, {options.tokens} tokens an answer, best of {options.rounds} rounds\n")
    print("| variant | tokens/s | of the pipeline | held-out loss | change |\n|---|---|---|---|---|")
    for name in options.variants:
        ratio = speeds[name] / speeds["pipeline fp32"]
        loss = f"{losses[name]:.4f} | {losses[name] / losses['fp32'] - 1:+.2%}" if name in losses else "- | -"
        print(f"| {name} | {speeds[name]:.1f} | {ratio:.2f} | {loss} |")


def measure_speeds(folder: Path, tokens: int, rounds: int, clock, variants: list[str]) -> dict[str, float]:
    """Tokens a second of each variant, the prompt read in; none of them stops early."""
    run = {}
    for name in variants:
        run[name] = pipeline(folder, tokens) if name == VARIANTS[0] else engine_run(folder, name, tokens)
    found = {name: [] for name in variants}
    for _ in range(rounds + 1):
        for name in variants:
            began = clock()
            written = run[name]()
            found[name].append(written / (clock() - began))
    return {name: max(values[1:]) for name, values in found.items()}


def pipeline(folder: Path, tokens: int):
    """transformers' own text generation, as its documentation shows it."""
    import torch
    import transformers

    made = transformers.pipeline("text-generation", model=str(folder), dtype=torch.float32, device="cpu")

    def run() -> int:
        made(QUESTION, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
        return tokens

    return run


def engine_run(folder: Path, precision: str, tokens: int):
    """Our engine, with an answer that may not end."""
    engine = Engine(most_conversations=0)
    engine.resident.stop_ids = lambda format: set()

    def run() -> int:
        last = list(engine.reply(Model(folder, PRECISIONS[precision]), QUESTION, Sampling(max_new_tokens=tokens)))[-1]
        return last.new_tokens

    return run


PRECISIONS = {"fp32": "fp32", "bf16": "bf16", "int8": "8bit"}


def held_out_loss(folder: Path, precision: str) -> float:
    """The mean loss of all tokens of the held-out conversations of the example data, in nats a token."""
    import torch

    from chat.resident import Resident

    resident = Resident()
    model = Model(folder, PRECISIONS[precision])
    resident.load(model)
    format = resident.format_of(model)
    total, count = 0.0, 0
    with torch.inference_mode():
        for row in read_rows(str(EXAMPLE_HELD_OUT)):
            ids = torch.tensor([format.encode(row["messages"]).ids])
            logits = resident.network(input_ids=ids).logits[0, :-1].float()
            total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
            count += ids.shape[1] - 1
    return total / count


if __name__ == "__main__":
    main()
