"""What the Train tab makes of the form and of a run."""

import pytest

from common.errors import UserError
from trainer.run import Run, RunState
from ui.train_tab import EXAMPLE_DATA, OWN_FILE, describe, duration, facts, make_config, points


def test_the_untouched_form_is_a_config_without_problems():
    assert make_config("auto", "my-adapter", EXAMPLE_DATA, None, {"max_steps": 0}).problems() == []


def test_an_own_file_must_be_there():
    with pytest.raises(UserError, match="No file was uploaded"):
        make_config("auto", "x", OWN_FILE, None, {})


def test_an_emptied_number_is_named():
    with pytest.raises(UserError, match="learning_rate is empty"):
        make_config("auto", "x", EXAMPLE_DATA, None, {"learning_rate": None})


@pytest.mark.parametrize("base", ["/etc", "../..", "~", "./model", "folder"])
def test_a_visitor_of_a_space_cannot_name_a_folder_of_the_server(monkeypatch, base):
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    with pytest.raises(UserError, match="not a model id"):
        make_config(base, "x", EXAMPLE_DATA, None, {})
    assert make_config("owner/name", "x", EXAMPLE_DATA, None, {}).base == "owner/name"


def test_nothing_that_came_from_outside_is_html(tmp_path):
    state = RunState(status="failed", message="<script>1</script>", hint="<b>", base="<i>", notes=["<img>"])
    shown = describe(Run(tmp_path), state)
    assert "&lt;script&gt;" in shown and "&lt;img&gt;" in shown and "&lt;i&gt;" in shown
    assert "<script>" not in shown and "<img>" not in shown


def test_the_facts_are_those_of_the_run():
    state = RunState(status="training", step=3, total_steps=9, losses=[(3, 1.5)], eval_losses=[(0, 3.0), (3, 2.0)])
    state.eta_seconds, state.tokens_per_second = 200.0, 99.6
    assert facts(state) == [
        *("step 3 of 9", "loss 1.500", "held-out loss 2.000 (was 3.000)", "100 tokens/s", "about 3 min left"),
    ]


def test_the_plot_is_thinned_to_what_a_screen_can_show():
    assert points(RunState()) is None
    many = RunState(losses=[(step, 1.0) for step in range(100_000)])
    assert len(points(many)) <= 4000


@pytest.mark.parametrize(("seconds", "words"), [(5, "5 s"), (600, "10 min"), (12_000, "3 h 20 min")])
def test_durations_read_like_a_person_says_them(seconds, words):
    assert duration(seconds) == words
