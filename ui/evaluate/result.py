"""One evaluation on the page: its layout, what it does now, and what it found."""

import html
from dataclasses import dataclass

import gradio as gr

from common.errors import UserError
from common.language import _, said
from evaluation.results import Line
from evaluation.run import (
    UNDER_WAY,
    Evaluation,
    candidate_title,
    find_evaluation,
    list_evaluations,
    read_progress,
)
from evaluation.scores import SCORES
from evaluation.table import compare, read_table, rows_that_differ
from ui.chosen import Chosen, build_chosen, can_delete, dated_choices, title_of
from ui.evaluate.view import rows_html, tables_html
from ui.hints import hint_html
from ui.long_lists import Choice
from ui.status import RESUMABLE, progress_html

SHOWN_ROWS = 10
EMPTY = _("Here you will see what got better, by how much, and what was forgotten.")


@dataclass
class ResultView:
    """The components; `outputs` are those that `render` fills."""

    chosen: Chosen
    status_html: gr.HTML
    stop_button: gr.Button
    resume_button: gr.Button
    table_button: gr.Button
    answers_button: gr.Button
    tables_html: gr.HTML
    set_dropdown: gr.Dropdown
    candidate_dropdown: gr.Dropdown
    score_dropdown: gr.Dropdown
    rows_html: gr.HTML
    other_dropdown: gr.Dropdown
    found_column: gr.Column
    other_html: gr.HTML

    @property
    def choice(self) -> list[gr.Dropdown]:
        """Return what says which rows are shown."""
        return [self.set_dropdown, self.candidate_dropdown, self.score_dropdown]

    @property
    def outputs(self) -> list:
        """Return what `render` fills, in its order."""
        buttons = [self.stop_button, self.resume_button, self.table_button, self.answers_button]
        found = [self.tables_html, *self.choice, self.rows_html, self.other_dropdown, self.found_column]
        return [self.status_html, *buttons, *self.chosen.outputs, *found, self.other_html]


def build_result() -> ResultView:
    """Lay out the view of one evaluation: nothing in it moves while it runs."""
    chosen = build_chosen(_("Evaluation"))
    status = gr.HTML(hint_html(EMPTY, "hint nothing-yet"), elem_classes="status")
    with gr.Row():
        stop_button = gr.Button(_("Stop and keep the results"), visible=False, min_width=150)
        resume_button = gr.Button(_("Resume evaluation"), visible=False, min_width=140)
        table_button = gr.Button(_("Table (.csv)"), visible=False, min_width=90)
        answers_button = gr.Button(_("Answers (.jsonl)"), visible=False, min_width=90)
    tables = gr.HTML()
    with gr.Column(visible=False) as found_column:
        gr.HTML(f"<h3>{html.escape(_('Where they differ most'))}</h3>")
        with gr.Row(elem_classes="fields"):
            choice = [
                gr.Dropdown([], label=label, interactive=True, allow_custom_value=True, min_width=140)
                for label in (_("Test set"), _("Beside the base"), _("By the score"))
            ]
        rows = gr.HTML()
        with gr.Accordion(_("Compare with another evaluation"), open=False):
            other_dropdown = gr.Dropdown([], label=_("The other evaluation"), allow_custom_value=True)
            other = gr.HTML()
    buttons = (stop_button, resume_button, table_button, answers_button)
    return ResultView(
        chosen,
        status,
        *buttons,
        tables,
        *choice,
        rows,
        other_dropdown,
        found_column,
        other,
    )


def own_evaluation(evaluation_id: object, owner: str) -> Evaluation:
    """Return the owner's evaluation with this id. Raises UserError."""
    if not evaluation_id or not isinstance(evaluation_id, str):
        raise UserError(_("No evaluation is chosen."), _("Pick one."))
    return find_evaluation(evaluation_id, owner)


def evaluation_choices(owner: str, typed: str = "", picked: object = None) -> list[Choice]:
    """Return the newest evaluations that match `typed`, and the picked one, as (title and time, id)."""
    return dated_choices(list_evaluations(owner), typed, picked)


def status_html(evaluation: Evaluation | None) -> str:
    """Return what it does now, how far it is, and what went wrong, as HTML."""
    if evaluation is None:
        return hint_html(EMPTY, "hint nothing-yet")
    return progress_html(evaluation, _("Progress of the evaluation"), _("Evaluating"))


def set_titles(evaluation: Evaluation) -> dict[str, str]:
    """Return the titles of its test sets by their ids."""
    versions = evaluation.versions()
    return {name: said(one["title"]) for name, one in versions["test_sets"].items()} if versions else {}


def render(evaluation: Evaluation | None) -> list:
    """Return updates for `ResultView.outputs`."""
    if evaluation is None:
        hidden = [gr.Button(visible=False)] * 4
        return [status_html(None), *hidden, *can_delete(False), "", *[gr.skip()] * 5, gr.Column(visible=False), ""]
    status, lines = read_progress(evaluation).status, read_table(evaluation)
    is_running = status in UNDER_WAY
    return [
        status_html(evaluation),
        gr.Button(visible=is_running and not evaluation.stop_file.exists()),
        gr.Button(visible=status in RESUMABLE),
        *[gr.Button(visible=bool(lines))] * 2,
        *can_delete(not is_running),
        *_found(evaluation, lines),
        "",
    ]


def _found(evaluation: Evaluation, lines: list[Line]) -> list:
    """Return updates for the tables, the choice of the rows under them and the rows, and the choice of another evaluation."""
    if not lines:
        return ["", *[gr.skip()] * 5, gr.Column(visible=False)]
    sets = {
        name: title for name, title in set_titles(evaluation).items() if any(line.test_set == name for line in lines)
    }
    names = list(dict.fromkeys(line.candidate for line in lines))
    candidates = {name: candidate_title(name, evaluation.owner) for name in names}
    scores = [name for name in dict.fromkeys(line.score for line in lines) if name in SCORES]
    chosen = [next(iter(sets), None), next(iter(names[1:]), None), next(iter(scores), None)]
    others = [choice for choice in evaluation_choices(evaluation.owner) if choice[1] != evaluation.id]
    return [
        tables_html(lines, sets, candidates),
        gr.Dropdown([(title, name) for name, title in sets.items()], value=chosen[0]),
        gr.Dropdown([(candidates[name], name) for name in names[1:]], value=chosen[1]),
        gr.Dropdown([(str(SCORES[name].title), name) for name in scores], value=chosen[2]),
        rows_of(evaluation, *chosen),
        gr.Dropdown(others, value=None),
        gr.Column(visible=True),
    ]


def is_compared(evaluation: Evaluation, test_set: object, candidate: object, score: object = None) -> bool:
    """Return whether a candidate stands beside the first one on this test set, in any score or in this one."""
    lines = [line for line in read_table(evaluation) if line.difference]
    return any(
        (line.test_set, line.candidate, line.score) == (test_set, candidate, score or line.score) for line in lines
    )


def rows_of(evaluation: Evaluation, test_set: object, candidate: object, score: object) -> str:
    """Return the rows at which a candidate and the first one differ most, as HTML."""
    if not score or not is_compared(evaluation, test_set, candidate, score):
        return hint_html(_("Choose a test set, a model and a score."))
    rows = rows_that_differ(evaluation, str(test_set), str(candidate), str(score), SHOWN_ROWS)
    return rows_html(rows, SCORES[str(score)], candidate_title(str(candidate), evaluation.owner))


def comparison(first: Evaluation, second: Evaluation) -> str:
    """Return the scores of two evaluations on what both asked, as HTML. Raises UserError where that is nothing."""
    lines, both = compare(first, second), {one.id: one for one in (first, second)}
    titles = {}
    for name in dict.fromkeys(line.candidate for line in lines):
        evaluation_id, _slash, candidate = name.partition("/")
        called = title_of(both[evaluation_id]) if title_of(first) != title_of(second) else evaluation_id
        titles[name] = f"{candidate_title(candidate, first.owner)} ({called})"
    return tables_html(lines, set_titles(first), titles)
