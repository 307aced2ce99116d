"""How scores stand in a table on the page. All text is escaped."""

import html
import math
from collections.abc import Iterable

from common.language import Sentence, _
from common.words import UNITS
from evaluation.results import Verdict
from evaluation.scores import SCORES, Score

WAYS = {True: _("higher is better"), False: _("lower is better"), None: ""}
VERDICTS: dict[Verdict, Sentence] = {
    "better": _("better"),
    "worse": _("worse"),
    "undecided": _("not decided"),
}


def table_html(label: str, heads: str, rows: str) -> str:
    """Return a table with `heads` and `rows`, both HTML, that is moved sideways by itself, with the keyboard, too."""
    return (
        f"<div class='scrolls' role='group' tabindex='0' aria-label='{html.escape(label)}'><table>"
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def column_heads(*titles: str) -> str:
    """Return the heads of columns with these titles."""
    return "".join(f"<th scope='col'>{html.escape(str(title))}</th>" for title in titles)


def score_head(name: str, scope: str) -> str:
    """Return the head of a row or a column: the score, its unit, and which way is better."""
    score = SCORES.get(name)
    if score is None:
        return f"<th scope='{scope}'>{html.escape(name)}</th>"
    told = ", ".join(str(one) for one in (UNITS[score.unit], WAYS[score.higher_is_better]) if one)
    return f"<th scope='{scope}'>{html.escape(score.title)}<small>{html.escape(told)}</small></th>"


def figure(score: Score | None, value: float) -> str:
    """Return a value as its score shows it; "–" for what is no number."""
    if not math.isfinite(value):
        return "–"
    return score.text(value) if score else f"{value:.3f}"


def signed(score: Score | None, value: float) -> str:
    """Return a difference as its score shows it, with its sign."""
    return f"{'+' if value > 0 else ''}{figure(score, value)}"


def score_terms_html(names: Iterable[str]) -> str:
    """Return what each of these scores is, folded."""
    scores = [SCORES[name] for name in dict.fromkeys(names) if name in SCORES]
    terms = "".join(f"<dt>{html.escape(one.title)}</dt><dd>{html.escape(one.help)}</dd>" for one in scores)
    title = html.escape(_("What the scores are"))
    return f"<details><summary>{title}</summary><dl class='facts'>{terms}</dl></details>" if terms else ""
