"""Zips that grow: ten gigabytes in ten megabytes and in less than one, with sizes that are true and that lie."""

import bz2
import lzma
import struct
import time
import tracemalloc
import zlib

import pytest

from adapters.intake import import_adapter
from adapters.library import list_adapters
from adapters.trust import archive
from adapters.trust.check import FILES, WEIGHTS
from common.errors import UserError
from common.paths import adapters_folder

MEGABYTE = 1 << 20
TEN_GB = 10_000 * MEGABYTE
MAX_WRITTEN_BYTES = 3 * MEGABYTE  # a refused zip may have written so much before it was refused
MAX_MEMORY_BYTES = 60 * MEGABYTE
MAX_SECONDS = 20.0  # of this process's own time; to inflate ten gigabytes takes longer
DEFLATED, BZIP2, LZMA = 8, 12, 14


def zeros(size: int) -> bytes:
    """`size` zeros (whole megabytes) as one deflate stream, made without compressing them all: 1000 to 1."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    one = packer.compress(bytes(MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    return one * (size // MEGABYTE) + zlib.compressobj(9, zlib.DEFLATED, -15).flush()


def entries(name: str, method: int, packed: int, size: int, offset: int) -> tuple[bytes, bytes]:
    """(local header, entry of the directory) of one member; sizes of 4 GB and more go into the ZIP64 extra field."""
    label = name.encode()
    is_large = size >= 2**32
    more = struct.pack("<HHQQ", 1, 16, size, packed) if is_large else b""
    sizes = (0xFFFFFFFF, 0xFFFFFFFF) if is_large else (packed, size)
    common = struct.pack("<HHHHHIIIHH", 45, 0, method, 0, 0, 0, *sizes, len(label), len(more))
    local = b"PK\x03\x04" + common + label + more
    return local, b"PK\x01\x02\x2d\x00" + common + struct.pack("<HHHII", 0, 0, 0, 0, offset) + label + more


def ended(body: bytes, directory: list[bytes]) -> bytes:
    whole = b"".join(directory)
    count = min(len(directory), 0xFFFF)
    return body + whole + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(whole), len(body), 0)


def zip_of(*members: tuple[str, int, bytes, int]) -> bytes:
    """A zip of (name, method, packed bytes, declared size)."""
    body, directory = b"", []
    for name, method, packed, size in members:
        local, entry = entries(name, method, len(packed), size, len(body))
        body += local + packed
        directory.append(entry)
    return ended(body, directory)


def overlapping(names: list[str], kernel: bytes, size: int, declared: int | None) -> bytes:
    """All members share one stream of zeros: each quotes the headers of those after it (Fifield's bomb, 2019)."""
    body, directory = kernel, []
    for number, name in enumerate(reversed(names)):
        real = size + sum(len(entry) - 46 + 30 for entry in directory)  # it inflates to the quoted headers as well
        local, _ = entries(name, DEFLATED, len(body), declared or real, 0)
        quote = struct.pack("<BHH", 0, len(local), 0xFFFF - len(local)) if number < len(names) - 1 else b""
        body = quote + local + body
        directory.append(entries(name, DEFLATED, len(body) - len(quote) - len(local), declared or real, 0)[1])
    placed, ends = [], len(body)
    for entry in directory:
        name_length, more_length = struct.unpack("<HH", entry[28:32])
        packed = struct.unpack("<I", entry[20:24])[0]
        offset = ends - packed - 30 - name_length - more_length
        placed.append(entry[:42] + struct.pack("<I", offset) + entry[46:])
    return ended(body, placed[::-1])


def many(count: int, comment: int = 0, is_large: bool = False) -> bytes:
    """A zip of so many empty files: an object of each fills the memory, and ten million fit into two gigabytes."""
    whole = ended(b"", [entries(f"{number}", 0, 0, 0, 0)[1] for number in range(count)])
    if is_large:
        size = len(whole) - 22
        record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, 0)
        located = struct.pack("<4sIQI", b"PK\x06\x07", 0, size, 1)
        return whole[:-22] + record + located + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, 46, 0, 0)
    return whole[:-2] + struct.pack("<H", comment) + b" " * comment


CONFIG = ("a/adapter_config.json", DEFLATED, zeros(0), 0)


def weights(packed: bytes, size: int, method: int = DEFLATED) -> bytes:
    return zip_of(CONFIG, (f"a/{WEIGHTS}", method, packed, size))


BOMBS = {
    "ten gigabytes, and it says so": lambda: weights(zeros(TEN_GB), TEN_GB),
    "ten gigabytes, and it says one kilobyte": lambda: weights(zeros(TEN_GB), 1000),
    "ten gigabytes, and it says as much as is allowed": lambda: weights(zeros(TEN_GB), 1_999_999_999),
    "two gigabytes, which is allowed, of two megabytes": lambda: weights(zeros(1900 * MEGABYTE), 1900 * MEGABYTE),
    "ten gigabytes in half a megabyte, members on top of each other": lambda: overlapping(
        [f"a/{name}" for name in FILES], zeros(640 * MEGABYTE), 640 * MEGABYTE, None
    ),
    "the same, and each says one kilobyte": lambda: overlapping(
        [f"a/{name}" for name in FILES], zeros(640 * MEGABYTE), 640 * MEGABYTE, 1000
    ),
    "a hundred thousand empty files, listed": lambda: many(100_000),
    "the same, with a long comment behind": lambda: many(100_000, comment=65_000),
    "the same, counted as a very large zip does": lambda: many(100_000, is_large=True),
    "bzip2, which zipfile inflates in one go": lambda: weights(bz2.compress(bytes(500 * MEGABYTE)), 1000, BZIP2),
    "lzma, which zipfile inflates in one go": lambda: weights(
        b"\x09\x04\x05\x00" + lzma.compress(bytes(200 * MEGABYTE), lzma.FORMAT_ALONE, preset=0)[:5] + b"x", 1000, LZMA
    ),
}


@pytest.fixture
def written(monkeypatch):
    """[bytes that an import has written so far]."""
    count = [0]

    def counting(path, mode):
        file = open(path, mode)  # noqa: SIM115
        real = file.write
        wrapped = type("Counting", (), {"__enter__": lambda self: self, "__exit__": lambda self, *why: file.close()})()
        wrapped.write = lambda block: count.__setitem__(0, count[0] + len(block)) or real(block)
        return wrapped

    monkeypatch.setattr(archive, "open", counting, raising=False)
    return count


@pytest.mark.slow
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_with_disk_memory_and_time_to_spare(tmp_path, written, bomb):
    path = tmp_path / "some.zip"
    path.write_bytes(BOMBS[bomb]())
    assert path.stat().st_size < 11 * MEGABYTE
    tracemalloc.start()
    began = time.thread_time()
    with pytest.raises(
        UserError, match=r"far more than an adapter|more than 2 GB|is damaged|unusual|thousands of files"
    ):
        import_adapter(path)
    spent, (_, peak) = time.thread_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert written[0] < MAX_WRITTEN_BYTES and peak < MAX_MEMORY_BYTES and spent < MAX_SECONDS
    assert list_adapters() == [] and not list(adapters_folder().glob("*"))


def test_the_bombs_are_real(tmp_path):
    """Each stream inflates to what its name says: counted in pieces, for the overlapping ones the last member's."""
    import zipfile

    unpacker, size = zlib.decompressobj(-15), 0
    packed = zeros(640 * MEGABYTE)
    while packed:
        size += len(unpacker.decompress(packed, MEGABYTE))
        packed = unpacker.unconsumed_tail
    assert size == 640 * MEGABYTE
    small = overlapping([f"a/{name}" for name in FILES], zeros(2 * MEGABYTE), 2 * MEGABYTE, None)
    path = tmp_path / "small.zip"
    path.write_bytes(small)
    with zipfile.ZipFile(path) as opened:
        for member in opened.infolist():
            member.CRC = None  # of what it inflates to; nobody gets so far
            with opened.open(member) as stream:
                stream._expected_crc = None
                assert len(stream.read()) == member.file_size >= 2 * MEGABYTE
    whole = BOMBS["ten gigabytes in half a megabyte, members on top of each other"]()
    assert len(FILES) * 640 * MEGABYTE > 0.98 * TEN_GB and len(whole) < MEGABYTE
