"""Multiple choice in the shapes of published test sets, and which of the choices is right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from data.choices import first_number, read_choice

CHOICES = ["red", "green", "blue"]
ASKED = {"question": "Which?"}
ROWS = {
    "MMLU": {**ASKED, "subject": "colours", "choices": CHOICES, "answer": "B"},
    "ARC": {"id": "7", **ASKED, "choices": {"text": CHOICES, "label": ["1", "2", "3"]}, "answerKey": "2"},
    "OpenBookQA": {"question_stem": "Which?", "choices": {"text": CHOICES, "label": ["A", "B", "C"]}, "answerKey": "B"},
    "raw": {
        **ASKED,
        "choices": [{"label": key, "text": one} for key, one in zip("ABC", CHOICES, strict=True)],
        "answer": "b",
    },
    "object": {**ASKED, "options": dict(zip("ABC", CHOICES, strict=True)), "answer": "(B)"},
    "in words": {**ASKED, "options": CHOICES, "answer": "green", "explanation": "no"},
    "columns": {"Question": "Which?", "A": "red", "B": "green", "C": "blue", "D": None, "Answer": "B."},
    "of a table": {**ASKED, "choices": '["red", "green", "blue"]', "answer": "B"},
    "Korean": {"질문": "Which?", "보기": CHOICES, "정답": "B"},
}


@pytest.mark.parametrize("name", ROWS)
def test_published_shapes_are_read(name):
    choice = read_choice(ROWS[name])
    assert choice is not None and choice.choices == CHOICES and choice.answer(None) == "green"
    assert choice.messages == [{"role": "user", "content": "Which?"}]


@pytest.mark.parametrize(
    ("rows", "answers"),
    [
        ([{**ASKED, "endings": CHOICES, "label": number} for number in (0, 1)], ["red", "green"]),  # HellaSwag, MMLU
        ([{**ASKED, "A": "red", "B": "green", "answer": number} for number in (1, 2)], ["red", "green"]),  # KMMLU
        ([{"sentence": "_", "option1": "red", "option2": "green", "answer": one} for one in "12"], ["red", "green"]),
        ([{"goal": "_", "sol1": "red", "sol2": "green", "label": one} for one in (0, 1)], ["red", "green"]),  # PIQA
        ([{**ASKED, "choices": ["1", "2", "4"], "answer": one} for one in (0, 1)], ["1", "2"]),  # no sums in words
        ([{**ASKED, "choices": ["1", "2", "4"], "answer": one} for one in ("1", "4")], ["1", "4"]),  # sums in words
        ([{**ASKED, "choices": CHOICES, "answer": one} for one in ("0", "C")], ["red", "blue"]),
    ],
)
def test_all_rows_together_tell_whether_numbers_count_from_one(rows, answers):
    choices = [choice for row in rows if (choice := read_choice(row))]
    first = first_number(choices)
    assert [choice.answer(first) for choice in choices] == answers


@pytest.mark.parametrize("numbers", [(1, 2), (0, 3)])
def test_numbers_that_do_not_tell_are_never_guessed(numbers):
    choices = [choice for one in numbers if (choice := read_choice({**ASKED, "choices": CHOICES, "answer": one}))]
    with pytest.raises(UserError, match="from 0 or from 1"):
        first_number(choices)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "completion": "Hello"},
        {**ASKED, "choices": CHOICES, "answer": "purple"},
        {**ASKED, "choices": CHOICES, "answer": -1},  # of a hidden test split
        {**ASKED, "choices": CHOICES, "answer": 9},
        {**ASKED, "choices": CHOICES},
        {**ASKED, "choices": ["red", "red"], "answer": 1},
        {**ASKED, "choices": ["red"], "answer": "A"},
        {**ASKED, "choices": [["red"], ["green"]], "answer": "A"},
        {"choices": CHOICES, "answer": "A"},
        {**ASKED, "choices": "[" * 10_000, "answer": "A"},
    ],
)
def test_other_rows_are_no_multiple_choice(row):
    assert read_choice(row) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["question", "choices", "options", "answer", "label", "A", "b", "option1", "option2", "context", "text"]
)


@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_no_row_breaks_the_reader_and_every_answer_is_a_choice(row):
    choice = read_choice(row)
    if choice:
        assert all(answer is None or answer in choice.choices for answer in map(choice.answer, (None, 0, 1)))
