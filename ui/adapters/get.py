"""The Import and pull section: a zip, an adapter from the Hub, and the search for one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency

from adapters.intake import import_adapter
from adapters.pull import Found, Offer, look, pull, search_hub
from adapters.trust.folders import SeveralAdapters
from common.errors import UserError
from common.language import _, joined
from models.base import AUTO, BASE_CHOICES, DEFAULT_BASE, EMBEDDED
from models.embedded import HUB_ID
from models.hub.client import parse_address, parse_repo, token_of
from ui.adapters.view import hints_html
from ui.hints import hint_html
from ui.messages import reporter, shown
from ui.owner import owner_of

BASES = [(label, HUB_ID if choice == EMBEDDED else choice) for label, choice in BASE_CHOICES if choice != AUTO]
FOLDER = _("Which of its folders")
LOOK_HINT = _("Preview first: it shows base and size before anything large is downloaded.")


@dataclass
class GetSection:
    """The parts that the tab wires: the events after which an adapter was added, and the state with its name."""

    arrivals: list[Dependency]
    arrived_name: gr.State


def build_get(browser_key: gr.BrowserState) -> GetSection:
    """Lay out the section and wire its events."""
    arrived_name = gr.State("")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            repo_box, pulled = _build_pull(browser_key, arrived_name)
        with gr.Column(min_width=300):
            _build_search(browser_key, repo_box)
            imported = _build_import(browser_key, arrived_name)
    return GetSection([pulled, *imported], arrived_name)


def _build_pull(browser_key: gr.BrowserState, arrived_name: gr.State) -> tuple[gr.Textbox, Dependency]:
    """Return (the box for an id, the event after which something was pulled)."""
    gr.Markdown(f"#### {_('From the Hub')}")
    repo_box = gr.Textbox(
        label=_("Adapter on the Hub"), max_length=300, placeholder=_("owner/name, owner/name/folder or its address")
    )
    revision_box = gr.Textbox(label=_("Revision"), max_length=100, info=_("Commit, tag or branch. Empty: the newest."))
    with gr.Row():
        look_button = gr.Button(_("Preview"), min_width=100)
        pull_button = gr.Button(_("Pull"), variant="primary", interactive=False, min_width=100)
    offer_view = gr.HTML(hint_html(LOOK_HINT))
    folder_dropdown = gr.Dropdown([], label=str(FOLDER), visible=False)
    with gr.Row(visible=False) as base_row:
        base_box = gr.Textbox(
            label=_("Its base"), max_length=200, info=_("owner/name, or owner/name@revision"), min_width=220
        )
        base_button = gr.Button(_("Use this base"), min_width=100)
    seen = gr.State(None)  # the offer that was looked at
    looked = [offer_view, seen, pull_button, folder_dropdown, base_row, base_box]
    pulling: dict[str, Any] = {"inputs": [browser_key, repo_box, seen], "outputs": [offer_view, arrived_name, seen]}
    look_button.click(on_look, [browser_key, repo_box, revision_box], looked, api_name="look")
    naming = [browser_key, seen, base_box]
    gr.on([base_button.click, base_box.submit], on_base, naming, looked, api_name="name_base")
    pulled = pull_button.click(on_pull, **pulling, api_name="pull_adapter", concurrency_limit=4)
    pulled.success(lambda: gr.Button(interactive=False), None, pull_button, show_progress="hidden")
    quiet: dict[str, Any] = {"show_progress": "hidden", "queue": False}
    for box in (repo_box, revision_box):  # what was looked at is no longer what would be pulled
        box.change(nothing_seen, None, looked, **quiet)
    folder_dropdown.input(lambda place: place, folder_dropdown, repo_box, **quiet)
    return repo_box, pulled


def _build_search(browser_key: gr.BrowserState, repo_box: gr.Textbox) -> None:
    """Lay out and wire the search; a click on a row fills `repo_box`."""
    gr.Markdown(f"#### {_('Search the Hub')}")
    with gr.Row():
        base_dropdown = gr.Dropdown(
            [(str(label), base) for label, base in BASES],
            value=DEFAULT_BASE,
            label=_("Base model"),
            allow_custom_value=True,
            min_width=220,
        )
        words_box = gr.Textbox(label=_("Name contains"), max_length=100, min_width=220)
    with gr.Row():
        search_button = gr.Button(_("Search"), min_width=100)
        mine_button = gr.Button(_("My adapters"), min_width=100)
    found_html = gr.HTML("")
    found_table = gr.Dataframe(
        headers=[str(_("Repository")), str(_("Visibility")), str(_("Downloads")), str(_("Changed"))],
        interactive=False,
        wrap=True,
        visible=False,
        label=_("Found"),
        max_height=260,
        column_widths=[190, 110, 100, 110],
    )
    found = [found_table, found_html]
    search_button.click(on_search, [browser_key, base_dropdown, words_box], found, api_name="search_hub")
    mine_button.click(on_mine, [browser_key, words_box], found, api_name="search_mine")
    found_table.select(on_found, None, repo_box, show_progress="hidden")


def _build_import(browser_key: gr.BrowserState, arrived_name: gr.State) -> list[Dependency]:
    """Return the events after which something was imported."""
    gr.Markdown(f"#### {_('From a file')}")
    zip_file = gr.File(label=_("A zip with an adapter"), file_types=[".zip"], height=160)
    base_box = gr.Textbox(
        label=_("Its base"),
        max_length=200,
        info=_("owner/name. Needed only when the base that it names cannot be found."),
    )
    import_button = gr.Button(_("Import"))
    import_html = gr.HTML("")
    folder_dropdown = gr.Dropdown([], label=str(FOLDER), visible=False)
    given, shown_after = [browser_key, zip_file, base_box], [import_html, arrived_name, folder_dropdown]
    zip_file.change(lambda: gr.Dropdown(visible=False), None, folder_dropdown, show_progress="hidden", queue=False)
    return [
        import_button.click(on_import, given, shown_after, api_name="import_adapter"),
        folder_dropdown.input(on_import, [*given, folder_dropdown], shown_after),
    ]


@shown
def on_look(token: gr.OAuthToken | None, key, repo, revision):
    """Show base and size of the adapter at an id, or the folders to choose from; return the offer for Pull."""
    owner_of(key, token)
    try:
        return _looked(look(repo, token_of(token.token if token else None), revision or None))
    except SeveralAdapters as several:
        revision = parse_address(repo).revision
        at = f"@{revision}" if revision else ""
        places = [(folder, f"{several.where}/{folder}{at}") for folder in several.choices]
        choices = gr.Dropdown(places, value=None, visible=True)
        return [
            hints_html([str(several), str(_("Choose one, then press Preview again."))]),
            *nothing_seen()[1:3],
            choices,
            *no_base_row(),
        ]


@shown
def on_base(token: gr.OAuthToken | None, key, offer, base):
    """Look again at the adapter that was looked at, at the same commit, with the base that the visitor names."""
    owner_of(key, token)
    named = _base(base)
    if offer is None or not named:
        raise UserError(_("No base was named."), _("Preview an adapter, then enter its base as owner/name."))
    token_now = token_of(token.token if token else None)
    return _looked(look(offer.repo_id, token_now, offer.revision, offer.folder, named))


def nothing_seen() -> list:
    """Return updates for the section while nothing was looked at."""
    return [hint_html(LOOK_HINT), None, gr.Button(interactive=False), gr.Dropdown(visible=False), *no_base_row()]


def no_base_row() -> list:
    """Return updates that hide the row for the base."""
    return [gr.Row(visible=False), gr.skip()]


def _looked(offer: Offer) -> list:
    """Return updates that show an offer; the row for its base while that cannot be had, with what may be named filled in."""
    left_out = _("Not included: {files}.", files=", ".join(offer.left_out[:8])) if offer.left_out else ""
    commit = _("Commit {revision}.", revision=offer.revision[:12])
    words = hints_html([offer.sentence(), joined([commit, left_out])])
    problem, proposal = offer.found.problem, offer.found.proposal
    words += hint_html(problem, "problem") if problem else ""
    row = [gr.Row(visible=True), gr.Textbox(value=proposal)] if problem else no_base_row()
    return [words, offer, gr.Button(interactive=not problem), gr.Dropdown(visible=False), *row]


@shown
def on_pull(token: gr.OAuthToken | None, key, repo, offer, progress=gr.Progress()):  # noqa: B008
    """Pull the offered adapter."""
    owner = owner_of(key, token)
    if offer is None or parse_address(repo).repo_id != offer.repo_id:
        raise UserError(_("There is no preview."), _("Press Preview first."))
    pulled = pull(offer, token_of(token.token if token else None), owner, progress=reporter(progress))
    return hints_html([_("Pulled as {name}.", name=pulled.adapter.title), *pulled.notes]), pulled.adapter.name, None


@shown
def on_search(token: gr.OAuthToken | None, key, base, words):
    """Return the adapters of a base on the Hub."""
    owner_of(key, token)
    base = base if isinstance(base, str) else ""  # a dropdown that takes any value gets any value
    found = search_hub(token_of(token.token if token else None), base, words or "")
    return _found(found, _("No such adapter on the Hub."))


@shown
def on_mine(token: gr.OAuthToken | None, key, words):
    """Return the visitor's own adapters on the Hub."""
    owner_of(key, token)
    found = search_hub(token_of(token.token if token else None), words=words or "", mine=True)
    return _found(found, _("There are no adapters in your account."))


@shown
def on_import(token: gr.OAuthToken | None, key, file, base, folder=""):
    """Take the adapter in an uploaded zip into the library, or show the folders in it to choose from."""
    owner = owner_of(key, token)
    if not file:
        raise UserError(_("No file was uploaded."), _("Drop a zip on the page."))
    try:
        imported = import_adapter(Path(file), owner=owner, base=_base(base), subfolder=folder or "")
    except SeveralAdapters as several:
        return hints_html([str(several)]), gr.skip(), gr.Dropdown(several.choices, value=None, visible=True)
    words = hints_html([_("Imported as {name}.", name=imported.adapter.title), *imported.notes])
    return words, imported.adapter.name, gr.Dropdown(visible=False)


def _base(typed: object) -> str:
    """Return the base in a box as owner/name or owner/name@revision, "" for none. Over the page only ids are taken, no path."""
    if not isinstance(typed, str) or not typed.strip():
        return ""
    model_id, revision = parse_repo(typed)
    return f"{model_id}@{revision}" if revision else model_id


def on_found(event: gr.SelectData) -> str:
    """Take the repository of the row that was clicked."""
    return str(event.row_value[0])


def _found(found: list[Found], nothing: str) -> list:
    """Return updates for the table and the line under the search; `nothing` is shown for an empty result."""
    words = hint_html(nothing if not found else _("Click one, then press Preview."))
    rows = [
        [one.repo_id, str(_("private") if one.is_private else _("public")), str(one.downloads), one.changed]
        for one in found
    ]
    return [gr.Dataframe(rows, visible=bool(found)), words]
