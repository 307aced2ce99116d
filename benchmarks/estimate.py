"""How close are the estimates of memory and time to what runs really take? Prints a table, worst cases last.

python -m benchmarks.measure_runs benchmarks/results/runs_cpu.jsonl     the runs (minutes; also on a GPU machine)
python -m benchmarks.estimate benchmarks/results/runs_cpu.jsonl         this table
"""

import argparse
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from common.files import read_json_lines, write_json
from models.hardware import Gpu, Hardware
from trainer.config import EXAMPLE, TrainConfig
from trainer.forecast.estimate import EMBEDDED_SHAPE, EXAMPLE_FACTS, ModelShape, estimate_memory, shape_of

AIM = 0.15


def shape_of_run(line: dict) -> ModelShape:
    if not line["shape"]:
        return EMBEDDED_SHAPE
    with TemporaryDirectory() as folder:
        write_json(Path(folder) / "config.json", line["shape"])
        return shape_of(folder)


def facts_of_run(line: dict) -> dict:
    """The example's facts, or those of rows of one length of which every token is trained."""
    if line["config"]["data"] == EXAMPLE:
        return EXAMPLE_FACTS
    rows = line["batch"] * line["config"]["max_steps"]
    tokens = rows * line["length"]
    lengths = {"longest": line["length"], "mean_length": line["length"]}
    return {"train_rows": rows, "held_out_rows": 0, "tokens": tokens, "trained_tokens": tokens, **lengths}


def hardware_of_run(line: dict) -> Hardware:
    name = line["hardware"]
    gpus = () if name.startswith("CPU") else (Gpu(name, 0),)
    return Hardware(gpus, 0, 0, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    rows = []
    for line in read_json_lines(parser.parse_args().runs):
        if line["status"] == "done":
            config = TrainConfig.from_dict(line["config"])
            facts, hardware = facts_of_run(line), hardware_of_run(line)
            predicted = estimate_memory(config, shape_of_run(line), facts, hardware).total
            rows.append((predicted / line["peak_memory_bytes"], line["name"], predicted, line["peak_memory_bytes"]))
    print("| run | predicted MB | measured MB | predicted / measured |\n|---|---|---|---|")
    for ratio, name, predicted, measured in sorted(rows, key=lambda row: abs(row[0] - 1)):
        print(f"| {name} | {predicted / 1e6:.0f} | {measured / 1e6:.0f} | {ratio:.2f} |")
    within = sum(abs(ratio - 1) <= AIM for ratio, *_ in rows)
    print(f"\n{within} of {len(rows)} runs within {AIM:.0%}; median ratio {median(ratio for ratio, *_ in rows):.2f}")


if __name__ == "__main__":
    main()
