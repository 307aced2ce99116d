"""What the page makes of a run."""

import html
import math
import re
import time

import pytest

from common.files import write_json
from common.language import ENGLISH, KOREAN, _, language
from runs.run import EventLog, Run, RunState, read_state
from runs.state import SERIES
from tests.queueing import make_run
from ui.train import run_view
from ui.train.jobs_view import STOPPING, job_line
from ui.train.learned import learned_html, sample_answers
from ui.train.run_plots import loss_plot, smoothed
from ui.train.run_status import describe, details
from ui.train.run_view import STOP, stop_button
from ui.train.run_words import memory_words, numbers, progress


def test_nothing_that_came_from_outside_is_html(tmp_path):
    state = RunState(status="failed", message="<script>1</script>", hint="<b>", base="<i>", notes=["<img>"])
    state.stages, state.stage_name = 2, "<u>"
    state.samples = [(0, [{"prompt": "<s>", "answer": "<em>"}]), (2, [{"prompt": "<s>", "answer": "<tt>"}])]
    shown = (
        describe(Run(tmp_path), state, None)
        + details(Run(tmp_path), state)
        + learned_html(Run(tmp_path), state)
        + sample_answers(state)
    )
    assert "&lt;script&gt;" in shown and "&lt;img&gt;" in shown and "&lt;i&gt;" in shown and "&lt;tt&gt;" in shown
    assert not [tag for tag in ("<script>", "<img>", "<i>", "<u>", "<s>", "<em>", "<tt>") if tag in shown]


def test_a_waiting_run_tells_its_place(tmp_path):
    assert "Waiting, place 2 of 5" in describe(Run(tmp_path), RunState(status="queued"), (2, 5))


def test_a_run_that_lives_says_what_it_does_and_a_screen_reader_hears_only_what_changes_seldom(tmp_path):
    run, state = Run(tmp_path / "coach"), RunState(status="evaluating", step=3, total_steps=9)
    state.activity = _("Evaluating on {count} examples, {done} done", count=23, done=9)
    shown = describe(run, state, None)
    said = re.search("<p class='said' role='status' aria-live='polite'>(.*?)</p>", shown)
    assert "class='run run-alive'" in shown and "<b>Evaluating on 23 examples, 9 done</b>" in shown
    assert said and said[1] == "coach: Evaluating on held-out examples."
    run.folder.mkdir()
    run.request_stop()
    assert "<b>Stopping and keeping what it learned</b>" in describe(run, state, None)
    assert "run-alive" not in describe(run, RunState(status="done"), None)
    assert "run-alive" in describe(run, RunState(status="done", ended_at=time.time()), None), "nothing jumps at the end"


def test_the_facts_are_those_of_the_run(tmp_path):
    state = RunState(status="training", step=3, total_steps=9, losses=[(3, 1.5)], eval_losses=[(0, 3.0), (3, 2.0)])
    state.eta_seconds, state.tokens_per_second = 200.0, 99.6
    assert progress(state) == ["step 3 of 9", "about 3 min left"]
    assert numbers(Run(tmp_path), state) == ["loss 1.500", "held-out loss 2.000 (was 3.000)", "100 tokens per second"]


def test_the_plot_spans_the_whole_run_and_has_whole_steps_labels_and_a_name():
    assert "No points yet." in loss_plot(RunState(total_steps=4))
    one = loss_plot(RunState(total_steps=4, eval_losses=[(0, 3.0)]))
    assert re.findall("class='step'[^>]*>([^<]*)", one) == ["0", "1", "2", "3", "4"]
    assert "class='dot held-out' d='M0.0 500.0h0'" in one, "a single point is seen"
    assert ">held-out 3</span>" in one and "held-out: 3 at step 0, 3 at step 0." in one and "kept" not in one
    many = loss_plot(RunState(losses=[(step, 1.0) for step in range(100_000)], eval_losses=[(9, 2.0)]))
    assert len(many) < 20_000 and "1 at step 99,999" in many, "the last point is always there"


def test_the_lowest_held_out_loss_is_told_and_the_step_that_was_kept_is_marked(tmp_path):
    state = RunState(losses=[(1, 3.0)], eval_losses=[(0, 3.0), (2, 1.5), (4, 1.8)], stage=2, total_steps=4)
    state.other_stages = {1: {name: [(10, 1.0)] if name == "losses" else [] for name in SERIES}}
    assert "held-out loss 1.800 (was 3.000) (lowest 1.500 at step 2)" in numbers(Run(tmp_path), state)
    assert "kept" not in loss_plot(state)
    state.metrics = {"step": 4, "kept_step": 2}
    assert "kept: step 12" in loss_plot(state), "the stages lie end to end"


def test_smoothing_starts_at_the_first_value_follows_a_step_slowly_and_skips_what_is_no_number():
    result = dict(smoothed([(step, 4.0 if step < 50 else 1.0) for step in range(200)]))
    assert result[0] == 4.0 and 1.0 < result[55] < 4.0 and result[199] == pytest.approx(1.0, abs=0.01)
    assert all(math.isfinite(value) for _step, value in smoothed([(0, 2.0), (1, math.nan), (2, 2.0)]))


def test_the_newest_answer_stands_beside_that_of_the_base_and_all_are_kept_below(tmp_path):
    state = RunState(status="training")
    state.samples = [(0, [{"prompt": "Hi", "answer": "<p>no"}])]
    assert "After the first evaluation." in learned_html(Run(tmp_path), state)
    state.samples += [(10, [{"prompt": "Hi", "answer": "Ahoy ... (time limit)", "is_cut": True}])]
    shown = learned_html(Run(tmp_path), state)
    assert shown.index("&lt;p&gt;no") < shown.index("Now, at step 10") < shown.index("Ahoy ... (time limit)</div>")
    shown = sample_answers(state)
    assert shown.index("Ahoy") < shown.index("&lt;p&gt;no") and "step 10" in shown and "before" in shown


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"loss_before": 2.5, "loss_after": 2.0}, ["Held-out loss fell by 20%"]),
        ({"loss_before": 2.0, "loss_after": 2.5}, ["Held-out loss rose by 25%", "Try fewer epochs"]),
        ({"rows": 1}, ["Trained on 1 example<", "No example was held out"]),
        ({"rows": 9, "held_out_rows": 2}, ["Trained on 9 examples<", "before the held-out examples were read"]),
    ],
)
def test_a_finished_run_tells_its_result_as_it_is(tmp_path, metrics, words):
    run, state = Run(tmp_path / "runs" / "coach"), RunState(status="done", adapter="coach", total_steps=4)
    run.folder.mkdir(parents=True)
    sizes = {"adapter_bytes": 1000, "base_bytes": 2_200_000_000, "total_parameters": 1_111_000_000}
    times = {"train_seconds": 60.0, "total_seconds": 120.0}
    state.metrics = {**times, **sizes, "trainable_parameters": 11_000_000, **metrics}
    state.samples = [(0, [{"prompt": "Hi", "answer": "Hello"}]), (4, [{"prompt": "Hi", "answer": "Ahoy"}])]
    shown = html.unescape(learned_html(run, state))
    assert [word for word in words if word not in shown] == []
    assert "2 min of training" in shown and "1 MB instead of 2.2 GB: 1.0% of the weights were trained" in shown
    assert shown.index("Hello") < shown.index("Ahoy")
    state.metrics["base_bytes"] = 0  # a base without safetensors
    assert "instead of" not in learned_html(run, state)


def test_a_run_of_whole_weights_tells_its_result_and_offers_nothing_that_needs_an_adapter(monkeypatch):
    run = make_run("whole", method="full")
    run.model_folder.mkdir()
    losses = {"loss_before": 2.5, "loss_after": 2.0, "rows": 9, "trainable_parameters": 10, "total_parameters": 10}
    EventLog(run).write("eval", step=0, loss=2.5)
    EventLog(run).write("done", metrics=losses, adapter="")
    state = read_state(run)
    shown = html.unescape(describe(run, state, None) + learned_html(run, state))
    assert "Held-out loss fell by 20%" in shown and "instead of" not in shown
    assert f"the whole model is in {run.model_folder}" in shown
    buttons = run_view.render(run)[8:]
    assert [button.visible for button in buttons] == [False] * 4 + [True], "chat, share, evaluate, export; picture"
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    assert str(run.folder) not in describe(run, state, None), "a visitor reads no path of the server"


def test_predicted_and_measured_memory_stand_side_by_side(tmp_path):
    state = RunState(metrics={"peak_memory_bytes": 2**30})
    assert memory_words(Run(tmp_path), state) == ""
    write_json(tmp_path / "estimate.json", {"memory": {"total": round(1.1 * 2**30)}})
    assert memory_words(Run(tmp_path), state) == "peak memory 1.00 GiB, predicted 1.10 (+10%)"


def test_the_view_changes_when_the_visitor_speaks_another_language(tmp_path):
    with language(KOREAN):
        korean = run_view.signature(Run(tmp_path))
    with language(ENGLISH):
        assert run_view.signature(Run(tmp_path)) == run_view.signature(Run(tmp_path)) != korean


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
    resume_button = run_view.render(run)[6]
    assert resume_button.visible is False, "this machine cannot go on with it"
    write_json(run.job_file, {"kind": "slurm"})
    assert not stop_button(run, training).visible and "Submit its file there again" in job_line(run, stopped)
