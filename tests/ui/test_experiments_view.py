"""What the page makes of an experiment: its grid, its table, its verdicts and its figures."""

import re
from base64 import b64decode
from dataclasses import replace

from common.language import Sentence
from evaluation.experiments.arms import arms_of
from evaluation.experiments.bundle import CellCheck
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Cell
from evaluation.experiments.notes import NOTES
from evaluation.experiments.verdicts import Settled
from tests.ui.experiments import COMPARISONS, ENTRIES, TABLE, beside, entry
from tests.ui.test_evaluate_view import cells
from ui.experiments import ready, view
from ui.experiments.view import checks_html, figures_html, grid_html, tables_html, verdicts_html

BAD = "<img src=x onerror=alert(1)>'\""


def cell(arm, seed, status="done", message="", seconds=None):
    return Cell(arm, seed, status, message, seconds, None)


def test_the_grid_has_an_arm_a_row_and_a_seed_a_column_and_says_why_one_failed():
    base, lora = arms_of(ExperimentConfig(vary={"method": ["none", "lora"]}))
    grid = [
        cell(base, None),
        cell(lora, 1, seconds=75.0),
        cell(lora, 2, "failed", "No room."),
        cell(lora, 3, "training"),
    ]
    shown = grid_html(grid)
    assert cells(shown) == [
        ["Arm", "seed 1", "seed 2", "seed 3"],
        ["Base", "done"],
        ["LoRA", "done 75 s", "failed", "training"],
    ]
    assert "colspan='3'" in shown and "<p class='problem'>LoRA, seed 2: No room.</p>" in shown
    assert cells(grid_html([cell(base, None)])) == [["Arm", ""], ["Base", "done"]] and grid_html([]) == ""


def test_the_table_has_an_arm_a_row_the_best_in_bold_and_a_word_beside_the_reference():
    shown = tables_html(TABLE)
    head, base, lora, full = cells(shown)[:4]
    assert head == ["Arm", "Loss per token nats, lower is better"]
    assert base == ["Base the reference", "2.500 [2.300, 2.700]"]
    assert lora == ["LoRA", "1.500 [1.300, 1.700] better"] and full == ["Full tuning", "1.750 [1.550, 1.950] better"]
    assert "<b>1.500</b>" in shown and shown.count("<b>") == 1, "bold is the best alone"
    assert "With 3 seeds an interval is wide" in shown
    assert cells(shown)[5:] == [
        ["Held-out rows", "Loss per token", "LoRA minus Base", "-1.000 [-1.100, -0.900]", "0.001", "better"],
        ["Held-out rows", "Loss per token", "Full tuning minus Base", "-0.750 [-0.850, -0.650]", "0.001", "better"],
        ["Held-out rows", "Loss per token", "Full tuning minus LoRA", "+0.250 [+0.150, +0.350]", "0.001", "worse"],
    ]


def test_a_verdict_is_turned_where_the_reference_stands_first_and_an_arm_without_a_score_has_a_dash():
    turned = [beside("base", "lora", 1.0, "worse"), beside("base", "full-tuning", 0.1, "undecided")]
    table = replace(TABLE, comparisons=turned, entries=[*ENTRIES, entry("lora", 0.5, "exact")])
    _head, base, lora, full = cells(tables_html(table))[:4]
    assert lora[1].endswith("better") and full[1].endswith("not decided") and base[2] == full[2] == "–"
    assert tables_html(replace(TABLE, entries=[])) == ""


def test_of_many_pairs_the_first_are_shown_and_the_others_counted(monkeypatch):
    monkeypatch.setattr(view, "MAX_PAIRS", 2)
    shown = tables_html(TABLE)
    assert len(cells(shown)) == 7 and "The first 2 of 3." in shown


def test_beside_a_bundle_each_score_is_equal_inside_or_outside_its_interval():
    again = [(1.0, True), (1.1, False), (1.3, False), (None, False)]
    found = [CellCheck("lora", "held-out", "loss", 1.0, 0.8, 1.2, *one) for one in again]
    shown = checks_html(found, {"lora": "LoRA"})
    assert [row[-1] for row in cells(shown)[1:]] == ["equal", "inside", "outside", "not there"]
    assert "<p class='problem'>2 of 4 scores lie inside the interval of the bundle.</p>" in shown
    assert "<p class='good'>2 of 2" in checks_html(found[:2], {})


def test_what_is_said_of_a_claim_stands_with_its_words():
    shown = verdicts_html([(NOTES[0], Settled("not supported", Sentence("It is worse.")))])
    assert "<div class='problem verdict'>" in shown and "Not supported here" in shown and "It is worse." in shown
    assert verdicts_html([]) == ""


def test_nothing_that_came_from_outside_is_html():
    (arm,) = arms_of(ExperimentConfig(arms=[{"name": BAD, "method": "lora"}]))
    shown = grid_html([cell(arm, 1, "failed", BAD)])
    bad = Sentence("{name}", {"name": BAD})
    shown += tables_html(
        replace(
            TABLE,
            arms=dict.fromkeys(TABLE.arms, BAD),
            test_sets={"held-out": BAD},
            entries=[*ENTRIES, entry("lora", 0.5, BAD)],
            comparisons=[*COMPARISONS, beside("lora", "base", 1.0, "better", BAD)],
            notes=[bad],
        )
    )
    shown += verdicts_html([(NOTES[0], Settled("undecided", bad))])
    shown += checks_html([CellCheck(BAD, BAD, BAD, 1.0, 1.0, 1.0, None, False)], {})
    assert shown.count("&lt;img src=x onerror=alert(1)&gt;") >= 10 and "<img" not in shown and "'\"" not in shown


def test_a_figure_is_a_picture_within_the_page_and_a_huge_one_is_none(tmp_path, monkeypatch):
    drawing = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    (tmp_path / "learning-curve.svg").write_text(drawing)
    (tmp_path / "scores.png").write_bytes(b"not shown: the same as its SVG")
    shown = figures_html(tmp_path)
    data = re.fullmatch(
        r"<div class='figures'><img alt='learning curve' src='data:image/svg\+xml;base64,(.+)'></div>", shown
    )
    assert data and b64decode(data[1]).decode() == drawing and "script" not in shown
    monkeypatch.setattr(view, "MAX_FIGURE_BYTES", 10)
    assert figures_html(tmp_path) == figures_html(tmp_path / "none") == ""


def test_a_claim_stands_with_what_is_known_and_its_sources_as_links():
    note = replace(
        NOTES[0], known=Sentence("Known."), sources=("A <paper>, https://example.org/a?b=1&c=2", "benchmarks/x.md")
    )
    shown = ready.note_html(note)
    assert "<a href='https://example.org/a?b=1&amp;c=2' target='_blank' rel='noopener'>" in shown
    assert "A &lt;paper&gt;," in shown and "<li>benchmarks/x.md</li>" in shown and "Known." in shown
