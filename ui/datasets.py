"""One of one's data sets to the Hub, and back: the plan, the push, and the download of what was pushed from here.

On a Space only the visitor's own sign-in is used; on a laptop the local login.
"""

import gradio as gr

from common.language import _
from data.feedback import find_dataset
from data.pull import pull_data
from data.push import DataPushOptions, plan_data_push
from models.hub.client import account_of, token_of
from ui.events import QUIET
from ui.hints import hint_html
from ui.messages import reporter, shown
from ui.owner import owner_of
from ui.push import FIRST_LOOK, LICENSES, license_in, plan_html, pushed_html


def build_datasets(browser_key: gr.BrowserState, name_box: gr.Textbox) -> None:
    """Lay out the section for the data set in `name_box`, and wire its events."""
    with gr.Accordion(str(_("This dataset on the Hub")), open=False):
        repo_box = gr.Textbox(
            label=_("Repository"),
            max_length=200,
            info=_("A name, or owner/name. Empty: the dataset's name, in your account."),
        )
        private_checkbox = gr.Checkbox(
            True, label=_("Private: only you can see it"), info=_("An existing repository keeps its visibility.")
        )
        license_dropdown = gr.Dropdown(
            LICENSES, value="", label=_("Licence"), info=_("Of the rows. Empty: not stated.")
        )
        with gr.Row():
            plan_button = gr.Button(_("Preview the push"), size="sm", min_width=100)
            push_button = gr.Button(_("Push"), size="sm", variant="primary", interactive=False, min_width=80)
        plan_view = gr.HTML(hint_html(FIRST_LOOK), padding=False)
        pull_button = gr.Button(_("Download it from there to train on"), size="sm")
    agreed = gr.State(None)  # (data set, repository as it was seen, private): what the visitor agreed to
    controls = [name_box, repo_box, private_checkbox, license_dropdown]
    form, outputs = [browser_key, *controls], [plan_view, agreed, push_button]
    plan_button.click(on_plan, form, outputs, api_name="plan_dataset_push", concurrency_limit=2)
    push_button.click(on_push, [*form, agreed], outputs, api_name="push_dataset", concurrency_limit=2)
    pull_button.click(
        on_pull, [browser_key, repo_box], [*outputs, name_box], api_name="pull_dataset", concurrency_limit=2
    )
    for control in controls:  # what was agreed to is no longer what would be sent
        control.input(
            lambda: (hint_html(FIRST_LOOK), None, gr.Button(interactive=False)), None, outputs, **QUIET, queue=False
        )


@shown
def on_plan(token: gr.OAuthToken | None, key, name, repo, private, license):
    """Return what a push would do; the visitor agrees to exactly this state."""
    dataset = find_dataset(str(name or ""), owner_of(key, token))
    account = account_of(token_of(token.token if token else None))
    plan = plan_data_push(dataset, account, DataPushOptions(str(repo or ""), bool(private), license_in(license)))
    return plan_html(plan), (dataset.name, plan.parent, plan.private), gr.Button(interactive=bool(plan.changes))


@shown
def on_push(
    token: gr.OAuthToken | None,
    key,
    name,
    repo,
    private,
    license,
    seen,
    progress=gr.Progress(),  # noqa: B008
):
    """Push the plan that was agreed to."""
    dataset = find_dataset(str(name or ""), owner_of(key, token))
    account = account_of(token_of(token.token if token else None))
    _name, parent, agreed_private = seen if seen and seen[0] == dataset.name else (None, None, False)
    options = DataPushOptions(str(repo or ""), bool(private or agreed_private), license_in(license))
    plan = plan_data_push(dataset, account, options)
    plan.check_agreed(parent)
    return pushed_html(plan.push(reporter(progress))), None, gr.Button(interactive=False)


@shown
def on_pull(token: gr.OAuthToken | None, key, repo, progress=gr.Progress()):  # noqa: B008
    """Download a repository as data sets of the visitor, and open the first of them."""
    owner, hub_token = owner_of(key, token), token_of(token.token if token else None)
    pulled = pull_data(str(repo or ""), hub_token, owner, progress=reporter(progress))
    return hint_html(pulled.sentence(), "good"), None, gr.Button(interactive=False), pulled.sets[0].name
