"""Near-duplicates: the same pairs as a comparison of all with all, in any script, and none that are less similar."""

import random
import unicodedata

import pytest

from data.near_duplicates import MIN_SIMILARITY, NearTexts, near_duplicates, overlap
from data.test_sets import find_test_set, items_of

ENGLISH = "The candle burns with a steady flame, and the wax rises slowly in the wick by capillary attraction."
KOREAN = "한강은 태백산맥에서 시작된 두 물줄기가 양평 두물머리에서 만나 서울을 가로지르고 서해로 흘러드는 강이다."


def jaccard(one: str, other: str) -> float:
    """The definition, over sets of Python strings."""
    plain = ["".join(unicodedata.normalize("NFC", text).casefold().split()) for text in (one, other)]
    sets = [{text[place : place + 5] for place in range(len(text) - 4)} for text in plain]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def changed(text: str, share: float, chance: random.Random) -> str:
    """The text with a share of its words replaced."""
    return " ".join("other" if chance.random() < share else word for word in text.split())


@pytest.mark.parametrize("text", [ENGLISH, KOREAN])
def test_white_space_case_and_composition_are_no_difference(text):
    index = NearTexts()
    index.add(7, text)
    for other in (
        text.replace(" ", ""),
        f"\n{text.upper()}  ",
        unicodedata.normalize("NFD", text),
        text.replace(" ", "\n", 3),
    ):
        assert index.find(other) == [7]
    assert index.find(KOREAN if text == ENGLISH else ENGLISH) == []


def test_the_pairs_found_are_those_that_a_comparison_of_all_finds():
    chance = random.Random(0)
    texts = [item["text"] for item in find_test_set("general").items()][:120]
    index = NearTexts()
    for key, text in enumerate(texts):
        index.add(key, text)
    near = found = 0
    for key, text in enumerate(texts):
        for share in (0.02, 0.04, 0.06, 0.1, 0.3):
            other = changed(text, share, chance)
            is_near, is_found = jaccard(text, other) >= MIN_SIMILARITY, index.find(other) == [key]
            assert is_near or not is_found
            near, found = near + is_near, found + is_found
    assert 150 < near < 500 and found >= 0.99 * near


def test_test_items_in_the_training_rows_are_counted_once_as_exact_or_near():
    def row(question: str, answer: str, system: str = "You are a patient and friendly teacher of all things.") -> dict:
        said = (("system", system), ("user", question), ("assistant", answer))
        return {"messages": [{"role": role, "content": content} for role, content in said]}

    tested = [
        row(ENGLISH, "yes"),
        row(KOREAN, "예"),
        row("What is 2 + 2?", "4"),
        row("Who are you?", "A teacher."),
        row(ENGLISH, "yes"),
    ]
    trained = [
        row(ENGLISH, "yes", system=""),
        row(f"{ENGLISH} ", "yes"),
        row(KOREAN.replace("강이다", "강"), "예"),
        row("What is 2 + 3?", "5"),
    ]
    found = overlap(items_of(tested), trained)
    assert (found.exact, found.near) == ({1, 5}, {2})


def test_within_one_set_each_repeat_names_the_first_that_it_repeats():
    texts = [ENGLISH, KOREAN, ENGLISH + " Yes.", "short", KOREAN.replace(" ", ""), "short", ENGLISH, ""]
    assert list(near_duplicates(texts)) == [(2, 0), (4, 1), (5, 3), (6, 0)]


@pytest.mark.parametrize("text", ["", " \n", "a", "가", "\ud800", "🙂" * 3, "x" * 200_000])
def test_any_text_is_near_itself(text):
    assert list(near_duplicates([text, ENGLISH, text])) == [(2, 0)]
