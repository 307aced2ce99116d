"""What the form shows of its own state: what is checked, what is wrong at which field, which preset it has."""

from dataclasses import replace

import gradio as gr
import pytest

from common.paths import GUEST_PREFIX
from runs.config import TrainConfig
from runs.fields import Problem, label_of
from runs.presets import PRESETS, QUICK, preset_values
from runs.resolve import resolve, training_in_words
from tests.ui.calling import RUN
from tests.ui.conftest import handler
from ui.train import plan_events
from ui.train.check_events import check_handler
from ui.train.data_form import CONVERSATIONS, NewestCheck
from ui.train.empty import empty_view
from ui.train.form_values import HUB, UPLOAD, form_values, shown_fields
from ui.train.plan_events import preset_of
from ui.train.plan_view import start_html, start_problems_html
from ui.train.settings_form import WRONG, field_id, help_of, mark_wrong
from ui.train.tab import build_train_tab

UNTOUCHED = form_values(TrainConfig())


def test_a_newer_check_ends_the_one_that_runs():
    newest = NewestCheck()
    is_over = newest.start()
    assert not is_over()
    is_newer_over = newest.start()
    assert is_over() and not is_newer_over()


def test_a_wrong_value_is_said_at_its_field_until_it_is_right():
    inputs = {
        "learning_rate": gr.Number(),
        "eval_hub": gr.Textbox(),
        "accelerate_config": gr.File(),
        "seed": gr.Number(),
    }
    problems = [Problem("learning_rate", "5.0 is too high."), Problem("eval_data", "No ID."), Problem("data", "None.")]
    updates, wrong = mark_wrong(inputs, [*problems, Problem("accelerate_config", "No YAML.")], [])
    assert wrong == ["learning_rate", "eval_hub", "accelerate_config"] and "info" not in updates[3]
    assert [one.get("info") or one.get("label") for one in updates[:3]] == ["5.0 is too high.", "No ID.", "No YAML."]
    assert all(one["elem_classes"] == [WRONG] for one in updates[:3])
    updates, wrong = mark_wrong(inputs, [], wrong)
    assert wrong == [] and all(one["elem_classes"] == [] for one in updates[:3])
    assert updates[0]["info"] == help_of("learning_rate") and updates[2]["label"] == label_of("accelerate_config")


def test_a_changed_setting_is_no_preset_any_more():
    config = TrainConfig()
    for preset in PRESETS:
        assert preset_of(replace(config, **preset_values(preset))) == preset
    assert preset_of(replace(config, max_steps=33)) is None
    assert preset_of(replace(config, **preset_values(QUICK), weight_decay=0.1)) == QUICK, "no preset is about it"


def test_every_link_beside_start_leads_to_an_input_of_the_page(laptop):
    ids = {getattr(block, "elem_id", None) for block in laptop.app.get_blocks().blocks.values()}
    assert {field_id(item.name) for item in shown_fields()} <= ids
    resolved = resolve(TrainConfig(base="embedded"))
    line = start_html(training_in_words(resolved), resolved.base, None, is_preset=True)
    assert line.count("class='to-field'") == 4 and "SmolLM2" in line
    said = start_problems_html([Problem("eval_data", "<b>no</b>")])
    assert f"#{field_id('eval_data')}" in said and "<b>no" not in said


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, "conversations with a study coach"),
        ({"data_kind": UPLOAD}, "No file was uploaded"),
        ({"data_kind": HUB, "data_hub": "../etc"}, "not the ID of a dataset"),
        ({"learning_rate": 5}, "conversations with a study coach"),
        ({"max_length": 1}, "too low"),
    ],
)
def test_what_is_given_is_said_under_the_source(changes, found, warm_starts):
    with gr.Blocks():
        tab = build_train_tab(gr.BrowserState(""))
    values = {**UNTOUCHED, **changes}
    given = [values[name] for name in tab.names]
    (shown,) = check_handler(tab)(None, "", None, *given, NewestCheck(), False, CONVERSATIONS)
    assert len(shown) == len(tab.data.views) + 2 and found in shown[0]


def test_before_the_first_run_an_example_of_what_is_learned_is_shown():
    shown = empty_view()
    assert shown.count("<li>") == 3 and "<svg" in shown and "Why do old books smell?" in shown and "In short:" in shown


def test_a_touch_of_the_form_lets_a_process_wait_for_who_touched_it(space, monkeypatch):
    touched, client = [], space()
    monkeypatch.setattr(plan_events, "prepare", touched.append)
    for key in ("a" * 32, "made up"):
        job = {"data": [key], "fn_index": handler(client, "form_touched")._id, "session_hash": "one"}
        client.post(RUN, json=job)
    assert [owner[: len(GUEST_PREFIX)] for owner in touched] == [GUEST_PREFIX]
