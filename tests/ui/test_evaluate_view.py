"""What the page makes of what an evaluation found."""

import re
from dataclasses import replace

import pytest

from common.language import Sentence
from evaluation.results import Difference, Line, ScoreEstimate
from evaluation.scores import SCORES
from evaluation.table import DifferingRow
from tests.ui.evaluations import ADAPTER, LINES, SET
from ui.evaluate.view import rows_html, tables_html
from ui.scores import figure

NAMES = {"base": "Base", ADAPTER: "Study coach"}


def cells(shown: str) -> list[list[str]]:
    """The words of each cell of a table, row by row."""
    rows = re.findall("<tr>(.*?)</tr>", shown)
    return [[" ".join(re.sub("<[^>]+>", " ", one).split()) for one in re.split("</t[hd]>", row)[:-1]] for row in rows]


def test_each_difference_stands_with_its_interval_its_word_and_the_number_of_questions():
    head, loss, exact = cells(tables_html(LINES, {SET: "My exam"}, NAMES))
    assert head == ["Score", "Base", "Study coach", "Study coach minus Base", "n"]
    assert loss[0] == "Loss per token nats, lower is better" and loss[1:3] == [
        "2.500 [2.300, 2.700]",
        "1.500 [1.400, 1.600]",
    ]
    assert loss[3:] == ["-1.000 [-1.200, -0.800] better", "40"]
    assert exact[3:] == ["-5.0 [-15.0, +5.0] not decided about 1,234 rows would show it", "40"]
    shown = tables_html(LINES, {SET: "My exam"}, NAMES)
    assert "<td class='better'>" in shown and "<td class='undecided'>" in shown
    assert "role='group' tabindex='0' aria-label='My exam'" in shown, "a keyboard reaches what scrolls"


def test_above_the_tables_a_sentence_says_of_each_test_set_and_model_how_it_does_beside_the_first():
    summed = re.findall("<li class='(.*?)'>(.*?)</li>", tables_html(LINES, {SET: "My exam"}, NAMES))
    (verdict, words), *others = [(verdict, " ".join(re.sub("<[^>]+>", " ", one).split())) for verdict, one in summed]
    assert verdict == "better" and words == "My exam Loss per token Better by 1.000 nats (0.800 to 1.200) on 40 rows."
    assert not others
    third = replace(LINES[1], candidate="adapter:other")
    shown = tables_html([*LINES, third], {SET: "My exam"}, {**NAMES, "adapter:other": "Other"})
    assert shown.count("<li class='better'>") == 2 and "My exam · Other" in shown


def test_where_neither_way_is_better_no_word_says_so():
    estimate, difference = ScoreEstimate(20, 19, 21, 9), Difference(4, 3, 5, 9, 0.01, "better")
    lines = [Line(SET, "length", "base", estimate, None), Line(SET, "length", ADAPTER, estimate, difference)]
    assert cells(tables_html(lines, {}, NAMES))[1][3] == "+4.0 [+3.0, +5.0]"


def test_a_candidate_that_was_not_asked_has_a_dash_and_no_comparison():
    lines = [LINES[0], LINES[1], LINES[2]]
    assert cells(tables_html(lines, {}, NAMES))[2][2:] == ["–", "–", "40"]
    assert tables_html([], {}, NAMES) == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_a_dash(value):
    assert figure(SCORES["loss"], value) == "–"


def test_nothing_that_came_from_outside_is_html():
    bad = "<img src=x onerror=alert(1)>'\""
    lines = [replace(line, notes=(Sentence("{name} is odd", {"name": bad}),), test_set=bad) for line in LINES]
    lines += [replace(LINES[0], score=bad)]
    shown = tables_html(lines, {bad: bad}, dict.fromkeys(NAMES, bad))
    shown += rows_html([DifferingRow(1, bad, bad, bad, bad, 0.0, 1.0)], SCORES["exact"], bad)
    assert shown.count("&lt;img src=x onerror=alert(1)&gt;&#x27;&quot;") >= 10
    assert "<img" not in shown and "'\"" not in shown


def test_a_note_that_several_scores_have_is_said_once():
    note = Sentence("{count} left out", {"count": 3})
    assert tables_html([replace(line, notes=(note,)) for line in LINES], {}, NAMES).count("3 left out") == 1


def test_a_row_shows_the_question_the_expected_answer_and_both_answers_with_their_scores():
    row = DifferingRow(1, "6 x 7?", "42", "41", "", 0.0, 1.0)
    shown = rows_html([row], SCORES["exact"], "Study coach")
    words = " ".join(re.sub("<[^>]+>", " ", shown).split())
    assert words == "6 x 7? The base 41 Study coach nothing Expected: 42 Exact match: 0.0 → 100.0"
    shown = rows_html([replace(row, candidate_answer="x" * 9_999)], SCORES["exact"], "Study coach")
    assert len(shown) < 4_000 and "x …" in shown
    shown = rows_html([replace(row, reference_answer="", expected="")], SCORES["loss"], "Study coach")
    assert "nothing" not in shown and "Loss per token: 0.000 → 1.000" in shown, "of a text there are no answers"
    assert "They differ in no row." in rows_html([], SCORES["exact"], "Study coach")
