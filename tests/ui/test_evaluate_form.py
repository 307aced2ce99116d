"""The form of the Evaluate tab: what it proposes, what it says, and the config that it makes."""

import shutil

import pytest

from common.errors import UserError
from common.paths import evaluations_folder
from data.test_sets import BUNDLED
from evaluation import pace
from tests.ui.evaluations import put_adapter, put_evaluation
from ui.evaluate.form import adapter_choices, form_config, plan_html, set_views
from ui.evaluate.own_sets import data_settings

SETTINGS = ["", 3, 64, 0, 0, ""]  # the defaults


def test_the_untouched_form_evaluates_the_adapter_on_its_held_out_rows_and_the_bundled_sets():
    put_adapter()
    sets = set_views("local", ["coach"], False, [], 0)[0]
    assert [name for _title, name in sets.choices] == ["run:coach", *BUNDLED]
    config = form_config("local", ["coach"], False, sets.value, [], *SETTINGS)
    assert config.candidates == ["base", "adapter:coach"] and config.test_sets == ["run:coach", *BUNDLED]
    assert (config.shots, config.max_new_tokens, config.max_items, config.seed) == (3, 64, 0, 0)


def test_a_choice_of_test_sets_stays_and_the_held_out_rows_of_another_adapter_come_along():
    put_adapter()
    put_adapter("poet", title="Poet")
    assert set_views("local", ["coach", "poet"], False, ["general"], 0)[0].value == ["run:coach", "run:poet", "general"]


def test_adapters_are_found_by_their_titles_and_a_picked_one_stays():
    put_adapter()
    put_adapter("poet", title="Poet", created=2e9)
    assert adapter_choices("local") == [("Poet", "poet"), ("Study coach", "coach")]
    assert adapter_choices("local", "poet", ["coach", "gone"]) == [("Poet", "poet"), ("Study coach", "coach")]
    assert adapter_choices("guest-" + "0" * 32) == []


def test_a_few_shot_prompt_alone_can_be_compared_with_the_base():
    assert form_config("local", [], True, ["general"], ["loss"], *SETTINGS).candidates == ["base", "few-shot"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (([], False, ["general"], [], *SETTINGS), "No adapter is chosen"),
        ((["coach"], False, [], [], *SETTINGS), "No test set is chosen"),
        ((None, None, None, None, *SETTINGS), "No adapter is chosen"),
        (({"a": 1}, True, 5, [], *SETTINGS), "No test set is chosen"),
        ((["../x"], False, ["general"], [], *SETTINGS), "not a candidate"),
        ((["coach"], False, ["../x"], [], *SETTINGS), "not a valid name"),
        ((["coach"], False, ["general"], [], "", 3, 10**9, 0, 0, ""), "max_new_tokens"),
        ((["coach"], False, ["general"], [], "", None, 64, 0, 0, ""), "shots"),
        ((["coach"], False, ["general"], [], "", [1], 64, 0, 0, ""), "shots"),
    ],
)
def test_what_cannot_be_evaluated_is_a_sentence(values, sentence):
    put_adapter()
    with pytest.raises(UserError, match=sentence):
        form_config("local", *values)


def test_the_line_beside_the_button_says_how_many_questions_and_about_how_long(monkeypatch):
    assert "Train an adapter" in plan_html("local", [], False, ["general"], 0)
    put_adapter()
    assert "Choose an adapter and a test set" in plan_html("local", [], False, ["general"], 0)
    monkeypatch.setattr(pace, "find_gpus", list)
    monkeypatch.setattr(pace, "SECONDS_A_QUESTION", dict.fromkeys(pace.SECONDS_A_QUESTION, 10.0))
    assert "23 questions for each of 2 models. About 8 min." in plan_html("local", ["coach"], False, ["run:coach"], 0)
    assert "6 questions for each of 3 models. About 3 min." in plan_html("local", ["coach"], True, ["run:coach"], 6)
    put_evaluation("last", count=10, seconds=100)
    assert "23 questions for each of 2 models. About 4 min." in plan_html("local", ["coach"], False, ["run:coach"], 0)
    put_evaluation("damaged").config_file.write_text("- 1")
    assert "About 4 min." in plan_html("local", ["coach"], False, ["run:coach"], 0), "one that is damaged tells nothing"
    shutil.rmtree(evaluations_folder())
    monkeypatch.setattr(pace, "find_gpus", lambda: ["one"])
    assert "About" not in plan_html("local", ["coach"], False, ["run:coach"], 0), "nothing was measured on this GPU"


def test_an_evaluation_that_asked_nothing_says_nothing_of_the_time():
    put_adapter()
    put_evaluation("nothing", count=0)
    assert "23 questions for each of 2 models" in plan_html("local", ["coach"], False, ["run:coach"], 0)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((None, "", ""), "No file was uploaded"),
        ((None, ["x"], ""), "No file was uploaded"),
        ((None, "/etc/passwd", ""), "neither a file here nor the ID"),
        ((None, "../x/y", "test"), "neither a file here nor the ID"),
        ((None, "text", ""), "neither a file here nor the ID"),
        ((None, "docs/attacks.md", ""), "neither a file here nor the ID"),
    ],
)
def test_a_test_set_is_made_of_an_upload_or_an_id_of_the_hub_and_of_no_path(given, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the process that reads it works in the program's folder
    with pytest.raises(UserError, match=sentence):
        data_settings(*given)


def test_a_test_set_of_the_hub_is_its_split():
    assert data_settings(None, " owner/name ", "").data_split == "test"
    assert data_settings(None, "owner/name", "validation").data == "owner/name"
    assert len(data_settings(None, "owner/name", f"a{' ' * 100_000}b").data_split) == 80
    assert data_settings("/tmp/a.jsonl", "owner/name", "x").data == "/tmp/a.jsonl"
