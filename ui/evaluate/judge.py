"""Blind judging: of two answers without names a person says which is better, with buttons or the keys 1, 2 and 0."""

import html
from dataclasses import dataclass

import gradio as gr

from common.language import _, n_
from common.paths import as_title
from evaluation.judging import (
    Choice,
    Pair,
    agreements,
    keep_judgement,
    next_pair,
    pairs_of,
    read_judgements,
    win_rate,
    win_sentence,
)
from evaluation.run import Evaluation, candidate_title
from ui.answers import lines_html
from ui.evaluate.result import ResultView, is_compared, own_evaluation
from ui.events import QUIET
from ui.hints import hint_html
from ui.messages import shown
from ui.owner import owner_of

# the keys press the buttons; not while a person writes
KEYS_SCRIPT = """
const section = element.closest('.judging');
section.addEventListener('keydown', event => {
    const place = ['1', '2', '0'].indexOf(event.key);
    if (place < 0 || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches('input, textarea, select')) return;
    event.preventDefault();
    section.querySelectorAll('.verdicts button')[place]?.click();
});
"""
CHOICES: tuple[Choice, ...] = ("left", "right", "tie")  # in the order of the buttons


@dataclass
class Judging:
    """The components of the section."""

    name_box: gr.Textbox
    start_button: gr.Button
    pair_html: gr.HTML
    pair_box: gr.Textbox  # which pair is shown; nothing in it says whose the answers are
    verdicts: gr.Row
    buttons: list[gr.Button]
    result_button: gr.Button
    result_html: gr.HTML


def build_judging() -> Judging:
    """Lay out the section, folded."""
    with gr.Accordion(_("Judge blind"), open=False, elem_classes="judging"):
        words = _("Two answers, without names, on the test set and beside the model chosen above. Which is better?")
        gr.HTML(hint_html(words))
        with gr.Row(elem_classes="fields"):
            name_box = gr.Textbox("", label=_("Who judges"), max_length=80, min_width=140)
            start_button = gr.Button(_("Show two answers"), min_width=140)
        pair_html = gr.HTML("", js_on_load=KEYS_SCRIPT)
        pair_box = gr.Textbox("", visible="hidden")
        with gr.Row(visible=False, elem_classes="verdicts") as verdicts:
            labels = (_("1: the left one"), _("2: the right one"), _("0: neither"))
            buttons = [gr.Button(label, min_width=110) for label in labels]
        result_button = gr.Button(_("Show the result"), size="sm")
        result_html = gr.HTML("")
    return Judging(name_box, start_button, pair_html, pair_box, verdicts, buttons, result_button, result_html)


def wire_judging(judging: Judging, view: ResultView, browser_key: gr.BrowserState) -> None:
    """Wire the pairs, the three verdicts, and the result."""
    chosen = [browser_key, view.chosen.dropdown, view.set_dropdown, view.candidate_dropdown]
    outputs = [judging.pair_html, judging.pair_box, judging.verdicts]

    @shown
    def on_pair(token: gr.OAuthToken | None, key, evaluation_id, test_set, candidate, name):
        return pair_views(own_evaluation(evaluation_id, owner_of(key, token)), test_set, candidate, name)

    @shown
    def on_result(token: gr.OAuthToken | None, key, evaluation_id, test_set, candidate):
        evaluation = own_evaluation(evaluation_id, owner_of(key, token))
        return judged_html(evaluation, candidate)

    def verdict(choice: Choice):
        @shown
        def on_verdict(token: gr.OAuthToken | None, key, evaluation_id, test_set, candidate, name, pair_id):
            evaluation = own_evaluation(evaluation_id, owner_of(key, token))
            judge(evaluation, test_set, candidate, name, pair_id, choice)
            return pair_views(evaluation, test_set, candidate, name)

        return on_verdict

    judging.start_button.click(on_pair, [*chosen, judging.name_box], outputs, api_name="pair_to_judge", **QUIET)
    judging.name_box.submit(on_pair, [*chosen, judging.name_box], outputs, **QUIET)
    given = [*chosen, judging.name_box, judging.pair_box]
    for choice, button in zip(CHOICES, judging.buttons, strict=True):
        button.click(verdict(choice), given, outputs, api_name=f"judge_{choice}", concurrency_id="judge", **QUIET)
    judging.result_button.click(on_result, chosen, judging.result_html, api_name="judged", **QUIET)


def compared_pairs(evaluation: Evaluation, test_set: object, candidate: object) -> list[Pair]:
    """Return the pairs of answers of the first candidate and another on a test set; [] for what was not compared."""
    return pairs_of(evaluation, str(test_set), str(candidate)) if is_compared(evaluation, test_set, candidate) else []


def pair_views(evaluation: Evaluation, test_set: object, candidate: object, name: object) -> list:
    """Return updates for the pair, its id, and the row of verdicts: the next pair that this judge has not judged."""
    pairs, judge_name = compared_pairs(evaluation, test_set, candidate), as_title(name if isinstance(name, str) else "")
    if not judge_name:
        return [hint_html(_("First say who judges: a name or a letter.")), "", gr.Row(visible=False)]
    pair = next_pair(pairs, read_judgements(evaluation.folder), judge_name)
    if pair is None:
        words = _("You have judged all of them.") if pairs else _("There are no two different answers to judge.")
        return [hint_html(words), "", gr.Row(visible=False)]
    place = hint_html(_("Pair {place:,} of {count:,}", place=pairs.index(pair) + 1, count=len(pairs)))
    columns = "".join(
        f"<div><b>{html.escape(label)}</b>{lines_html(answer)}</div>"
        for label, answer in ((_("Left"), pair.left_answer), (_("Right"), pair.right_answer))
    )
    shown_now = (
        f"<section class='learned whole pair-to-judge'><p class='prompt'>{html.escape(pair.messages[-1]['content'])}</p>"
        f"<div class='pair'>{columns}</div>{place}</section>"
    )
    return [shown_now, f"{pair.test_set} {pair.item}", gr.Row(visible=True)]


def judge(
    evaluation: Evaluation, test_set: object, candidate: object, name: object, pair_id: object, choice: Choice
) -> None:
    """Keep a verdict on the pair that was shown; a second press, which came before the next pair was seen, is none."""
    judge_name = as_title(name if isinstance(name, str) else "")
    pair = next_pair(compared_pairs(evaluation, test_set, candidate), read_judgements(evaluation.folder), judge_name)
    if pair and pair_id == f"{pair.test_set} {pair.item}":
        keep_judgement(evaluation.folder, pair, choice, judge_name)


def judged_html(evaluation: Evaluation, candidate: object) -> str:
    """Return what people preferred, and how far two judges of the same pairs agree, as HTML."""
    judgements = [one for one in read_judgements(evaluation.folder) if "prompt" not in one]  # people's
    first = evaluation.config().candidates[0]
    if not judgements or not isinstance(candidate, str):
        return hint_html(_("Nothing was judged yet."))
    title, found = candidate_title(candidate, evaluation.owner), win_sentence(win_rate(judgements, first, candidate))
    lines = [hint_html(_("{name}: {verdict}", name=title, verdict=found))]
    for one in agreements(judgements, first, candidate):
        words = n_(
            "{first} and {second} agree in {share:.0%} of {count} pair.",
            "{first} and {second} agree in {share:.0%} of {count} pairs.",
            one.n,
            first=one.first,
            second=one.second,
            share=one.share,
        )
        kappa = _("Kappa {kappa:.2f}.", kappa=one.kappa) if one.kappa is not None else ""
        lines.append(hint_html(f"{words} {kappa}".strip()))
    return "".join(lines)
