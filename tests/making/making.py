"""Made sets for tests: a document with passages that differ, and a process in this process."""

import json
import threading
from dataclasses import replace
from pathlib import Path

from common.files import write_text
from common.paths import making_folder
from evaluation.pace import Pace
from evaluation.run import Progress, read_progress
from making.config import MakingConfig
from making.made import MadeSet
from making.process import make
from making.teacher import Secret
from tests.teacher import MODEL

TOPICS = ("the checkpoint folder", "the learning rate", "the tokenizer", "the adapter's card", "the held-out rows")


def document(folder: Path, passages: int = 10, name: str = "guide.txt") -> Path:
    """A text of so many passages, each too long to be joined with another, of nine sentences that no other passage has."""
    parts = [
        f"Rule {number} is about {TOPICS[number % len(TOPICS)]} of machine {number}, and of no other one in the house. "
        f"It was written down in {1900 + number} by team {number * 7}, after a week of long and loud meetings. "
        f"Whoever breaks rule {number} has to restart the machine and wait for {number + 3} minutes beside it. "
        f"Guests are told of rule {number} at the door, and sign a yellow paper with their full name in letters. "
        f"Only the captain of shift {number} may change a word of it, in blue ink and before two witnesses. "
        f"A copy hangs on wall {number + 20}, where the morning sun has made its letters pale over the years. "
        f"In winter rule {number} counts double, because the cold makes cable {number * 3} stiff and slow. "
        f"Nobody remembers why it names {number + 11} apples, but they are weighed on every second Friday. "
        f"Whoever reads all of it aloud gets {number + 2} slices of warm bread from the kitchen on floor {number}."
        for number in range(passages)
    ]
    file = folder / name
    file.write_text("\n\n".join(parts), encoding="utf-8")
    return file


def seeds(folder: Path, count: int = 6) -> Path:
    file = folder / "seeds.jsonl"
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Question {n}?"},
                {"role": "assistant", "content": f"Answer number {n} is long."},
            ]
        }
        for n in range(count)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def made_set(config: MakingConfig, name: str = "made", owner: str = "local") -> MadeSet:
    """The folder of a made set that nobody has started."""
    made = MadeSet(making_folder(owner) / name)
    made.folder.mkdir(parents=True)
    write_text(made.config_file, config.to_yaml())
    return made


def run(made: MadeSet, url: str = "", stop: threading.Event | None = None, key: str = "") -> Progress:
    """What the process does with a made set, here; returns the progress it has written."""
    made.write_progress(Progress())
    config = made.config()
    if url:
        write_text(made.config_file, replace(config, server=url, model=config.model or MODEL).to_yaml())
    pace = Pace(made)
    make(made, Secret(url="", key=key), pace, stop or threading.Event())
    pace.end("done", "")
    return read_progress(made)
