"""The form for made rows: what is made, from what, and who writes it; and the config that it makes."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from adapters.library import adapter_names
from chat.remote import remote_engine
from common.errors import UserError
from common.hosted import on_space
from common.language import Sentence, _, said
from common.visitors import is_visitor
from data.documents.gather import SUFFIXES, ZIP
from data.feedback import find_dataset, list_datasets
from making.config import ADAPTER, DOCUMENTS, LANGUAGES, LOCAL, PROVIDER, RECIPES, SEEDS, SERVER, TOPICS, MakingConfig
from making.start import MAX_KEY_CHARACTERS, server_models
from models.base import BASE_CHOICES
from ui.events import show_by_choice
from ui.long_lists import Choice, titled_adapters
from ui.named import checked_base, checked_hub_id

ANY_PROVIDER = f"{PROVIDER}auto"
MAX_LINES_CHARACTERS = 200_000
FIRST_ROWS = 50  # the first try is short
TEACHERS: dict[str, Sentence] = {
    SERVER: _("A model on a server"),
    ANY_PROVIDER: _("Inference Providers"),
    LOCAL: _("A model in this app"),
}
LANGUAGE_LABELS: dict[str, Sentence] = {"": _("As the source"), "en": _("English"), "ko": _("Korean")}
ASKING: dict[str, Sentence] = {  # settings that are folded away, two in a row
    "temperature": _("Temperature"),
    "max_new_tokens": _("Longest answer in tokens"),
    "parallel": _("Requests at a time"),
    "seed": _("Seed"),
}
HELP = {item.name: item.metadata["help"] for item in fields(MakingConfig) if item.metadata}


@dataclass
class MakingForm:
    """The components. `inputs` are those of the config, by its settings' names; the key is no setting."""

    column: gr.Column
    rows_button: gr.Button  # leads to the rows, on a phone
    inputs: dict[str, Any]
    key_box: gr.Textbox
    teacher_html: gr.HTML
    make_button: gr.Button
    plan_html: gr.HTML


def build_form() -> MakingForm:
    """Lay out the form, hidden until its source is chosen."""
    with gr.Column(visible=False, elem_classes="making") as column:
        rows_button = gr.Button(_("Rows that were made before"), size="sm", elem_classes="to-made")
        inputs = _build_recipe()
        teacher, key_box, teacher_html = _build_teacher()
        inputs |= teacher
        with gr.Row(elem_classes="fields"):
            inputs["rows"] = gr.Number(FIRST_ROWS, precision=0, label=_("Rows to make"), min_width=100)
            languages = [(said(LANGUAGE_LABELS[one]), one) for one in LANGUAGES]
            inputs["language"] = gr.Dropdown(languages, value="", label=_("Language"), min_width=130)
            inputs["licence"] = gr.Textbox(
                label=_("Licence of its answers"), placeholder="apache-2.0", max_length=200, min_width=150
            )
        with gr.Accordion(_("How the teacher is asked"), open=False):
            inputs |= _build_asking()
        with gr.Row(elem_classes="making-start"):
            make_button = gr.Button(_("Make rows"), variant="primary", min_width=150, scale=0)
            plan_html = gr.HTML("", elem_classes="start-words")
    return MakingForm(column, rows_button, inputs, key_box, teacher_html, make_button, plan_html)


def _build_recipe() -> dict[str, Any]:
    """Lay out what is made, and the inputs that each recipe takes; return them by name."""
    first = next(iter(RECIPES))
    recipe = gr.Dropdown([(said(one.title), name) for name, one in RECIPES.items()], value=first, label=_("Make"))
    documents = gr.File(
        label=_("PDF, Word (.docx), Markdown, HTML, text, or a ZIP of these"),
        file_types=[*SUFFIXES, ZIP],
        file_count="multiple",
        height=150,
    )
    seed_rows = gr.Dropdown(
        [], value=None, label=_("Rows: a dataset of yours, or an ID on the Hub"), allow_custom_value=True, visible=False
    )
    lines: dict[str, Any] = {"max_lines": 12, "max_length": MAX_LINES_CHARACTERS, "visible": False}
    topics = gr.Textbox(label=_("Topics, one a line"), lines=3, **lines)
    labels = gr.Textbox(label=_("Labels, one a line"), lines=3, **lines)
    own = gr.Textbox(
        label=_("Your recipe"),
        info=_(
            "What the teacher is asked. {names} are filled in where they appear.", names="{passage} {examples} {topic}"
        ),
        lines=5,
        **lines,
    )
    manner = gr.Textbox(label=_("In which manner"), placeholder=str(_("short and friendly, for children")), max_lines=4)
    inputs = {"documents": documents, "seed_rows": seed_rows, "topics": topics, "labels": labels, "recipe_text": own}
    show_by_choice(recipe, {box: recipes_with(name) for name, box in inputs.items()})
    return {"recipe": recipe, **inputs, "manner": manner}


def recipes_with(name: str) -> list[str]:
    """Return the recipes that take this setting as a source, or need it."""
    return [recipe.name for recipe in RECIPES.values() if name in (*recipe.sources, *recipe.needs)]


def _build_teacher() -> tuple[dict[str, Any], gr.Textbox, gr.HTML]:
    """Lay out who writes the rows; return the inputs by name, that of the key, and what is said of the teacher."""
    has_server = not on_space() or remote_engine() is not None  # on a Space its owner may name one, and no visitor
    names = [SERVER] * has_server + [ANY_PROVIDER, LOCAL]
    teacher = gr.Radio([(said(TEACHERS[one]), one) for one in names], value=names[0], label=_("Teacher"))
    with gr.Row(elem_classes="fields", visible=not on_space()) as own_server:
        server = gr.Textbox(label=_("Address of the server"), placeholder="http://127.0.0.1:8000/v1", min_width=180)
        key_box = gr.Textbox(
            label=_("Its key, if it needs one"), type="password", max_length=MAX_KEY_CHARACTERS, min_width=140
        )
    model = gr.Dropdown([], value=None, label=_("Model"), allow_custom_value=True)
    teacher_html = gr.HTML("")
    show_by_choice(teacher, {own_server: [] if on_space() else [SERVER]})
    return {"teacher": teacher, "server": server, "model": model}, key_box, teacher_html


def _build_asking() -> dict[str, Any]:
    """Lay out how the teacher is asked, and the set's name; return the inputs by name."""
    inputs: dict[str, Any] = {}
    names = list(ASKING)
    for place in range(0, len(names), 2):
        with gr.Row(elem_classes="fields"):
            for name in names[place : place + 2]:
                default = getattr(MakingConfig(), name)
                inputs[name] = gr.Number(
                    default,
                    precision=0 if isinstance(default, int) else None,
                    label=str(ASKING[name]),
                    info=said(HELP[name]),
                    min_width=150,
                )
    inputs["check_answers"] = gr.Checkbox(False, label=str(HELP["check_answers"]))
    inputs["title"] = gr.Textbox("", label=_("Name of the made set"), max_length=100)
    return inputs


def model_choices(owner: str, values: dict[str, Any]) -> list[Choice]:
    """Return the models that are known of the teacher as (title, name): the server's, or the bases and adapters here."""
    if values["teacher"] == LOCAL:
        bases = [(str(said(label)), choice) for label, choice in BASE_CHOICES]
        adapters = titled_adapters(owner, adapter_names(owner))
        return bases + [(title, f"{ADAPTER}{name}") for title, name in adapters]
    server = own_server(values)
    try:
        MakingConfig(server=server).check()
        names = server_models(server) if values["teacher"] == SERVER else []
    except UserError:  # no server, or no address of one: the plan says it
        names = []
    return [(name, name) for name in names]


def form_config(owner: str, values: dict[str, Any]) -> MakingConfig:
    """Return the form as a config. Raises UserError for what cannot be taken, or is not a visitor's to name."""
    recipe, teacher = values["recipe"], values["teacher"]
    given = {name: value for name, value in values.items() if value is not None}
    for name in (DOCUMENTS, SEEDS, TOPICS, "labels", "recipe_text"):
        if recipe not in recipes_with(name):
            given.pop(name, None)
    for name in (TOPICS, "labels"):
        if name in given:
            given[name] = [line.strip() for line in text_of(given[name]).splitlines() if line.strip()]
    if SEEDS in given:
        given[SEEDS] = _seed_rows(owner, text_of(given[SEEDS]))
    if teacher == LOCAL and not text_of(given.get("model")).startswith(ADAPTER):
        given["model"] = checked_base(text_of(given.get("model")))
    given["server"] = own_server(values) if teacher == SERVER else ""
    config = MakingConfig.from_dict(given)
    config.check()
    return config


def own_server(values: dict[str, Any]) -> str:
    """Return the address of a server that was typed; of a visitor none counts: the app would call any address for them."""
    return "" if is_visitor() else text_of(values.get("server"))


def text_of(value: object) -> str:
    """Return a text without white space around it; "" for anything else that was sent."""
    return value.strip() if isinstance(value, str) else ""


def _seed_rows(owner: str, name: str) -> str:
    """Return what TrainConfig.data calls the chosen rows: one of the owner's data sets, or one of the Hub."""
    if name in {one.name for one in list_datasets(owner)}:
        return str(find_dataset(name, owner).path)
    return checked_hub_id(owner, name, "data")
