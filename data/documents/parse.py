"""Documents to passages: PDF, Word, Markdown, HTML and plain text, folders and zips of these, to chunks with exact spans.

documents = parse_documents([Path("handbook.zip")], folder, tell)
for chunk in read_chunks(folder):
    chunk["text"]      a passage of some paragraphs, from `start` to `end` of the document's text

Nobody has to trust a document: a child process with little memory and time reads them (`data.documents.process`). One that ends
this process is left out, and the next process reads the rest. `folder` then holds:

texts/<n>.txt       the text of the document `Documents.names[n]`
chunks.jsonl        the chunks of all, in their order
documents.jsonl     a line a document, written after its chunks: what became of it
"""

import json
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

from common.child import ProcessEnded, Tell, ask_child
from common.errors import UserError
from common.files import append_json_line, read_json_lines
from common.language import Sentence, _, joined, packed, unpacked
from data.documents.gather import gather, left_out
from models.hub.errors import child_environment

MAX_MINUTES = 20  # for all documents
MAX_REASONS = 3  # in an error
TOO_MUCH = _("Reading it takes too much memory or time.")


class Chunk(TypedDict):
    """A passage of a document: `text` is its text[start:end], `heading` where it stands ("Guide > Install"); page 0: none."""

    document: str
    start: int
    end: int
    heading: str
    text: str
    page: int


class Outcome(TypedDict):
    """What became of one document: one without chunks was skipped. `end` is where chunks.jsonl ends after it, in bytes."""

    name: str
    chunks: int
    characters: int
    end: int
    notes: list[Sentence]


class Request(TypedDict):
    """What the process is asked: to read the (path, name) of `files` into `folder`, but for those that are done there."""

    folder: str
    files: list[tuple[str, str]]


@dataclass(frozen=True)
class Documents:
    """The names of the documents that were read, how much is in them, and sentences on what was skipped."""

    names: list[str]
    chunks: int
    characters: int
    notes: list[Sentence]


def parse_documents(paths: Sequence[Path], folder: Path, tell: Tell, stop: threading.Event | None = None) -> Documents:
    """Read files, folders and zips into the empty `folder`; what cannot be read is skipped and said in a note.

    Setting `stop` ends it. Raises UserError, also when there is no text in any of them.
    """
    end = time.monotonic() + 60 * MAX_MINUTES
    (folder / "texts").mkdir(parents=True)
    (folder / "chunks.jsonl").touch()
    with tempfile.TemporaryDirectory(dir=folder) as opened:
        files, notes = gather(paths, Path(opened), stop)
        request = Request(folder=str(folder), files=[(str(file.path), file.name) for file in files])
        while len(read_outcomes(folder)) < len(files):
            minutes = max(0.1, round((end - time.monotonic()) / 60, 1))
            try:
                ask_child("data.documents.process", request, child_environment(), tell, stop, minutes)
            except ProcessEnded as error:
                if error.code >= 0:  # not a signal, which is what a limit sends
                    raise
                done = read_outcomes(folder)
                for file in files[len(done) : len(done) + 1]:
                    note = left_out(file.name, TOO_MUCH)
                    outcome = Outcome(name=file.name, chunks=0, characters=0, end=end_of(done), notes=[note])
                    add_outcome(folder, outcome)
    outcomes = read_outcomes(folder)
    notes += [note for outcome in outcomes for note in outcome["notes"]]
    read = [outcome for outcome in outcomes if outcome["chunks"]]
    if not read:
        raise UserError(_("There is no text in these documents."), joined(notes[:MAX_REASONS]))
    chunks, characters = (sum(outcome[key] for outcome in read) for key in ("chunks", "characters"))
    return Documents([outcome["name"] for outcome in read], chunks, characters, notes)


def read_chunks(folder: Path) -> Iterator[Chunk]:
    """Yield the chunks that `parse_documents` wrote into `folder`, one after the other."""
    with open(folder / "chunks.jsonl", encoding="utf-8") as file:
        for line in file:
            yield cast(Chunk, json.loads(line))


def read_outcomes(folder: Path) -> list[Outcome]:
    """Return what became of the documents that are done."""
    return [cast(Outcome, unpacked(line)) for line in read_json_lines(folder / "documents.jsonl")]


def add_outcome(folder: Path, outcome: Outcome) -> None:
    """Write what became of the next document."""
    append_json_line(folder / "documents.jsonl", packed(outcome))


def end_of(outcomes: list[Outcome]) -> int:
    """Return where chunks.jsonl ends after these documents, in bytes: what is behind belongs to one that was never done."""
    return outcomes[-1]["end"] if outcomes else 0
