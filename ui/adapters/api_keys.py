"""The section "For programs": one's API keys for OpenAI's interface, where the owner of the machine has switched that on."""

import time

import gradio as gr

from common.errors import UserError
from common.language import _
from common.paths import GUEST_PREFIX, MAX_TITLE_CHARACTERS
from models.hub.client import sign_in_words
from serving.keys import list_keys, new_key, revoke
from ui.events import QUIET
from ui.messages import shown
from ui.owner import owner_of


def build_api_keys(browser_key: gr.BrowserState) -> None:
    """Lay out the section and wire its events."""
    with gr.Accordion(_("For programs"), open=False) as section:
        gr.Markdown(
            _(
                "Programs that speak OpenAI's interface can ask the base and your adapters: `base_url` is the address of this "
                "page with `/v1` behind it, `api_key` a key of yours."
            )
        )
        with gr.Row():
            name_box = gr.Textbox(
                label=_("What the key is for"), max_length=MAX_TITLE_CHARACTERS, scale=3, min_width=160
            )
            new_button = gr.Button(_("New key"), scale=1, min_width=100)
        key_box = gr.Textbox(
            label=_("Your new key"),
            info=_("Copy it now: it is not shown again."),
            interactive=False,
            visible=False,
            buttons=["copy"],
        )
        with gr.Row(visible=False) as keys_row:
            keys_dropdown = gr.Dropdown([], label=_("Keys"), scale=3, min_width=160)
            revoke_button = gr.Button(_("Revoke"), variant="stop", scale=1, min_width=100)
    views = [key_box, keys_row, keys_dropdown]
    section.expand(on_list, browser_key, views, api_name="list_keys", **QUIET)
    new_button.click(on_new, [browser_key, name_box], views, api_name="new_key", **QUIET)
    revoke_button.click(on_revoke, [browser_key, keys_dropdown], views, api_name="revoke_key", **QUIET)


@shown
def on_list(token: gr.OAuthToken | None, key):
    """Return the keys of who asks; a new one that was shown is shown no more."""
    return _views(owner_of(key, token))


@shown
def on_new(token: gr.OAuthToken | None, key, name):
    """Make a key for who asks, and show it once."""
    owner = owner_of(key, token)
    if owner.startswith(GUEST_PREFIX):  # anybody makes as many guests as they like
        raise UserError(_("You have to be signed in to make a key."), sign_in_words())
    return _views(owner, new_key(owner, name if isinstance(name, str) else ""))


@shown
def on_revoke(token: gr.OAuthToken | None, key, id):
    """Revoke a key of who asks."""
    owner = owner_of(key, token)
    revoke(owner, id if isinstance(id, str) else "")
    return _views(owner)


def _views(owner: str, made: str = "") -> tuple:
    """Return what the section shows: a key that was just made, and all keys by their ids."""
    choices = []
    for one in list_keys(owner):
        day = time.strftime("%Y-%m-%d", time.localtime(one.created))
        choices.append((f"{one.name or one.id} ({day})", one.id))
    listed = gr.Dropdown(choices, value=choices[0][1] if choices else None)
    return gr.Textbox(made, visible=bool(made)), gr.Row(visible=bool(choices)), listed
