"""What was deleted comes back once, and nobody who looks at it or empties it at the same moment fails."""

import threading

import pytest

from common.errors import UserError
from common.trash import Deletion, empty_trash, list_trash, move_to_trash, take_back


def test_two_who_empty_one_trash_while_it_fills_and_is_listed_all_succeed(tmp_path):
    failed: list[BaseException] = []

    def repeatedly(act) -> None:
        try:
            for number in range(100):
                act(number)
        except BaseException as error:
            failed.append(error)

    def delete(number: int) -> None:
        folder = tmp_path / f"{threading.get_ident()}-{number}"
        folder.mkdir()
        (folder / "file").touch()
        move_to_trash(tmp_path / "trash", "one", run=folder)

    acts = [
        delete,
        delete,
        lambda number: empty_trash(tmp_path / "trash", 0.0),
        lambda number: list_trash(tmp_path / "trash"),
    ]
    threads = [threading.Thread(target=repeatedly, args=(act,)) for act in (*acts, acts[2])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_a_link_or_a_file_in_the_trash_is_no_deletion(tmp_path):
    trash, other = tmp_path / "trash", tmp_path / "other"
    trash.mkdir()
    other.mkdir()
    (other / "run").touch()
    (trash / "a.5").symlink_to(other)
    (trash / "b.5").touch()
    assert list_trash(trash) == []
    empty_trash(trash, 0.0)
    assert (other / "run").exists()


def test_what_somebody_else_deleted_or_brought_back_at_this_moment_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="is gone"):
        move_to_trash(tmp_path / "trash", "one", run=tmp_path / "gone")
    assert list((tmp_path / "trash").iterdir()) == []
    with pytest.raises(UserError, match="restored just now"):
        take_back(Deletion(tmp_path / "trash" / "one.5", "one", 0.0), "run", tmp_path / "back")
