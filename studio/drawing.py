"""What the objects of `studio` look like: HTML under a notebook's cell, lines of text elsewhere. No Gradio and no script."""

import html
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.language import Sentence, _, joined
from common.words import duration
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.table import read_table as read_arms
from evaluation.results import Line
from evaluation.run import Evaluation, candidate_title, read_progress
from evaluation.scores import SCORES
from evaluation.table import read_table
from making.made import MadeSet
from models.messages import Message
from runs.labels import title_of
from runs.run import Run, RunState, model_words, read_state
from ui.answers import ROLE_WORDS, turn_html
from ui.evaluate.view import tables_html
from ui.experiments.view import tables_html as arms_html
from ui.hints import hint_html
from ui.scores import VERDICTS, figure, signed
from ui.train.run_plots import loss_plot
from ui.train.run_words import STATUS_WORDS, numbers, progress

HERE = Path(__file__).parent
# the page's own, and the notebook's colours in the place of Gradio's variables
STYLES = (HERE.parent / "ui/train/run.css", HERE.parent / "ui/evaluate/style.css", HERE / "notebook.css")
Work = Evaluation | Experiment | MadeSet
STATUSES: dict[str, Sentence] = {"waiting": _("Waiting"), "running": _("Running"), **STATUS_WORDS}


def in_notebook() -> bool:
    """Return whether this runs in the kernel of a notebook, which shows HTML."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython.get_ipython() if ipython else None, "kernel")


def draw(shown: object, moments: Iterable[object]) -> None:
    """Draw `shown` under the notebook's cell, and anew in the same place at each of the moments."""
    from IPython.display import display

    place: Any = None
    try:
        for _moment in moments:
            if place is None:
                place = display(shown, display_id=True)
            else:
                place.update(shown)
    except KeyboardInterrupt:
        print(_("It goes on in a process of its own; .stop() ends it."))
        raise


class Bar:
    """A bar under the notebook's cell; called with what is done and the fraction of all that, it draws itself anew."""

    def __init__(self) -> None:
        self.what, self.fraction = "", 0.0
        self._place: Any = None

    def __call__(self, what: str, fraction: float | None) -> None:
        """Show what is done now."""
        from IPython.display import display

        self.what, self.fraction = what, fraction or 0.0
        if self._place is None:
            self._place = display(self, display_id=True)
        else:
            self._place.update(self)

    def _repr_html_(self) -> str:
        return framed(_bar(self.what, self.fraction))

    def __repr__(self) -> str:
        return f"{self.what} {self.fraction:.0%}"


def framed(body: str) -> str:
    """Return `body` with the styles that it needs, which reach nothing else in the notebook."""
    return f"<div class='studio'><style>{_styles()}</style>{body}</div>"


@cache
def _styles() -> str:
    return f".studio {{\n{''.join(file.read_text(encoding='utf-8') for file in STYLES)}}}"


def _bar(label: str, fraction: float) -> str:
    percent = 100 * fraction
    return (
        f"<div class='status-line'><b>{html.escape(str(label))}</b></div>"
        f"<div class='bar' role='progressbar' aria-valuenow='{percent:.0f}' aria-valuemin='0' aria-valuemax='100' "
        f"aria-label='{html.escape(str(label))}'><div style='width: {percent:.1f}%'></div></div>"
    )


def run_html(run: Run) -> str:
    """Return a training: what it does, how far it is, its curve so far, its numbers and problems."""
    state = read_state(run)
    title, now = joined([f"{title_of(run)}:", _doing(state)]), [*progress(state), *numbers(run, state)]
    facts = "".join(f"<span>{html.escape(str(one))}</span>" for one in now)
    parts = [_bar(title, 1.0 if state.status == "done" else state.fraction), f"<p class='numbers'>{facts}</p>"]
    if problem := _problem(state):
        parts.append(hint_html(problem, "problem" if state.status in ("failed", "interrupted") else "hint"))
    parts += [hint_html(one) for one in (model_words(run, state), *state.notes) if one]
    return framed("".join([*parts, loss_plot(state)]))


def run_text(run: Run) -> str:
    """Return the same in one line."""
    state = read_state(run)
    now = joined([_doing(state), *progress(state), *numbers(run, state)], ", ")
    return str(joined([f"{title_of(run)}:", f"{now}.", _problem(state)]))


def _doing(state: RunState) -> str:
    return (state.is_running and state.activity) or STATUSES.get(state.status, state.status)


def _problem(state: RunState) -> Sentence:
    """Return what a run that has ended says of its end."""
    return joined([] if state.is_running else [state.message, state.hint])


def work_html(work: Work) -> str:
    """Return an evaluation, an experiment or a made set: how far it is, and the scores that are there."""
    told, fraction, problem = _work_words(work)
    body = _bar(told, fraction) + (hint_html(problem, "problem") if problem else "")
    if isinstance(work, Evaluation):
        lines = read_table(work)
        body += tables_html(lines, *_names(work, lines))
    elif isinstance(work, Experiment):
        body += arms_html(read_arms(work))
    return framed(body)


def work_text(work: Work) -> str:
    """Return the same as lines of text."""
    told, _fraction, problem = _work_words(work)
    found = [joined([told, problem], ". ")]
    if isinstance(work, Evaluation):
        found += _score_lines(work)
    elif isinstance(work, Experiment):
        table = read_arms(work)
        for one in table.entries:
            where = (table.test_sets.get(one.test_set, one.test_set), one.score, table.arms.get(one.arm, one.arm))
            values = [figure(SCORES.get(one.score), value) for value in (one.mean, one.low, one.high)]
            found.append(
                "  ".join([*where, f"{values[0]} [{values[1]}, {values[2]}]", "*" if one.is_best else ""]).rstrip()
            )
    return "\n".join(map(str, found))


def _work_words(work: Work) -> tuple[Sentence, float, Sentence]:
    """Return what is done with its numbers, the fraction of all that, and what went wrong."""
    progress = read_progress(work)
    now = (progress.is_running and progress.activity) or STATUSES[progress.status]
    facts: list[str] = [_("{done:,} of {total:,}", done=progress.done, total=progress.total)] if progress.total else []
    if progress.is_running and progress.eta_seconds is not None:
        facts.append(_("about {time} left", time=duration(progress.eta_seconds)))
    fraction = 1.0 if progress.status == "done" else progress.fraction or 0.0
    told = joined([f"{_title(work)}:", joined([now, *facts], ", ")])
    return told, fraction, joined([progress.message, progress.hint])


def _title(work: Work) -> str:
    try:
        return work.config().title or work.id
    except UserError:
        return work.id


def _names(evaluation: Evaluation, lines: Sequence[Line]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the titles of the test sets and of the candidates in these lines."""
    versions = evaluation.versions()
    sets = {name: one["title"] for name, one in versions["test_sets"].items()} if versions else {}
    candidates = dict.fromkeys(line.candidate for line in lines)
    return sets, {name: candidate_title(name, evaluation.owner) for name in candidates}


def _score_lines(evaluation: Evaluation) -> list[str]:
    lines = read_table(evaluation)
    sets, candidates = _names(evaluation, lines)
    found = []
    for line in lines:
        score, one, beside = SCORES.get(line.score), line.estimate, line.difference
        words = [
            sets.get(line.test_set, line.test_set),
            score.title if score else line.score,
            candidates[line.candidate],
        ]
        words.append(f"{figure(score, one.value)} [{figure(score, one.low)}, {figure(score, one.high)}]")
        words += [f"{signed(score, beside.value)} {VERDICTS.get(beside.verdict, '')}"] if beside else []
        found.append("  ".join(map(str, words)).rstrip())
    return found


def conversation_html(messages: Sequence[Message]) -> str:
    """Return a conversation, message by message."""
    turns = "".join(
        turn_html(ROLE_WORDS.get(one["role"], one["role"]), one["content"], one["role"]) for one in messages
    )
    return framed(turns or hint_html(_("Nothing has been said yet.")))
