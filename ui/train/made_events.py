"""Made rows in the Train tab: their source opens them at the right, and the accepted ones become what is trained on."""

import html

import gradio as gr
from gradio.events import Dependency

from common.language import n_
from making.review import keep
from ui.events import QUIET
from ui.long_lists import dataset_choices
from ui.making.panel import wire_making
from ui.making.result import own_made
from ui.messages import shown
from ui.owner import owner_of
from ui.train.form_values import CHAT, MADE
from ui.train.tab import TrainTab

# The rows have a tab of their own beside the run; it comes with their source and goes with it.
SHOW_TAB = f"""kind => {{
    const isMade = kind === '{MADE}', open = document.querySelector('.train-run .made');
    const selected = isMade ? {{selected: 'made'}} : open ? {{selected: 'run'}} : {{}};
    return [{{__type__: 'update', visible: isMade}}, {{__type__: 'update', ...selected}}];
}}"""


def wire_made(tab: TrainTab) -> Dependency:
    """Wire the form of the source, the rows, and their use for training; return the event that has started a made set."""
    load, started = wire_making(tab.data.making, tab.made, tab.browser_key)
    kind, chat = tab.inputs["data_kind"], tab.inputs["data_chat"]
    kind.change(None, kind, [tab.made_tab, tab.tabs], js=SHOW_TAB, **QUIET)
    tab.made_tab.select(**load, api_name="made_lists")

    @shown
    def on_use(token: gr.OAuthToken | None, key, made_id, name):
        owner = owner_of(key, token)
        kept = keep(own_made(made_id, owner), name if isinstance(name, str) else "", owner)
        words = n_("{name}: {count:,} row.", "{name}: {count:,} rows.", kept.rows, name=kept.name)
        gr.Info(html.escape(str(words), quote=False))
        return [CHAT, gr.Dropdown(dataset_choices(owner), value=kept.name)]

    given = [tab.browser_key, tab.made.view.chosen.dropdown, tab.made.name_box]
    tab.made.use_button.click(on_use, given, [kind, chat], api_name="use_made_rows", **QUIET)
    return started
