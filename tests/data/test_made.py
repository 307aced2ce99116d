"""Rows that a teacher made say so, and are counted by who made them."""

from collections import Counter

import pytest

from data.made import MAX_KINDS, Maker, count_made, describe_made, made_by, maker_of

ORIGIN = {"teacher": "qwen", "recipe": "question-answer", "version": "1", "licence": "apache-2.0"}


def counted(*origins) -> Counter[Maker]:
    makers: Counter[Maker] = Counter()
    for origin in origins:
        if maker := maker_of({"made": origin}):
            count_made(makers, maker)
    return makers


def test_rows_are_counted_by_teacher_recipe_and_licence_and_those_that_a_person_changed_with_them():
    found = made_by(counted(ORIGIN, {**ORIGIN, "edited": True}, {**ORIGIN, "teacher": "local"}))
    qwen = {**ORIGIN, "rows": 2, "edited": 1}
    assert found == [qwen, {**ORIGIN, "teacher": "local", "rows": 1, "edited": 0}]
    words = "3 of 10 rows were made by qwen, local. A person changed 1 of them."
    assert describe_made(found, 10) == words


@pytest.mark.parametrize("value", [None, "qwen", 7, [], {}, {"teacher": ""}, {"teacher": ["a"]}, {"teacher": " \n"}])
def test_what_is_no_origin_was_not_made(value):
    assert maker_of({"made": value}) is None
    assert describe_made([], 10) is None


def test_a_strangers_origins_are_bounded_in_number_and_in_length():
    many = counted(*({"teacher": f"{number} " + "x" * 10_000, "recipe": {"a": []}} for number in range(1000)))
    assert many.total() == 1000 and len(many) <= MAX_KINDS + 2
    assert max(len(maker.teacher) for maker in many) <= 200
    assert len(describe_made(made_by(many), 1000)) < 1000


def test_a_teachers_name_stays_on_one_line():
    assert maker_of({"made": {"teacher": "a\n# Title\n b"}}).teacher == "a # Title b"
