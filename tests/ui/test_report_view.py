"""The report of a check: every number is there, every word escaped, trained tokens are told from the others."""

import re

import pytest

from data.findings import finding
from ui.train.data_form import MAPPED, report_views, stops_of
from ui.train.report_view import conversations, cures_of, found_in_one_line, histogram, raw_rows, summary, tokens

DROP = {"label": "Leave them out", "changes": {"drop_duplicates": True}}
SKIP = {"label": "Skip", "changes": {"skip_bad_rows": True}}
TURNS = [{"role": "user", "content": "<b>hi"}, {"role": "assistant", "content": "yo"}]
REPORT = {
    "base": "<base>",
    "base_reason": "because",
    **{"rows": 1234, "usable": 3, "turns": 4, "tokens": 50, "trained_tokens": 20, "held_out_rows": 1, "longest": 30},
    **{"mapping": {"prompt": "prompt"}, "shape": "prompt", "mean_length": 17.0, "train_rows": 2},
    "lengths": {"edges": [0, 10, 20], "counts": [1, 3]},
    "findings": [
        finding("duplicates", "warning", "two <doubles>", DROP),
        finding("bad_rows", "stop", "bad rows", SKIP),
        finding("leaked", "warning", "again", DROP),
    ],
    "preview": [
        {
            **{"row": 1, "length": 3, "used": True, "ids": [1, 2, 3], "tokens": ["<s>", "hi", "</s>"]},
            **{"trained": [False, False, True], "messages": TURNS},
        },
        {
            **{"row": 2, "length": 1, "used": False, "ids": [4], "tokens": ["x↵"], "trained": [False]},
            **{"messages": None, "text": "plain", "why_not": "too long"},
        },
    ],
}


def test_numbers_and_findings_are_shown_and_escaped():
    shown = summary(REPORT)
    assert (
        "<b>1,234</b> rows" in shown
        and "<b>1</b> held out" in shown
        and "two &lt;doubles&gt;" in shown
        and "&lt;base&gt;" in shown
        and "<base>" not in shown
    )


def test_the_columns_that_were_found_are_said_and_can_be_changed():
    found = {"messages": "body.messages", "system": "rules"}
    report = {**REPORT, "mapping": found, "columns": ["rules", "body"], "guess": found}
    assert "Columns: messages = body.messages, system = rules." in summary(report)
    _found, _numbers, group, *views = report_views(report)
    assert (group.visible, group.open) == (True, False)
    chosen = dict(zip(MAPPED, views, strict=False))
    assert {name: box.value for name, box in chosen.items() if box.value} == found
    assert [value for _, value in chosen["messages"].choices] == ["", "rules", "body", "body.messages"]
    asked = report_views({**report, "mapping": None, "sample": [], "sample_rows": []})
    assert (asked[2].visible, asked[2].open) == (True, True)


def test_the_pressing_cures_come_first_and_each_once():
    assert cures_of(REPORT) == [SKIP, DROP] and stops_of(REPORT) == ["bad rows"]
    assert cures_of(None) == [] and stops_of(None) == []


def test_a_finding_may_have_several_ways_out():
    found = finding("markup", "warning", "markup", DROP, SKIP, DROP)
    assert cures_of({**REPORT, "findings": [found, *REPORT["findings"][:1]]}) == [DROP, SKIP]


def test_each_cure_is_a_button_in_the_finding_that_it_cures():
    html = {"label": "Keep <b>", "changes": {"markup": "keep"}}
    shown = summary({**REPORT, "findings": [*REPORT["findings"], finding("markup", "info", "markup", html)]})
    boxes = shown.split("<div class='finding ")[1:]
    labels = [re.findall(r"<button type='button' data-cure='(\d)'>(.*?)</button>", box) for box in boxes]
    drop, skip = ("1", "Leave them out"), ("0", "Skip")
    assert labels == [[drop], [skip], [drop], [("2", "Keep &lt;b&gt;")]]


def test_trained_tokens_are_told_from_the_others():
    shown = tokens(REPORT["preview"])
    assert "<span class='tok on' title='3'>&lt;/s&gt;</span>" in shown
    assert "<span class='tok' title='1'>&lt;s&gt;</span>" in shown and "3 tokens, 1 trained" in shown


def test_a_character_of_several_tokens_is_one_piece_with_its_ids():
    row = {
        **REPORT["preview"][1],
        "length": 4,
        "ids": [4, 5, 6, 7],
        "tokens": ["한", "", "", "a"],
        "trained": [True] * 4,
    }
    shown = tokens([row])
    assert "<span class='tok on' title='3 tokens: 4, 5, 6'>한<sub>3</sub></span>" in shown
    assert "<span class='tok on' title='7'>a</span>" in shown and "4 tokens, 4 trained" in shown


def test_rows_that_cannot_be_used_are_listed_with_their_place_and_escaped():
    bad = [{"where": "Line 3", "reason": "This line is not JSON: <b>.", "text": "{<i>"}]
    shown = summary({**REPORT, "findings": [{**REPORT["findings"][1], "rows": bad}]})
    assert "<b>Needs fixing:</b> bad rows<details><summary>Show the row</summary>" in shown
    assert "<li><b>Line 3</b> This line is not JSON: &lt;b&gt;. <code>{&lt;i&gt;</code></li>" in shown
    assert "Show the first 2 rows" in summary({**REPORT, "findings": [{**REPORT["findings"][1], "rows": bad * 2}]})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "220 conversations, 198 to train on and 22 held out, about 90 tokens each"),
        ({"shape": "text", "held_out_rows": 0}, "220 texts to train on, about 90 tokens each"),
        ({"shape": "messages and text", "usable": 1, "held_out_rows": 0}, "1 row to train on, about 90 tokens each"),
        ({"usable": 0}, "Nothing to train on was found"),
        ({"mapping": None, "columns": ["a"], "rows": 1}, "1 row, but it is not clear which column is what"),
    ],
)
def test_what_was_found_is_said_in_one_line(changes, words):
    found = {"mapping": {"messages": "messages"}, "columns": ["messages"], "shape": "messages", "mean_length": 89.7}
    counts = {"rows": 220, "usable": 220, "train_rows": 198, "held_out_rows": 22}
    assert found_in_one_line({**found, **counts, **changes}) == words


def test_conversations_are_escaped_and_unused_rows_say_why():
    shown = conversations(REPORT["preview"])
    draft = {**TURNS[1], "trained": False}
    assert "Assistant (read, not trained)" in conversations([{**REPORT["preview"][0], "messages": [TURNS[0], draft]}])
    assert "(read, not trained)" not in shown
    assert "&lt;b&gt;hi" in shown and "<b>hi" not in shown and "not used: too long" in shown and "plain" in shown


def test_a_histogram_has_one_bar_a_bin():
    assert histogram(REPORT["lengths"]).count("class='bin'") == 2
    assert histogram({"edges": [0, 1], "counts": [0]}) == ""


def test_unrecognised_columns_are_shown_as_they_were_read():
    shown = raw_rows({"sample": [{"frage": "<b>", "antwort": "7"}], "sample_rows": ["3 of b.csv"]})
    assert "Row 3 of b.csv" in shown and "frage" in shown and "&lt;b&gt;" in shown and "7" in shown
