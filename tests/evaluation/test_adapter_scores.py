"""An evaluation that ended leaves its scores in the folders of its adapters: of the same owner, and of the same weights."""

import pytest

from adapters.evaluated import EVALUATION, read_evaluated
from adapters.library import read_adapter
from common.paths import adapters_folder
from evaluation.adapter_scores import keep_scores
from evaluation.asked import digest_of
from evaluation.run import Evaluation
from evaluation.table import write_table
from tests.evaluation.test_run import make_adapter
from tests.evaluation.test_table import ITEMS, make_whole

RIGHT = {"base": range(1, 11), "adapter:a": range(1, 36)}


def make_ended(right=RIGHT, asked=ITEMS) -> Evaluation:
    """An evaluation of the adapter 'a', which is there, with its table."""
    folder = make_adapter("a")
    evaluation = make_whole(
        "one", right, asked=asked, adapters={"a": digest_of(read_adapter(folder))}, packages={"scipy": "1"}
    )
    write_table(evaluation)
    return evaluation


def test_scores_stand_beside_the_base_with_intervals_and_n():
    make_adapter("a", "bob")
    evaluation = make_ended()
    keep_scores(evaluation)
    (found,) = read_evaluated(adapters_folder() / "a")
    assert (found.kind, found.name, found.title, found.versions) == ("own", "mine", "Even or not", {"scipy": "1"})
    assert found.fingerprint == evaluation.known()["test_sets"]["mine"]["fingerprint"]
    scores = {one.name: one for one in found.scores}
    exact, loss = scores["exact"], scores["loss"]
    assert exact.base and exact.difference and exact.title == "Exact match" and exact.unit == "share"
    assert (exact.adapter.value, exact.base.value, exact.difference.value) == (0.875, 0.25, 0.625)
    assert exact.adapter.n == exact.difference.n == 40 and exact.difference.low < 0.625 < exact.difference.high
    assert exact.verdict == loss.verdict == "better" and scores["stop_rate"].verdict == "undecided"
    assert not (adapters_folder("bob") / "a" / EVALUATION).exists(), "the name of another owner's adapter"


def test_what_was_not_compared_with_the_base_is_no_comparison():
    keep_scores(make_ended({"few-shot": range(1, 11), "base": range(1, 11), "adapter:a": range(1, 36)}))
    (found,) = read_evaluated(adapters_folder() / "a")
    assert all(one.base is one.difference is None and one.verdict == "" for one in found.scores)
    assert found.scores[0].adapter.n == 40


def test_one_row_has_no_interval_and_leaves_nothing():
    keep_scores(make_ended(asked=ITEMS[:1]))
    assert read_evaluated(adapters_folder() / "a") == []


@pytest.mark.parametrize("change", ["weights", "gone"])
def test_an_adapter_that_was_trained_anew_or_deleted_gets_no_scores_of_the_old_one(change):
    evaluation, folder = make_ended(), adapters_folder() / "a"
    if change == "weights":
        (folder / "adapter_model.safetensors").write_bytes(b"others")
    else:
        folder.rename(adapters_folder() / "elsewhere")
    keep_scores(evaluation)
    assert not list(adapters_folder().glob(f"*/{EVALUATION}"))
