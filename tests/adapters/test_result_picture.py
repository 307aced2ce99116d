"""The result of a training as one picture: the answer that shows the difference best, on the page and on the card."""

import time

import pytest

from adapters.library import find_adapter
from adapters.package import PushOptions, write_package
from adapters.result_picture import Sample, best_sample
from common.files import read_object, write_json
from tests.adapters.making import put, write_history


@pytest.mark.parametrize(
    ("before", "after", "best"),
    [
        (["a b c d", "a b c d"], ["a b c x", "a x y z"], 1),
        (["a b c d", "a b"], ["a b x d", " "], 0),
        (["a b", "a b c d"], ["x y …", "a b c x"], 1),
        (["a b", "a b"], ["a x …", "x y …"], 1),
        (["a b", "a  b"], ["a b", "a b"], None),
        ([], ["a"], None),
    ],
    ids=["most", "without words", "cut", "all cut", "same", "nothing before"],
)
def test_the_best_sample_differs_most_has_words_and_is_whole_where_one_is(before, after, best):
    def answers(texts):
        return [{"prompt": f"{n}?", "answer": text, "is_cut": text.endswith("…")} for n, text in enumerate(texts)]

    wanted = None if best is None else Sample(f"{best}?", before[best], after[best])
    assert best_sample(answers(before), answers(after)) == wanted


def test_answers_of_any_length_are_compared_in_a_moment():
    began = time.monotonic()
    before, after = ([{"prompt": "?", "answer": "a " * count}] for count in (100_000, 150_000))
    assert best_sample(before, after) is None and time.monotonic() - began < 2


def test_the_picture_of_a_push_shows_the_best_answer(made, tmp_path, monkeypatch):
    folder, drawn = put("mine", made), []
    write_history(folder)
    answers = {"samples_before": ["a b c d", "a b c d"], "samples_after": ["a b c x", "w x y z"]}
    answers = {
        name: [{"prompt": f"{number}?", "answer": text} for number, text in enumerate(texts)]
        for name, texts in answers.items()
    }
    write_json(folder / "metrics.json", {**read_object(folder / "metrics.json"), **answers})
    monkeypatch.setattr("adapters.package.draw_result", drawn.append)
    write_package(find_adapter("mine"), "alice/mine", PushOptions(), tmp_path)
    assert drawn[0].sample == Sample("1?", "a b c d", "w x y z")
