"""A person's own test sets: made of an upload or of a split of a data set on the Hub, and deleted."""

from dataclasses import dataclass

import gradio as gr

from common.errors import UserError
from common.language import _, n_
from common.mix import DataShare, as_text
from data.hub_data import check_id
from data.kinds import KINDS
from data.settings import DataSettings
from data.test_sets import BUNDLED, delete_test_set, keep_test_set, list_test_sets
from ui.background import with_progress
from ui.events import QUIET, Wiring, ask_first
from ui.hints import hint_html
from ui.long_lists import Choice
from ui.messages import shown
from ui.owner import owner_of

MAX_SPLIT_CHARACTERS = 80  # `datasets` looks for ranges in it in quadratic time
HEARTBEAT_SECONDS = 0.2  # how soon the reading of rows that nobody waits for any more ends


@dataclass
class OwnSets:
    """The components of the section."""

    title_box: gr.Textbox
    file: gr.File
    hub_box: gr.Textbox
    split_box: gr.Textbox
    add_button: gr.Button
    said_html: gr.HTML
    sets_dropdown: gr.Dropdown
    delete_button: gr.Button
    question: gr.Row
    delete_yes: gr.Button
    delete_no: gr.Button


def build_own_sets() -> OwnSets:
    """Lay out the section, folded."""
    with gr.Accordion(_("Your own test sets"), open=False):
        with gr.Row(elem_classes="fields"):
            title_box = gr.Textbox(label=_("Name"), max_length=80, min_width=160)
            hub_box = gr.Textbox(label=_("ID of a dataset on the Hub"), placeholder="owner/name", min_width=160)
            split_box = gr.Textbox("test", label=_("Split"), max_length=MAX_SPLIT_CHARACTERS, min_width=90)
        file = gr.File(
            label=_("Or a file: questions with answers, multiple choice, or text"),
            file_types=[*KINDS, ".gz"],
            height=160,
        )
        add_button = gr.Button(_("Add the test set"), size="sm")
        said_html = gr.HTML("")
        with gr.Row():
            sets_dropdown = gr.Dropdown([], label=_("Kept"), allow_custom_value=True, min_width=160, scale=3)
            delete_button = gr.Button(_("Delete"), variant="stop", min_width=90, scale=1)
            with gr.Row(visible=False, elem_classes="question") as question:
                delete_yes = gr.Button(_("Yes, delete it"), variant="stop", min_width=110)
                delete_no = gr.Button(_("Keep it"), min_width=90)
    return OwnSets(
        title_box,
        file,
        hub_box,
        split_box,
        add_button,
        said_html,
        sets_dropdown,
        delete_button,
        question,
        delete_yes,
        delete_no,
    )


def own_choices(owner: str) -> list[Choice]:
    """Return the owner's own test sets as (title, id)."""
    return [(f"{one.title} ({one.rows:,})", one.id) for one in list_test_sets(owner) if one.id not in BUNDLED]


def wire_own_sets(own: OwnSets, browser_key: gr.BrowserState, relisted: Wiring) -> None:
    """Wire adding and deleting; `relisted` is the event that fills the lists of test sets anew."""

    @shown
    def on_add(token: gr.OAuthToken | None, key, title, file, hub_id, split):
        owner, settings = owner_of(key, token), data_settings(file, hub_id, split)
        work = with_progress(
            lambda tell, stop: keep_test_set(settings, str(title or ""), owner, tell, stop), HEARTBEAT_SECONDS
        )
        for kind, value in work:
            if kind == "says":
                yield hint_html(value)
                continue
            rows = n_(
                "Kept as “{title}”: {count:,} row.", "Kept as “{title}”: {count:,} rows.", value.rows, title=value.title
            )
            yield hint_html(rows, "good") + "".join(map(hint_html, value.notes))

    @shown
    def on_delete(token: gr.OAuthToken | None, key, wanted):
        owner = owner_of(key, token)
        if not isinstance(wanted, str) or not wanted:
            raise UserError(_("No test set is chosen."), _("Pick one."))
        delete_test_set(wanted, owner)
        return hint_html(_("Deleted."))

    ask_first(own.delete_button, own.question, own.delete_no)
    given = [browser_key, own.title_box, own.file, own.hub_box, own.split_box]
    own.add_button.click(
        on_add,
        given,
        own.said_html,
        api_name="keep_test_set",
        show_progress="hidden",
        concurrency_id="check",
    ).success(**relisted)
    deleted = own.delete_yes.click(
        on_delete, [browser_key, own.sets_dropdown], own.said_html, api_name="delete_test_set", **QUIET
    ).success(**relisted)
    asking = [own.delete_button, own.question]
    deleted.then(lambda: (gr.Button(visible=True), gr.Row(visible=False)), None, asking, **QUIET)


def data_settings(file: object, hub_id: object, split: object) -> DataSettings:
    """Return which rows a test set is made of. Raises UserError when none are named, and for what is no data set's id."""
    if isinstance(file, str) and file:
        return DataSettings(data=as_text([DataShare(file)]))
    name = hub_id.strip() if isinstance(hub_id, str) else ""
    if not name:
        raise UserError(_("No file was uploaded."), _("Drop one here, or name a dataset."))
    check_id(name)
    chosen = split.strip()[:MAX_SPLIT_CHARACTERS] if isinstance(split, str) else ""
    return DataSettings(data=name, data_split=chosen or "test")
