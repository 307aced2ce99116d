"""The status of one run as HTML: what it does now, how far it is, its numbers and its problems. All text is escaped."""

import html
import time

from adapters.result_picture import loss_words
from adapters.values import number
from common.language import _, joined
from jobs.hf import read_job
from models.base import EMBEDDED
from models.embedded import HUB_ID
from runs.labels import labels_of, title_of
from runs.resolve import PRECISION_WORDS
from runs.run import Run, RunState, model_words
from runs.state import UNREADABLE
from ui.hints import hint_html
from ui.train.backups import backup_html
from ui.train.empty import empty_view
from ui.train.jobs_view import job_line
from ui.train.run_words import STATUS_WORDS, numbers, progress

FRESH_SECONDS = 3600


def describe(run: Run | None, state: RunState, place: tuple[int, int] | None) -> str:
    """Return the status as HTML. Its root has the class `run-alive`, which puts it first on a phone, while it waits or trains
    and for a while after its end: the result stays where it was looked at.
    """
    if run is None:
        return empty_view()
    percent = 100 * (1.0 if state.status == "done" else state.fraction)
    labels = labels_of(run)
    title = f"{title_of(run)} {labels.words()}".rstrip()
    is_fresh = state.is_running or time.time() - (state.ended_at or 0) < FRESH_SECONDS
    facts = "".join(f"<span>{html.escape(str(fact))}</span>" for fact in progress(state))
    lines = [
        f"<div class='{'run run-alive' if is_fresh else 'run'}'>",
        f"<p class='said' role='status' aria-live='polite'>{html.escape(announced(run, state))}</p>",
        f"<div class='run-title'>{html.escape(title)}</div>",
        f"<div class='status-line'><b>{html.escape(str(doing(run, state, place)))}</b>{facts}</div>",
        f"<div class='bar' role='progressbar' aria-valuenow='{percent:.0f}' aria-valuemin='0' aria-valuemax='100' "
        f"aria-label='{html.escape(_('Progress of the training'))}'><div style='width: {percent:.1f}%'></div></div>",
    ]
    if state.message and state.message != doing(run, state, place):
        kind = "problem" if state.status in ("failed", "interrupted", UNREADABLE) else "hint"
        lines.append(hint_html(f"{state.message} {state.hint}".strip(), kind))
    lines += [hint_html(words)] if (words := model_words(run, state)) else []
    lines += [hint_html(line) for line in labels.notes.splitlines() if line]
    lines += [hint_html(job_line(run, state))] if run.job_file.exists() and job_line(run, state) else []
    problem = run.settings_problem() if run.folder.exists() else ""
    lines += [backup_html(run), hint_html(problem, "problem") if problem else ""]
    return "".join([*lines, "</div>"])


def details(run: Run, state: RunState) -> str:
    """Return the numbers, the base and the notes of a run as HTML."""
    lines = [
        f"<p class='numbers'>{''.join(f'<span>{html.escape(str(one))}</span>' for one in numbers(run, state))}</p>"
    ]
    if state.base:
        name = HUB_ID if state.base == EMBEDDED else state.base
        precision = PRECISION_WORDS.get(state.precision, state.precision)
        named = _("{base} in {precision}", base=name, precision=precision) if precision else name
        lines.append(hint_html(joined([_("Base: {base}.", base=named), state.base_reason])))
    return "".join([*lines, *map(hint_html, state.notes)])


def doing(run: Run, state: RunState, place: tuple[int, int] | None = None) -> str:
    """Say what the run does at this moment."""
    if state.status == "queued" and place and place[0]:
        return _("Waiting, place {place} of {count}", place=place[0], count=place[1])
    if is_stopping(run, state):
        return _("Stopping and keeping what it learned")
    activity = state.activity if state.is_running else ""
    return activity or STATUS_WORDS.get(state.status, state.status)


def is_stopping(run: Run, state: RunState) -> bool:
    """Return whether it was asked to stop and goes on for a moment; a job elsewhere says so itself."""
    return state.is_running and run.stop_file.exists() and read_job(run) is None


def announced(run: Run, state: RunState) -> str:
    """Say to a screen reader what changes seldom: the status, and the result."""
    word = doing(run, state) if is_stopping(run, state) else STATUS_WORDS.get(state.status, state.status)
    result = loss_words(number(state.metrics.get("loss_before")), number(state.metrics.get("loss_after")))
    return joined([f"{title_of(run)}:", f"{word}.", f"{result}." if result and not state.is_running else ""])
