"""A line of text names one data set or several, whatever is in their names."""

import time

import pytest

from common.errors import UserError
from common.mix import DataShare, as_text, data_sets, line_of, mix_problem


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("example", [DataShare("example")]),
        ("rows.jsonl", [DataShare("rows.jsonl")]),
        ("a.jsonl:0.7, b.jsonl:0.3", [DataShare("a.jsonl", 0.7), DataShare("b.jsonl", 0.3)]),
        (" a.jsonl ,\nexample, ", [DataShare("a.jsonl"), DataShare("example")]),
        ("owner/name:70%,/x/b.csv.gz : 30 %", [DataShare("owner/name", 70), DataShare("/x/b.csv.gz", 30)]),
        ("o/n@v1.2/x:.5, o/m@main", [DataShare("o/n", 0.5, "v1.2/x"), DataShare("o/m", None, "main")]),
        ("C:\\x.csv", [DataShare("C:\\x.csv")]),
        ("C:\\my, rows\\x.csv:2, D:\\y.csv:1", [DataShare("C:\\my, rows\\x.csv", 2), DataShare("D:\\y.csv", 1)]),
        ("Data, final (2).csv, b.jsonl", [DataShare("Data, final (2).csv"), DataShare("b.jsonl")]),
        ("12:30.csv", [DataShare("12:30.csv")]),
        ("me@home/x.csv, me/x@2.csv:1", [DataShare("me@home/x.csv"), DataShare("me/x@2.csv", 1)]),
        (" , ", []),
    ],
)
def test_a_line_gives_its_data_sets_and_they_give_it_back(text, found):
    assert data_sets(text) == found == data_sets(as_text(found))


def test_what_is_a_file_is_one_data_set_whatever_its_name(tmp_path):
    for name in ("a.jsonl, b.jsonl", "a.jsonl:1", "o@v1"):
        (tmp_path / name).touch()
        assert data_sets(str(tmp_path / name)) == [DataShare(str(tmp_path / name))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.jsonl:1, b.jsonl", "every dataset a share"),
        ("a.jsonl:0.5", "set max_rows"),
        ("a.jsonl:1, b.jsonl:0", "above 0"),
        ("a.jsonl:1, b.jsonl:-1", "above 0"),
        (f"a.jsonl:1, b.jsonl:{'9' * 400}", "above 0"),
        ("a.jsonl, b.jsonl, a.jsonl", "'a.jsonl' is listed twice"),
        (", ".join(f"{number}.jsonl" for number in range(21)), "at most 20"),
        ("a\nb.jsonl, c.jsonl", "several lines"),
        ("", "choose the data"),
    ],
)
def test_what_is_no_mix_is_said(text, words):
    assert words in mix_problem(data_sets(text))


@pytest.mark.parametrize(
    "value",
    [
        "a.jsonl:0.7, o/n:0.3",
        ["a.jsonl:0.7", "o/n:0.3"],
        [{"a.jsonl": 0.7}, {"o/n": 0.3}],
        {"a.jsonl": 0.7, "o/n": "0.3"},
    ],
)
def test_a_list_or_a_table_is_the_same_as_the_line(value):
    assert line_of(value) == "a.jsonl:0.7, o/n:0.3"


@pytest.mark.parametrize("value", [None, 3, [["a"]], {"a": {"b": 1}}, [3]])
def test_what_names_no_data_sets_stays_as_it_is(value):
    assert line_of(value) == value


@pytest.mark.parametrize("name", ["/t/a.jsonl, b.jsonl", "/t/a.jsonl:5", "/t/a.jsonl,/etc/secret.jsonl"])
def test_a_file_whose_name_would_be_read_as_others_cannot_stand_among_several(tmp_path, name):
    with pytest.raises(UserError, match="Rename it"):
        as_text([DataShare(name), DataShare("/t/c.jsonl")])
    (tmp_path / "a.jsonl, b.jsonl").touch()
    alone = [DataShare(str(tmp_path / "a.jsonl, b.jsonl"))]
    assert data_sets(as_text(alone)) == alone


def test_a_line_of_a_hundred_thousand_commas_takes_a_moment():
    started = time.thread_time()
    assert data_sets("a," * 100_000) == [DataShare("a," * 100_000)]
    mix_problem([DataShare(str(number)) for number in range(100_000)])
    assert time.thread_time() - started < 5
