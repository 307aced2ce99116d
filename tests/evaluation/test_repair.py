"""The repair slider measures what it says: its ends are base and adapter, the best forgot least of those that know as much."""

import threading
from contextlib import suppress

import pytest

from adapters.library import find_adapter
from adapters.repair import Repair
from chat.resident import Model, Resident
from common.errors import UserError
from evaluation.likelihood import answer_losses, text_losses
from evaluation.repair import Point, Sweep, keep_point, lines_of, measure, read_sweep
from evaluation.repair_process import measure_points
from evaluation.results import Difference, ScoreEstimate
from tests.adapters.making import make_adapter, put

ROWS = [
    {"number": number, "messages": [{"role": "user", "content": f"What is {number}?"}], "answer": f"It is {number}."}
    for number in range(1, 13)
]
TEXTS = [
    {"number": number, "text": f"The {number} cats sat on the mat, and nobody saw them."} for number in range(1, 13)
]


@pytest.fixture
def adapter(tiny_base, tmp_path):
    from safetensors.torch import load_file, save_file

    made = make_adapter(tmp_path / "made", tiny_base, base=str(tiny_base))
    weights = load_file(made / "adapter_model.safetensors")
    save_file({name: 4 * value for name, value in weights.items()}, made / "adapter_model.safetensors")
    put("one", made)
    return find_adapter("one")


def loss_of(results) -> float:
    results = list(results)
    return sum(one["loss"] for one in results) / sum(one["tokens"] for one in results)


def test_the_ends_are_base_and_adapter_and_all_is_kept_with_its_interval(adapter, tiny_base):
    told = []
    measure_points(adapter, tiny_base, "My rows", ROWS, TEXTS, "fp32", lambda words, part: told.append(str(words)))
    sweep = read_sweep(adapter)
    assert [point.repair.kind for point in sweep.points] == 5 * ["scale"] + 4 * ["reduce"]
    assert sweep.intruders > 0 and any("Measuring alpha × 0.5 (3 of 9)" in words for words in told)
    base, one, stop = Resident(), sweep.points[4], threading.Event()
    for folder, point in ((None, sweep.points[0]), (adapter.folder, one)):
        model = Model(tiny_base, "fp32", folder)
        assert point.held_out.value == pytest.approx(loss_of(answer_losses(base, model, ROWS, stop)), abs=1e-4)
        assert point.general.value == pytest.approx(loss_of(text_losses(base, model, TEXTS, stop)), abs=1e-4)
    assert one.forgotten.value == pytest.approx(one.general.value - sweep.points[0].general.value)
    assert (one.forgotten.n, one.held_out.n) == (12, 12) and one.held_out.low < one.held_out.value < one.held_out.high
    assert len({round(point.general.value, 5) for point in sweep.points}) == 9
    assert any("alpha × 0.25" in line and ", n 12" in line for line in lines_of(sweep))


def point(kind, value, held_out, general, is_as_good, learned="better"):
    found = (ScoreEstimate(number, number - 0.1, number + 0.1, 40) for number in (held_out, general))
    differences = (Difference(-1.0, -1.2, -0.8, 40, 0.001, verdict) for verdict in (learned, "worse"))
    return Point(Repair(kind, value), *found, *differences, is_as_good)


def test_the_best_forgot_least_of_those_that_know_as_much_and_is_never_the_base():
    points = (
        point("scale", 0, 2.0, 3.0, False, "undecided"),
        point("scale", 0.5, 1.3, 3.1, False),
        point("scale", 0.75, 1.01, 3.2, True),
        point("scale", 1, 1.0, 3.5, True),
        point("reduce", 0.5, 1.0, 3.4, True),
    )
    sweep = Sweep(points, "rows", "fp32", 3)
    assert sweep.best == points[2] and "alpha × 0.75" in sweep.best_words() and "40 rows" in sweep.best_words()
    assert sweep.at("reduce", 0.5) == points[4]
    for kind, value in (("scale", 0), ("reduce", 0.4), ("other", 1)):
        with pytest.raises(UserError, match="not measured"):
            sweep.at(kind, value)


def test_where_nothing_was_seen_to_be_learned_no_point_is_the_best():
    points = (point("scale", 0, 2.0, 3.0, True, "undecided"), point("scale", 1, 1.9, 3.5, True, "undecided"))
    sweep = Sweep(points, "rows", "fp32", None)
    assert sweep.best is None and "No point is the best" in sweep.best_words()


def test_a_kept_point_is_an_adapter_that_says_its_numbers(adapter):
    kept = keep_point(adapter, point("scale", 0.5, 1.3, 3.1, True), "Half").adapter
    assert kept.config["lora_alpha"] == 4 and kept.title == "Half"
    assert kept.notes.startswith("Held-out loss 1.300 (1.200 to 1.400, 40 rows), general text 3.100")


def test_what_was_measured_of_an_adapter_that_is_damaged_is_nothing(adapter):
    for text in ("", "[]", '{"points": 5}', '{"points": [{"repair": 1}], "notes": []}', '{"points": [], "notes": 3}'):
        (adapter.folder / "repair.json").write_text(text)
        assert read_sweep(adapter) is None


def test_without_rows_that_it_was_not_trained_on_nothing_is_measured(adapter):
    with pytest.raises(UserError, match="not known which rows"):
        measure(adapter)
    with pytest.raises(UserError, match="There is no"):
        measure(adapter, "run:not-there")
    with pytest.raises(UserError):
        measure(adapter, "../mine")


def test_a_measurement_has_as_many_minutes_as_a_run(adapter, monkeypatch):
    given = []
    monkeypatch.setenv("STUDIO_MAX_MINUTES", "7")
    monkeypatch.setattr("evaluation.repair.ask_child", lambda *asked: given.append(asked))
    with suppress(AssertionError):  # nothing was measured
        measure(adapter, "questions")
    assert given[0][-1] == 7


def test_a_measurement_ends_at_once_when_it_is_stopped(adapter):
    stop = threading.Event()
    with pytest.raises(UserError, match="Stopped"):
        measure(adapter, "questions", tell=lambda words, part: stop.set(), stop=stop)
    assert read_sweep(adapter) is None
