"""The test sets of a run: what may be measured at each evaluation is drawn once, and kept beside the run's data.

    <run>/data/test-<name>.jsonl      items as data.test_sets has them, in the order in which they are used

So a resume, a job elsewhere and a run from the Hub measure the same, whatever became of the test set. The draw has a seed of its
own: all runs on one base measure the same text.
"""

import json
import random
from pathlib import Path
from typing import Any, cast

from common.files import read_json_lines, write_text
from common.paths import contained
from data.test_sets import Item, find_test_set
from runs.config import TrainConfig

SEED = 17
MAX_ITEMS = 400
# more than 4,000 tokens of any tokenizer have; of each text only the beginning is kept, so that at least ten are drawn
MAX_CHARACTERS, MIN_TEXTS = 40_000, 10
PREFIX = "test-"  # of their files: no row of them is trained


def keep_test_sets(config: TrainConfig, owner: str, data_folder: Path) -> None:
    """Write a sample of each test set of `config` into the data folder of a run. Raises UserError for one that is not there."""
    for name in config.tested():
        lines = [json.dumps(item, ensure_ascii=False) for item in draw(name, owner)]
        write_text(contained(data_folder, f"{PREFIX}{name}.jsonl"), "".join(f"{line}\n" for line in lines))


def draw(name: str, owner: str) -> list[Item]:
    """Draw items of a test set of `owner` by the seed, at most MAX_ITEMS, until they have MAX_CHARACTERS."""
    test_set = find_test_set(name, owner)
    numbers = random.Random(SEED).sample(range(1, test_set.rows + 1), min(test_set.rows, MAX_ITEMS))
    places = {number: place for place, number in enumerate(numbers)}
    most = MAX_CHARACTERS // max(1, min(test_set.rows, MIN_TEXTS))
    drawn: dict[int, Item] = {}
    for item in test_set.items():
        if (place := places.get(item["number"])) is not None:
            drawn[place] = {**item, "text": item["text"][:most]} if "text" in item else item
    found, characters = [], 0
    for place in sorted(drawn):
        size = len(json.dumps(drawn[place], ensure_ascii=False))
        if characters < MAX_CHARACTERS and size < 2 * MAX_CHARACTERS:
            found.append(drawn[place])
            characters += size
    return found


def read_sample(data_folder: Path, name: str) -> list[Item]:
    """Read the sample of a test set in the data folder of a run; [] where none was kept.

    The file of a run that came back may be anyone's: lines that are no items are left out, and so is what is beyond MAX_ITEMS.
    """
    lines = read_json_lines(contained(data_folder, f"{PREFIX}{name}.jsonl"))[:MAX_ITEMS]
    return cast("list[Item]", [one for one in lines if _is_item(one)])


def _is_item(line: dict[str, Any]) -> bool:
    if "text" in line:
        return isinstance(line["text"], str)
    return isinstance(line.get("messages"), list) and isinstance(line.get("answer"), str)
