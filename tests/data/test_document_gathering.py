"""Documents are found in files, folders and zips, whoever packed them."""

import os
import zipfile
from pathlib import Path

import pytest

from data.documents import gather as gathering
from data.documents.gather import gather

LINK = zipfile.ZipInfo("l.txt")
LINK.external_attr = 0o120777 << 16


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"../a.txt": "out"}, "a path that leads outside"),
        ({"/etc/a.txt": "out"}, "a path that leads outside"),
        ({LINK: "/etc/passwd"}, "is a link"),
        ({"a.txt": "\0" * 60_000_000}, "larger than 50 MB"),
        ({f"{number}.txt": "" for number in range(gathering.MAX_ENTRIES + 1)}, "holds 10,001 files"),
    ],
)
def test_what_a_zip_may_not_hold_is_left_out_and_nothing_of_it_is_written(tmp_path, members, reason):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    (tmp_path / "opened").mkdir()
    found, notes = gather([tmp_path / "a.zip"], tmp_path / "opened")
    assert not found and len(notes) == 1 and reason in notes[0]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "opened"]


def test_a_zip_gives_its_documents_by_names_that_may_be_shown(tmp_path, monkeypatch):
    names = ["a\x1b[31m\u202e\n.txt", "a [31m .txt", "sub/b.MD", ".hidden.txt", "__MACOSX/c.txt", "d.png", "WXYZ.txt"]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name in names:
            file.writestr(name, "Some words.")
    content = (tmp_path / "a.zip").read_bytes().replace(b"WXYZ", "안내".encode("euc_kr"))  # as Windows does in Korea
    (tmp_path / "a.zip").write_bytes(content)
    (tmp_path / "opened").mkdir()
    found, notes = gather([tmp_path / "a.zip"], tmp_path / "opened")
    assert [one.name for one in found] == ["a [31m .txt", "a [31m .txt (2)", "sub/b.MD", "안내.txt"]
    assert notes == ["3 files in 'a.zip' are not documents."]
    monkeypatch.setattr(gathering, "MAX_DOCUMENTS", 2)
    assert str(gather([tmp_path / "a.zip"], tmp_path)[1][1]) == "2 documents are left out. At most 2 are read at once."


def test_a_folder_gives_no_links_and_no_hidden_files(
    tmp_path,
):
    given_folder = tmp_path / "given"
    given_folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (given_folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (given_folder / "links").symlink_to(tmp_path)
    (given_folder / ".git").mkdir()
    (given_folder / ".git" / "a.txt").write_text("hidden")
    (given_folder / "a.txt").write_text("Some words.")
    os.mkfifo(given_folder / "pipe.txt")
    found, notes = gather(
        [given_folder, given_folder / "pipe.txt", tmp_path / "none.txt", tmp_path / ("n" * 5000), Path("\0"), tmp_path],
        tmp_path,
    )
    assert [one.name for one in found] == ["a.txt", "secret.txt", "given/a.txt"]
    assert len([note for note in notes if "There is no such file" in note]) == 4
