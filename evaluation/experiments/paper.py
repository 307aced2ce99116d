"""The table as a paper takes it: LaTeX with booktabs, Markdown, and CSV. English, and plain text: no name does anything in them.

One table for each test set: a row for each arm, a column for each score, the 95 % interval below or beside the mean.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from common.files import cell_text
from common.paths import slug
from common.words import UNITS
from evaluation.experiments.table import Entry, Table, difference_between
from evaluation.scores import SCORES, Score
from evaluation.statistics import verdict_sentence

MAX_COLUMNS = 4  # of scores beside each other: more do not fit between the margins of an article
ENTRY_COLUMNS = ["arm", "name", "test_set", "score", "mean", "low", "high", "seeds", "items"]
ENTRY_COLUMNS += ["is_best", "is_reference", "values"]
COMPARISON_COLUMNS = ["arm", "other", "test_set", "score", "value", "low", "high", "n", "p", "p_holm", "verdict"]
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    # after the end of a row these would be its options
    "[": "{[}",
    "*": "{*}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
ARROWS = {True: (r" $\uparrow$", " ↑"), False: (r" $\downarrow$", " ↓"), None: ("", "")}  # in LaTeX, elsewhere


def plain(text: str) -> str:
    """Return a text in one line of printable ASCII, as every LaTeX and every font has it; other letters romanised."""
    words = " ".join(str(text).split())
    return words if words.isascii() and words.isprintable() else slug(words)


def latex(text: str) -> str:
    """Return a text as LaTeX that shows it."""
    return "".join(LATEX.get(sign, sign) for sign in plain(text))


def markdown(text: str) -> str:
    """Return a text as Markdown that shows it, in one cell of a table."""
    return re.sub(r"([\\`*_{}\[\]<>#|~!&$])", r"\\\1", " ".join(str(text).split()))


def columns_of(table: Table, test_set: str) -> dict[str, dict[str, Entry]]:
    """Return the entries on a test set, by score and arm."""
    found: dict[str, dict[str, Entry]] = {}
    for entry in table.entries:
        if entry.test_set == test_set:
            found.setdefault(entry.score, {})[entry.arm] = entry
    return found


def interval_text(entry: Entry, score: Score) -> str:
    """Return the interval of an entry in brackets."""
    return f"[{score.text(entry.low)}, {score.text(entry.high)}]"


def heading(score: Score, is_latex: bool) -> str:
    """Return the title of a score with an arrow to where it is better."""
    arrow = ARROWS[score.higher_is_better][0 if is_latex else 1]
    return (latex if is_latex else markdown)(score.title) + arrow


def to_latex(table: Table, label: str) -> str:
    """Return the LaTeX of all tables; it needs booktabs and nothing else. `label` is the first part of their labels."""
    parts = [r"% \usepackage{booktabs}"]
    for test_set, title in table.test_sets.items():
        columns = columns_of(table, test_set)
        names = list(columns)
        blocks = [
            "\n".join(_tabular(table, {name: columns[name] for name in names[first : first + MAX_COLUMNS]}))
            for first in range(0, len(names), MAX_COLUMNS)
        ]
        items = max((entry.items for column in columns.values() for entry in column.values()), default=0)
        parts += [
            r"\begin{table}",
            r"  \centering\small\setlength{\tabcolsep}{4pt}",
            rf"  \caption{{{latex(title)} ({items:,} rows): {_caption(table)}}}",
            rf"  \label{{tab:{slug(label)}-{slug(test_set)}}}\smallskip",
            "\n\n  \\medskip\n".join(blocks),
            r"\end{table}",
            "",
        ]
    return "\n".join(parts)


def _caption(table: Table) -> str:
    """Return what stands above a table in LaTeX: what its numbers are."""
    seeds = max((entry.seeds for entry in table.entries), default=0)
    over = f"mean over {seeds} seeds" if seeds > 1 else "score"
    return (
        rf"{over} and 95\% interval"
        + (" (over the seeds; of an arm without seeds, over the rows)" if seeds > 1 else " over the rows")
        + r". Bold: better than every other arm, paired over rows and seeds, $p < 0.05$ after Holm's correction."
    )


def _tabular(table: Table, columns: dict[str, dict[str, Entry]]) -> Iterator[str]:
    """Yield the lines of one tabular: for each arm a line of means and one of intervals."""
    scores = [SCORES[name] for name in columns]
    yield rf"  \begin{{tabular}}{{l{'r' * len(scores)}}}"
    yield r"    \toprule"
    yield "    " + " & ".join(["", *(heading(score, True) for score in scores)]) + r" \\"
    yield "    " + " & ".join(["", *(f"({latex(UNITS[score.unit])})" for score in scores)]) + r" \\"
    yield r"    \midrule"
    for arm, name in table.arms.items():
        means, intervals = [latex(name)], [""]
        for score in scores:
            entry = columns[score.name].get(arm)
            mean = f"${score.text(entry.mean)}$" if entry else "--"
            means.append(rf"\textbf{{{score.text(entry.mean)}}}" if entry and entry.is_best else mean)
            intervals.append(rf"{{\scriptsize ${interval_text(entry, score)}$}}" if entry else "")
        yield rf"    {' & '.join(means)} \\[-2pt]"
        yield rf"    {' & '.join(intervals)} \\[2pt]"
    yield r"    \bottomrule"
    yield r"  \end{tabular}"


def to_markdown(table: Table) -> str:
    """Return the tables as Markdown, with what is to be known of them."""
    lines: list[str] = []
    for test_set, title in table.test_sets.items():
        columns = columns_of(table, test_set)
        heads = [f"{heading(SCORES[name], False)} ({UNITS[SCORES[name].unit]})" for name in columns]
        lines += [f"### {markdown(title)}", ""]
        lines += [f"| {' | '.join(['', *heads])} |", f"|{'---|' * (len(heads) + 1)}"]
        for arm, name in table.arms.items():
            cells = [markdown(name)]
            for score, column in columns.items():
                entry = column.get(arm)
                mean = SCORES[score].text(entry.mean) if entry else "–"
                interval = f" {interval_text(entry, SCORES[score])}" if entry else ""
                cells.append((f"**{mean}**" if entry and entry.is_best else mean) + interval)
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join([*lines, *(f"- {markdown(note)}" for note in table.notes), ""])


def summary(table: Table) -> str:
    """Return each arm beside the reference in words, in each score on each test set, as Markdown."""
    reference = next((entry.arm for entry in table.entries if entry.is_reference), "")
    lines = []
    for test_set, title in table.test_sets.items():
        for name in columns_of(table, test_set):
            lines += [f"### {markdown(title)}: {markdown(SCORES[name].title)}", ""]
            for arm, arm_name in table.arms.items():
                if found := difference_between(table.comparisons, arm, reference, test_set, name):
                    words = verdict_sentence(found, SCORES[name])
                    lines.append(f"- {markdown(arm_name)} beside {markdown(table.arms[reference])}: {words}")
            lines.append("")
    return "\n".join(lines)


def entries_csv(table: Table) -> str:
    """Return a line for each arm, test set and score; values of all digits, those of the seeds separated by spaces."""
    rows = [
        asdict(entry) | {"name": table.arms[entry.arm], "values": " ".join(map(str, entry.values))}
        for entry in table.entries
    ]
    return _csv(ENTRY_COLUMNS, rows)


def comparisons_csv(table: Table) -> str:
    """Return a line for every two arms on each test set and score."""
    return _csv(COMPARISON_COLUMNS, [asdict(one.difference) | asdict(one) for one in table.comparisons])


def _csv(columns: Sequence[str], rows: Sequence[dict[str, object]]) -> str:
    """Return rows as CSV in which no sheet computes anything; with its mark Excel reads Korean names, too."""
    made = io.StringIO()
    made.write("\ufeff")
    writer = csv.DictWriter(made, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: cell_text(cell) if isinstance(cell, str) else cell for name, cell in row.items()})
    return made.getvalue()
