"""What the page makes of a run."""

import math

import pytest

from common.files import write_json
from runs.run import Run, RunState
from runs.state import SERIES
from ui.train import run_view
from ui.train.jobs_view import STOPPING, job_line
from ui.train.run_view import HELD_OUT, KEPT, RAW, SMOOTH, STOP, describe, memory_line, points, smoothed, stop_button


def test_nothing_that_came_from_outside_is_html(tmp_path):
    state = RunState(status="failed", message="<script>1</script>", hint="<b>", base="<i>", notes=["<img>"])
    state.stages, state.stage_name = 2, "<u>"
    shown = describe(Run(tmp_path), state, None)
    assert "&lt;script&gt;" in shown and "&lt;img&gt;" in shown and "&lt;i&gt;" in shown
    assert not [tag for tag in ("<script>", "<img>", "<i>", "<u>") if tag in shown]


def test_a_waiting_run_tells_its_place(tmp_path):
    assert "Waiting, place 2 of 5" in describe(Run(tmp_path), RunState(status="queued"), (2, 5))


def test_the_facts_are_those_of_the_run():
    state = RunState(status="training", step=3, total_steps=9, losses=[(3, 1.5)], eval_losses=[(0, 3.0), (3, 2.0)])
    state.eta_seconds, state.tokens_per_second = 200.0, 99.6
    expected = ["step 3 of 9", "loss 1.500", "held-out loss 2.000 (was 3.000)", "100 tokens/s", "about 3 min left"]
    assert run_view.facts(state) == expected


def test_the_plot_has_raw_smoothed_and_held_out_points_thinned_to_what_a_screen_can_show():
    assert points(RunState()) is None
    many = points(RunState(losses=[(step, 1.0) for step in range(100_000)], eval_losses=[(9, 2.0)]))
    assert set(many["rows"]) == {RAW, SMOOTH, HELD_OUT, KEPT} and len(many) <= 3100
    assert many["step"].max() == 99_999, "the last point is always there"


def test_the_lowest_held_out_loss_is_told_and_the_step_that_was_kept_is_marked():
    state = RunState(losses=[(1, 3.0)], eval_losses=[(0, 3.0), (2, 1.5), (4, 1.8)], stage=2)
    state.other_stages = {1: {name: [(10, 1.0)] if name == "losses" else [] for name in SERIES}}
    assert "held-out loss 1.800 (was 3.000, lowest 1.500 at step 2)" in run_view.facts(state)
    assert points(state).query("rows == @KEPT and step > 0").empty
    state.metrics = {"step": 4, "kept_step": 2}
    marked = points(state).query("rows == @KEPT and step > 0")
    assert [*marked.itertuples(index=False, name=None)] == [(12, 1.5, KEPT), (12, 3.0, KEPT)], (
        "the stages lie end to end"
    )


def test_smoothing_starts_at_the_first_value_follows_a_step_slowly_and_skips_what_is_no_number():
    result = dict(smoothed([(step, 4.0 if step < 50 else 1.0) for step in range(200)]))
    assert result[0] == 4.0 and 1.0 < result[55] < 4.0 and result[199] == pytest.approx(1.0, abs=0.01)
    assert all(math.isfinite(value) for _, value in smoothed([(0, 2.0), (1, math.nan), (2, 2.0)]))


def test_sample_answers_show_how_one_prompt_is_answered_over_time():
    state = RunState()
    state.samples = [(0, [{"prompt": "Hi", "answer": "<p>no"}]), (10, [{"prompt": "Hi", "answer": "Ahoy"}])]
    shown = run_view.sample_answers(state)
    assert shown.index("Ahoy") < shown.index("&lt;p&gt;no") and "step 10" in shown and "before" in shown


def test_predicted_and_measured_memory_stand_side_by_side(tmp_path):
    state = RunState(metrics={"peak_memory_bytes": 2**30})
    assert memory_line(Run(tmp_path), state) == ""
    write_json(tmp_path / "estimate.json", {"memory": {"total": round(1.1 * 2**30)}})
    assert memory_line(Run(tmp_path), state) == "Peak memory: predicted 1.10 GiB, measured 1.00 GiB (+10%)."


def test_a_run_that_was_asked_to_stop_ends_by_itself_and_only_a_job_can_be_ended_harder(tmp_path):
    run, training = Run(tmp_path), RunState(status="training")
    assert stop_button(run, training).value == STOP and not stop_button(None, training).visible
    run.request_stop()
    assert not stop_button(run, training).visible and job_line(run, training) == ""
    facts = {"id": "1", "namespace": "alice", "url": "", "flavor": "t4-small", "minutes": 60, "most_dollars": 0.4}
    facts |= {"checkpoints_repo": "alice/a-checkpoints", "adapter_repo": "alice/a", "submitted": 0.0}
    write_json(run.job_file, {"kind": "hf", **facts})
    assert stop_button(run, training).value == "Cancel the job now" and job_line(run, training) == STOPPING
    stopped = RunState(status="stopped")
    assert not stop_button(run, stopped).visible and "Hugging Face Jobs" in describe(run, stopped, None)
    resume_button = run_view.render(run)[-4]
    assert resume_button.visible is False, "this machine cannot go on with it"
    write_json(run.job_file, {"kind": "slurm"})
    assert not stop_button(run, training).visible and "submit its file there again" in job_line(run, stopped)
