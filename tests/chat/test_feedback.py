"""Answers become training rows of their owner; one answer is one row; training reads them."""

import pytest

from common.errors import UserError
from common.paths import home
from data.feedback import drop_last_row, drop_row, find_dataset, keep_row, list_datasets, read_rows, row_key
from tests.fakes import conversation

TALK = conversation(2)


def test_a_liked_answer_is_a_row_and_a_correction_replaces_it():
    key = row_key("c", 0, 3, TALK[:3])
    keep_row("From chat", TALK, "liked", key)
    corrected = [*TALK[:-1], {"role": "assistant", "content": "better"}]
    found = keep_row("From chat", corrected, "edited", key)
    assert found.name == "from-chat" and found.rows == 1
    (row,) = read_rows("from-chat")
    assert row["messages"] == corrected and row["source"] == "edited"


def test_a_row_can_be_taken_out():
    for place in (1, 3):
        keep_row("mine", TALK[: place + 1], "liked", row_key("c", 0, place, TALK[:place]))
    drop_row("mine", row_key("c", 0, 1, TALK[:1]))
    assert [row["messages"] for row in read_rows("mine")] == [TALK]


def test_dropping_the_last_row_leaves_the_others_also_where_rows_have_no_key():
    path = keep_row("mine", TALK, "liked", "key").path
    path.write_text(path.read_text() + '{"messages": [1]}\n{"messages": [2]}\n')  # written by hand
    drop_last_row("mine")
    assert [row["messages"] for row in read_rows("mine")] == [TALK, [1]]
    drop_last_row("mine")
    drop_last_row("mine")
    with pytest.raises(UserError, match="has no rows"):
        drop_last_row("mine")


def test_one_owner_does_not_see_anothers():
    keep_row("mine", TALK, "liked", "k", "guest-a")
    assert [one.name for one in list_datasets("guest-a")] == ["mine"] and list_datasets("guest-b") == []
    with pytest.raises(UserError, match="no dataset"):
        find_dataset("mine", "guest-b")


def test_names_never_leave_the_folder():
    found = keep_row("../../etc/passwd", TALK, "liked", "k")
    assert found.path.is_relative_to(home() / "datasets" / "local")
    with pytest.raises(UserError):
        keep_row("x", TALK, "liked", "k", "../other")


@pytest.mark.parametrize("messages", [[], TALK[:1], [TALK[0], {"role": "assistant", "content": " "}]])
def test_what_teaches_nothing_is_refused(messages):
    with pytest.raises(UserError):
        keep_row("x", messages, "liked", "k")
    assert list_datasets() == []


def test_training_reads_the_rows():
    from data.reading import read_rows as read_for_training
    from data.shapes import to_conversation

    path = keep_row("mine", TALK, "liked", "k").path
    assert to_conversation(read_for_training(str(path))[0])["messages"] == TALK


def test_the_same_place_under_another_question_is_another_row():
    edited = [{"role": "user", "content": "Another question"}, *TALK[1:]]
    assert row_key("c", 0, 3, TALK[:3]) != row_key("c", 0, 3, edited[:3])


def test_rows_that_come_at_the_same_moment_are_all_kept():
    from concurrent.futures import ThreadPoolExecutor

    def like(number: int) -> None:
        key = f"k{number % 20}"
        keep_row("mine", [*TALK[:-1], {"role": "assistant", "content": f"answer {number}"}], "liked", key)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(like, range(60)))
    assert sorted(row["key"] for row in read_rows("mine")) == sorted(f"k{number}" for number in range(20))


def test_the_room_of_an_owner_is_bounded_and_a_refused_row_takes_nothing_away(monkeypatch):
    keep_row("mine", TALK, "liked", "k")
    before = read_rows("mine")
    monkeypatch.setattr("data.feedback.MAX_DATASETS", 1)
    with pytest.raises(UserError, match="1 dataset, the limit"):
        keep_row("another", TALK, "liked", "k")
    monkeypatch.setattr("data.feedback.MAX_BYTES", 10)
    with pytest.raises(UserError, match="Remove some rows"):
        keep_row("mine", TALK, "edited", "k")
    assert read_rows("mine") == before and len(list_datasets()) == 1
