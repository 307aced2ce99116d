"""Made rows in the Train tab: the form below its source, the rows at the right; and their events."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.events import Dependency

from common.errors import UserError
from common.hosted import on_space
from common.language import _, joined
from common.visitors import is_visitor
from evaluation.background import delete_work, request_stop
from making.config import LOCAL, SERVER
from making.made import list_made
from making.plan import plan
from making.start import resume, start
from ui.chosen import wire_chosen
from ui.events import QUIET, Wiring
from ui.hints import hint_html
from ui.long_lists import dataset_choices
from ui.making.form import MakingForm, form_config, model_choices
from ui.making.result import WATCHED, MadeView, build_made_view, made_choices, own_made
from ui.making.review import Review, build_review, wire_review
from ui.messages import shown
from ui.owner import Visitor, can_sign_in, owner_of, visitor_of


@dataclass
class MadePanel:
    """The rows at the right, and the way from there into the training."""

    view: MadeView
    review: Review
    name_box: gr.Textbox
    use_button: gr.Button


def build_made_panel() -> MadePanel:
    """Lay out one made set: what it does now, its rows, and their use."""
    with gr.Column(elem_classes="made"):
        view = build_made_view()
        review = build_review()
        with review.column, gr.Row(elem_classes="fields"):
            name_box = gr.Textbox("made", label=_("Name of the dataset"), max_length=60, min_width=160)
            use_button = gr.Button(_("Use the accepted rows"), variant="primary", min_width=160, scale=0)
    return MadePanel(view, review, name_box, use_button)


def teacher_html(visitor: Visitor, teacher: object) -> str:
    """Return what is to be known of a teacher, or how to get one, as HTML; of a local one the plan tells it."""
    if teacher == LOCAL:
        return ""
    if teacher == SERVER and on_space():
        words = _("The owner of this Space runs or rents it.")
    elif teacher == SERVER:
        words = _("Any that speaks OpenAI's interface: vLLM, llama.cpp, Ollama, or one that you pay for.")
    elif visitor.hub_token:
        words = _("Their price goes to your Hugging Face account. The licence is that of the model you choose.")
    elif can_sign_in():
        words = _("Sign in above: the model writes for your Hugging Face account, never for another's.")
    else:
        words = _("Sign in with `hf auth login` first: the model writes for your Hugging Face account.")
    return hint_html(words)


def plan_html(visitor: Visitor, values: dict[str, Any]) -> str:
    """Return what making takes, or what keeps it from starting, as HTML."""
    try:
        found = plan(form_config(visitor.owner, values), visitor.owner)
    except UserError as error:
        return hint_html(joined([error.message, error.hint]))
    return "".join(hint_html(problem) for problem in found.problems) or hint_html(found.words)


def wire_making(form: MakingForm, panel: MadePanel, browser_key: gr.BrowserState) -> tuple[Wiring, Dependency]:
    """Wire the form and the rows; return the event that fills their lists, and the one that has started a set."""
    view, review = panel.view, panel.review
    picked = wire_chosen(view.chosen, WATCHED, browser_key, view.status_outputs, view.outputs)
    wire_review(review, view, browser_key)
    named = view.chosen.dropdown
    named.change(lambda made_id: made_id or gr.skip(), named, panel.name_box, **QUIET)
    load = _wire_form(form, view, browser_key)
    return load, _wire_run(form, view, browser_key, picked)


def _wire_form(form: MakingForm, view: MadeView, browser_key: gr.BrowserState) -> Wiring:
    """Wire the plan and what is said of the teacher; return the event that fills all lists."""
    names, components = list(form.inputs), list(form.inputs.values())
    model, seeds = form.inputs["model"], form.inputs["seed_rows"]

    def teacher_views(visitor: Visitor, values: dict[str, Any]) -> list:
        models = model_choices(visitor.owner, values)
        known = [name for _title, name in models]
        values["model"] = values["model"] if values["model"] in known or not known else known[0]
        return [
            gr.Dropdown(models, value=values["model"]),
            teacher_html(visitor, values["teacher"]),
            plan_html(visitor, values),
        ]

    @shown
    def on_load(token: gr.OAuthToken | None, key, made_id, *given):
        if not key and is_visitor():  # the tab is shown before the browser has its key
            return [gr.skip()] * len(lists)
        visitor, values = visitor_of(key, token), dict(zip(names, given, strict=True))
        choices = made_choices(visitor.owner, picked=made_id)
        ids = [value for _label, value in choices]
        chosen = gr.Dropdown(choices, value=made_id if made_id in ids else next(iter(ids), None))
        return [chosen, gr.Dropdown(dataset_choices(visitor.owner)), *teacher_views(visitor, values)]

    @shown
    def on_teacher(token: gr.OAuthToken | None, key, *given):
        values = dict(zip(names, given, strict=True))
        return teacher_views(visitor_of(key, token), {**values, "model": None})

    @shown
    def on_plan(token: gr.OAuthToken | None, key, *given):
        return plan_html(visitor_of(key, token), dict(zip(names, given, strict=True)))

    newest: Wiring = {"inputs": [browser_key, *components], "trigger_mode": "always_last", **QUIET}
    told = [model, form.teacher_html, form.plan_html]
    server = form.inputs["server"]
    asked = [form.inputs["teacher"].input, server.blur, server.submit]
    gr.on(asked, on_teacher, outputs=told, api_name="teacher_of_rows", **newest)
    file = form.inputs["documents"]
    by_hand = [one.input for one in components if one not in (file, server, form.inputs["teacher"])]
    gr.on(
        [*by_hand, file.upload, file.delete, file.clear],
        on_plan,
        outputs=form.plan_html,
        api_name="plan_rows",
        **newest,
    )
    lists = [view.chosen.dropdown, seeds, *told]
    return {"fn": on_load, "inputs": [browser_key, view.chosen.dropdown, *components], "outputs": lists, **QUIET}


def _wire_run(form: MakingForm, view: MadeView, browser_key: gr.BrowserState, picked: Wiring) -> Dependency:
    """Wire make, stop, resume and delete; return the event that has started a set."""
    inputs, names = [browser_key, view.chosen.dropdown], list(form.inputs)

    @shown
    def on_make(token: gr.OAuthToken | None, key, secret, *given):
        visitor = visitor_of(key, token)
        config = form_config(visitor.owner, dict(zip(names, given, strict=True)))
        made = start(config, visitor.owner, visitor.hub_token, secret or None)
        return gr.Dropdown(made_choices(visitor.owner), value=made.id)

    @shown
    def on_stop(token: gr.OAuthToken | None, key, made_id):
        request_stop(own_made(made_id, owner_of(key, token)))
        gr.Info(str(_("Stopping; the rows are kept.")))

    @shown
    def on_resume(token: gr.OAuthToken | None, key, made_id, secret):
        visitor = visitor_of(key, token)
        resume(own_made(made_id, visitor.owner), visitor.hub_token, secret or None)

    @shown
    def on_delete(token: gr.OAuthToken | None, key, made_id):
        owner = owner_of(key, token)
        delete_work(own_made(made_id, owner))
        return gr.Dropdown(made_choices(owner), value=next((one.id for one in list_made(owner)), None))

    started = form.make_button.click(
        on_make,
        [browser_key, form.key_box, *form.inputs.values()],
        view.chosen.dropdown,
        api_name="make_rows",
        concurrency_id="start",
        concurrency_limit=1,
        show_progress="hidden",
    )
    view.stop_button.click(on_stop, inputs, None, api_name="stop_making").success(**picked)
    view.resume_button.click(on_resume, [*inputs, form.key_box], None, api_name="resume_making").success(**picked)
    view.chosen.delete_yes.click(on_delete, inputs, view.chosen.dropdown, api_name="delete_made", **QUIET)
    return started.success(**picked)
