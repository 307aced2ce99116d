"""The Push section: the account, the plan of the changes, and the push.

On a Space only the visitor's own sign-in is used; on a laptop the local login. The account is the one that the Hub gives for the
token; a name in a cookie or a request is ignored.
"""

import html
import time
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.events import Dependency

from adapters.hub_base import RECORD, name_hub_base
from adapters.library import find_adapter
from adapters.package import PushOptions
from adapters.pull import open_adapter
from adapters.push import plan_push, push_adapter
from common.errors import UserError
from common.hosted import on_space
from common.language import _, joined
from common.words import duration
from models.hub.client import account_of, sign_in_words, token_of
from ui.events import QUIET
from ui.hints import hint_html, link_html
from ui.messages import reporter, shown
from ui.owner import owner_of
from ui.push import FIRST_LOOK, LICENSES, license_in, plan_html, pushed_html

TOKENS_PAGE = "https://huggingface.co/settings/tokens"


@dataclass
class PushSection:
    """The parts that the tab wires: the event after which something was pushed, and what the account decides."""

    pushed: Dependency
    account_outputs: list


def build_push(browser_key: gr.BrowserState, picked: gr.Textbox) -> PushSection:
    """Lay out the section and wire its events; without an account its form is inactive."""
    account_html = gr.HTML(hint_html(_("Asking Hugging Face who is signed in ...")))
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            repo_box = gr.Textbox(
                label=_("Repository"),
                max_length=200,
                info=_("A name, or owner/name. Empty: the adapter's name, in your account."),
                interactive=False,
            )
            private_checkbox = gr.Checkbox(
                True,
                label=_("Private: only you can see it"),
                info=_("An existing repository keeps its visibility."),
                interactive=False,
            )
            answers_checkbox = gr.Checkbox(
                True,
                label=_("Show the sample answers on its page"),
                info=_("Only answers to your own prompts."),
                interactive=False,
            )
            rows_checkbox = gr.Checkbox(
                False,
                label=_("Also answers to prompts from my data"),
                info=_("These prompts would be shown to everybody who can see the repository."),
                interactive=False,
            )
            license_dropdown = gr.Dropdown(
                LICENSES, value="", label=_("Licence"), info=_("Empty: the base's."), interactive=False
            )
            with gr.Row(visible=False) as base_row:
                base_box = gr.Textbox(
                    label=_("Its base on the Hub"),
                    max_length=200,
                    info=_("It was trained on a folder of this machine. Which model is that? owner/name"),
                    min_width=220,
                )
                base_button = gr.Button(_("Compare"), min_width=100)
            with gr.Row():
                plan_button = gr.Button(_("Preview the push"), interactive=False, min_width=120)
                push_button = gr.Button(_("Push"), variant="primary", interactive=False, min_width=120)
        with gr.Column(min_width=300):
            plan_view = gr.HTML(hint_html(FIRST_LOOK))
    agreed = gr.State(None)  # (adapter, repository as it was seen): what the visitor agreed to
    form = [browser_key, picked, repo_box, private_checkbox, license_dropdown]
    form += [answers_checkbox, rows_checkbox]

    outputs = [plan_view, agreed, push_button]
    plan_button.click(on_plan, form, outputs, api_name="plan_push")
    pushed = push_button.click(on_push, [*form, agreed], outputs, api_name="push_adapter", concurrency_limit=4)
    picked.change(on_name, picked, repo_box, **QUIET)
    picked.change(on_folder_base, [browser_key, picked], [base_row, base_box], **QUIET)
    naming = [browser_key, picked, base_box]
    base_button.click(on_hub_base, naming, outputs, api_name="name_hub_base", concurrency_limit=2)
    for control in form[1:]:  # what was agreed to is no longer what would be sent
        control.change(
            lambda: (hint_html(FIRST_LOOK), None, gr.Button(interactive=False)), None, outputs, **QUIET, queue=False
        )
    account_form = [repo_box, private_checkbox, answers_checkbox, rows_checkbox, license_dropdown, plan_button]
    return PushSection(pushed, [account_html, *account_form])


def on_name(name):
    """Propose the picked adapter's name, and clear a name that was typed for another."""
    return gr.Textbox(value="", placeholder=str(name or ""))


def on_folder_base(token: gr.OAuthToken | None, key, name):
    """Show the field for the base on the Hub when the picked adapter's base is a folder, with the model that was said before."""
    try:
        adapter = find_adapter(name or "", owner_of(key, token))
    except UserError:  # none is picked, or it is gone
        return gr.Row(visible=False), ""
    known = adapter.record.get(RECORD)
    said = str(known.get("model_id") or "") if isinstance(known, dict) else ""
    return gr.Row(visible=Path(adapter.base).is_absolute()), said


@shown
def on_hub_base(token: gr.OAuthToken | None, key, name, base, progress=gr.Progress()):  # noqa: B008
    """Compare the folder that the adapter was trained on with a model on the Hub; what a push would do must be seen anew."""
    hub_token = token_of(token.token if token else None)
    adapter = open_adapter(name or "", owner_of(key, token), hub_token)
    found = name_hub_base(adapter, base if isinstance(base, str) else "", hub_token, reporter(progress))
    return hint_html(found.sentence(), "good") + hint_html(FIRST_LOOK), None, gr.Button(interactive=False)


@shown
def on_account(token: gr.OAuthToken | None, key):
    """Return who is signed in, or how to sign in, and whether the form can be used."""
    owner_of(key, token)
    try:
        account = account_of(token_of(token.token if token else None))
    except UserError as error:
        return [f"<p class='problem'>{_sign_in_html(error)}</p>", *[gr.update(interactive=False)] * 6]
    words = [_("Signed in to Hugging Face as {name}.", name=account.name)]
    left = (token.expires_at or 0) - time.time() if token else 0  # a push after that needs a new sign-in
    if left > 0:
        words.append(_("The sign-in ends in {time}.", time=duration(left)))
    if not account.can_write:
        words.append(_("This sign-in can only read: pushing needs one with write access."))
    return [hint_html(joined(words)), *[gr.update(interactive=account.can_write)] * 6]


def _sign_in_html(error: UserError) -> str:
    """Return how to sign in, in one sentence with a link; what else went wrong in its own words."""
    if error.hint != sign_in_words():
        return html.escape(str(error))
    if on_space():
        link = f"<a href='/login/huggingface'>{html.escape(str(_('Sign in with Hugging Face')))}</a>"
        return f"{link} {html.escape(str(_('to share an adapter; everything else works without.')))}"
    link = link_html(TOKENS_PAGE, str(_("a token with write access")))
    words = _("To share an adapter, run {command} with {link} and reload this page; everything else works without.")
    return str(words).format(command="<code>hf auth login</code>", link=link)


@shown
def on_plan(token: gr.OAuthToken | None, key, name, *form):
    """Return what a push would do; the visitor agrees to exactly this state."""
    hub_token = token_of(token.token if token else None)
    adapter = open_adapter(name or "", owner_of(key, token), hub_token)
    plan = plan_push(adapter, account_of(hub_token), _options(*form))
    agreed = (adapter.name, plan.parent, plan.private)
    return plan_html(plan), agreed, gr.Button(interactive=bool(plan.changes))


@shown
def on_push(
    token: gr.OAuthToken | None,
    key,
    name,
    repo,
    private,
    license,
    answers,
    rows,
    seen,
    progress=gr.Progress(),  # noqa: B008
):
    """Push the plan that was agreed to."""
    hub_token = token_of(token.token if token else None)
    adapter = open_adapter(name or "", owner_of(key, token), hub_token)
    _name, parent, agreed_private = seen if seen and seen[0] == adapter.name else (None, None, False)
    options = _options(repo, private or agreed_private, license, answers, rows)
    pushed = push_adapter(adapter, account_of(hub_token), options, parent, reporter(progress))
    return pushed_html(pushed), None, gr.Button(interactive=False)


def _options(repo: str, private: bool, license: str, answers: bool, rows: bool) -> PushOptions:
    """Return the options in the form. Raises UserError for a licence that is not in the list."""
    licence = license_in(license)
    return PushOptions(str(repo or ""), bool(private), licence, with_answers=bool(answers), with_rows=bool(rows))
