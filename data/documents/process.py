"""The process that reads documents: python -m data.documents.process REQUEST.json ANSWER.json, see `common.child.ask_child`.

It begins where an earlier one was ended. What a reader raises is said of its document; too much memory or time ends the process.
"""

import json
import logging
import os
import sys
import warnings
from pathlib import Path

from common.child import Tell, answer_parent, bound_memory, bound_time
from common.errors import UserError
from common.files import write_text
from common.language import Sentence, _, joined
from data.documents.chunks import MAX_HEADING_CHARACTERS, text_and_chunks
from data.documents.gather import left_out
from data.documents.html import html_blocks
from data.documents.markdown import markdown_blocks
from data.documents.parse import TOO_MUCH, Chunk, Outcome, Request, add_outcome, end_of, read_outcomes
from data.documents.pdf import pdf_blocks
from data.documents.text import text_blocks
from data.documents.word import word_blocks

MAX_MEMORY_BYTES = 2**30  # above what the process takes when it begins
MAX_SECONDS = 300  # of computing, for one document: twice what 1,000 full pages of a PDF take
MAX_CHARACTERS = 20_000_000  # of all documents: 13,000 chunks and more
READERS = {
    ".pdf": pdf_blocks,
    ".docx": word_blocks,
    ".md": markdown_blocks,
    ".markdown": markdown_blocks,
    ".html": html_blocks,
    ".htm": html_blocks,
    ".txt": text_blocks,
}


def main(arguments: list[str]) -> int:
    """Read the documents of a request."""
    logging.disable()  # a damaged PDF is worth a million warnings
    warnings.simplefilter("ignore")
    return answer_parent(arguments, _read_all)


def _read_all(request: Request, tell: Tell) -> None:
    """Read the documents that no process before has read, each within limits of memory and time."""
    folder, files = Path(request["folder"]), request["files"]
    done = read_outcomes(folder)
    os.truncate(folder / "chunks.jsonl", end_of(done))
    bound_memory(MAX_MEMORY_BYTES)
    for number, (path, name) in enumerate(files[len(done) :], len(done) + 1):
        words = _("Reading '{name}', {number:,} of {total:,}", name=name, number=number, total=len(files))
        tell(words, (number - 1) / len(files))
        bound_time(MAX_SECONDS)
        done.append(_read(Path(path), name, folder, done))
        add_outcome(folder, done[-1])


def _read(path: Path, name: str, folder: Path, done: list[Outcome]) -> Outcome:
    """Write the text of a document and its chunks behind those of the ones before; return what became of it."""
    skipped = Outcome(name=name, chunks=0, characters=0, end=end_of(done), notes=[])
    notes: list[Sentence] = []
    most = MAX_CHARACTERS - sum(outcome["characters"] for outcome in done)
    try:
        text, spans, is_cut = text_and_chunks(READERS[path.suffix.lower()](path, notes), most)
        if not spans:
            raise UserError(_("There is no room for more text.") if is_cut else _("There is no text in it."))
    except UserError as error:
        return {**skipped, "notes": [left_out(name, joined([error.message, error.hint]))]}
    except MemoryError:
        return {**skipped, "notes": [left_out(name, TOO_MUCH)]}
    except Exception:  # whatever a reader raises for a file that is damaged, or another kind than its name says
        return {**skipped, "notes": [left_out(name, _("It is damaged, or not what its name says."))]}
    if is_cut:
        notes.append(_("Only its first {count:,} characters are read.", count=len(text)))
    write_text(folder / "texts" / f"{sum(outcome['chunks'] > 0 for outcome in done)}.txt", text)
    with open(folder / "chunks.jsonl", "a", encoding="utf-8") as file:
        for one in spans:
            said, heading = text[one.start : one.end], " > ".join(one.headings)[-MAX_HEADING_CHARACTERS:]
            chunk = Chunk(document=name, start=one.start, end=one.end, heading=heading, text=said, page=one.page)
            file.write(json.dumps(chunk, ensure_ascii=False) + "\n")
        end = file.tell()
    notes = [_("'{name}': {note}", name=name, note=note) for note in notes]
    return Outcome(name=name, chunks=len(spans), characters=len(text), end=end, notes=notes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
