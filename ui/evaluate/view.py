"""What an evaluation found, as HTML: a table for each test set, and the rows that differ most. All text is escaped."""

import html
from collections.abc import Mapping, Sequence

from common.language import _
from evaluation.results import Difference, Line, ScoreEstimate
from evaluation.scores import SCORES, Score
from evaluation.statistics import verdict_sentence
from evaluation.table import DifferingRow
from ui.answers import pair_html
from ui.hints import hint_html
from ui.scores import VERDICTS, column_heads, figure, score_head, score_terms_html, signed, table_html

MAX_SHOWN_CHARACTERS = 2_000  # of one question or answer
# the score that a test set is summed up by: the first that it has
HEADLINES = ("label_accuracy", "choice_accuracy", "loss")


def tables_html(lines: Sequence[Line], sets: Mapping[str, str], candidates: Mapping[str, str]) -> str:
    """Return a table for each test set; `sets` and `candidates` are titles by id, those of the first candidate first."""
    if not lines:
        return ""
    reading = _("In brackets: the 95 % interval. Differences are of the same questions, pair by pair.")
    found = dict.fromkeys(line.test_set for line in lines)
    tables = [
        _table([one for one in lines if one.test_set == name], sets.get(name, name), candidates) for name in found
    ]
    terms = score_terms_html(line.score for line in lines)
    found_html = [_summary(lines, sets, candidates), *tables, hint_html(reading), terms]
    return f"<section class='results'>{''.join(found_html)}</section>"


def _summary(lines: Sequence[Line], sets: Mapping[str, str], candidates: Mapping[str, str]) -> str:
    """Return one sentence for each test set and candidate: how it does beside the first one, in one score."""
    told = []
    for test_set in dict.fromkeys(line.test_set for line in lines):
        compared = [line for line in lines if line.test_set == test_set and line.difference]
        score = next((name for name in HEADLINES if any(line.score == name for line in compared)), None)
        for line in compared:
            if line.score == score and line.difference:
                names = [sets.get(test_set, test_set)] + [candidates[line.candidate]] * (len(candidates) > 2)
                title, words = (
                    html.escape(text)
                    for text in (SCORES[score].title, verdict_sentence(line.difference, SCORES[score]))
                )
                about = f"{html.escape(' · '.join(names))}<small>{title}</small>"
                told.append(f"<li class='{line.difference.verdict}'><b>{about}</b><span>{words}</span></li>")
    return f"<ul class='summary'>{''.join(told)}</ul>" if told else ""


def _table(lines: Sequence[Line], title: str, candidates: Mapping[str, str]) -> str:
    """Return the table of one test set: a row for each score, two columns for each candidate but the first."""
    shown = [name for name in candidates if any(line.candidate == name for line in lines)]
    first, *others = [candidates[name] for name in shown]
    columns: list[str] = [_("Score"), first]
    for name in others:
        columns += [name, _("{name} minus {first}", name=name, first=first)]
    body = ""
    for score in dict.fromkeys(line.score for line in lines):
        known = SCORES.get(score)
        by_name = {line.candidate: line for line in lines if line.score == score}
        cells = [score_head(score, "row")]
        for place, line in enumerate(by_name.get(name) for name in shown):
            cells.append(_value_cell(known, line.estimate if line else None))
            cells += [_difference_cell(known, line.difference if line else None)] if place else []
        sizes = sorted({one.n for line in by_name.values() for one in (line.estimate, line.difference) if one})
        cells.append(f"<td>{'–'.join(f'{size:,}' for size in dict.fromkeys((sizes[0], sizes[-1])))}</td>")
        body += f"<tr>{''.join(cells)}</tr>"
    notes = "".join(map(hint_html, dict.fromkeys(str(note) for line in lines for note in line.notes)))
    return f"<h3>{html.escape(title)}</h3>{table_html(title, column_heads(*columns, _('n')), body)}{notes}"


def _value_cell(score: Score | None, estimate: ScoreEstimate | None) -> str:
    if estimate is None:
        return "<td>–</td>"
    low, high = figure(score, estimate.low), figure(score, estimate.high)
    return f"<td>{figure(score, estimate.value)}<small>[{low}, {high}]</small></td>"


def _difference_cell(score: Score | None, difference: Difference | None) -> str:
    """Return a difference with its interval, and the verdict as a colour and a word where one way is better."""
    if difference is None:
        return "<td>–</td>"
    value, low, high = (signed(score, one) for one in (difference.value, difference.low, difference.high))
    cell = f"{value}<small>[{low}, {high}]</small>"
    if score is None or score.higher_is_better is None:
        return f"<td>{cell}</td>"
    words: list[str] = [VERDICTS[difference.verdict]]
    if difference.needed is not None:
        words.append(_("about {count:,} rows would show it", count=difference.needed))
    return f"<td class='{difference.verdict}'>{cell}{''.join(f'<span>{html.escape(one)}</span>' for one in words)}</td>"


def rows_html(rows: Sequence[DifferingRow], score: Score, name: str) -> str:
    """Return questions with the right answer and both answers, the candidate's under `name`; without answers the text alone."""
    if not rows:
        return hint_html(_("They differ in no row."))
    parts = []
    for row in rows:
        prompt, answers = _cut(row.prompt), (_cut(row.reference_answer), _cut(row.candidate_answer))
        parts.append(
            pair_html(prompt, *answers, name) if any(answers) else f"<p class='prompt'>{html.escape(prompt)}</p>"
        )
        if row.expected:
            parts.append(hint_html(_("Expected: {answer}", answer=_cut(row.expected))))
        before, after = figure(score, row.reference_value), figure(score, row.candidate_value)
        parts.append(hint_html(_("{score}: {before} → {after}", score=score.title, before=before, after=after)))
    return f"<section class='learned whole'>{''.join(parts)}</section>"


def _cut(text: str) -> str:
    """Return the start of a text that is too long to be looked at."""
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]} …"
