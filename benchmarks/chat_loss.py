"""Is the chat's fast precision as good as fp32? The loss over all held-out conversations of the example data, in each.

    python -m benchmarks.chat_loss

The aim is that it grows by at most 1 %.
"""

import argparse
from pathlib import Path

from benchmarks.chat_bases import embedded_base
from benchmarks.rows import Row, smaller, table
from chat.engine import Model
from chat.resident import Resident
from common.paths import home
from examples.demo import EXAMPLE_HELD_OUT
from trainer.data.dataset import read_rows

PRECISIONS = {"bf16": "bf16", "8bit": "int8"}
LEAST_RATIO = 0.99  # the loss grows by at most 1 %


def rows(quick: bool) -> list[Row]:
    return loss_rows(embedded_base(), str(EXAMPLE_HELD_OUT))


def loss_rows(folder: Path, data: str) -> list[Row]:
    """A row for each precision, with fp32 as the rival."""
    losses = {precision: held_out_loss(folder, precision, data) for precision in ("fp32", *PRECISIONS)}
    found = []
    for precision, name in PRECISIONS.items():
        note = f"{(losses[precision] / losses['fp32'] - 1) * 100:+.2f} %"
        words = f"chat: held-out loss in {name} (fp32)"
        found.append(smaller(words, losses[precision], losses["fp32"], "nats", LEAST_RATIO, note))
    return found


def held_out_loss(folder: Path, precision: str, data: str) -> float:
    """The mean loss of all tokens of the conversations, in nats a token."""
    import torch

    resident, model = Resident(), Model(folder, precision)
    resident.load(model)
    format = resident.format_of(model)
    total, count = 0.0, 0
    with torch.inference_mode():
        for row in read_rows(data):
            ids = torch.tensor([format.encode(row["messages"]).ids])
            logits = resident.network(input_ids=ids).logits[0, :-1].float()
            total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
            count += ids.shape[1] - 1
    return total / count


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    home().mkdir(parents=True, exist_ok=True)
    print(table(rows(True)))


if __name__ == "__main__":
    main()
