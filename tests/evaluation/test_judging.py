"""Blind judging: seeded pairs, a record that loses nothing, win rates and kappa as others compute them."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from common.errors import UserError
from evaluation.judging import (
    JUDGEMENTS_FILE,
    agreements,
    keep_judgement,
    next_pair,
    pairs_to_judge,
    read_judgements,
    win_rate,
    win_sentence,
)

ITEMS = [{"number": number, "messages": [{"role": "user", "content": f"Q{number}"}]} for number in range(1, 41)]
BASE = {number: {"item": number, "answer": f"base {number}"} for number in range(1, 41)}
TUNED = {number: {"item": number, "answer": f"tuned {number}"} for number in range(1, 41)}
NAMES = ("base", "adapter:mine")


def pairs(seed: int = 0, tuned=TUNED):
    return pairs_to_judge("questions", ITEMS, ("base", BASE), ("adapter:mine", tuned), seed)


def judge_all(folder, prefers, judge: str = "Mina", count: int = 40) -> None:
    """Judge the first pairs: `prefers(place)` is a candidate, or "" for a tie."""
    for place, pair in enumerate(pairs()[:count]):
        name = prefers(place)
        keep_judgement(folder, pair, "tie" if not name else "left" if pair.left == name else "right", judge)


def test_pairs_come_in_a_seeded_order_each_candidate_as_often_left():
    found = pairs()
    assert found == pairs() and found != pairs(1)
    assert {pair.item for pair in found} == {*BASE} and [pair.item for pair in found] != [*BASE]
    assert [pair.left for pair in found].count("base") == 20
    for pair in found:
        assert {pair.left_answer: pair.left, pair.right_answer: pair.right} == {
            f"base {pair.item}": "base",
            f"tuned {pair.item}": "adapter:mine",
        }


def test_of_thousands_of_judges_the_agreement_of_those_who_judged_most_is_told():
    one = pairs()[0]
    judgement = {"test_set": one.test_set, "item": one.item, "left": one.left, "right": one.right, "choice": "tie"}
    crowd = [judgement | {"judge": f"judge {number}", "at": 0.0} for number in range(20_000)]
    more = [judgement | {"judge": name, "item": 1_000, "at": 0.0} for name in ("judge 17000", "judge 3")]
    found = agreements(crowd + more, *NAMES)
    assert len(found) == 190 and max(found, key=lambda both: both.n).n == 2


def test_equal_and_missing_answers_are_not_judged():
    tuned = TUNED | {3: {"item": 3, "answer": " base 3 "}, 4: {"item": 4, "answer": ""}, 5: {"item": 5}}
    del tuned[6]
    assert {pair.item for pair in pairs(tuned=tuned)} == {*BASE} - {3, 5, 6}


def test_each_judge_goes_on_where_they_were_and_damaged_lines_cost_only_themselves(tmp_path):
    judge_all(tmp_path, lambda place: "base", "Mina", 3)
    with open(tmp_path / JUDGEMENTS_FILE, "a", encoding="utf-8") as file:
        file.write(
            '{"test_set": "questions", "item": [1], "left": "a", "right": "b", "choice": "left", "judge": "x"}\n'
        )
        file.write('{"test_set": "questions", "item": 1, "left": "a", "right": "b", "judge": "Mina"}\n')
        file.write(json.dumps({"choice": "best"}) + '\n{"cut')
    judge_all(tmp_path, lambda place: "", "Jun", 1)
    judgements = read_judgements(tmp_path)
    assert len(judgements) == 4
    assert next_pair(pairs(), judgements, " Mina ") == pairs()[3]
    assert next_pair(pairs(), judgements, "Jun") == pairs()[1]
    assert next_pair(pairs()[:3], judgements, "Mina") is None


def test_of_several_choices_of_one_judge_the_last_counts_and_of_several_judges_the_majority(tmp_path):
    judge_all(tmp_path, lambda place: "base")
    judge_all(tmp_path, lambda place: "adapter:mine")
    assert (win_rate(read_judgements(tmp_path), *NAMES).wins, len(read_judgements(tmp_path))) == (40, 80)
    judge_all(tmp_path, lambda place: "base", "Jun")
    assert win_rate(read_judgements(tmp_path), *NAMES).ties == 40
    judge_all(tmp_path, lambda place: "base" if place else "", "Sol")
    found = win_rate(read_judgements(tmp_path), *NAMES)
    assert (found.wins, found.losses, found.ties) == (0, 39, 1)


@pytest.mark.parametrize(
    ("wins", "verdict", "words"),
    [
        (29, "better", "Preferred in 29 of 36 decided pairs (64 % to 92 %), 4 ties."),
        (20, "undecided", "Preferred in 20 of 36 decided pairs (38 % to 72 %), 4 ties: not decided yet."),
        (3, "worse", "Preferred in 3 of 36 decided pairs (2 % to 22 %), 4 ties."),
    ],
)
def test_a_win_rate_has_an_exact_interval_and_a_verdict_that_agrees(tmp_path, wins, verdict, words):
    judge_all(tmp_path, lambda place: "" if place < 4 else "adapter:mine" if place < 4 + wins else "base")
    found = win_rate(read_judgements(tmp_path), *NAMES)
    interval = binomtest(wins, 36).proportion_ci(method="exact")
    assert (found.share.low, found.share.high) == (interval.low, interval.high)
    assert found.verdict == verdict and (verdict == "undecided") == (interval.low <= 0.5 <= interval.high)
    assert win_sentence(found) == words
    turned = win_rate(read_judgements(tmp_path), *reversed(NAMES))
    assert (turned.wins, turned.losses, turned.p) == (found.losses, found.wins, found.p)


def test_nothing_judged_or_only_ties_decide_nothing(tmp_path):
    assert win_rate(read_judgements(tmp_path), *NAMES).share is None
    judge_all(tmp_path, lambda place: "", count=3)
    found = win_rate(read_judgements(tmp_path), *NAMES)
    assert (found.verdict, win_sentence(found)) == ("undecided", "No pair decided, 3 ties.")


def test_kappa_is_scikit_learns(tmp_path):
    draw = np.random.default_rng(0)
    names = ["base", "adapter:mine", ""]
    mina = draw.choice(names, 40, p=[0.2, 0.6, 0.2])
    jun = np.where(draw.random(40) < 0.6, mina, draw.choice(names, 40))
    judge_all(tmp_path, lambda place: mina[place], "Mina")
    judge_all(tmp_path, lambda place: jun[place], "Jun", 30)
    judge_all(tmp_path, lambda place: "base", "Sol", 0)
    (found,) = agreements(read_judgements(tmp_path), *NAMES)
    assert (found.first, found.second, found.n) == ("Jun", "Mina", 30)
    assert found.share == (mina[:30] == jun[:30]).mean()
    assert found.kappa == pytest.approx(cohen_kappa_score(mina[:30], jun[:30]))


def test_kappa_of_judges_who_always_choose_one_is_not_defined(tmp_path):
    judge_all(tmp_path, lambda place: "base", "Mina")
    judge_all(tmp_path, lambda place: "base", "Jun")
    (found,) = agreements(read_judgements(tmp_path), *NAMES)
    assert (found.share, found.kappa) == (1, None)


@pytest.mark.parametrize(("choice", "judge"), [("both", "Mina"), ("left", " \x00 ")])
def test_what_is_no_choice_is_a_sentence(tmp_path, choice, judge):
    with pytest.raises(UserError, match="say who judges"):
        keep_judgement(tmp_path, pairs()[0], choice, judge)
    assert read_judgements(tmp_path) == []


def test_a_record_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr("evaluation.judging.MAX_JUDGEMENTS_BYTES", 1_000)
    with pytest.raises(UserError, match="can keep no more judgements"):
        judge_all(tmp_path, lambda place: "base")
    assert 1_000 <= (tmp_path / JUDGEMENTS_FILE).stat().st_size < 1_300
