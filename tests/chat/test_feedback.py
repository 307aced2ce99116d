"""Answers become training rows of their owner; one answer is one row; training reads them."""

import pytest

from common.errors import UserError
from common.files import write_text
from common.paths import home
from data.feedback import (
    Counts,
    change_rows,
    drop_last_row,
    drop_row,
    find_dataset,
    find_row,
    keep_row,
    list_datasets,
    read_rows,
    row_key,
    undo,
)
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


def test_bad_answers_and_pairs_are_rows_of_their_own_kinds_and_are_counted():
    keep_row("mine", TALK, "liked", "a")
    keep_row("mine", TALK, "disliked", "b", rejected=["a bad answer has no other beside it"])
    found = keep_row("mine", TALK, "picked", "c", rejected=["worse", " ", TALK[-1]["content"], "worse"])
    quoted = [TALK[0], {"role": "assistant", "content": '{"label": false, "rejected": ["x"]}'}]
    keep_row("mine", quoted, "edited", "d")
    assert found.counts == Counts(good=2, bad=1, pairs=1) and found.rows == 4
    assert str(found.counts.words) == "2 good, 1 bad, 1 pair"
    _, bad, pair, _ = read_rows("mine")
    assert bad == {"messages": TALK, "source": "disliked", "key": "b", "label": False}
    assert pair == {"messages": TALK, "source": "picked", "key": "c", "rejected": ["worse"]}
    with pytest.raises(UserError, match="characters"):
        keep_row("mine", TALK, "edited", "e", rejected=["x" * 200_000])
    keep_row("mine", TALK, "picked", "f", rejected=[str(number) for number in range(50)])
    assert read_rows("mine")[-1]["rejected"] == [str(number) for number in range(30, 50)]


def test_rows_written_by_hand_or_before_there_were_kinds_are_counted_as_training_takes_them():
    path = keep_row("mine", TALK, "liked", "k").path
    lines = [
        '{"label":false,"messages":[]}',
        '{"label": true}',
        '{"label": "bad"}',
        '{"rejected": []}',
        '{"label"',
        "[]",
    ]
    write_text(path, path.read_text() + "\n".join([*lines, "", '{"label": false} but its line never ended']))
    assert find_dataset("mine").counts == Counts(good=5, bad=2, pairs=0)


def test_changes_are_taken_back_one_after_the_other():
    keep_row("mine", TALK, "liked", "a")
    keep_row("mine", TALK, "disliked", "b")
    path = keep_row("mine", TALK, "picked", "b", rejected=["worse"], without=["a"]).path
    path.write_text(path.read_text() + '{"messages": [1]}\n')  # written by hand
    drop_last_row("mine")
    undo("mine")
    assert [row["messages"] for row in read_rows("mine")] == [TALK, [1]]
    changes = undo("mine")
    assert {key: [row and row["source"] for row in change] for key, change in changes.items()} == {
        "a": [None, "liked"],
        "b": ["picked", "disliked"],
    }
    drop_row("mine", "not there")
    assert undo("mine")["b"][1] is None and undo("mine")["a"][1] is None
    assert read_rows("mine") == [{"messages": [1]}]
    with pytest.raises(UserError, match="nothing to undo"):
        undo("mine")


def test_what_is_kept_to_take_changes_back_is_bounded(monkeypatch):
    monkeypatch.setattr("data.feedback.MAX_UNDO", 3)
    for number in range(5):
        keep_row("mine", TALK, "liked", str(number))
    for _time in range(3):
        undo("mine")
    with pytest.raises(UserError, match="nothing to undo"):
        undo("mine")
    assert [row["key"] for row in read_rows("mine")] == ["0", "1"]
    monkeypatch.setattr("data.feedback.MAX_UNDO_BYTES", 10)
    drop_row("mine", "0")
    drop_row("mine", "1")
    assert list(undo("mine")) == ["1"], "the last change can always be taken back"
    with pytest.raises(UserError, match="nothing to undo"):
        undo("mine")


def test_rows_that_were_taken_out_have_room_only_once_though_they_can_be_brought_back(monkeypatch):
    monkeypatch.setattr("data.feedback.MAX_BYTES", 10_000)
    rows = {str(n): {"messages": TALK, "source": "liked", "key": str(n), "more": "x" * 900} for n in range(8)}
    change_rows("mine", rows)
    change_rows("mine", dict.fromkeys(rows))
    with pytest.raises(UserError, match="together, the limit"):
        change_rows("other", rows)
    undo("mine")
    assert len(read_rows("mine")) == 8


def test_one_owner_does_not_see_anothers():
    keep_row("mine", TALK, "liked", "k", "guest-a")
    assert [one.name for one in list_datasets("guest-a")] == ["mine"] and list_datasets("guest-b") == []
    with pytest.raises(UserError, match="no dataset"):
        find_dataset("mine", "guest-b")
    with pytest.raises(UserError, match="no dataset"):
        undo("mine", "guest-b")
    assert find_row("mine", "k", "guest-b") is None
    drop_row("mine", "k", "guest-b")
    assert find_row("mine", "k", "guest-a")


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
    keys = {row_key("c", 0, 3, before[:3], tries) for before in (TALK, edited) for tries in (0, 1)}
    assert len(keys) == 4, "a retried answer is another one, too"


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
    with pytest.raises(UserError, match="Remove some rows"):
        change_rows("mine", {"k": None, "other": {"messages": TALK}})
    assert read_rows("mine") == before and len(list_datasets()) == 1
