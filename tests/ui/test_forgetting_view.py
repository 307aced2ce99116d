"""What a run learned against what it forgot, on the page: of one run a curve each, of all runs a dot each."""

import html
import re

import pytest

from common.paths import adapters_folder, runs_folder
from runs.config import TrainConfig
from runs.events import Metrics
from runs.history import EVERY_RUN, RunFilter
from runs.run import EventLog, Run, RunState
from runs.state import SERIES
from ui.plot import Dot, scatter_html
from ui.train.history_view import comparison, scatter
from ui.train.learned import learned_html
from ui.train.run_plots import forgetting_plot, more_plots


def general(loss: float) -> dict:
    return {"general": {"loss": loss, "tokens": 3900}}


def run_with(name: str, metrics: Metrics) -> Run:
    run = Run(runs_folder("alice") / name)
    run.folder.mkdir(parents=True)
    run.config_file.write_text(TrainConfig(name=name).to_yaml())
    EventLog(run).write("done", metrics=metrics)
    return run


def measured(before: float, after: float, rise: float) -> Metrics:
    forgotten = {"general": {"before": 3.0, "after": 3.0 + rise, "tokens": 3900}}
    return {"loss_before": before, "loss_after": after, "forgotten": forgotten}


def test_learned_and_forgotten_are_a_curve_each_from_zero_on():
    state = RunState(total_steps=10, eval_losses=[(0, 3.0), (5, 2.5), (10, 2.25)])
    assert forgetting_plot(state) == "", "it was not measured"
    state.tested = [(0, general(3.5))]
    assert forgetting_plot(state) == ""
    state.tested += [(5, general(3.25)), (10, {**general(3.75), "later": {"loss": 1.0, "tokens": 9}})]
    shown = html.unescape(forgetting_plot(state))
    assert "learned: 0 at step 0, 0.75 at step 10." in shown and "forgotten: 0 at step 0, 0.25 at step 10." in shown
    assert "5: -0.25</title>" in shown and "later" not in shown, "what the base was not measured on has no start"
    assert more_plots(state).startswith(forgetting_plot(state))


def test_in_a_second_stage_what_was_forgotten_counts_from_the_base_on():
    state = RunState(total_steps=4, stage=2, eval_losses=[(0, 2.0), (4, 1.5)], tested=[(4, general(3.75))])
    state.other_stages = {1: {name: [] for name in SERIES} | {"tested": [(0, general(3.5)), (6, general(3.625))]}}
    shown = forgetting_plot(state)
    assert "learned: 0 at step 6, 0.5 at step 10." in shown and "forgotten: 0 at step 0, 0.25 at step 10." in shown


@pytest.mark.parametrize(("rise", "advises"), [(0.03, False), (0.3, True)])
def test_a_finished_run_says_what_it_forgot(tmp_path, rise, advises):
    run, state = Run(tmp_path / "runs" / "coach"), RunState(status="done", adapter="coach")
    state.metrics = measured(2.5, 2.0, rise)
    (adapters_folder(run.owner) / "coach").mkdir(parents=True)
    shown = learned_html(run, state)
    assert f"the loss rose by {rise:.2f} nats (3,900 tokens)" in shown
    assert ("a lower learning rate forget less" in shown) == advises


def test_of_all_runs_there_is_a_dot_each_with_its_name_where_two_have_measured_it():
    first = run_with("coach", measured(2.5, 2.0, 0.03))
    run_with("plain", {"loss_before": 2.5, "loss_after": 2.0})
    assert scatter("alice", EVERY_RUN) == ""
    second = run_with("poems", measured(2.5, 2.25, -0.5))
    shown = html.unescape(scatter("alice", EVERY_RUN))
    assert "coach: learned on held-out examples 0.5, forgotten of general text 0.03." in shown
    assert len(re.findall("class='dot main'", shown)) == 2 and "plain" not in shown
    assert scatter("alice", RunFilter("coach")) == scatter("bob", EVERY_RUN) == ""
    table = comparison([first, second])[1]
    assert "<td>+0.030</td><td>-0.500</td>" in table


def test_names_of_runs_are_text_and_too_many_are_not_written_over_each_other():
    dots = [Dot(number / 10, 1.0, f"<b>{number}</b>") for number in range(20)]
    shown = scatter_html("title", "x", "y", dots)
    assert "<b>" not in shown and "class='label" not in shown and shown.count("<title>") == 20
    assert scatter_html("title", "x", "y", dots[:8]).count("class='label") == 3, (
        "of eight in one row as many as have room"
    )
    apart = [Dot(number / 10, float(number), f"<b>{number}</b>") for number in range(8)]
    assert scatter_html("title", "x", "y", apart).count("class='label") == 8
