"""What reproduces a run: its exact command, and a zip of everything about it without a path or a secret of this machine.

<id>/README.txt         how to run it again
     command.txt        the command
     config.yaml        the settings
     fingerprint.json   SHA-256, size and lines of every data file; the ids and revisions of what is on the Hub
     versions.json      Python, packages, system
     metrics.json, events.jsonl, train.log, loss.png
     init_adapter/      the adapter that it continued from
     accelerate_user.yaml    the user's own accelerate config, when it was started with one
     data/              the data itself, only when it was asked for
"""

import json
import os
import platform
import shlex
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypedDict

from adapters.curves import draw_losses
from common.files import read_object
from common.language import ENGLISH, language
from common.made_by import MadeBy, read_made_by
from common.mix import as_text
from common.paths import REPOSITORY, as_title
from common.visitors import is_visitor
from data.fingerprint import FileFingerprint, file_fingerprint
from data.reading import EXAMPLE_HELD_OUT, EXAMPLE_TRAIN
from data.test_sets import BUNDLED
from runs.config import EXAMPLE, ROWS, WRITTEN, TrainConfig, marked, named_in
from runs.events import Metrics
from runs.history import copy_settings
from runs.labels import labels_of, title_of
from runs.machines.user_config import FILE as USER_FILE
from runs.publish import place_of, versions
from runs.redact import redact
from runs.run import Run, read_state
from runs.state import RunState
from runs.test_sets import PREFIX

MAX_TEXT_BYTES = 20_000_000
README = """{title}
{notes}
A training run of TinyLlama Studio: {status}.

To run it again: install TinyLlama Studio with the packages of versions.json, unpack this file, and in its folder run

    {command}
{data}
The same seed, data and versions on the same kind of hardware give the same losses; another GPU differs in the last digits.
events.jsonl and loss.png hold every step up to 2,000, then half as many each time the steps double; the last one always.
fingerprint.json tells whether your data is the same. Paths of the machine that trained are replaced by <path> and the like.
"""


def shell_command(source: Run | TrainConfig) -> str:
    """Return the shell command that does what the button does: the settings that differ from their defaults as flags.

    Of a run: it trains again on the run's copy of the data. For a visitor without the paths of the machine.
    """
    flags = flags_of(copy_settings(source) if isinstance(source, Run) else source)
    if is_visitor():
        return f"python -m trainer train {flags}"
    home = f"STUDIO_HOME={shlex.quote(os.environ['STUDIO_HOME'])} " if os.environ.get("STUDIO_HOME") else ""
    return f"cd {shlex.quote(str(REPOSITORY))} && {home}{shlex.quote(sys.executable)} -m trainer train {flags}"


def flags_of(config: TrainConfig) -> str:
    """Return the settings that differ from their defaults as flags for a shell; for a visitor without paths of the machine."""
    defaults, is_elsewhere = TrainConfig(), is_visitor()
    flags = []
    for item in fields(TrainConfig):
        value = getattr(config, item.name)
        is_told = item.name in ("name", "base", "data") or value != getattr(defaults, item.name)
        if is_told and item.name not in marked(WRITTEN):
            text = "" if value is None else str(value)
            flags.append(shlex.quote(f"--{item.name.replace('_', '-')}={redact(text) if is_elsewhere else text}"))
    return " ".join(flags)


def write_bundle(run: Run, destination: Path, include_data: bool = False) -> Path:
    """Write `<id>.zip`, in English, into the folder `destination`; returns the file."""
    files = [*(_files(run.data_folder) if include_data else []), *_files(run.init_adapter_folder)]
    files += [run.folder / USER_FILE] if (run.folder / USER_FILE).is_file() else []
    with language(ENGLISH):
        state = read_state(run)
        found: dict[str, str | bytes | Path] = {**_texts(run, state, include_data)}
        if picture := draw_losses(state.curve("losses"), state.curve("eval_losses"), state.kept_place):
            found["loss.png"] = picture
    found |= {file.relative_to(run.folder).as_posix(): file for file in files}
    return write_zip(destination, run.id, found)


def write_zip(destination: Path, name: str, contents: Mapping[str, str | bytes | Path]) -> Path:
    """Write `name.zip` into the folder `destination` in one step; returns the file.

    Its contents lie in a folder `name`: texts without what is private of this machine, bytes, and copies of files as they are.
    """
    destination.mkdir(parents=True, exist_ok=True)
    final = destination / f"{name}.zip"
    partial = destination / f"{name}.zip.partial-{os.getpid()}"
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for place, content in contents.items():
                if isinstance(content, Path):
                    archive.write(content, f"{name}/{place}")
                else:
                    archive.writestr(f"{name}/{place}", redact(content) if isinstance(content, str) else content)
        os.replace(partial, final)
    finally:
        partial.unlink(missing_ok=True)
    return final


def _texts(run: Run, state: RunState, include_data: bool) -> dict[str, str]:
    """Return name to content of the text files."""
    config, labels = run.config(), labels_of(run)
    # in the unpacked folder the config names the data by relative paths
    missing = {} if include_data else {name: _elsewhere(config, name) for name in marked(ROWS)}
    flags = "".join(f" --{name.replace('_', '-')}={shlex.quote(line)}" for name, line in missing.items() if line)
    command = f"PYTHONPATH=FOLDER-OF-TINYLLAMA-STUDIO python -m trainer train --config config.yaml{flags}"
    data = "\nThe data is not in here: put it where the command says.\n" if flags else ""
    times = {"queued_at": state.queued_at, "started_at": state.started_at, "ended_at": state.ended_at}
    published = read_object(place_of(run) / "metrics.json").get("versions")  # else the packages of now
    made_with = {"packages": published or versions(), "platform": system(), "hardware": state.metrics.get("hardware")}
    return {
        "README.txt": README.format(
            title=f"{title_of(run)}\n{labels.words()}".rstrip(),
            notes=labels.notes,
            status=state.status,
            command=command,
            data=data,
        ),
        "command.txt": command + "\n",
        "config.yaml": replace(
            config,
            name=as_title(title_of(run)),
            base_reason="",
            test_sets=", ".join(name for name in config.tested() if name in BUNDLED),  # who runs it again has no others
        ).to_yaml(),
        "fingerprint.json": in_json(fingerprint(run, state.metrics)),
        "versions.json": in_json(made_with),
        "metrics.json": in_json(
            {"status": state.status, "message": state.message, "code": state.code, **times, **state.metrics}
        ),
        "events.jsonl": _end_of(run.events_file),
        "train.log": _end_of(run.log_file),
    }


def _elsewhere(config: TrainConfig, name: str) -> str:
    """Return the line of a setting with the places where its reader may put the run's files; "" when there is none."""
    sets = named_in(config, name)
    if not any(one.place.startswith("data/") for one in sets):
        return ""
    moved = [f"YOUR-COPY-OF/{Path(one.place).name}" if one.place.startswith("data/") else one.place for one in sets]
    return as_text(replace(one, place=place) for one, place in zip(sets, moved, strict=True))


def system() -> dict[str, str]:
    """Return the operating system and the kind of processor, without a name of this machine."""
    return {"system": platform.system(), "release": platform.release(), "machine": platform.machine()}


def in_json(value: object) -> str:
    """Return a value as the text of a file."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _end_of(file: Path) -> str:
    """Return the end of a text file, all of it up to 20 MB; "" when there is none."""
    try:
        with open(file, "rb") as content:
            content.seek(max(0, content.seek(0, os.SEEK_END) - MAX_TEXT_BYTES))
            return content.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


class Fingerprint(TypedDict):
    """What a run trained on: its files, its rows, which of them a teacher made, and what is on the Hub."""

    files: list[FileFingerprint]
    rows: int | None
    held_out_rows: int | None
    made: list[MadeBy]
    hub: dict[str, Any]


def fingerprint(run: Run, metrics: Metrics) -> Fingerprint:
    """Tell what `run` trained on, so that somebody else can see whether their data is the same."""
    config = run.config()
    trained = [file for file in _files(run.data_folder) if not file.name.startswith(PREFIX)]
    files = [(file, file.relative_to(run.folder).as_posix()) for file in trained]
    sets = [one for name in marked(ROWS) for one in named_in(config, name)]
    if any(one.place == EXAMPLE for one in sets):
        files += [(file, f"examples/{file.name}") for file in (EXAMPLE_TRAIN, EXAMPLE_HELD_OUT)]
    files += [(file, f"init_adapter/{file.name}") for file in sorted(run.init_adapter_folder.glob("*.safetensors"))]
    on_hub = [one for one in sets if one.place != EXAMPLE and not one.place.startswith("data/")]
    return {
        "files": [file_fingerprint(file, name) for file, name in files],
        "rows": metrics.get("rows"),
        "held_out_rows": metrics.get("held_out_rows"),
        "made": read_made_by(metrics.get("made")),
        "hub": {
            "data": [as_text([replace(one, share=None)]) for one in on_hub],
            "config": config.data_config,
            "split": config.data_split,
            "revision": config.data_revision,
            "base": config.base,
            "base_revision": config.base_revision,
        },
    }
