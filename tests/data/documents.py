"""Documents, written part by part: PDF and Word as no program would write them."""

import io
import zipfile
import zlib
from pathlib import Path

NAMESPACE = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
PARTS = {
    "[Content_Types].xml": (
        f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
    ),
    "_rels/.rels": (
        f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r" Target="word/document.xml" '
        'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"/></Relationships>'
    ),
}
CATALOG, FONT = "<</Type/Catalog/Pages 2 0 R>>", "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def paragraph(text: str, properties: str = "", run: str = "") -> str:
    """A paragraph of Word's XML."""
    inside = f"<w:r>{run}<w:t>{text}</w:t></w:r>"
    return f"<w:p><w:pPr>{properties}</w:pPr>{inside}</w:p>"


def write_docx(path: Path, body: str, doctype: str = "", **parts: bytes) -> None:
    """A Word document with this body, and other parts below word/."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in PARTS.items():
            file.writestr(name, text)
        document = f"{doctype}<w:document {NAMESPACE}><w:body>{body}</w:body></w:document>"
        file.writestr("word/document.xml", document)
        for name, content in parts.items():
            file.writestr(f"word/{name}.xml", content)


def stream(content: bytes, extra: str = "") -> bytes:
    """A compressed stream of a PDF."""
    packed = zlib.compress(content)
    return f"<</Filter/FlateDecode/Length {len(packed)}{extra}>>\nstream\n".encode() + packed + b"\nendstream"


def write_objects(path: Path, objects: list[bytes | str]) -> None:
    """A PDF of these objects, from 1; the first is the catalog."""
    file, places = io.BytesIO(), []
    file.write(b"%PDF-1.7\n")
    for number, value in enumerate(objects, 1):
        places.append(file.tell())
        file.write(b"%d 0 obj\n%s\nendobj\n" % (number, value.encode() if isinstance(value, str) else value))
    end = file.tell()
    file.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    file.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    file.write(f"trailer\n<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{end}\n%%EOF".encode())
    path.write_bytes(file.getvalue())


def page(contents: int, resources: str = "") -> str:
    """A page of a PDF whose text is in the object of this number, with font 3."""
    where = f"/Resources<</Font<</F 3 0 R>>{resources}>>"
    return f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]{where}/Contents {contents} 0 R>>"


def shown(lines: list[str]) -> bytes:
    """The contents of a page with these lines."""
    return "".join(f"BT /F 12 Tf 72 {760 - 15 * at} Td ({line}) Tj ET\n" for at, line in enumerate(lines)).encode()


def write_pdf(path: Path, pages: list[list[str]], titles: dict[str, int] | None = None) -> None:
    """A PDF of pages of lines, with an outline: the titles with their pages, from 0."""
    titles = titles or {}
    first, after = 4, 4 + 2 * len(pages)
    kids = "".join(f"{first + 2 * at} 0 R " for at in range(len(pages)))
    outline = f"/Outlines {after} 0 R" if titles else ""
    objects: list[bytes | str] = [
        f"<</Type/Catalog/Pages 2 0 R{outline}>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>",
        FONT,
    ]
    for at, lines in enumerate(pages):
        objects += [page(first + 2 * at + 1), stream(shown(lines))]
    if titles:
        objects.append(f"<</First {after + 1} 0 R/Last {after + len(titles)} 0 R>>")
    for at, (title, number) in enumerate(titles.items(), 1):
        following = f"/Next {after + at + 1} 0 R" if at < len(titles) else ""
        objects.append(f"<</Title({title})/Dest[{first + 2 * number} 0 R/Fit]{following}>>")
    write_objects(path, objects)
