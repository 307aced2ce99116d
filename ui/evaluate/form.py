"""The form of the Evaluate tab: what is compared, on what, and everything else under Advanced; and the config it makes."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from adapters.library import adapter_names, read_some
from common.errors import UserError
from common.language import _, joined, n_, said
from common.words import duration
from data.test_sets import list_test_sets
from evaluation.config import ADAPTER, BASE, FEW_SHOT, RUN, EvaluationConfig
from evaluation.pace import seconds_a_question
from evaluation.run import list_evaluations
from evaluation.scores import SCORES
from evaluation.start import DEFAULT_TEST_SETS
from runs.history import run_of
from ui.evaluate.own_sets import OwnSets, build_own_sets
from ui.hints import hint_html
from ui.long_lists import MAX_LISTED_ENTRIES, Choice, names_in
from ui.steps import build_step

LABELS = {  # of the settings under Advanced
    "title": _("Name"),
    "shots": _("Examples of the few-shot prompt"),
    "max_new_tokens": _("Longest answer (tokens)"),
    "max_items": _("Questions of each test set"),
    "seed": _("Seed"),
    "format_rule": _("Rule for the format"),
}
START_FIRST = _("Train an adapter, or add one in the Adapters tab: then it can be compared with its base here.")


@dataclass
class EvaluateForm:
    """The inputs; `inputs` are all of them, in the order that `form_config` takes."""

    adapters: gr.Dropdown
    few_shot: gr.Checkbox
    test_sets: gr.CheckboxGroup
    own_sets: OwnSets
    scores: gr.CheckboxGroup
    settings: dict[str, Any]
    start_button: gr.Button
    plan_html: gr.HTML

    @property
    def inputs(self) -> list[Any]:
        """Return the components that make the config."""
        return [self.adapters, self.few_shot, self.test_sets, self.scores, *self.settings.values()]


def build_form() -> EvaluateForm:
    """Lay out the three steps and Advanced."""
    build_step(1, _("Compare"))
    adapters = gr.Dropdown(
        [],
        value=[],
        multiselect=True,
        allow_custom_value=True,  # an API names any
        label=_("Adapters"),
        info=_("One or more of the same base. The base itself is always asked, too."),
    )
    few_shot = gr.Checkbox(False, label=_("and the base with a few examples in its prompt"))
    build_step(2, _("On"))
    test_sets = gr.CheckboxGroup([], label=_("Test sets"), show_label=False, container=False, elem_classes="test-sets")
    own_sets = build_own_sets()
    build_step(3, _("Start"))
    with gr.Row(elem_classes="start"):
        start_button = gr.Button(_("Evaluate"), variant="primary", size="lg", min_width=180, scale=0)
        plan_html = gr.HTML("", elem_classes="start-words")
    with gr.Accordion(_("Advanced"), open=False):
        scores = gr.CheckboxGroup(
            [(said(score.title), name) for name, score in SCORES.items()],
            label=_("Scores"),
            info=_("None chosen: all that fit a test set."),
        )
        settings = _build_settings()
    return EvaluateForm(adapters, few_shot, test_sets, own_sets, scores, settings, start_button, plan_html)


def _build_settings() -> dict[str, Any]:
    """Lay out the settings under Advanced, two in a row; return the inputs by name."""
    items = {item.name: item for item in fields(EvaluationConfig)}
    inputs: dict[str, Any] = {}
    names = list(LABELS)
    for place in range(0, len(names), 2):
        with gr.Row(elem_classes="fields"):
            for name in names[place : place + 2]:
                about: dict[str, Any] = {
                    "label": str(LABELS[name]),
                    "info": said(items[name].metadata["help"]),
                    "min_width": 160,
                }
                default: Any = items[name].default
                is_number = isinstance(default, int)
                inputs[name] = gr.Number(default, precision=0, **about) if is_number else gr.Textbox(default, **about)
    return inputs


def adapter_choices(owner: str, typed: str = "", picked: object = ()) -> list[Choice]:
    """Return the newest adapters that match `typed`, and those that are picked, as (title, name)."""
    names = adapter_names(owner)
    listed = adapter_names(owner, typed)[:MAX_LISTED_ENTRIES]
    kept = [name for name in names if isinstance(picked, list) and name in picked and name not in listed]
    return [(one.title, one.name) for one in read_some(listed + kept, owner)]


def asked_sets(owner: str, adapters: list[str]) -> dict[str, tuple[str, int]]:
    """Return the title and the rows of each test set by its id: held-out rows of the adapters' runs, bundled ones, own ones."""
    found = {}
    for adapter in read_some(adapters, owner):
        run, rows = run_of(adapter.folder), adapter.metric("held_out_total")
        if run and rows:
            found[RUN + run.id] = (str(_("Held-out rows of {run}", run=adapter.title)), round(rows))
    return found | {one.id: (said(one.title), one.rows) for one in list_test_sets(owner) if one.rows}


def set_views(owner: str, adapters: list[str], few_shot: object, chosen: list[str], most: object) -> list:
    """Return updates for the test sets and the line beside the button, for these adapters and the sets that were chosen.

    Held-out rows of all of their runs are chosen, and at first the bundled sets.
    """
    sets = asked_sets(owner, adapters)
    picked = [name for name in sets if name in (chosen or DEFAULT_TEST_SETS) or name.startswith(RUN)]
    choices = [(f"{title} ({rows:,})", name) for name, (title, rows) in sets.items()]
    return [gr.CheckboxGroup(choices, value=picked), plan_html(owner, adapters, few_shot, picked, most, sets)]


def plan_html(
    owner: str,
    adapters: list[str],
    few_shot: object,
    chosen: list[str],
    most: object,
    sets: dict[str, tuple[str, int]] | None = None,
) -> str:
    """Return the line beside the button: how many questions go to how many models, and about how long that takes.

    At most `most` questions of each of the chosen test sets; `sets` are those of `asked_sets`, where they are known already.
    """
    if not adapters and not few_shot and not adapter_names(owner):
        return hint_html(START_FIRST)
    sizes = [rows for name, (_title, rows) in (sets or asked_sets(owner, adapters)).items() if name in chosen]
    count = sum(min(size, most) if isinstance(most, int) and most > 0 else size for size in sizes)
    models = 1 + len(adapters) + bool(few_shot)
    if not count or models == 1:
        return hint_html(_("Choose an adapter and a test set."))
    words = n_(
        "{count:,} question for each of {models} models.",
        "{count:,} questions for each of {models} models.",
        count,
        models=models,
    )
    base = next((one.base_choice for one in read_some(adapters, owner)), "")
    seconds = seconds_a_question(list_evaluations(owner), base)
    time = _("About {time}.", time=duration(seconds * count * models)) if seconds else ""
    return hint_html(joined([words, time]))


def form_config(owner: str, adapters, few_shot, test_sets, scores, *settings) -> EvaluationConfig:
    """Return the form as a config. Raises UserError."""
    names = names_in(adapters)
    if not names and not few_shot:
        known = adapter_names(owner)
        raise UserError(_("No adapter is chosen."), _("Pick one.") if known else START_FIRST)
    if not names_in(test_sets):
        raise UserError(_("No test set is chosen."), _("Choose one or more."))
    values = dict(zip(LABELS, settings, strict=True))
    config = EvaluationConfig.from_dict(
        {
            **values,
            "candidates": [BASE, *(ADAPTER + name for name in names), *([FEW_SHOT] if few_shot else [])],
            "test_sets": names_in(test_sets),
            "scores": names_in(scores),
        }
    )
    config.check()
    return config
