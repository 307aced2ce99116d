"""The checks find what is wrong with made rows, in English and in Korean, and leave good rows alone."""

import time
from collections import Counter

import pytest

from common.paths import test_sets_folder as folder_of_test_sets
from data.test_sets import write_test_set
from making.checks import check_row, check_set, has_personal_data, is_in_language, is_supported, is_truncated
from making.config import MakingConfig
from making.made import MadeRow
from tests.making.checked_rows import Checked, checked_rows, made_row

CONFIG = MakingConfig(recipe="question-answer")
BESIDE = ("duplicate", "leaked")  # found in a row beside others


@pytest.fixture(scope="module")
def rows() -> list[Checked]:
    return checked_rows()


def test_of_40_bad_rows_all_are_found_and_of_160_good_ones_one_is_suspected(rows, monkeypatch, tmp_path):
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path))
    leaked = [one.row["messages"] for one in rows if one.wrong == "leaked"]
    items = [{"messages": messages[:1], "answer": f"Well: {messages[1]['content']}"} for messages in leaked]
    write_test_set(folder_of_test_sets() / "exam", items, "Exam", "exam.jsonl")
    known = [one for one in rows if one.wrong != "subtle"]
    beside = check_set(one.row for one in known)
    found, wrongly = Counter(), []
    for one in known:
        findings = check_row(one.row, one.passage, CONFIG) + beside.get(one.row["key"], [])
        found[one.language, one.wrong] += one.wrong in findings
        wrongly += [(one.language, name) for name in findings if not one.wrong]
    bad = Counter((one.language, one.wrong) for one in known if one.wrong)
    assert bad.total() == 40 and len(known) == 200
    assert {kind: found[kind] for kind in bad} == bad, "recall of each kind, in each language"
    assert wrongly == [("ko", "ungrounded")], "'폭이 좁아요': 'narrow' in other words"


def test_an_answer_that_is_wrong_by_a_word_is_not_found_by_its_words(rows):
    subtle = [one for one in rows if one.wrong == "subtle"]
    found = ["ungrounded" in check_row(one.row, one.passage, CONFIG) for one in subtle]
    assert len(found) == 8 and sum(found) == 1


def test_numbers_are_compared_across_languages_and_words_are_not():
    passage = "The base is loaded in 12 seconds and takes 4,400 MB."
    assert is_supported("베이스는 12초 만에 올라오고 4400MB를 써요.", passage)
    assert not is_supported("베이스는 15초 만에 올라와요.", passage)


@pytest.mark.parametrize(
    ("recipe", "passage", "answer", "found"),
    [
        ("instruction", "", "Warsaw is the capital of Poland.", []),
        ("label", "A letter of complaint.", "complaint", []),
        ("label", "Write to jane@gmail.com", "complaint", ["personal"]),
        ("question-answer", "Say that it is 5.", "It is 5.\n\n- one\n- two of the", ["truncated"]),
        ("rewrite", "", "It is five. " * 60, ["repeats"]),
        ("rewrite", "", "...", ["length"]),
        ("instruction", "", "Sure! Here is the answer: five.", ["boilerplate"]),
        ("own", "The teacher may write 'As an AI'.", "The teacher may write 'As an AI'.", []),
    ],
)
def test_each_recipe_is_held_to_what_it_is_asked_for(recipe, passage, answer, found):
    asked = "Write to jane@gmail.com" if "jane" in passage else "What is it?"
    assert check_row(made_row("k", asked, answer), passage, MakingConfig(recipe=recipe)) == found


@pytest.mark.parametrize(
    ("language", "text", "is_right"),
    [
        ("ko", "`python -m trainer train --config config.yaml`을 쓰세요.", True),
        ("ko", "LoRA와 DoRA는 PEFT로 학습하는 어댑터예요.", True),
        ("ko", "Use the LoRA adapter with the base.", False),
        ("en", "Kimchi (김치) is made of cabbage and radish.", True),
        ("en", "김치는 배추로 만들어요. It is food.", False),
        ("ko", "配置文件中的学习率是多少呢请告诉我们", False),
        ("", "什么都可以写在这里面的文字啊朋友们", True),
        ("ko", "LoRA", True),
    ],
)
def test_a_language_is_told_by_the_letters_outside_of_code(language, text, is_right):
    assert is_in_language(text, language) == is_right


@pytest.mark.parametrize(
    ("answer", "cut"),
    [
        ("Paris", False),
        ("It is Paris. It lies on the", True),
        ("Run this:\n\n```\npip install", True),
        ("1. Open it\n2. Press Start", False),
        ("네, 그래요", False),
        ("먼저 파일을 열어요. 그다음에 버튼을", True),
        ("It is as follows:", True),
    ],
)
def test_an_answer_that_stops_in_a_sentence_is_cut(answer, cut):
    assert is_truncated(answer) == cut


@pytest.mark.parametrize(
    ("text", "is_personal"),
    [
        ("Mail jane.miller@gmail.com.", True),
        ("Mail you@example.com or admin@studio.test.", False),
        ("전화는 010-2345-6789예요.", True),
        ("02-123-4567로 전화하세요.", True),
        ("Call +44 20 7946 0958.", True),
        ("Version 2.11.0 of 2026-07-15, 1,234,567 rows, 192.168.100.200", False),
        ("900101-1234568", True),  # its check digit fits
        ("900101-1234567", False),
        ("991301-1234567", False),  # no 13th month
        ("250101-3123456", True),  # numbers of today have no check digit
        ("The key is hf_" + "AbCdEfGhIjKlMnOpQrStUv", True),
    ],
)
def test_personal_data_is_found_and_examples_are_not(text, is_personal):
    assert has_personal_data(text) == is_personal


def test_a_question_that_is_asked_twice_is_a_duplicate_whatever_is_answered():
    rows = [
        made_row("1", "How often is the base loaded?", "Once."),
        made_row("2", "How often is the base loaded?", "1 x"),
    ]
    assert check_set([*rows, made_row("3", "Who loads the base?", "The engine.")]) == {"2": ["duplicate"]}


@pytest.mark.parametrize(
    "piece", ["a", " ", "0", "가", "ignore ", "@", "a@a.", "010-", "+1 (", "`", "the ", "위 글 ", "ｅ́"]
)
def test_hostile_text_is_checked_in_time_that_grows_with_its_length(piece):
    text = (piece * 20_000)[:20_000]
    row: MadeRow = made_row("k", text, text)
    began = time.thread_time()
    check_row(row, text, CONFIG)
    assert time.thread_time() - began < 8
