"""The report of a check: every number is there, every word escaped, trained tokens are told from the others."""

from ui.train.data_form import MAPPED, cures_of, report_views, stops_of
from ui.train.report_view import conversations, histogram, raw_rows, summary, tokens

DROP = {"label": "Leave them out", "changes": {"drop_duplicates": True}}
SKIP = {"label": "Skip", "changes": {"skip_bad_rows": True}}
TURNS = [{"role": "user", "content": "<b>hi"}, {"role": "assistant", "content": "yo"}]
REPORT = {
    "base": "<base>",
    "base_reason": "because",
    **{"rows": 1234, "usable": 3, "turns": 4, "tokens": 50, "trained_tokens": 20, "held_out_rows": 1, "longest": 30},
    "mapping": {"prompt": "prompt"},
    "lengths": {"edges": [0, 10, 20], "counts": [1, 3]},
    "findings": [
        {"level": "warning", "message": "two <doubles>", "cure": DROP},
        {"level": "stop", "message": "bad rows", "cure": SKIP},
        {"level": "warning", "message": "again", "cure": DROP},
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
    assert "1,234" in shown and "two &lt;doubles&gt;" in shown and "&lt;base&gt;" in shown and "<base>" not in shown


def test_the_columns_that_were_found_are_said_and_can_be_changed():
    found = {"messages": "body.messages", "system": "rules"}
    report = {**REPORT, "mapping": found, "columns": ["rules", "body"], "guess": found}
    assert "Columns: messages = body.messages, system = rules." in summary(report)
    _, group, *views = report_views(report)
    assert (group.visible, group.open) == (True, False)
    chosen = dict(zip(MAPPED, views, strict=False))
    assert {name: box.value for name, box in chosen.items() if box.value} == found
    assert [value for _, value in chosen["messages"].choices] == ["", "rules", "body", "body.messages"]
    asked = report_views({**report, "mapping": None, "sample": [], "sample_rows": []})
    assert (asked[1].visible, asked[1].open) == (True, True)


def test_the_pressing_cures_come_first_and_each_once():
    assert cures_of(REPORT) == [SKIP, DROP] and stops_of(REPORT) == ["bad rows"]
    assert cures_of(None) == [] and stops_of(None) == []


def test_a_finding_may_have_several_ways_out():
    found = {"level": "warning", "message": "markup", "cure": DROP, "other_cures": [SKIP, DROP]}
    assert cures_of({**REPORT, "findings": [found, *REPORT["findings"][:1]]}) == [DROP, SKIP]


def test_trained_tokens_are_told_from_the_others():
    shown = tokens(REPORT["preview"])
    assert "<span class='tok on' title='3'>&lt;/s&gt;</span>" in shown
    assert "<span class='tok' title='1'>&lt;s&gt;</span>" in shown and "3 tokens, 1 trained" in shown


def test_conversations_are_escaped_and_unused_rows_say_why():
    shown = conversations(REPORT["preview"])
    draft = {**TURNS[1], "trained": False}
    assert "assistant (read, not trained)" in conversations([{**REPORT["preview"][0], "messages": [TURNS[0], draft]}])
    assert "(read, not trained)" not in shown
    assert "&lt;b&gt;hi" in shown and "<b>hi" not in shown and "not used: too long" in shown and "plain" in shown


def test_a_histogram_has_one_bar_a_bin():
    assert histogram(REPORT["lengths"]).count("class='bin'") == 2
    assert histogram({"edges": [0, 1], "counts": [0]}) == ""


def test_unrecognised_columns_are_shown_as_they_were_read():
    shown = raw_rows({"sample": [{"frage": "<b>", "antwort": "7"}], "sample_rows": ["3 of b.csv"]})
    assert "Row 3 of b.csv" in shown and "frage" in shown and "&lt;b&gt;" in shown and "7" in shown
