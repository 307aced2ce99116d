"""Blind judging in the Evaluate tab."""

import re

import pytest

from evaluation.judging import read_judgements
from evaluation.run import Evaluation
from tests.ui.evaluations import ADAPTER, SET, put_evaluation
from ui.evaluate.judge import judge, judged_html, pair_views

HERS, HIS = "Mina", "Ben"


def judge_all(evaluation: Evaluation, name: str, preferred: list[str]) -> None:
    """Prefer the answers of these words, one pair after the other."""
    for words in preferred:
        shown, pair_id, _row = pair_views(evaluation, SET, ADAPTER, name)
        left, right = re.findall("<div><b>(?:Left|Right)</b>(.*?)</div>", shown)
        choice = "left" if words in left else "right" if words in right else "tie"
        judge(evaluation, SET, ADAPTER, name, pair_id, choice)


def test_nothing_tells_whose_the_answers_are_and_both_sides_come_first():
    evaluation, lefts = put_evaluation(count=4), []
    for _number in range(4):
        shown, pair_id, row = pair_views(evaluation, SET, ADAPTER, HERS)
        assert row.visible and not re.search("base|coach|adapter", f"{shown} {pair_id}", re.IGNORECASE)
        lefts.append(re.findall("<b>Left</b>(.*?)</div>", shown)[0])
        judge(evaluation, SET, ADAPTER, HERS, pair_id, "tie")
    assert sorted(lefts) == ["forty-one"] * 2 + ["forty-two"] * 2
    assert "You have judged all of them." in pair_views(evaluation, SET, ADAPTER, HERS)[0]


def test_the_result_has_its_interval_and_kappa_where_two_judged_the_same():
    evaluation = put_evaluation(count=4)
    assert "Nothing was judged yet." in judged_html(evaluation, ADAPTER)
    judge_all(evaluation, HERS, ["two", "two", "two", "one"])
    found = judged_html(evaluation, ADAPTER)
    assert "Preferred in 3 of 4 decided pairs" in found and "not decided yet" in found and "Kappa" not in found
    judge_all(evaluation, HIS, ["two", "two", "one", "one"])
    assert "Ben and Mina agree in 75% of 4 pairs. Kappa 0.50." in judged_html(evaluation, ADAPTER)


def test_a_second_press_before_the_next_pair_is_seen_is_no_verdict():
    evaluation = put_evaluation(count=2)
    pair_id = pair_views(evaluation, SET, ADAPTER, HERS)[1]
    judge(evaluation, SET, ADAPTER, HERS, pair_id, "left")
    judge(evaluation, SET, ADAPTER, HERS, pair_id, "left")
    assert len(read_judgements(evaluation.folder)) == 1


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ((SET, ADAPTER, ""), "First say who judges"),
        ((SET, ADAPTER, ["x"]), "First say who judges"),
        (("x", ADAPTER, HERS), "no two different answers"),
        ((SET, "base", HERS), "no two different answers"),
        (([], {}, HERS), "no two different answers"),
    ],
)
def test_where_there_is_nothing_to_judge_a_sentence_says_why(asked, sentence):
    shown, pair_id, row = pair_views(put_evaluation(), *asked)
    assert sentence in shown and not pair_id and not row.visible


def test_answers_are_text():
    bad = "<img src=x>"
    shown = pair_views(put_evaluation(answers=(bad, f"{bad}{bad}"), question=bad), SET, ADAPTER, HERS)[0]
    assert "<img" not in shown and shown.count("&lt;img src=x&gt;") == 4
