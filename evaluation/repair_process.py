"""The process that measures repairs: python -m evaluation.repair_process REQUEST.json ANSWER.json, see `common.child.ask_child`.

The base is in memory once, in the precision that was asked for; each point is an adapter of its own in a temporary folder.
"""

import shutil
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import Any

from adapters.forgotten import GENERAL
from adapters.library import Adapter, read_adapter
from adapters.loras import Loras
from adapters.repair import Repair, find_intruders, write_repaired
from chat.resident import Model, Resident
from common.child import Tell, answer_parent, with_time_left
from common.errors import UserError
from common.files import write_json
from common.language import _, packed
from data.test_sets import Item, find_test_set
from evaluation.asked import held_out_rows
from evaluation.config import RUN
from evaluation.likelihood import answer_losses, text_losses
from evaluation.repair import FILE
from evaluation.scores import SCORES, Parts
from evaluation.statistics import difference, estimate
from models.family import shape_of
from models.hardware import available_memory
from runs.queue import accelerator
from runs.run import find_run
from runs.test_sets import draw

SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of alpha: the base to the adapter as it is
STRENGTHS = (0.25, 0.5, 0.75, 1.0)
MAX_HELD_OUT_ROWS = 200
MAX_TEXTS, MAX_TEXT_CHARACTERS = 30, 180  # about 5,000 tokens, English and Korean: the beginnings of many texts
BYTES_A_WEIGHT = {"fp32": 4, "auto": 4, "8bit": 3, "4bit": 3, "bf16": 2, "fp16": 2}  # while the base is loaded
MAX_LIBRARY_BYTES = 1_000_000_000  # what torch takes, and the activations
LOSS = SCORES["loss"]


def main(arguments: list[str]) -> int:
    """Answer the request of `evaluation.repair.measure`: write repair.json into the adapter's folder."""
    return answer_parent(arguments, _work)


def _work(request: dict[str, Any], tell: Tell) -> None:
    adapter = read_adapter(Path(request["adapter"]))
    tell(_("Reading the rows"), None)
    title, held_out = _held_out(request["test_set"], adapter.folder.parent.name)
    waiting = _("Waiting for the end of another training or evaluation on this machine")
    with accelerator(lambda: tell(waiting, None)):
        drawn = draw(GENERAL, adapter.folder.parent.name)
        general: list[Item] = [{**item, "text": item["text"][:MAX_TEXT_CHARACTERS]} for item in drawn[:MAX_TEXTS]]
        measure_points(adapter, Path(request["base"]), title, held_out, general, request["precision"], tell)


def _held_out(test_set: str, owner: str) -> tuple[str, list[Item]]:
    """Return the title and at most MAX_HELD_OUT_ROWS items of a test set, or of the rows that a run held out."""
    if test_set.startswith(RUN):
        title, items = held_out_rows(find_run(test_set.removeprefix(RUN), owner))
    else:
        found = find_test_set(test_set, owner)
        title, items = found.title, found.items()
    rows = list(islice(items, MAX_HELD_OUT_ROWS))
    if not rows:
        raise UserError(_("'{name}' has no rows.", name=title), _("Name a test set that shows what it should know."))
    return title, rows


def measure_points(
    adapter: Adapter,
    base_folder: Path,
    title: str,
    held_out: list[Item],
    general: list[Item],
    precision: str,
    tell: Tell,
) -> None:
    """Measure the loss on both at each point of both repairs, and write repair.json. Raises UserError."""
    Loras(adapter)  # refuses what is no sum of LoRAs before anything is loaded
    _check_memory(base_folder, precision)
    repairs, notes, intruders = [Repair("scale", value) for value in SCALES], [], None
    try:
        intruders = find_intruders(adapter, base_folder, with_time_left(tell))
        repairs += [Repair("reduce", value) for value in STRENGTHS if intruders]
        notes += [] if intruders else [_("No layer has an intruder dimension: there is nothing to reduce.")]
    except UserError as error:  # the base's weights are quantised: alpha can be scaled all the same
        notes.append(error.message)
    tell = with_time_left(tell)
    resident, of_rows, of_texts = Resident(most_adapters=1), [], []
    with tempfile.TemporaryDirectory() as folder:
        for place, repair in enumerate(repairs):
            values = {"point": repair.words(), "done": place + 1, "total": len(repairs)}
            tell(_("Measuring {point} ({done} of {total})", **values), place / len(repairs))
            # a whole adapter: all are asked in its template, the base (alpha times 0) too
            point = Path(folder, str(place))
            shutil.copytree(adapter.folder, point, ignore=shutil.ignore_patterns("*.safetensors"))
            write_repaired(adapter, repair, point)
            model = Model(base_folder, precision, point)
            of_rows.append(_losses(resident, model, held_out))
            of_texts.append(_losses(resident, model, general))
    tell(_("Computing scores and intervals"), None)
    points = _points(repairs, _common(of_rows), _common(of_texts))
    found = {"points": points, "held_out_title": title, "precision": precision, "intruders": intruders, "notes": notes}
    write_json(adapter.folder / FILE, packed(found))


def _losses(resident: Resident, model: Model, items: Sequence[Item]) -> dict[int, Parts]:
    """Return (nats, tokens) by the number of each item that fits into the model."""
    stop = threading.Event()
    texts = text_losses(resident, model, [item for item in items if "text" in item], stop)
    answers = answer_losses(resident, model, [item for item in items if "answer" in item], stop)
    found = ((result["item"], LOSS.per_item({}, result)) for result in chain(texts, answers))
    return {number: parts for number, parts in found if parts}


def _common(losses: list[dict[int, Parts]]) -> list[list[Parts]]:
    """Return of each point the losses of those items that all points have, in one order. Raises UserError without any."""
    numbers = sorted(set.intersection(*(set(of_point) for of_point in losses)))
    if not numbers:
        words = _("No row gave a number with every point.")
        raise UserError(words, _("The rows may be longer than the model's window: name another test set."))
    return [[of_point[number] for number in numbers] for of_point in losses]


def _points(repairs: list[Repair], of_rows: list[list[Parts]], of_texts: list[list[Parts]]) -> list[dict[str, Any]]:
    """Return each point as `evaluation.repair.Point` has it; the first is the base."""
    lowest = min(of_rows, key=LOSS.value)
    return [
        {
            "repair": asdict(repair),
            "held_out": asdict(estimate(rows, LOSS)),
            "general": asdict(estimate(texts, LOSS)),
            "learned": asdict(difference(of_rows[0], rows, LOSS)),
            "forgotten": asdict(difference(of_texts[0], texts, LOSS)),
            "is_as_good": difference(lowest, rows, LOSS).verdict != "worse",
        }
        for repair, rows, texts in zip(repairs, of_rows, of_texts, strict=True)
    ]


def _check_memory(base_folder: Path, precision: str) -> None:
    """Raise UserError when the base does not fit into the memory that is free now."""
    shape = shape_of(base_folder)
    needed, free = shape.parameters * BYTES_A_WEIGHT[precision] + MAX_LIBRARY_BYTES, available_memory()
    if needed > free:
        words = _(
            "Measuring needs {needed:.1f} GB of memory; {free:.1f} GB are free.", needed=needed / 1e9, free=free / 1e9
        )
        raise UserError(words, _("Close the chat and other programs, then try again."))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
