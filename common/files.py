"""Files that are never seen half-written: atomic writes, append-only JSON lines, folders published by rename."""

import json
import os
import shutil
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step: a reader sees the old file or the new one."""
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def write_json(path: Path, value: object) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, default: object = None) -> object:
    """The JSON in `path`, or `default` when there is no such file or it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default


def append_json_line(path: Path, value: dict) -> None:
    """Append one JSON line in a single write, so that readers in other processes never see half of it interleaved."""
    line = json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"
    with open(path, "ab", buffering=0) as file:
        file.write(line.encode())


def read_json_lines(path: Path) -> list[dict]:
    """Every complete line of `path`; a last line that a crash cut off is left out. [] when there is no file."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return []
    values = []
    for line in lines:
        try:
            values.append(json.loads(line))
        except ValueError:
            continue
    return [value for value in values if isinstance(value, dict)]


def tail(path: Path, lines: int = 40, most_bytes: int = 64_000) -> str:
    """The last `lines` lines of a text file, reading at most `most_bytes`; "" when there is no file."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - most_bytes))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    shown = [line.rsplit("\r", 1)[-1] for line in text.rstrip().split("\n")]  # of a progress bar, its last state
    return "\n".join(shown[-lines:])


def publish(partial: Path, final: Path) -> None:
    """Rename the folder `partial` to `final`: a folder of that name is always complete. An older one is replaced."""
    old = final.with_name(f"{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.rename(final, old)
    os.rename(partial, final)
    shutil.rmtree(old, ignore_errors=True)
