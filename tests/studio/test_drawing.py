"""What is returned draws itself in a notebook, and is text elsewhere."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

import studio
from common.errors import UserError
from common.files import write_json, write_text
from evaluation.run import Progress
from models.hub.push import Pushed
from runs.labels import set_labels
from runs.run import EventLog
from studio import drawing, followed
from tests.ui.evaluations import put_adapter, put_evaluation
from tests.ui.experiments import put_experiment


@pytest.fixture
def cell(monkeypatch):
    """A notebook's kernel: what is drawn under the cell, each time anew."""
    drawn: list[str] = []

    def display(shown, display_id):
        drawn.append(shown._repr_html_())
        return SimpleNamespace(update=lambda again: drawn.append(again._repr_html_()))

    ipython, shown = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=True)
    shown.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    return drawn


@pytest.fixture
def training(run, monkeypatch):
    """A run that is being trained: it has lost something in each of three steps."""
    monkeypatch.setattr(type(run), "is_alive", lambda self: True)
    monkeypatch.setattr(followed, "advance_if_possible", lambda: None)
    monkeypatch.setattr(followed, "POLL_SECONDS", 0)
    write_text(run.config_file, "name: run\n")
    set_labels(run, title="<b>Coach</b>")
    log = EventLog(run)
    log.write("training", total_steps=9)
    for step, loss in ((1, 3.0), (2, 2.5), (3, 2.0)):
        log.write_step(step, loss=loss, eta_seconds=200.0)
    log.write("note", message="<script>1</script>")
    return studio.Training(run)


def test_a_training_draws_its_curve_and_escapes_what_it_is_told(training):
    drawn = training._repr_html_()
    assert "<path class='line training'" in drawn and "loss 2.000" in drawn and "step 3 of 9" in drawn
    assert "aria-valuenow='33'" in drawn and "&lt;b&gt;Coach" in drawn and "&lt;script&gt;" in drawn
    assert "<script" not in drawn and "<b>Coach" not in drawn
    assert repr(training) == "<b>Coach</b>: Training, step 3 of 9, about 3 min left, loss 2.000."


def test_its_styles_reach_nothing_else_in_the_notebook():
    style = drawing.framed("").partition("<style>")[2].partition("</style>")[0]
    assert style.startswith(".studio {") and style.endswith("}") and ".plot .line" in style
    assert style.count("{") == style.count("}") and "</" not in style


def test_a_training_is_drawn_anew_in_the_same_place_until_it_ends(training, cell, monkeypatch):
    log = EventLog(training.run)
    put_adapter("coach")

    def end():
        if len(cell) == 1:
            log.write_step(4, loss=1.5)
            log.write("done", adapter="coach", metrics={"loss_before": 3.0, "loss_after": 1.5})

    monkeypatch.setattr(followed, "advance_if_possible", end)
    assert training.watch().name == "coach"
    assert len(cell) == 2 and "step 3 of 9" in cell[0] and "step 4 of 9" in cell[1] and "aria-valuenow='100'" in cell[1]


def test_an_interrupted_cell_says_that_the_training_goes_on(training, cell, monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(followed, "advance_if_possible", interrupt)
    with pytest.raises(KeyboardInterrupt):
        training.watch()
    assert ".stop() ends it" in capsys.readouterr().out and training.state.is_running


def test_an_evaluation_is_a_bar_and_then_a_table(cell):
    put_adapter()
    running = put_evaluation("second", status="running", title="Second")
    running.write_progress(Progress("running", "Asking", done=1, total=4))
    evaluating = studio.Evaluating(put_evaluation())
    lines = evaluating.watch()
    assert "<table>" in cell[-1] and "Study coach minus Base" in cell[-1] and "[1.40" in cell[-1]
    assert [line.score for line in lines] == ["loss", "loss", "exact", "exact"]
    text = repr(evaluating).splitlines()
    assert text[0] == "First: Done, 2 of 2" and "Study coach" in text[2] and "better" in text[2]
    drawn = studio.Evaluating(running)._repr_html_()
    assert "Second: Interrupted, 1 of 4" in drawn and "problem" in drawn


def test_an_experiment_is_a_table_of_its_arms():
    experimenting = studio.Experimenting(put_experiment())
    drawn, text = experimenting._repr_html_(), repr(experimenting)
    assert "LoRA" in drawn and "<b>1.5" in drawn and "Full tuning" in text and text.count("*") == 1


def test_a_conversation_is_shown_message_by_message(monkeypatch):
    chat = studio.Chat(None, system="Be short.")
    chat.messages.append({"role": "user", "content": "<i>Hi</i>"})
    assert "Be short." in chat._repr_html_() and "&lt;i&gt;Hi" in chat._repr_html_()
    chat.close()


def test_a_push_draws_a_bar_in_a_notebook(cell, monkeypatch):
    def push(progress):
        progress("Sending", 0.5)
        progress("Sent", 1.0)
        return Pushed("me/coach", "https://hub/me/coach", "abc", True, True)

    put_adapter()
    monkeypatch.setattr(studio, "account_of", lambda token: None)
    monkeypatch.setattr(studio, "plan_push", lambda *asked: SimpleNamespace(push=push))
    assert studio.push("coach").url == "https://hub/me/coach"
    assert len(cell) == 2 and "aria-valuenow='50'" in cell[0] and "Sent" in cell[1]


def test_a_problem_that_a_person_can_fix_has_no_traceback_in_a_notebook():
    assert UserError("No data.", "Give some.")._render_traceback_() == ["No data. Give some."]


def test_only_a_run_that_was_cut_off_is_gone_on_with(training, monkeypatch, capsys):
    queued = []
    monkeypatch.setattr(studio, "enqueue", queued.append)
    assert studio.resume().run == training.run and queued == [], "one that lives is followed"
    write_json(training.run.process_file, {"launcher": {"pid": 2**22 + 1, "started": 1.0}})
    monkeypatch.setattr(type(training.run), "is_alive", lambda self: False)
    assert studio.resume().run == training.run and queued == [training.run]
    assert "Continuing 'run'. There is no checkpoint yet" in capsys.readouterr().out
    EventLog(training.run).write("done", adapter="")
    assert studio.resume() is None and len(queued) == 1, "what has ended is done"
    assert studio.resume("run").run == training.run and len(queued) == 2, "but a name is a wish"
    with pytest.raises(UserError, match="no run 'other'"):
        studio.resume("other")
    set_labels(training.run, experiment="one/cell")
    assert studio.resume() is None, "an experiment goes on with its own"
