"""Files that are never seen half-written: atomic writes, append-only JSON lines, folders published by rename.

And files that may be damaged: a reader returns what is whole and well typed, and never fails for what a file holds.
"""

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.language import _

ABANDONED_SECONDS = 3600
HALF_PUBLISHED_SECONDS = 60
BLOCK_BYTES = 4096  # of a usual disk
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute what follows
JSON_ERRORS = (ValueError, RecursionError)  # bytes that are no text, no JSON, or JSON nested without end
PLAIN_VALUE = re.compile(rb" ([A-Za-z][A-Za-z0-9_./-]*)(?: +#[^\n]*)?(?:\n(?! )|$)")
NO_TEXTS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")  # what YAML takes for something else


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step: a reader sees the old file or the new one."""
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with open(partial, "w", encoding="utf-8", errors="replace") as file:  # half a character becomes a question mark
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object) -> None:
    """Write `value` to `path` as indented JSON, as `write_text` does."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def parse_json(text: str | bytes) -> Any:
    """Return the JSON value in `text`; half characters (lone surrogates), which nothing can write, become U+FFFD.

    Raises JSON_ERRORS.
    """
    text = text if isinstance(text, str) else text.decode(json.detect_encoding(text))
    value = json.loads(text)
    if "\\ud" in text or "\\uD" in text:
        whole = json.dumps(value, ensure_ascii=False)
        try:
            whole.encode()
        except UnicodeEncodeError:
            value = json.loads(whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return value


def read_json(path: Path, default: object = None, max_bytes: int = -1) -> object:
    """Return the JSON in `path`, or `default` when there is no such file, it is damaged, or has more than `max_bytes`."""
    try:
        with open(path, "rb", buffering=0) as file:
            if 0 <= max_bytes < os.fstat(file.fileno()).st_size:
                return default
            return parse_json(file.read())
    except (OSError, *JSON_ERRORS):
        return default


def read_object(path: Path, max_bytes: int = -1) -> dict[str, Any]:
    """Return the JSON object in `path`; {} when there is none, or the file has more than `max_bytes`."""
    value = read_json(path, None, max_bytes)
    return value if isinstance(value, dict) else {}


def append_json_line(path: Path, value: Mapping[str, Any]) -> None:
    """Append one JSON line in a single write, so that readers in other processes never see half of it interleaved.

    A line that a crash cut off before is ended first, so that it spoils only itself.
    """
    line = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
    with open(path, "ab+", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        end = file.seek(0, os.SEEK_END)
        try:
            while line:  # the system writes less where the disk is nearly full
                line = line[file.write(line) :]
        except OSError:
            file.truncate(end)
            raise


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON objects in the lines of `path`, without damaged or cut-off ones; [] when there is no file."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return []
    values = []
    for line in lines:
        try:
            values.append(json.loads(line))
        except JSON_ERRORS:
            continue
    return [value for value in values if isinstance(value, dict)]


def plain_value(text: bytes, name: str) -> str | None:
    """Return the value in the line `name: value` of a flat YAML file when it is one plain word.

    Return None for anything that needs a YAML reader.
    """
    start = f"\n{name}:".encode()
    at = text.find(start)
    found = PLAIN_VALUE.match(text, at + len(start)) if at >= 0 and text.count(start) == 1 else None
    value = found[1].decode() if found else ""
    return value if value and value.lower() not in NO_TEXTS else None


def cell_text(text: str) -> str:
    """Return a text for a cell of a CSV file, which no spreadsheet takes for a formula."""
    return f"'{text}" if str(text).startswith(FORMULA_SIGNS) else str(text)


def stamps(folder: str | Path, *names: str) -> tuple[tuple[int, int, int] | None, ...]:
    """Return (time of last change in ns, size, inode) of each file in `folder`, None for a missing one.

    Used as the key under which something made from these files is cached.
    """
    found: list[tuple[int, int, int] | None] = []
    for name in names:
        try:
            stat = os.stat(f"{folder}/{name}")
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        except OSError:
            found.append(None)
    return tuple(found)


def is_file(text: str | Path) -> bool:
    """Return whether `text` names a file; False, never an exception, for what the system takes for no path at all."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def exists(text: str | Path) -> bool:
    """Return whether `text` names a file or folder; False, never an exception, for what the system takes for no path at all."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


def tail(path: Path, lines: int = 40, most_bytes: int = 64_000) -> str:
    """Return the last `lines` lines of a text file, reading at most `most_bytes`; "" when there is no file."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - most_bytes))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    shown = [line.rsplit("\r", 1)[-1] for line in text.rstrip().split("\n")]  # of a progress bar, its last state
    return "\n".join(shown[-lines:])


def sweep(*leftovers: Path) -> None:
    """Remove files and folders that a killed program left: those in which nothing has changed for an hour."""
    for path in leftovers:
        try:
            newest = max(one.stat().st_mtime for one in (path, *path.rglob("*")))
        except OSError:  # whoever writes it is at work, or done
            continue
        if time.time() - newest < ABANDONED_SECONDS:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def folder_bytes(folder: Path) -> int:
    """Return what all in a folder takes on the disk, links not followed. The smallest file takes a block."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # gone meanwhile
            total += max(BLOCK_BYTES, path.lstat().st_size)
    return total


def check_free(path: Path) -> None:
    """Raise UserError when something is at `path` already: what a person keeps there is never overwritten unasked."""
    if path.exists() or path.is_symlink():
        raise UserError(
            _("'{path}' already exists.", path=str(path)), _("Choose another place, or move it away first.")
        )


def undo_half_published(root: Path) -> None:
    """Give the older folder its name back where a `publish` was killed between its two renames."""
    for old in root.glob("*.old"):
        final = old.with_name(old.name.removesuffix(".old"))
        try:
            is_abandoned = time.time() - old.stat().st_ctime > HALF_PUBLISHED_SECONDS
            if is_abandoned and not final.exists():
                os.rename(old, final)
            elif is_abandoned:
                shutil.rmtree(old, ignore_errors=True)
        except OSError:  # another program was there first
            continue


def publish(partial: Path, final: Path) -> None:
    """Rename the folder `partial` to `final`: a folder of that name is always complete. An older one is replaced."""
    old = final.with_name(f"{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.rename(final, old)
    os.rename(partial, final)
    shutil.rmtree(old, ignore_errors=True)
