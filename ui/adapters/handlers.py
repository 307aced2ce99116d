"""What happens in the Adapters tab. Each handler looks its adapter up anew for the caller's owner; the page holds a name."""

import html

import gradio as gr

from adapters.edit import delete_adapter, rename_adapter, set_notes, set_template, undo_delete
from adapters.evaluated import choose_score, chosen_score, is_any_evaluated
from adapters.facts import template_choice
from adapters.history import read_history
from adapters.library import adapter_names, find_adapter, read_some
from common.errors import UserError
from common.language import _
from evaluation.scores import SCORES
from models.templates.choice import template_choices
from ui.adapters.view import answers_html, cards_html, curve_html, facts_html, heading_html, scores_html
from ui.hints import hint_html
from ui.long_lists import MAX_LISTED_ENTRIES, SEARCH_TO_FIND, how_many
from ui.messages import shown
from ui.owner import owner_of
from ui.toast import toast_updates


def nothing() -> str:
    """Return what stands in the place of the details of an empty library."""
    return str(_("No adapters yet. Train one, or add one from a file or the Hub."))


@shown
def on_load(token: gr.OAuthToken | None, key, words, name):
    """Return the library as it is now, and the score in it, where there is one."""
    owner = owner_of(key, token)
    score = chosen_score(owner)
    return *_library(owner, words, name), gr.Dropdown(
        value=score if score in SCORES else "loss", visible=is_any_evaluated(owner)
    )


@shown
def on_score(token: gr.OAuthToken | None, key, words, name, score):
    """Show another score in the list."""
    owner = owner_of(key, token)
    choose_score(score or "", owner)
    return _library(owner, words, name)


@shown
def on_card(token: gr.OAuthToken | None, key, event: gr.EventData):
    """Return the name of the adapter whose card was clicked."""
    try:
        name = event.name
    except (AttributeError, TypeError):  # a browser may send anything, and nothing
        name = ""
    return find_adapter(name if isinstance(name, str) else "", owner_of(key, token)).name


@shown
def on_pick(token: gr.OAuthToken | None, key, name):
    """Return the details of the picked adapter."""
    return _details(name, owner_of(key, token))


@shown
def on_rename(token: gr.OAuthToken | None, key, words, name, new_name):
    """Rename the adapter, and keep it picked."""
    owner = owner_of(key, token)
    renamed = rename_adapter(name or "", new_name, owner)
    gr.Info(html.escape(str(_('Renamed to "{name}".', name=renamed.title)), quote=False))
    return _library(owner, words, renamed.name)


@shown
def on_notes(token: gr.OAuthToken | None, key, name, notes):
    """Save the note."""
    set_notes(name or "", notes, owner_of(key, token))
    gr.Info(str(_("Note saved.")))


@shown
def on_template(token: gr.OAuthToken | None, key, name, choice):
    """Read the adapter in this chat template from now on."""
    owner = owner_of(key, token)
    # gradio's dropdown sends `input` again when it loses the focus, whether something was chosen or not
    if (choice or "") != template_choice(find_adapter(name or "", owner))[0]:
        set_template(name, choice or "", owner)
        gr.Info(str(_("Chat template saved.")))


@shown
def on_delete(token: gr.OAuthToken | None, key, words, name):
    """Delete the adapter, and show the line that brings it back."""
    owner = owner_of(key, token)
    title = find_adapter(name or "", owner).title
    deletion = delete_adapter(name or "", owner)
    return *_library(owner, words, None), *toast_updates(_("Deleted {title}.", title=title), [deletion.entry])


@shown
def on_undo(token: gr.OAuthToken | None, key, words, entries):
    """Bring the deleted adapter back, and pick it."""
    owner = owner_of(key, token)
    entry = str(entries[0]) if isinstance(entries, list) and entries else ""
    return *_library(owner, words, undo_delete(entry, owner).name), *toast_updates()


def _library(owner: str, words: str, wanted: str | None) -> list:
    """Return updates for the cards and the picked name; keep `wanted` picked if it is there."""
    names = adapter_names(owner, words or "")
    adapters = read_some(names, owner, MAX_LISTED_ENTRIES)
    if wanted in names and wanted not in [adapter.name for adapter in adapters]:
        adapters.append(find_adapter(wanted, owner))
    listed = [adapter.name for adapter in adapters]
    picked = wanted if wanted in listed else next(iter(listed), "")
    empty = _("No adapter matches “{words}”.", words=words[:60]) if words else ""
    more = how_many(len(names), SEARCH_TO_FIND)
    return [cards_html(adapters, picked, str(more if adapters else empty), chosen_score(owner)), picked]


def _details(name: str | None, owner: str) -> list:
    """Return updates for the details of an adapter; a hint without one."""
    try:
        adapter = find_adapter(name, owner) if name else None
    except UserError:  # deleted in another tab a moment ago
        adapter = None
    asking = [gr.Button(visible=True), gr.Row(visible=False)]
    if adapter is None:
        hint = gr.HTML(hint_html("" if adapter_names(owner) else nothing()), visible=True)
        return [hint, gr.Column(visible=False), "", "", "", "", "", "", gr.Dropdown(visible=False), *asking]
    history = read_history(adapter)
    choice, is_open = template_choice(adapter)
    return [
        gr.HTML(visible=False),
        gr.Column(visible=True),
        heading_html(adapter),
        curve_html(history),
        answers_html(history),
        f"{facts_html(adapter)}{scores_html(adapter)}",
        adapter.title,
        adapter.notes,
        gr.Dropdown(template_choices(), value=choice or None, visible=is_open),
        *asking,
    ]
