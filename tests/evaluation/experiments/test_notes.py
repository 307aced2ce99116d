"""Settle the notes: each claim has an experiment that can start, and a verdict that its arms bear out."""

import argparse
from dataclasses import replace
from itertools import combinations

import pytest

from common.command_line import run_job
from common.errors import UserError
from common.language import english
from common.paths import REPOSITORY
from data.reading import read_rows
from data.test_sets import find_test_set
from evaluation.experiments import settling
from evaluation.experiments.arms import Arm, arms_of
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.notes import NOTES, RECALL, WITH_HISTORY, WITHOUT_HISTORY, Note, find_note
from evaluation.experiments.table import ArmComparison, Entry
from evaluation.experiments.verdicts import MARGIN, Settled, judge, margin_of, settle
from evaluation.results import Difference, Verdict

READY = [note for note in NOTES if note.vary]


def difference(value: float, width: float, verdict: Verdict) -> Difference:
    """A difference of loss, of which less is better."""
    return Difference(value, value - width, value + width, 40, 0.5, verdict)


def compared(arms: list[Arm], note: Note, losses: dict[str, float]) -> list[ArmComparison]:
    """All pairs of arms with these losses by name or method, decided where their intervals leave out 0."""

    def loss(arm: Arm) -> float:
        return losses.get(arm.name, losses.get(arm.method, 0.0))

    found = []
    for other, arm in combinations(arms, 2):
        value = loss(arm) - loss(other)
        verdict: Verdict = "undecided" if abs(value) < 0.01 else "better" if value < 0 else "worse"
        between = difference(value, 0.01, verdict)
        found.append(ArmComparison(arm.id, other.id, note.test_set, "loss", between, 0.5, verdict))
    return found


@pytest.mark.parametrize("note", [note for note in READY if note.test_set != WITH_HISTORY], ids=lambda note: note.id)
def test_a_ready_experiment_can_start_and_has_the_arms_that_its_claim_is_about(note):
    config = note.config({"base": "embedded", "max_length": 256})
    assert config
    config.check()
    arms = arms_of(config)
    assert {arm.settings.get("max_length", 256) for arm in arms} == {256}, "a person's choice comes before the preset"
    methods = {arm.method for arm in arms if arm.is_trained}
    assert (len(methods) > 1) == bool(config.rates), "methods are compared at rates that were searched for"
    settled = settle(note, arms, [], compared(arms, note, {}))
    assert settled and settled.finding == "undecided"


def test_who_has_text_of_their_own_reads_it_in_stage_1():
    note = find_note("stage-1")
    for given, read in (("", "everyday_science.txt"), ("mine.txt", "mine.txt")):
        config = note.config({"text_data": given})
        assert config and [str(one).rpartition("/")[2] for one in config.vary["text_data"]] == ["", read]
        assert "text_data" not in config.settings


@pytest.mark.parametrize(
    ("says", "value", "width", "verdict", "margin", "finding"),
    [
        ("better", -0.2, 0.1, "better", 0.0, "supported"),
        ("better", 0.2, 0.1, "worse", 0.0, "not supported"),
        ("better", -0.01, 0.1, "undecided", 0.05, "undecided"),
        ("better", -0.01, 0.02, "undecided", 0.05, "not supported"),  # it is at most 0.03 better
        ("worse", 0.2, 0.1, "worse", 0.0, "supported"),
        ("worse", 0.01, 0.02, "undecided", 0.05, "not supported"),
        ("worse", 0.01, 0.02, "undecided", 0.0, "undecided"),
        ("different", 0.2, 0.1, "worse", 0.0, "supported"),
        ("different", 0.01, 0.02, "undecided", 0.05, "not supported"),
        ("different", 0.04, 0.02, "undecided", 0.05, "undecided"),
        ("as good", 0.01, 0.02, "undecided", 0.05, "supported"),
        ("as good", 0.01, 0.02, "undecided", 0.0, "undecided"),  # what is not decided is not equal
        ("as good", 0.04, 0.02, "worse", 0.1, "supported"),  # worse, and by less than counts
        ("as good", 0.2, 0.1, "worse", 0.1, "not supported"),
        ("as good", -0.2, 0.1, "better", 0.0, "supported"),
    ],
)
def test_a_claim_is_supported_denied_or_left_open(says, value, width, verdict, margin, finding):
    between = difference(value, width, verdict)
    assert judge(says, between, margin, is_higher_better=False) == finding
    turned = replace(between, value=-value, low=-between.high, high=-between.low)
    assert judge(says, turned, margin, is_higher_better=True) == finding


def test_a_margin_is_a_tenth_of_what_was_surely_changed():
    assert margin_of(difference(-1.0, 0.2, "better")) == pytest.approx(MARGIN * 0.8)
    assert margin_of(difference(1.0, 0.2, "worse")) == pytest.approx(MARGIN * 0.8)
    assert margin_of(difference(-0.1, 0.2, "undecided")) == margin_of(None) == 0


@pytest.mark.parametrize(
    ("losses", "finding"),
    [
        ({"none": 3.0, "full": 2.0, "lora": 2.02}, "supported"),
        ({"none": 3.0, "full": 2.0, "lora": 2.3}, "not supported"),
        ({"none": 2.0, "full": 2.0, "lora": 2.0}, "undecided"),  # nobody learned anything
    ],
)
@pytest.mark.parametrize("order", ["as varied", "turned"])
def test_as_good_is_within_a_tenth_of_the_gain_whichever_arm_comes_first(losses, finding, order):
    note = find_note("as-good")
    config = note.config()
    assert config
    arms = arms_of(config)
    settled = settle(note, arms, [], compared(arms if order == "as varied" else arms[::-1], note, losses))
    assert settled and settled.finding == finding
    assert ("counts as no difference" in settled.words) == (losses["none"] != losses["full"])


def test_arms_that_differ_in_more_than_the_claim_are_not_compared():
    note = find_note("little-data")
    config = note.config()
    assert config
    arms = arms_of(config)
    few = [arm for arm in arms if arm.settings.get("max_rows") != 30]
    settled = settle(note, few, [], compared(few, note, {"none": 3.0, "full": 2.5, "lora": 2.0}))
    assert settled and settled.finding == "supported" and settled.words.count("beside") == 2
    whole = [replace(arm, settings={**arm.settings, "max_rows": 0}) for arm in arms]
    assert settle(note, whole, [], compared(whole, note, {})) is None


def test_pairs_that_contradict_each_other_leave_a_claim_open():
    note = find_note("little-data")
    config = note.config()
    assert config
    arms = arms_of(config)
    losses = {arm.name: 2.0 for arm in arms if arm.method == "lora"}
    losses |= {arm.name: 1.0 if arm.settings["max_rows"] == 100 else 3.0 for arm in arms if arm.method == "full"}
    settled = settle(note, arms, [], compared(arms, note, losses))
    assert settled and settled.finding == "undecided"


def test_a_claim_is_passed_over_where_no_arm_shows_it_or_nothing_is_there_yet():
    note = find_note("as-good")
    config = note.config()
    assert config
    assert settle(note, arms_of(config), [], []) is None
    lora = [Arm("lora", "LoRA", "lora", {})]
    assert [settle(one, lora, [], []) for one in NOTES] == [None] * len(NOTES)


def test_history_is_asked_with_and_without_and_decided_by_intervals_that_do_not_meet(isolated_home):
    note = find_note("history")
    config = note.config()
    again = note.config()
    assert config and again and config.test_sets == again.test_sets == [WITH_HISTORY, WITHOUT_HISTORY]
    config.check()
    told, alone = (find_test_set(name) for name in config.test_sets)
    assert len(told.labels) == 10 and told.labels == alone.labels and told.rows == alone.rows == 40
    arms = arms_of(config)

    def entries(high_alone: float) -> list[Entry]:
        entry = Entry(arms[0].id, WITH_HISTORY, RECALL, 0.8, 0.6, 0.9, 0, 40, False, True, [0.8])
        return [entry, replace(entry, test_set=WITHOUT_HISTORY, mean=0.1, low=0.0, high=high_alone)]

    for high_alone, finding in ((0.3, "supported"), (0.7, "undecided")):
        settled = settle(note, arms, entries(high_alone), [])
        assert isinstance(settled, Settled) and settled.finding == finding
    assert "80.0 (60.0 to 90.0) of 100 with the history" in settled.words
    assert settle(note, arms, entries(0.3)[:1], []) is None


def test_the_questions_without_history_are_those_with_it():
    told, alone = (
        [row["messages"] for row in read_rows(str(REPOSITORY / "examples" / f"{name}.jsonl"))]
        for name in (WITH_HISTORY, WITHOUT_HISTORY)
    )
    assert [one[-2:] for one in told] == alone and all(len(one) == 6 for one in told)
    assert all(one[-1]["content"] in one[0]["content"] for one in told), "the answer stands in what was said before"


def test_the_page_on_claims_has_each_with_its_sources_and_its_script():
    page = " ".join((REPOSITORY / "docs" / "claims.md").read_text(encoding="utf-8").split())
    for note in NOTES:
        assert f"## {english(note.claim).rstrip('.')}" in page
        for source in note.sources:
            assert source.rpartition(", ")[2] in page
        assert note.command in page


def test_claims_are_listed_settled_and_judged_on_the_command_line(tmp_path, monkeypatch, capsys):
    def command(*line: str) -> int:
        def parser() -> argparse.ArgumentParser:
            found = argparse.ArgumentParser()
            settling.add_note_jobs(found.add_subparsers(required=True))
            return found

        return run_job(parser, [*line])

    started = []
    monkeypatch.setattr(settling, "start", lambda config: started.append(config) or Experiment(tmp_path))
    monkeypatch.setattr(settling, "find_experiment", lambda id: Experiment(tmp_path / id))
    settled = [(find_note("as-good"), Settled("not supported", "Worse."))]
    monkeypatch.setattr(settling, "verdicts", lambda experiment: settled)
    assert command("notes") == 0
    listed = capsys.readouterr().out
    assert all(f"{note.id} " in listed and note.claim in listed for note in NOTES)
    assert command("settle", "stage-1", "--base", "embedded", "--max-length", "128") == 0
    assert started[0].settings.items() >= {"base": "embedded", "max_length": 128}.items()
    assert command("settle", "ddp-faster") == 1
    assert "python -m benchmarks.parallel" in capsys.readouterr().err
    assert command("verdicts", "mine") == 0
    assert capsys.readouterr().out == "LoRA is as good as full tuning. Not supported here. Worse.\n"


def test_a_claim_that_is_unknown_is_refused_with_those_that_are_known():
    with pytest.raises(UserError, match=r"no claim 'lore'.*as-good"):
        find_note("lore")
