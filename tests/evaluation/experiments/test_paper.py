"""The table in LaTeX, Markdown and CSV: whole rows, bold only what is best, and no name does anything in them."""

import csv
import io
import re

import pytest

from evaluation.experiments.paper import comparisons_csv, entries_csv, latex, markdown, plain, to_latex, to_markdown
from evaluation.experiments.table import ArmComparison, Entry, Table
from evaluation.results import Difference

HOSTILE = [
    r"\input{/etc/passwd} $x$ %",
    "[a] & *b* _c_ ^d ~e {f} #g",
    '=1+1|"<script>alert(1)</script>`h`\n\\\\[9cm]',
    "미세조정 r16",
]
SCORES = ["loss", "exact", "token_f1", "chrf", "rouge_l"]


@pytest.fixture
def table() -> Table:
    arms = {f"arm-{number}": name for number, name in enumerate(HOSTILE)}
    entries = [
        Entry(
            arm, "held-out", score, 0.5 + 0.1 * place, 0.4, float("inf"), 3, 40, place == 3, place == 0, [0.5, 0.6, 0.7]
        )
        for score in SCORES
        for place, arm in enumerate(arms)
        if (score, place) != ("chrf", 1)
    ]
    found = Difference(0.1, 0.05, 0.15, 40, 0.001, "better")
    comparisons = [ArmComparison("arm-1", "arm-0", "held-out", "exact", found, 0.006, "better")]
    return Table(arms, {"held-out": "50% & more"}, entries, comparisons, [])


def test_every_row_of_a_latex_table_has_all_columns_and_every_environment_ends(table):
    made = to_latex(table, "My_experiment: 1")
    tabulars = re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", made, re.DOTALL)
    assert [columns for columns, _rows in tabulars] == ["lrrrr", "lr"], "what does not fit beside stands below"
    for columns, rows in tabulars:
        lines = [line.strip() for line in rows.splitlines() if re.search(r"\\\\(\[-?2pt\])?$", line)]
        assert len(lines) == 2 + 2 * len(HOSTILE)
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(columns) - 1}
        assert not [line for line in lines if line.startswith(("[", "*"))], "options of the row before"
    assert made.count(r"\begin{") == made.count(r"\end{") == 3
    assert made.count("{") == made.count("}") and made.isascii()
    assert r"\label{tab:my-experiment-1-held-out}" in made and r"50\% \& more (40 rows)" in made
    assert made.count(r"\textbf{") == len(SCORES)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_a_name_in_latex_and_markdown(name):
    shown = latex(name)
    for command in re.findall(r"\\[a-zA-Z]+", shown):
        assert command in (
            r"\textbackslash",
            r"\textasciitilde",
            r"\textasciicircum",
            r"\textless",
            r"\textgreater",
            r"\textbar",
        )
    assert not re.search(r"(?<!\\)[%$#_&]", shown) and "\n" not in shown and shown.isascii()
    assert not re.search(r"(?<!\\)[|`*_<$]", markdown(name)) and "\n" not in markdown(name)
    assert plain("미세조정 r16") == "misejojeong-r16"


def test_every_row_of_a_markdown_table_has_all_columns(table):
    rows = [line for line in to_markdown(table).splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(HOSTILE)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {len(SCORES) + 2}
    assert sum("**" in row for row in rows) == 1 and "–" in rows[3], "what was not measured"


def test_a_csv_file_is_read_back_and_computes_nothing(table):
    rows = list(csv.DictReader(io.StringIO(entries_csv(table).removeprefix("\ufeff"))))
    assert len(rows) == len(table.entries)
    assert float(rows[1]["mean"]) == table.entries[1].mean and rows[1]["values"] == "0.5 0.6 0.7"
    assert not [row for row in rows if row["name"].startswith(("=", "+", "-", "@"))]
    (pair,) = csv.DictReader(io.StringIO(comparisons_csv(table).removeprefix("\ufeff")))
    assert (pair["arm"], pair["other"], pair["value"], pair["p_holm"]) == ("arm-1", "arm-0", "0.1", "0.006")
