"""What a browser kept of the form comes back; what it could only have been forged to hold does not."""

import gradio as gr
import pytest

from runs.config import TrainConfig
from ui.page import build
from ui.train.browser_copy import FILES, MAX_VALUE_CHARACTERS, default_values, kept_values
from ui.train.form_values import PASTE, UPLOAD, make_config


def test_what_was_kept_comes_back():
    kept = {"name": "pirate", "max_steps": 33, "learning_rate": 1, "use_dora": True}
    kept |= {"data_kind": PASTE, "data_paste": "a,b", "base_revision": None}
    assert kept_values(kept) == kept


@pytest.mark.parametrize("name", FILES)
def test_a_browser_cannot_name_a_file_of_the_server(name):
    assert kept_values({name: "/etc/passwd"}) == {}
    assert kept_values({name: {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}}) == {}


FORGED = [None, [], "text", {"nobody": 1}, {"max_steps": "many"}, {"max_steps": 1.5}, {"max_steps": True}]
FORGED += [
    {"use_dora": "yes"},
    {"precision": "fp7"},
    {"precision": ["auto"]},
    {"data_kind": "/etc"},
    {"data_kind": ["upload"]},
]
FORGED += [{"data_paste": "x" * (MAX_VALUE_CHARACTERS + 1)}, {"base": {"a": 1}}]


@pytest.mark.parametrize("forged", FORGED)
def test_what_the_form_cannot_hold_is_left_out(forged):
    assert kept_values(forged) == {}


def test_a_kept_upload_asks_for_the_file_again():
    assert kept_values({"data_kind": UPLOAD, "data_file": "x.csv"}) == {"data_kind": UPLOAD}


def test_the_reset_form_is_the_default_config():
    assert make_config("local", default_values()) == TrainConfig()


def test_an_opened_page_puts_in_only_what_was_changed():
    """A person may have filled in the rest while the page asked for it."""
    (event,) = [
        one for one in build().fns.values() if one.name == "on_open" and one.fn.__module__ == "ui.train.browser_copy"
    ]
    updates = event.fn({**default_values(), "max_steps": 33})
    assert [update for update in updates if update != gr.skip()] == [gr.update(value=33)]
