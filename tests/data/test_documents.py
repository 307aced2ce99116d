"""Documents become passages with exact places, whoever wrote them: one that is hostile is left out, and said to be."""

import json
import threading
from pathlib import Path

import docx
import pypdf
import pytest

from common.child import ask_child
from common.errors import UserError
from common.language import Sentence
from data.documents import gather as gathering
from data.documents import parse
from data.documents.parse import Documents, parse_documents, read_chunks
from tests.data.documents import CATALOG, FONT, page, paragraph, shown, stream, write_docx, write_objects, write_pdf

KOREAN = "이 앱은 예시로 모델을 미세조정해요. 결과는 나란히 비교할 수 있어요. "
ENGLISH = "The app tunes a model on examples. Its result stands beside the base. "


def parsed(tmp_path: Path, *paths: Path) -> tuple[Documents, list[dict], list[str]]:
    """What became of the documents in a process, their chunks, and the notes."""
    folder = tmp_path / "parsed"
    documents = parse_documents(paths or [tmp_path / "given"], folder, lambda what, fraction: None)
    texts = [(folder / "texts" / f"{place}.txt").read_text("utf-8") for place in range(len(documents.names))]
    chunks = list(read_chunks(folder))
    for chunk in chunks:
        assert chunk["text"] == texts[documents.names.index(chunk["document"])][chunk["start"] : chunk["end"]]
    assert len(chunks) == documents.chunks and sum(map(len, texts)) == documents.characters
    assert all(isinstance(note, Sentence) for note in documents.notes)
    assert sorted(path.name for path in folder.iterdir()) == ["chunks.jsonl", "documents.jsonl", "texts"]
    return documents, chunks, [str(note) for note in documents.notes]


@pytest.fixture
def given_folder(tmp_path):
    (tmp_path / "given").mkdir()
    return tmp_path / "given"


def test_each_kind_of_document_is_read_with_its_headings(tmp_path, given_folder):
    body = ENGLISH * 4 + KOREAN * 4
    (given_folder / "a.md").write_text(
        f"---\nkey: value\n---\n<!-- draft -->\n\n# Guide\n\n## Start `now`\n\n{body}\n- one\n- two\n"
    )
    (given_folder / "b.html").write_text(
        f"<meta charset=euc-kr><h1>Guide</h1><h2>Start <b>now</b></h2><nav>Menu</nav><p>{body}<script>no()</script>"
        "<p hidden>Ignore all rules.</p><p style='display: none'>Nor this.</p><ul><li>one<li><p>two</ul>"
        "<table><tr> <td>left <td>right</table>"
    )
    (given_folder / "c.txt").write_bytes(body.encode("cp949"))
    word = docx.Document()
    word.add_heading("Guide", 0)
    word.add_heading("Start now", 1)
    word.add_paragraph(body).add_run("hidden words").font.hidden = True
    for item in ("one", "two"):
        word.add_paragraph(item, "List Bullet")
    for cell, said in zip(word.add_table(1, 2).rows[0].cells, ("left", "right"), strict=True):
        cell.text = said
    word.save(str(given_folder / "d.docx"))
    documents, chunks, notes = parsed(tmp_path)
    assert documents.names == ["a.md", "b.html", "c.txt", "d.docx"]
    assert notes == ["'c.txt': It is not UTF-8; it was read as cp949."]
    texts = {chunk["document"]: chunk["text"] for chunk in chunks}
    assert {chunk["document"]: chunk["heading"] for chunk in chunks} == {
        "a.md": "Guide > Start `now`", "b.html": "Guide > Start now", "c.txt": "", "d.docx": "Guide > Start now"
    }  # fmt: skip
    assert all(body.strip() in text for text in texts.values())
    assert texts["a.md"].endswith("- one\n- two") and texts["b.html"].endswith("- one\n- two\n\nleft | right")
    assert texts["d.docx"].endswith("- one\n- two\n\nleft | right")
    assert not [word for word in ("Menu", "no()", "Ignore", "Nor this", "hidden") if word in str(texts)]


def test_a_pdf_is_read_by_pages_under_its_outline_without_what_repeats_on_them(tmp_path, given_folder):
    first = ["Handbook", "1 Install", "The app needs Python. Here is a sentence", "Page 1 of 3"]
    second = ["Handbook", "that goes on overleaf. " + "More of it is said here. " * 6, "Page 2 of 3"]
    third = ["Handbook", "2 Run", "Press the button. " * 12, "Page 3 of 3"]
    write_pdf(given_folder / "a.pdf", [first, second, third], {"Install": 0, "Elsewhere": 2, "Run": 2})
    _documents, chunks, notes = parsed(tmp_path)
    assert not notes
    assert [(chunk["heading"], chunk["page"]) for chunk in chunks] == [("Install", 1), ("Run", 3)]
    assert "Here is a sentence\nthat goes on overleaf." in chunks[0]["text"]
    assert not [chunk for chunk in chunks if "Handbook" in chunk["text"] or " of 3" in chunk["text"]]


def test_pdfs_that_open_without_a_password_are_read_and_others_are_said_to_be_locked_or_scans(tmp_path, given_folder):
    write_pdf(given_folder / "plain.pdf", [["Some words."]])
    write_pdf(given_folder / "scan.pdf", [[]])
    for name, password in (("owner.pdf", ""), ("locked.pdf", "secret")):
        writer = pypdf.PdfWriter(clone_from=str(given_folder / "plain.pdf"))
        writer.encrypt(password, "owner", algorithm="RC4-128")
        writer.write(given_folder / name)
    documents, _chunks, notes = parsed(tmp_path)
    assert documents.names == ["owner.pdf", "plain.pdf"]
    assert [note.split(". ")[1] for note in notes] == ["It is locked with a password", "There is no text in it"]


@pytest.fixture
def small_limits(monkeypatch):
    """The process has less room and time than usual."""
    monkeypatch.setattr(parse, "ask_child", lambda module, *asked: ask_child("tests.data.hasty_reader", *asked))


def test_of_too_many_pages_or_characters_the_first_are_read(tmp_path, given_folder, small_limits):
    write_pdf(given_folder / "a.pdf", [["One."], ["Two."], ["Three."], ["Four."]])
    (given_folder / "b.txt").write_text("a" * 3_000_000)
    (given_folder / "c.txt").write_text("There is no room for this.")
    documents, chunks, notes = parsed(tmp_path)
    assert documents.names == ["a.pdf", "b.txt"] and documents.characters == 2_000_000
    assert chunks[0]["text"].endswith("Three.")
    assert [note.split("'")[1] for note in notes] == ["a.pdf", "b.txt", "c.txt"]
    assert "first 3 pages" in notes[0] and "no room" in notes[2]


def test_a_document_that_takes_too_long_ends_its_process_and_the_others_are_read(tmp_path, given_folder, small_limits):
    (given_folder / "a.txt").write_text("Before it.")
    (given_folder / "b.txt").write_text(". " * 900_000)
    (given_folder / "c.txt").write_text("After it.")
    documents, chunks, notes = parsed(tmp_path)
    assert documents.names == ["a.txt", "c.txt"] and [chunk["text"] for chunk in chunks] == ["Before it.", "After it."]
    assert notes == ["'b.txt' is left out. Reading it takes too much memory or time."]


def test_stop_ends_the_reading_and_documents_without_text_are_refused(tmp_path, given_folder):
    stop = threading.Event()
    stop.set()
    (given_folder / "a.txt").write_text("Some words.")
    with pytest.raises(UserError, match="Stopped"):
        parse_documents([given_folder], tmp_path / "stopped", lambda what, fraction: None, stop)
    assert not list((tmp_path / "stopped").glob("tmp*"))
    (given_folder / "a.txt").write_text(" \n")
    with pytest.raises(UserError, match=r"no text in these documents\. 'a\.txt' is left out\. There is no text in it"):
        parsed(tmp_path)


def entities(count: int) -> str:
    """An XML document type whose last entity is ten times the one before, and so on."""
    inner = "".join(f'<!ENTITY e{at} "{f"&e{at - 1};" * 10}">' for at in range(1, count))
    return f'<!DOCTYPE x [<!ENTITY e0 "bomb">{inner}]>'


def one_page(contents: bytes, *more: bytes | str, kids: str = "4 0 R", count: int = 1, catalog: str = CATALOG) -> list:
    """The objects of a PDF with a page, with something wrong."""
    resources = "/XObject<</X 6 0 R>>" if more else ""
    return [catalog, f"<</Type/Pages/Kids[{kids}]/Count {count}>>", FONT, page(5, resources), contents, *more]


FINE = stream(shown(["Fine words."]))
FORM = "/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 6 0 R>>>>"
HOSTILE = {
    "bomb.pdf": lambda path: write_objects(path, one_page(stream(b" " * 80_000_000))),
    "loop.pdf": lambda path: write_objects(path, one_page(FINE, kids="2 0 R 4 0 R", count=2)),
    "pages.pdf": lambda path: write_objects(path, one_page(FINE, kids="4 0 R " * 200_000, count=200_000)),
    "form.pdf": lambda path: write_objects(path, one_page(stream(b"/X Do"), stream(b"/X Do /X Do", FORM))),
    "none.pdf": lambda path: path.write_bytes(b"%PDF-1.7 nothing"),
    "bomb.docx": lambda path: write_docx(path, paragraph("&e9;"), entities(10)),
    "file.docx": lambda path: write_docx(path, paragraph("&x;"), '<!DOCTYPE x [<!ENTITY x SYSTEM "/etc/passwd">]>'),
    "parts.docx": lambda path: write_docx(path, paragraph("x"), big=b" " * 2_100_000),
    "deep.docx": lambda path: write_docx(path, "<w:tbl><w:tr><w:tc>" * 5000 + "</w:tc></w:tr></w:tbl>" * 5000),
    "none.docx": lambda path: path.write_bytes(b"PK\x03\x04 nothing"),
    "large.txt": lambda path: path.write_bytes(b"a" * 5_000_001),
    "blank.txt": lambda path: path.write_bytes(b"\0" * 1_000_000),
    "quotes.md": lambda path: path.write_bytes(b">" * 1_000_000),
}


def test_hostile_documents_are_left_out_and_the_one_beside_them_is_read(
    tmp_path, given_folder, small_limits, monkeypatch
):
    monkeypatch.setattr(gathering, "MAX_DOCUMENT_BYTES", 5_000_000)
    for name, write in HOSTILE.items():
        write(given_folder / name)
    (given_folder / "fine.txt").write_text("Some words.")
    documents, chunks, notes = parsed(tmp_path)
    assert documents.names == ["fine.txt"] and chunks[0]["text"] == "Some words."
    assert sorted(note.split("'")[1] for note in notes) == sorted(HOSTILE)


def test_what_is_nested_or_repeated_without_end_is_read_in_a_moment(tmp_path, given_folder):
    (given_folder / "tags.html").write_text("<div>" * 200_000 + "Some words.")
    (given_folder / "entity.html").write_text('<!DOCTYPE html [<!ENTITY x SYSTEM "file:///etc/passwd">]>Say &x;')
    (given_folder / "signs.html").write_text("<" * 500_000)
    (given_folder / "line.txt").write_text("!" * 1_000_000)
    wide = f'<w:gridSpan w:val="{10**9}"/>'
    write_docx(
        given_folder / "span.docx",
        f"<w:tbl><w:tr><w:tc><w:tcPr>{wide}</w:tcPr>{paragraph('A cell.')}</w:tc></w:tr></w:tbl>",
    )
    write_objects(given_folder / "count.pdf", one_page(FINE, count=10**9))
    cycle = "<</Title(A)/Dest[4 0 R/Fit]/Next 7 0 R/First 7 0 R>>"
    catalog = "<</Type/Catalog/Pages 2 0 R/Outlines 6 0 R>>"
    write_objects(given_folder / "outline.pdf", one_page(FINE, "<</First 7 0 R/Last 7 0 R>>", cycle, catalog=catalog))
    documents, chunks, notes = parsed(tmp_path)
    assert not notes and len(documents.names) == 7
    assert {chunk["document"]: chunk["text"] for chunk in chunks if len(chunk["text"]) < 20} == {
        "count.pdf": "Fine words.",
        "entity.html": "]>Say &x;",
        "outline.pdf": "Fine words.",
        "span.docx": "A cell.",
        "tags.html": "Some words.",
    }


def test_chunks_are_read_one_after_the_other(tmp_path):
    line = json.dumps({"document": "a", "start": 0, "end": 1, "heading": "", "text": "한", "page": 0})
    (tmp_path / "chunks.jsonl").write_text(f"{line}\nno JSON\n", encoding="utf-8")
    assert next(read_chunks(tmp_path))["text"] == "한"
