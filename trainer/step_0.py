"""What an earlier run of the same person found at step 0: of the same base, rows, prompts and code it need not be found again.

A new adapter changes nothing before it has learned, so step 0 is the base. Its look takes a seventh of a Quick try. Each run
keeps its own in `FILE`; only runs of one process look at those of others, because all processes would have to find the same.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from common.files import read_object, write_json
from common.language import packed
from common.paths import REPOSITORY
from runs.events import Event, parse_event, read_events
from runs.run import EventLog, Run, list_runs
from trainer.samples import at_the_time

FILE = "step_0.json"
LOOKS = ("eval", "samples", "tested")
NEWEST = 50  # of the person's runs
CODE = ("models", "data", "trainer")
PACKAGES = ("torch", "transformers", "peft", "trl")


def key_of(folder: Path, precision: str, prompts: list, rows: list) -> str:
    """Return what the look depends on, as one word: the base in `folder`, its precision, the prompts, held-out and test rows."""
    weights = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(folder.iterdir())]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    versions = [version(package) for package in PACKAGES]
    facts = [str(folder), weights, precision, device, prompts, [str(one[:]) for one in rows], versions, _code()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@cache
def _code() -> str:
    """Return the hash of all code that a look runs through."""
    files = (file for folder in CODE for file in sorted((REPOSITORY / folder).rglob("*.py")))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def take_over(run: Run, key: str, wanted: set[str], events: EventLog) -> bool:
    """Write what an earlier run with this key found at step 0 into `events`; return whether one has all of `wanted`."""
    for other in list_runs(run.owner)[:NEWEST]:
        kept = read_object(other.folder / FILE)
        if kept.get("key") == key and isinstance(kept.get("looks"), list):
            found = [event for one in kept["looks"] if (event := parse_event(json.dumps(one).encode()))]
            if {event["event"] for event in found} == wanted:
                for event in found:
                    values = {name: value for name, value in event.items() if name not in ("time", "event")}
                    events.write(event["event"], **values)
                return True
    return False


def keep(run: Run, key: str, wanted: set[str]) -> None:
    """Keep what this run found at step 0 for later ones: all of `wanted`, and no answer that ended for want of time."""
    looks = {event["event"]: packed(event) for event in _looks(run)}
    if looks.keys() == wanted and at_the_time("").msgid not in json.dumps(looks):
        write_json(run.folder / FILE, {"key": key, "looks": list(looks.values())})


def _looks(run: Run) -> Iterator[Event]:
    """Yield the events of step 0 of the first stage."""
    for event in read_events(run.events_file):
        if event["event"] in LOOKS and event.get("step") == 0:
            yield event
        if event["event"] == "stage" and event.get("stage", 1) > 1:
            return
