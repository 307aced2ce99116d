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

import hashlib
import json
import os
import platform
import shlex
import sys
import zipfile
from dataclasses import fields, replace
from pathlib import Path

from adapters.curves import draw_losses
from common.files import read_json
from common.paths import REPOSITORY
from trainer.config import EXAMPLE, ROWS, WRITTEN, TrainConfig, marked
from trainer.history import copy_settings, notes_of, title_of
from trainer.machines.user_config import FILE as USER_FILE
from trainer.process.publish import place_of, versions
from trainer.redact import redact
from trainer.run import Run, read_state

MOST_LOG_BYTES = 20_000_000
TEXT_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".md")
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
    """The command that does what the button does, for a POSIX shell: the settings that differ from their defaults as flags.

    Of a run: it trains again on the run's copy of the data. On a Space without the paths of its machine.
    """
    config = copy_settings(source) if isinstance(source, Run) else source
    defaults, on_space = TrainConfig(), bool(os.environ.get("SPACE_ID"))
    flags = []
    for item in fields(TrainConfig):
        value = getattr(config, item.name)
        if item.name in ("name", "base", "data") or (
            item.name not in marked(WRITTEN) and value != getattr(defaults, item.name)
        ):
            text = "" if value is None else str(value)
            flags.append(shlex.quote(f"--{item.name.replace('_', '-')}={redact(text) if on_space else text}"))
    if on_space:
        return f"python -m trainer train {' '.join(flags)}"
    home = f"STUDIO_HOME={shlex.quote(os.environ['STUDIO_HOME'])} " if os.environ.get("STUDIO_HOME") else ""
    return (
        f"cd {shlex.quote(str(REPOSITORY))} && {home}{shlex.quote(sys.executable)} -m trainer train {' '.join(flags)}"
    )


def write_bundle(run: Run, destination: Path, include_data: bool = False) -> Path:
    """Write `<id>.zip` into the folder `destination`; returns the file."""
    destination.mkdir(parents=True, exist_ok=True)
    final = destination / f"{run.id}.zip"
    partial = destination / f"{run.id}.zip.partial-{os.getpid()}"
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in _texts(run, include_data).items():
                archive.writestr(f"{run.id}/{name}", text)
            state = read_state(run)
            if picture := draw_losses(state.curve("losses"), state.curve("eval_losses")):
                archive.writestr(f"{run.id}/loss.png", picture)
            own = [run.folder / USER_FILE] if (run.folder / USER_FILE).is_file() else []
            for file in [*(_data_files(run) if include_data else []), *_init_adapter_files(run), *own]:
                archive.write(file, f"{run.id}/{file.relative_to(run.folder).as_posix()}")
        os.replace(partial, final)
    finally:
        partial.unlink(missing_ok=True)
    return final


def _texts(run: Run, include_data: bool) -> dict[str, str]:
    """Name to content of the text files, redacted."""
    config, state = run.config(), read_state(run)
    command = _bundle_command(config, include_data)
    data = "" if include_data or not _data_files(run) else "\nThe data is not in here: put it where the command says.\n"
    readme = README.format(title=title_of(run), notes=notes_of(run), status=state.status, command=command, data=data)
    times = {"queued_at": state.queued_at, "started_at": state.started_at, "ended_at": state.ended_at}
    metrics = {"status": state.status, "message": state.message, "code": state.code, **times, **state.metrics}
    found = {
        "README.txt": readme,
        "command.txt": command + "\n",
        "config.yaml": replace(config, base_reason="").to_yaml(),
        "fingerprint.json": _json(fingerprint(run)),
        "versions.json": _json(_versions(run)),
        "metrics.json": _json(metrics),
        "events.jsonl": _read(run.events_file),
        "train.log": _read(run.log_file),
    }
    return {name: redact(text) for name, text in found.items()}


def _bundle_command(config: TrainConfig, include_data: bool) -> str:
    """The command for the unpacked folder: its config names the data by relative paths."""
    missing = [name for name in marked(ROWS) if (getattr(config, name) or "").startswith("data/") and not include_data]
    flags = "".join(f" --{name.replace('_', '-')}=YOUR-COPY-OF/{Path(getattr(config, name)).name}" for name in missing)
    return f"PYTHONPATH=FOLDER-OF-TINYLLAMA-STUDIO python -m trainer train --config config.yaml{flags}"


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _read(file: Path) -> str:
    """The end of a text file, all of it up to 20 MB; "" when there is none."""
    try:
        with open(file, "rb") as content:
            content.seek(max(0, content.seek(0, os.SEEK_END) - MOST_LOG_BYTES))
            return content.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _data_files(run: Run) -> list[Path]:
    return sorted(file for file in run.data_folder.rglob("*") if file.is_file() and not file.is_symlink())


def _init_adapter_files(run: Run) -> list[Path]:
    """The adapter that the run continued from: without it nothing is reproduced."""
    folder = run.init_adapter_folder
    return sorted(file for file in folder.glob("*") if file.is_file() and not file.is_symlink())


def fingerprint(run: Run) -> dict:
    """What the run trained on: {"files": [{"file", "bytes", "sha256", "lines"}], "rows", "held_out_rows", "hub"}."""
    config, metrics = run.config(), read_state(run).metrics
    files = [_file_fingerprint(file, file.relative_to(run.folder).as_posix()) for file in _data_files(run)]
    if config.data == EXAMPLE:
        examples = sorted((REPOSITORY / "examples").glob("*.jsonl"))
        files += [_file_fingerprint(file, f"examples/{file.name}") for file in examples]
    if run.init_adapter_folder.is_dir():
        weights = sorted(run.init_adapter_folder.glob("*.safetensors"))
        files += [_file_fingerprint(file, f"init_adapter/{file.name}") for file in weights]
    ids = [getattr(config, name) for name in marked(ROWS)]
    return {
        "files": files,
        "rows": metrics.get("rows"),
        "held_out_rows": metrics.get("held_out_rows"),
        "hub": {
            "data": [each for each in ids if each and each != EXAMPLE and not each.startswith("data/")],
            "config": config.data_config,
            "split": config.data_split,
            "revision": config.data_revision,
            "base": config.base,
            "base_revision": config.base_revision,
        },
    }


def _file_fingerprint(file: Path, name: str) -> dict:
    digest, lines = hashlib.sha256(), 0
    with open(file, "rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
            lines += block.count(b"\n")
    is_text = file.suffix in TEXT_ENDINGS
    return {
        "file": name,
        "bytes": file.stat().st_size,
        "sha256": digest.hexdigest(),
        "lines": lines if is_text else None,
    }


def _versions(run: Run) -> dict:
    """The packages that the run's adapter was made with, else those of now; the system without its name."""
    published = read_json(place_of(run) / "metrics.json", {})
    packages = published.get("versions") if isinstance(published, dict) else None
    system = {"system": platform.system(), "release": platform.release(), "machine": platform.machine()}
    return {"packages": packages or versions(), "platform": system, "hardware": read_state(run).metrics.get("hardware")}
