"""The studio package: the main jobs for notebooks and scripts."""

import json
from types import SimpleNamespace

import pytest

import studio
from chat.engine import Reply
from common.errors import UserError
from evaluation.config import EvaluationConfig
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.table import Entry
from evaluation.run import Evaluation, Progress
from runs.run import Run, RunState
from studio import followed, talking
from tests.evaluation.test_run import make_adapter

HI = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]


def test_a_script_follows_a_run_talks_and_pushes(monkeypatch, tmp_path):
    states = [RunState("training", step=step) for step in (1, 1, 2)] + [RunState("failed", "No data.", "Give some.")]
    monkeypatch.setattr(studio, "launch", lambda config: Run(tmp_path / config.name))
    monkeypatch.setattr(followed, "advance_if_possible", lambda: None)
    monkeypatch.setattr(followed, "read_state", lambda run: states.pop(0) if len(states) > 1 else states[0])
    monkeypatch.setattr(followed, "POLL_SECONDS", 0)
    training = studio.train(name="mine", max_steps=2)
    assert [state.step for state in training] == [1, 2, 0], "a state that is as it was is not told again"
    with pytest.raises(UserError, match=r"'mine' ended without an adapter \(failed\)\. No data\. Give some\."):
        training.wait()

    class FakeEngine:
        def reply(self, model, messages, sampling, conversation):
            yield Reply("Hel")
            yield Reply("Hello." if len(messages) == 1 else f"{len(messages)} messages")

        def close(self):
            closed.append(True)

    closed, sent = [], []
    monkeypatch.setattr(talking, "Engine", FakeEngine)
    monkeypatch.setattr(studio, "open_model", lambda *asked: asked)
    with studio.chat("mine") as chat:
        assert [reply.text for reply in chat.stream("Hi")] == ["Hel", "Hello."] and chat.messages == HI
        assert chat.say("And?") == "3 messages" and len(chat.messages) == 4
    assert closed

    monkeypatch.setattr(studio, "account_of", lambda token: "alice")
    monkeypatch.setattr(studio, "find_adapter", lambda name: name)
    monkeypatch.setattr(studio, "plan_push", lambda *asked: SimpleNamespace(push=lambda tell: sent.append(asked)))
    studio.push("mine", private=False)
    ((adapter, account, options),) = sent
    assert (adapter, account, options.private) == ("mine", "alice", False)


def test_a_script_evaluates_an_adapter_beside_its_base(monkeypatch, tmp_path):
    make_adapter("mine")
    (tmp_path / "exam.jsonl").write_text(json.dumps({"messages": HI}))
    asked = []
    states = [
        Progress("running"),
        Progress("running", done=1, total=2),
        Progress("failed", message="No.", hint="Try again."),
    ]
    monkeypatch.setattr(studio, "start", lambda config, token: asked.append(config) or Evaluation(tmp_path))
    monkeypatch.setattr(followed, "read_progress", lambda evaluation: states.pop(0) if len(states) > 1 else states[0])
    monkeypatch.setattr(followed, "POLL_SECONDS", 0)
    evaluating = studio.evaluate("mine", test_sets=["questions", str(tmp_path / "exam.jsonl")], max_items=10)
    assert asked == [EvaluationConfig("mine", ["base", "adapter:mine"], ["questions", "exam"], max_items=10)]
    assert [progress.status for progress in evaluating] == ["running", "running", "failed"]
    with pytest.raises(UserError, match=r"No\. Try again\."):
        evaluating.wait()


def test_a_script_starts_an_experiment_and_reads_its_scores_and_verdicts(monkeypatch, tmp_path):
    started = []
    states = [Progress("running"), Progress("done", done=2, total=2)]
    entry = Entry("lora", "held-out", "loss", 2.0, 1.9, 2.1, 2, 40, False, False, [1.9, 2.1])
    monkeypatch.setattr(studio, "start_experiment", lambda config: started.append(config) or Experiment(tmp_path))
    monkeypatch.setattr(followed, "read_progress", lambda experiment: states.pop(0) if len(states) > 1 else states[0])
    monkeypatch.setattr(followed, "read_entries", lambda experiment: [entry])
    monkeypatch.setattr(followed, "verdicts", lambda experiment: [experiment.folder])
    monkeypatch.setattr(followed, "POLL_SECONDS", 0)
    grid = studio.experiment(vary={"method": ["none", "lora"]}, seeds=[1, 2])
    assert started == [ExperimentConfig(vary={"method": ["none", "lora"]}, seeds=[1, 2])]
    assert grid.wait() == [entry] and grid.verdicts() == [tmp_path]
    grid.stop()
    assert grid.experiment.stop_file.exists()
    with pytest.raises(TypeError, match="not both"):
        studio.experiment(started[0], seeds=[1])
    states[:] = [Progress("failed", message="No.", hint="Try again.")]
    with pytest.raises(UserError, match=r"No\. Try again\."):
        grid.wait()


@pytest.mark.slow
def test_a_script_trains_and_talks_to_what_came_out(tiny_base, tmp_path):
    """The real launcher and the real engine, on a base that knows nothing."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text(f"{json.dumps({'messages': HI})}\n" * 4)
    settings = {"max_steps": 2, "eval_fraction": 0.0, "max_length": 128, "precision": "fp32"}
    training = studio.train(name="small", base=str(tiny_base), data=str(rows), **settings)
    steps = [state.step for state in training]
    adapter = training.wait()
    assert steps[-1] == 2 and adapter.name == "small"
    with studio.chat(adapter, precision="fp32", sampling=studio.Sampling(max_new_tokens=4)) as chat:
        answer = chat.say("Hi")
    assert chat.messages == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": answer}]
