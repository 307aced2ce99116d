"""The Repair section shows each point with interval and n, offers the best first, and makes of a point an adapter of its own."""

import gradio as gr
import pytest

from adapters.library import adapter_names, find_adapter
from adapters.repair import Repair
from common.files import write_json
from evaluation.repair import read_sweep
from tests.adapters.conftest import made  # noqa: F401
from tests.adapters.making import put
from ui.adapters.repair import _views, on_keep, on_pick, sweep_html
from ui.plot import Dot, scatter_html

KEY = "a" * 32


def estimate(value: float) -> dict:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 23}


def changed(value: float, verdict: str) -> dict:
    return {**estimate(value), "p": 0.001, "verdict": verdict, "needed": None}


def point(kind: str, value: float, held_out: float, general: float, is_as_good: bool, learned: str = "better") -> dict:
    found = {"held_out": estimate(held_out), "general": estimate(general), "learned": changed(held_out - 3, learned)}
    repair = {"kind": kind, "value": value}
    return found | {"repair": repair, "forgotten": changed(general - 3.5, "worse"), "is_as_good": is_as_good}


@pytest.fixture
def adapter(made):  # noqa: F811
    folder = put("one", made)
    points = [point("scale", 0, 3.0, 3.5, False, "undecided"), point("scale", 0.5, 1.31, 3.56, True)]
    points += [point("scale", 1, 1.3, 3.7, True), point("reduce", 0.5, 1.6, 3.52, False)]
    known = {"held_out_title": "<b>My rows</b>", "precision": "8bit", "intruders": 3, "notes": []}
    write_json(folder / "repair.json", {"points": points, **known})
    return find_adapter("one")


def test_each_point_is_shown_with_its_interval_and_the_best_is_chosen(adapter):
    sweep = read_sweep(adapter)
    assert sweep
    page = sweep_html(sweep)
    assert page.count(", n 23") == 12 and "1.310 (1.260 … 1.360), n 23" in page and "+0.060 (+0.010 … +0.110)" in page
    assert "<b>My rows" not in page and page.count("class='best'") == 1
    dropdown = _views(sweep)[-1]
    assert dropdown.value == "scale 0.5" and [value for _label, value in dropdown.choices] == [
        "scale 0.5",
        "scale 1",
        "reduce 0.5",
    ]


def test_what_was_measured_before_is_shown_again_and_a_chosen_point_is_kept(adapter):
    assert "alpha × 0.5" in on_pick(None, KEY, "one")[2]
    name = on_keep(None, KEY, "one", "scale 0.5")
    kept = find_adapter(name)
    assert {name, "one"} == {*adapter_names()} and kept.config["lora_alpha"] == 4 and "23 rows" in kept.notes
    assert read_sweep(kept) is None and kept.origin.source == f"{adapter.title} ({Repair('scale', 0.5).words()})"


@pytest.mark.parametrize("chosen", [None, "", "scale 0", "scale 0.7", "reduce nan", ["scale 0.5"], {"a": 1}])
def test_a_point_that_was_not_measured_is_a_sentence(adapter, chosen):
    with pytest.raises(gr.Error, match=r"No point is chosen|nothing is left"):
        on_keep(None, KEY, "one", chosen)
    assert adapter_names() == ["one"]


def test_no_two_names_of_a_plot_lie_over_each_other_and_all_are_told():
    page = scatter_html("t", "x", "y", [Dot(0.5, 0.5, "first"), Dot(0.51, 0.5, "second"), Dot(0, 0, "far")])
    assert [name for name in ("first", "second", "far") if f">{name}</span>" in page] == ["first", "far"]
    assert page.count("second") == 2
