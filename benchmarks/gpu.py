"""What does a GPU do: everything that waits for a card, in parts that each fit three minutes and go on where they stopped.

    python -m benchmarks.gpu [--parts a b] [--only WORD] [--minutes 3] [--full] [--small]

(a) does every mode train, stop and resume; (b) training against TRL's script; (c) levers one by one; (d) the chat against
`generate()`; (e) what precision does to small updates; (f) the memory estimate against the peak. On a model of TinyLlama's shape
with random weights: neither speed nor memory depends on them. Whatever has no row yet is measured, until the minutes are over;
call it again for the rest. Rows go into results/gpu-CARD.json and .md, with the versions; exits with 1 when one failed.

NOT YET RUN ON A GPU: a test runs it with --small (two narrow layers, short rows) on a CPU. ZeRO needs DeepSpeed, see
runs/machines/parallel.py; (b) needs 20 GB of GPU memory for TRL's side.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import torch
import yaml

from benchmarks import memory, precision
from benchmarks.chat_sides import QUESTION, endless, text_of, together, turn_of
from benchmarks.gpu_modes import CASES, Case, smoke
from benchmarks.inputs import home_of_its_own, make_base, make_instructions
from benchmarks.levers import LEVERS, compiled_chat
from benchmarks.rows import RESULTS, Row, faster, machine, seconds_of, smaller, table, take_turns, where
from benchmarks.train_speed import Job, loss_difference, measure, row_of
from chat.engine import Engine, Model, Sampling
from chat.resident import Resident
from common.errors import UserError
from common.files import read_json, write_json, write_text
from common.paths import REPOSITORY
from models.family import TINYLLAMA_SHAPE
from models.hardware import find_gpus
from runs.launcher import environment

PARTS = "abcdef"
PEOPLE = ((1, False), (1, True), (16, False), (64, False))  # at once, and whether the step is compiled
SMALL = {"hidden_size": 64, "intermediate_size": 176, "num_attention_heads": 4, "num_key_value_heads": 2}
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "A10G": 125e12, "L4": 121e12, "T4": 65e12}
LOSS_TOLERANCE = 0.05  # of one step: TRL keeps adapters in bf16, ours are fp32
SAME_TOKENS = 16  # of an answer that must be generate()'s; sums of 16 bits in another order part ways some time later
TRL_FLAGS = {"8bit": ("--load_in_8bit", "True"), "bf16": ("--dtype", "bfloat16")}
ON_A_CPU = ("--bf16", "False", "--use_cpu", "True")


@dataclass
class Bench:
    """What all parts run on, and what is known: {name of a unit: {"rows": [...], ...} or {"not_run"} or {"failed"}}."""

    folder: Path
    is_small: bool
    is_full: bool
    known: dict[str, dict]

    def __post_init__(self) -> None:
        self.gpu = machine()["gpu"]
        self.layers = 2 if self.is_small else TINYLLAMA_SHAPE.num_hidden_layers
        self.base = make_base(self.folder / f"{self.layers}-bfloat16", self.layers, **SMALL if self.is_small else {})
        length = {"max_length": 256, "too_long": "cut"} if self.is_small else {"max_length": 1024}
        self.settings = {"learning_rate": 1e-4, **length}
        self.steps, self.pairs = (4, 1) if self.is_small else (120, 3) if self.is_full else (30, 1)

    def job(self, name: str) -> Job:
        """The training of (b) and (c) in a precision."""
        settings = {"precision": name, "per_device_train_batch_size": 8, **self.settings}
        data = make_instructions(self.folder / "jobs.jsonl", self.steps * 8)
        trl = TRL_FLAGS[name] if self.gpu else TRL_FLAGS[name] + ON_A_CPU
        words = f"training, GPU, {'8-bit' if name == '8bit' else name} LoRA, TinyLlama's shape"
        aim = 2.0 if name == "8bit" else 1.3
        return Job(words, str(self.base), data, self.steps, settings, trl, aim, LOSS_TOLERANCE, same_order=False)

    def needs_gpu(self) -> None:
        if not self.gpu:
            raise UserError("needs a GPU; none was found")


def mode(bench: Bench, case: Case) -> dict:
    """(a) One mode of training."""
    if case.settings["precision"] in ("bf16", "fp16", "4bit"):
        bench.needs_gpu()
    data, steps = make_instructions(bench.folder / "smoke.jsonl", 400), 60 if bench.is_small else 30
    return {"rows": [smoke(case, {**bench.settings, "base": str(bench.base), "data": data}, steps)]}


def against_trl(bench: Bench, name: str) -> dict:
    """(b) Speed with MFU, and peak memory, with the app's defaults against TRL's.

    MFU counts 4 floating-point operations a token and parameter (LoRA: forward and the gradient of the input; what
    checkpointing computes again does not count), against the card's dense 16-bit peak.
    """
    job = bench.job(name)
    done = measure(job, bench.pairs)
    speed = row_of(job, done)
    peak = next((flops for card, flops in PEAK_FLOPS.items() if card in (bench.gpu or "").upper()), None)
    if peak:
        used = 4 * TINYLLAMA_SHAPE.parameters * speed.ours / peak
        speed = replace(speed, note=f"{speed.note}; MFU {used:.0%}")
    ours, trl = (median(training.peak_bytes for training in side) / 1e9 for side in zip(*done, strict=True))
    least = 1 / 0.6 if name == "8bit" else None
    return {"rows": [speed, smaller(f"peak memory: {job.name}", ours, trl, "GB", least)], "losses": done[-1][1].losses}


def run_lever(job: Job, moved: str, *flags: str) -> dict:
    """Run `benchmarks.levers` in a process of its own. Raises RuntimeError with its last words."""
    settings = [f"{key}={yaml.safe_dump(value)}" for key, value in job.config().to_dict().items() if value is not None]
    command = [sys.executable, "-m", "benchmarks.levers", "--lever", moved, *flags, *settings]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment(job.config(), find_gpus()), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-300:])
    return json.loads(done.stdout.splitlines()[-1])


def lever(bench: Bench, name: str, moved: str) -> dict:
    """(c) One training with a lever moved against the app's own choices.

    With rows in TRL's order every step's loss is compared with TRL's, where (b) has been measured.
    """
    found = run_lever(bench.job(name), moved)
    if not moved:
        seen = run_lever(replace(bench.job(name), steps=3), moved, "--profile", "12")  # a profiler costs time
        return {"rows": [], "plain": found, "dearest": seen["dearest"]}
    plain = bench.known.get(f"{name} as the app does", {}).get("plain")
    if not plain:
        raise RuntimeError(f"measure '{name} as the app does' first")
    one = LEVERS[moved]
    ours, without = (found, plain) if one.is_new else (plain, found)
    difference = loss_difference(ours["losses"], without["losses"], same_order=False)
    peaks = f"peak {ours['peak_bytes'] / 1e9:.2f} GB, without {without['peak_bytes'] / 1e9:.2f} GB"
    note = f"{peaks}; mean loss differs by {difference:.0e}{'; not in the app' if one.is_new else ''}"
    speeds = ours["tokens_per_second"], without["tokens_per_second"]
    rows = [faster(f"{name}: {one.says}", *speeds, "tokens/s", None, note)]
    losses = bench.known.get(bench.job(name).name, {}).get("losses")
    if moved == "order" and losses:
        most = loss_difference(found["losses"], losses)
        ratio = min(LOSS_TOLERANCE / max(most, 1e-9), 100.0)
        rows.append(Row(f"{name}: each step's loss against TRL's", most, None, "", ratio, 1.0, "in TRL's order"))
    return {"rows": rows}


def chat(bench: Bench, name: str, people: int, is_compiled: bool) -> dict:
    """(d) Tokens a second of all together against `generate()` with the same base, prompt and number of answers at once."""
    resident, model, tokens = Resident(), Model(bench.base, name), 8 if bench.is_small else 256 if bench.is_full else 64
    resident.load(model)
    format, network = resident.format_of(model), resident.network
    prompt = format.encode([turn_of(QUESTION)]).ids

    def generate(count: int) -> list[int]:
        ids = torch.tensor([prompt] * people, device=network.device)
        settings = {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False}
        with torch.inference_mode():
            found = network.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)
        return found[0, len(prompt) :].tolist()

    engine, count = endless(Engine(most_conversations=0, most_at_once=people)), min(SAME_TOKENS, tokens)
    options = {"mode": "reduce-overhead"} if bench.gpu else {"backend": "eager"}
    with compiled_chat(**options) if is_compiled else nullcontext():
        said = list(engine.reply(model, [turn_of(QUESTION)], Sampling(count, stop_repetition=False)))[-1].text
        if said != (wanted := text_of(format.tokenizer, generate(count))):
            raise RuntimeError(f"{said!r} where generate() says {wanted!r}")
        runs = {
            "ours": lambda: together(engine, [(model, QUESTION)] * people, tokens)[0],
            "generate": lambda: seconds_of(lambda: generate(tokens)),
        }
        speeds = {side: people * tokens / seconds for side, seconds in take_turns(runs, 1 + 2 * bench.pairs).items()}
    words = f"chat, GPU, {name}, {people} at once{', compiled' if is_compiled else ''} (generate)"
    note = f"{tokens} tokens an answer; the first {count} are generate()'s"
    return {"rows": [faster(words, speeds["ours"], speeds["generate"], "tokens/s", None, note)]}


def small_updates(bench: Bench, rate: float, case: precision.Case) -> dict:
    """(e) One precision at one learning rate."""
    steps, folder = 4 if bench.is_small else 40, bench.folder / "bytes"
    device = "cuda" if bench.gpu else "cpu"
    if not folder.exists():
        precision.make_base(folder, device, 10 * steps)
    return {"rows": [precision.measure(case, folder, rate, steps, device)]}


def peak(bench: Bench, case: memory.Case) -> dict:
    """(f) The peak of a real run against the estimate before its start."""
    bench.needs_gpu()
    return {"rows": [memory.measure(case, bench.folder)[0]]}


def units(bench: Bench) -> Iterator[tuple[str, str, Callable[[], dict]]]:
    """Yield (part, name, what measures it)."""
    for case in CASES:
        yield "a", case.name, partial(mode, bench, case)
    names = ("8bit", "bf16") if bench.gpu else ("8bit",)
    for name in names:
        yield "b", bench.job(name).name, partial(against_trl, bench, name)
    for name in names:
        for moved, one in LEVERS.items():
            if one.only in ("", name):
                yield "c", f"{name} {moved or 'as the app does'}", partial(lever, bench, name, moved)
    for name in ("8bit", "bf16") if bench.gpu else ("fp32",):  # on a CPU the chat's 8 bits are not bitsandbytes'
        for people, is_compiled in PEOPLE:
            words = f"chat {name}, {people}{', compiled' if is_compiled else ''}"
            yield "d", words, partial(chat, bench, name, people, is_compiled)
    for rate in precision.RATES:
        for case in precision.CASES:
            yield "e", f"{case.name}, {rate:g}", partial(small_updates, bench, rate, case)
    for kind in ("8bit", "bf16"):
        for batch, length, checkpointing in ((8, 512, "off"), (8, 1024, "on")):
            settings = {"precision": kind, "gradient_checkpointing": checkpointing}
            case = memory.Case(batch, length, bench.layers, settings=settings)
            yield "f", case.name, partial(peak, bench, case)


def report(kept: dict) -> str:
    """Put all known units into Markdown."""
    known = kept["units"]
    rows = [Row(**row) for unit in known.values() for row in unit.get("rows", [])]
    head = f"{where(kept)}; {kept['layers']} layers of TinyLlama's shape"
    parts = ["# What a GPU does", "", head, "", table(rows), ""]
    for name, unit in known.items():
        parts += [f"- {name}: {key.replace('_', ' ')}: {unit[key]}" for key in ("not_run", "failed") if key in unit]
    for name, unit in known.items():
        if "dearest" in unit:
            parts += ["", f"Where the time goes, {name}:", "", "| operation | part | calls |", "|---|---|---|"]
            parts += [f"| `{kernel}` | {part:.1%} | {calls} |" for kernel, part, calls in unit["dearest"]]
    return "\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--only", default="", metavar="WORD", help="units with this in their name, measured again")
    parser.add_argument("--minutes", type=float, default=3.0, help="begin nothing new after so many")
    parser.add_argument("--full", action="store_true", help="more steps, pairs and tokens")
    parser.add_argument("--small", action="store_true", help="a tiny model: to try it out")
    parser.add_argument("--out", type=Path, default=RESULTS.parent)
    options = parser.parse_args()
    deadline, facts = time.monotonic() + 60 * options.minutes, machine()
    card = re.sub(r"\W+", "-", (facts["gpu"] or "none").lower()) + ("-small" if options.small else "")
    file = options.out / f"gpu-{card}.json"
    kept = read_json(file, {})
    known = kept.get("units", {}) if kept.get("versions") == facts["versions"] else {}
    with home_of_its_own() as folder:  # the runs are not the user's
        bench = Bench(folder, options.small, options.full, known)
        chosen = [unit for unit in units(bench) if unit[0] in options.parts and options.only in unit[1]]
        left = [unit for unit in chosen if options.only or "rows" not in known.get(unit[1], {})]
        left.sort(key=lambda unit: unit[1] in known)  # what failed before comes last
        while left and time.monotonic() < deadline:
            _, name, run = left.pop(0)
            try:
                found = run()
                known[name] = {**found, "rows": [asdict(row) for row in found["rows"]]}
            except UserError as error:
                known[name] = {"not_run": str(error)}
            except Exception as error:  # the edge: the other units can still be measured
                known[name] = {"failed": f"{type(error).__name__}: {error}"}
            print(name, known[name], flush=True)
            options.out.mkdir(parents=True, exist_ok=True)
            write_json(file, {**facts, "layers": bench.layers, "units": known})
            write_text(file.with_suffix(".md"), report(read_json(file)))
    print(f"{len(left)} left; {file}")
    return int(any("failed" in known.get(name, {}) for _, name, _ in chosen))


if __name__ == "__main__":
    sys.exit(main())
