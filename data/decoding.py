"""From a file's bytes to lines of text: gzip, encodings, and the limits that keep memory bounded whatever the file holds.

Knows nothing of rows. UTF-8 is tried first; what is not UTF-8 is told apart by charset_normalizer, and said in a note.
"""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from common.errors import UserError
from common.language import _

MAX_BYTES = 4 * 2**30  # of a file, after decompression: it is read piece by piece
MAX_LINE_CHARACTERS = 8 * 2**20
MAX_LINES = 20_000_000
CHUNK_BYTES = 2**20
MAX_DETECTED_BYTES = 256 * 2**20  # bytes in which what is not UTF-8 must show
SAMPLE_BYTES = 2**16  # bytes that tell the encoding; more is slow and tells no more
ENCODINGS = ["cp949", "shift_jis", "euc_jp", "gb18030", "big5", "cp1252", "cp1251"]
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark begins it
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class TooLarge(UserError):
    """The error for what lies past a limit; what was read before it is whole."""


class BoundedReader(io.RawIOBase):
    """The bytes of a file, gunzipped when its name ends with .gz. Raises UserError past `MAX_BYTES` or in a damaged gzip."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        opened = gzip.open if path.suffix.lower() == ".gz" else open
        self._file = opened(path, "rb")
        self._read = 0

    def readable(self) -> bool:
        """Return True, which io.BufferedReader asks for."""
        return True

    def readinto(self, buffer) -> int:
        """Fill `buffer` with the next bytes and return how many they are."""
        try:
            content = self._file.read(len(buffer))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(
                _("'{name}' is damaged: {reason}.", name=self.name, reason=error), _("Compress it again.")
            ) from error
        self._read += len(content)
        if self._read > MAX_BYTES:
            raise TooLarge(
                _("'{name}' unpacks to more than {size:,} MB.", name=self.name, size=MAX_BYTES // 2**20),
                _("Set max_rows to read only some of its rows, or use a smaller file."),
            )
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _open_bytes(path: Path) -> io.BufferedReader:
    """Return the file's bytes, bounded. Raises UserError when it cannot be opened."""
    try:
        return io.BufferedReader(BoundedReader(path), CHUNK_BYTES)
    except OSError as error:
        raise UserError(_("'{name}' cannot be opened: {reason}.", name=path.name, reason=error.strerror)) from error


def lines(path: Path, encoding: str) -> Iterator[str]:
    """Yield the lines of a text file with their ends. Raises UserError for a line that is too long or bytes that are no text."""
    number = 0
    with io.TextIOWrapper(_open_bytes(path), encoding=encoding, newline="") as file:
        try:
            while line := file.readline(MAX_LINE_CHARACTERS + 1):
                number += 1
                if len(line) > MAX_LINE_CHARACTERS:
                    most = MAX_LINE_CHARACTERS // 2**20
                    raise UserError(
                        _("Line {line} of '{name}' is longer than {size} MB.", line=number, name=path.name, size=most)
                    )
                if number > MAX_LINES:
                    raise TooLarge(
                        _("'{name}' has more than {count:,} lines.", name=path.name, count=MAX_LINES),
                        _("Use a smaller file."),
                    )
                if "\0" in line:
                    raise UserError(
                        _("Line {line} of '{name}' contains NUL bytes.", line=number, name=path.name),
                        _("Is it a binary file?"),
                    )
                yield line
        except UnicodeError as error:
            raise UserError(
                _("'{name}' is not {encoding} text after line {line}.", name=path.name, encoding=encoding, line=number),
                _("Save it as UTF-8."),
            ) from error


def whole_bytes(path: Path, max_bytes: int, hint: str) -> bytes:
    """Return all of a file. Raises UserError with this hint when it is larger than `max_bytes`."""
    with _open_bytes(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise UserError(_("'{name}' is larger than {size:,} MB.", name=path.name, size=max_bytes // 2**20), hint)
    return content


def detect_encoding(path: Path, max_bytes: int = MAX_DETECTED_BYTES) -> str:
    """Return the encoding of a text file: by its mark, UTF-8 where all of it is, else what charset_normalizer finds likeliest.

    Looks at the first `max_bytes`. Raises UserError when no encoding fits.
    """
    decoder, seen = codecs.getincrementaldecoder("utf-8")(), 0
    with _open_bytes(path) as file:
        while seen < max_bytes and (chunk := file.read(CHUNK_BYTES)):
            if not seen and (found := _by_mark(chunk)):
                return found
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                line_start = chunk.rfind(b"\n", 0, error.start) + 1
                return _likeliest(chunk[line_start : line_start + 8 * SAMPLE_BYTES], path.name)
            seen += len(chunk)
    return "utf-8"


def _by_mark(content: bytes) -> str | None:
    """Return the encoding that a byte order mark names; UTF-16 without one shows by the zeros of its ASCII half."""
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return encoding
    sample = content[:4096]
    zeros = sample[0::2].count(0), sample[1::2].count(0)
    if max(zeros) > len(sample) // 5 and min(zeros) < max(zeros) // 10:
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    return None


def _likeliest(content: bytes, name: str) -> str:
    """Return what charset_normalizer makes of the lines that are not ASCII: the others would only outweigh them."""
    from charset_normalizer import from_bytes

    telling = b"\n".join(line for line in content.split(b"\n") if not line.isascii())[:SAMPLE_BYTES]
    end = telling.rfind(b"\n") if len(telling) == SAMPLE_BYTES else -1  # a cut could go through a character
    best = from_bytes(telling[:end] if end > 0 else telling, cp_isolation=ENCODINGS).best()
    if best is None:
        raise UserError(_("'{name}' is not text in any known encoding.", name=name), _("Save it as UTF-8."))
    # a letter here and there, "Caf\xe9", is Western: Russian words have them side by side
    is_western = best.encoding == "cp1251" and not re.search(rb"[\xc0-\xff]{2}", telling)
    return "cp1252" if is_western else best.encoding
