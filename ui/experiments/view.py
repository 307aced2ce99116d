"""An experiment as HTML: the grid of its cells, its table, what it says of claims, and its figures. All text is escaped."""

import html
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.language import Sentence, _
from common.words import duration
from evaluation.experiments.bundle import CellCheck
from evaluation.experiments.experiment import Cell, Status
from evaluation.experiments.notes import Note
from evaluation.experiments.table import Entry, Table, difference_between
from evaluation.experiments.verdicts import FINDINGS, Finding, Settled
from evaluation.results import Difference, Verdict
from evaluation.scores import SCORES
from ui.hints import hint_html
from ui.scores import VERDICTS, column_heads, figure, score_head, score_terms_html, signed, table_html

CELL_WORDS: dict[Status, Sentence] = {
    "waiting": _("waiting"),
    "searching": _("searching a rate"),
    "training": _("training"),
    "evaluating": _("evaluating"),
    "done": _("done"),
    "failed": _("failed"),
    "stopped": _("stopped"),
    "interrupted": _("interrupted"),
}
WORDS: dict[Verdict, Sentence] = {**VERDICTS, "different": _("different")}
FINDING_LOOKS: dict[Finding, str] = {"supported": "good", "not supported": "problem", "undecided": "hint"}
MAX_FIGURE_BYTES = 1_000_000
MAX_FIGURES = 8
MAX_PAIRS = 500  # rows of one table


def grid_html(cells: Sequence[Cell]) -> str:
    """Return arms down, seeds across, and in each cell what it does or how long it took; what failed says why below."""
    if not cells:
        return ""
    seeds = sorted({cell.seed for cell in cells if cell.seed is not None})
    body = ""
    for arm in {cell.arm.id: cell.arm for cell in cells}.values():
        own = {cell.seed: cell for cell in cells if cell.arm.id == arm.id}
        if None in own:
            row = _cell_html(own[None], max(1, len(seeds)))
        else:
            row = "".join(_cell_html(own[seed], 1) if seed in own else "<td>–</td>" for seed in seeds)
        body += f"<tr><th scope='row'>{html.escape(arm.name)}</th>{row}</tr>"
    problems = "".join(
        hint_html(_("{arm}: {problem}", arm=_cell_title(cell), problem=cell.message), "problem")
        for cell in cells
        if cell.message and cell.status in ("failed", "interrupted")
    )
    heads = column_heads(_("Arm"), *([_("seed {seed}", seed=seed) for seed in seeds] or [""]))
    return f"<section class='results cells'>{table_html(_('Arms and seeds'), heads, body)}{problems}</section>"


def _cell_html(cell: Cell, columns: int) -> str:
    """Return a cell of the grid; one of an arm without seeds is as wide as all of them."""
    time = f"<small>{html.escape(duration(cell.seconds))}</small>" if cell.seconds else ""
    return f"<td class='{cell.status}' colspan='{columns}'>{html.escape(CELL_WORDS[cell.status])}{time}</td>"


def _cell_title(cell: Cell) -> str:
    """Return a cell's arm, with its seed where it has one."""
    return cell.arm.name if cell.seed is None else _("{arm}, seed {seed}", arm=cell.arm.name, seed=cell.seed)


def tables_html(table: Table) -> str:
    """Return a table for each test set, arms down and scores across, what is to be known of it, and folded all pairs of arms."""
    if not table.entries:
        return ""
    tables = "".join(_table_html(table, name, title) for name, title in table.test_sets.items())
    reading = "".join(map(hint_html, (_("In brackets: the 95 % interval."), *table.notes)))
    terms = score_terms_html(entry.score for entry in table.entries)
    return f"<section class='results'>{tables}{reading}{_pairs_html(table)}{terms}</section>"


def _table_html(table: Table, test_set: str, title: str) -> str:
    """Return the table of one test set; "" where nothing of it was scored."""
    entries = [entry for entry in table.entries if entry.test_set == test_set]
    if not entries:
        return ""
    reference = next((entry.arm for entry in entries if entry.is_reference), "")
    scores = list(dict.fromkeys(entry.score for entry in entries))
    heads = column_heads(_("Arm")) + "".join(score_head(name, "col") for name in scores)
    body = ""
    for arm, called in table.arms.items():
        own = {entry.score: entry for entry in entries if entry.arm == arm}
        name = html.escape(called) + (f"<small>{html.escape(_('the reference'))}</small>" if arm == reference else "")
        beside = {score: difference_between(table.comparisons, arm, reference, test_set, score) for score in own}
        cells = "".join(_entry_html(own.get(score), beside.get(score)) for score in scores)
        body += f"<tr><th scope='row'>{name}</th>{cells}</tr>"
    return f"<h3>{html.escape(title)}</h3>{table_html(title, heads, body)}"


def _entry_html(entry: Entry | None, beside: Difference | None) -> str:
    """Return a value with its interval, bold where it is the best, and the word for its difference from the reference."""
    if entry is None:
        return "<td>–</td>"
    score = SCORES.get(entry.score)
    low, high = figure(score, entry.low), figure(score, entry.high)
    value = f"<b>{figure(score, entry.mean)}</b>" if entry.is_best else figure(score, entry.mean)
    if beside is None:
        return f"<td>{value}<small>[{low}, {high}]</small></td>"
    word = html.escape(WORDS[beside.verdict])
    return f"<td class='{beside.verdict}'>{value}<small>[{low}, {high}]</small><span>{word}</span></td>"


def _pairs_html(table: Table) -> str:
    """Return every pair of arms with its difference, folded."""
    if not table.comparisons:
        return ""
    names, sets = table.arms, table.test_sets
    body = ""
    for one in table.comparisons[:MAX_PAIRS]:
        score, found = SCORES.get(one.score), one.difference
        value, low, high = (signed(score, number) for number in (found.value, found.low, found.high))
        pair = _("{arm} minus {other}", arm=names.get(one.arm, one.arm), other=names.get(one.other, one.other))
        plain = (sets.get(one.test_set, one.test_set), score.title if score else one.score, pair)
        cells = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in plain)
        cells += f"<td>{value}<small>[{low}, {high}]</small></td><td>{one.p_holm:.3g}</td>"
        body += f"<tr>{cells}<td class='{one.verdict}'><span>{html.escape(WORDS[one.verdict])}</span></td></tr>"
    title, count = _("All pairs of arms"), len(table.comparisons)
    heads = column_heads(_("Test set"), _("Score"), _("Arms"), _("Difference"), _("p (Holm)"), "")
    more = hint_html(_("The first {most} of {count:,}.", most=MAX_PAIRS, count=count)) if count > MAX_PAIRS else ""
    return f"<details><summary>{html.escape(title)}</summary>{table_html(title, heads, body)}{more}</details>"


def checks_html(checks: Sequence[CellCheck], names: Mapping[str, str]) -> str:
    """Return each score of a bundle beside the one that came out again, and how many lie inside the interval that was kept.

    `names` are those of the arms by id.
    """
    inside = sum(one.is_inside for one in checks)
    words = _("{inside} of {count} scores lie inside the interval of the bundle.", inside=inside, count=len(checks))
    body = ""
    for one in checks[:MAX_PAIRS]:
        score = SCORES.get(one.score)
        kept, low, high = (figure(score, value) for value in (one.kept, one.low, one.high))
        again = figure(score, one.again) if one.again is not None else "–"
        plain = (one.test_set, score.title if score else one.score, names.get(one.arm, one.arm))
        cells = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in plain)
        cells += f"<td>{kept}<small>[{low}, {high}]</small></td><td>{again}</td>"
        body += f"<tr>{cells}<td class='{'better' if one.is_inside else 'worse'}'><span>{html.escape(one.word)}</span></td></tr>"
    heads = column_heads(_("Test set"), _("Score"), _("Arm"), _("In the bundle"), _("Again"), "")
    told = hint_html(words, "good" if inside == len(checks) else "problem")
    return f"<section class='results'>{told}{table_html(_('Beside the bundle'), heads, body)}</section>"


def verdicts_html(found: Sequence[tuple[Note, Settled]]) -> str:
    """Return what an experiment says of the claims that its arms show."""
    lines = ""
    for note, settled in found:
        finding = html.escape(f"{FINDINGS[settled.finding]}")
        claim, words = html.escape(note.claim), html.escape(settled.words)
        lines += (
            f"<div class='{FINDING_LOOKS[settled.finding]} verdict'><b>{claim}</b> <i>{finding}</i><p>{words}</p></div>"
        )
    return f"<section class='verdicts'>{lines}</section>" if lines else ""


def figures_html(folder: Path) -> str:
    """Return the figures in this folder as pictures within the page: nothing in an image runs, and nothing is fetched."""
    pictures = ""
    for file in sorted(folder.glob("*.svg"))[:MAX_FIGURES]:
        if file.stat().st_size <= MAX_FIGURE_BYTES:
            data = b64encode(file.read_bytes()).decode()
            name = html.escape(file.stem.replace("-", " ").replace("_", " "), quote=True)
            pictures += f"<img alt='{name}' src='data:image/svg+xml;base64,{data}'>"
    return f"<div class='figures'>{pictures}</div>" if pictures else ""
