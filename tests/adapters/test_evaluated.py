"""Scores of an adapter lie in its folder, each with interval and n; what is from elsewhere is its author's word, and harmless."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.__main__ import main
from adapters.card import CardFacts, write_card
from adapters.evaluated import (
    EVALUATION,
    MAX_TEST_SETS,
    Measured,
    Number,
    choose_score,
    decided_words,
    for_others,
    is_stated,
    keep_evaluated,
    read_evaluated,
    score_words,
)
from adapters.history import History
from adapters.intake import import_adapter
from adapters.library import Adapter, find_adapter, read_adapter
from adapters.package import PushOptions, export_zip, write_package
from adapters.trust.check import check_adapter
from common.errors import UserError
from common.files import write_json
from common.language import language
from tests.adapters.making import evaluated, put
from tests.adapters.test_card import front_of
from tests.evaluation.test_run import make_adapter
from ui.adapters.view import cards_html, scores_html

NUMBER = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 60}
SCORE = {"name": "exact", "title": "Exact match", "unit": "share", "adapter": NUMBER, "verdict": "better"}
HOSTILE = "<img src=x onerror=alert(1)>|[x](javascript:1)\n# Trained by {msgid}\x1b[2J"


@pytest.fixture
def adapter() -> Adapter:
    return read_adapter(make_adapter("mine"))


def from_elsewhere(adapter: Adapter, content: object) -> Adapter:
    """The same adapter as if it had been imported with this evaluation.json."""
    (adapter.folder / EVALUATION).write_text(json.dumps(content))
    write_json(adapter.folder / "studio.json", {"origin": {"kind": "imported"}})
    return read_adapter(adapter.folder)


def card_of(adapter: Adapter) -> str:
    return write_card(adapter, History(), CardFacts("alice/mine", "mit", measured=read_evaluated(adapter.folder)))


def test_what_was_measured_comes_back_and_takes_the_place_of_what_is_there_of_the_same_test_set(adapter):
    first, general = evaluated(), evaluated("bundled", "general", "General text")
    keep_evaluated(adapter, [first, general])
    assert read_evaluated(adapter.folder) == [first, general]
    again = evaluated(revision="a" * 40, dataset="alice/exam")
    keep_evaluated(adapter, [again])
    assert read_evaluated(adapter.folder) == [again, general], "the last evaluation first"
    keep_evaluated(adapter, [evaluated("own", f"set-{number}") for number in range(40)])
    assert len(read_evaluated(adapter.folder)) == MAX_TEST_SETS


def test_the_hub_reads_each_score_with_its_n_its_interval_and_the_commit_or_fingerprint_of_its_test_set(adapter):
    from huggingface_hub import ModelCard

    on_hub = evaluated("own", "exam", "alice/exam", dataset="alice/exam", revision="a" * 40)
    keep_evaluated(adapter, [evaluated(), on_hub, evaluated("lm-eval", "lm-eval:arc", "arc (lm-eval, 0-shot)")])
    card = ModelCard(card_of(adapter))
    found = {(one.dataset_name, one.metric_type): one for one in card.data.eval_results}
    own, public = found["Held-out rows", "loss"], found["alice/exam", "exact_match"]
    assert own.metric_value == 1.7 and own.metric_args == {"n": 60, "low": 1.65, "high": 1.75, "confidence": 0.95}
    assert (own.dataset_type, own.dataset_revision, own.dataset_args) == ("private", "f" * 64, {"sha256": "f" * 64})
    assert (public.dataset_type, public.dataset_revision, public.metric_name) == ("alice/exam", "a" * 40, "Exact match")
    assert found["arc (lm-eval, 0-shot)", "loss"].dataset_type == "lm-eval"
    assert ModelCard(str(card)).data.to_dict() == card.data.to_dict()
    assert "| Loss per token (nats) | 2.100 (2.050 to 2.150), n 60 | 1.700 (1.650 to 1.750), n 60 |" in card.text
    assert "| -0.400 (-0.450 to -0.350), n 60 | better than the base |" in card.text
    assert "| +2.0 (-3.0 to 7.0), n 60 | not decided |" in card.text and "scipy 1.16.0" in card.text
    with language("ko"):
        assert card_of(adapter) == str(card), "a card is in English"


def test_what_was_forgotten_is_told_with_its_tokens_and_no_private_name(adapter):
    losses = {"before": 2.0, "after": 2.04, "tokens": 4000}
    write_json(
        adapter.folder / "metrics.json", {"loss_after": 1.0, "forgotten": {"general": losses, "my-diary": losses}}
    )
    card = card_of(read_adapter(adapter.folder))
    assert "On general text the loss rose by 0.04 nats (4,000 tokens): little was forgotten." in card
    assert "diary" not in card


@pytest.mark.parametrize(
    ("public", "shown"), [((), "A test set of its owner"), (("alice/exam",), "alice/exam")], ids=["private", "public"]
)
def test_the_name_of_a_private_test_set_goes_nowhere(public, shown):
    own = evaluated("own", "secret-exam", dataset="alice/exam", revision="a" * 40)
    found = [evaluated(), own, evaluated("bundled", "general", "G"), evaluated("lm-eval", "lm-eval:arc", "A")]
    told = for_others(found, public)
    assert [str(one.words()) for one in told] == ["Held-out rows", shown, "G", "A"]
    assert "ecret" not in str(told) and ("alice/exam" in str(told)) == bool(public)


def test_a_push_and_a_zip_take_the_scores_along_and_a_second_one_changes_nothing(made, tmp_path):
    adapter = read_adapter(put("mine", made))
    keep_evaluated(adapter, [evaluated("own", "secret-exam")])
    packages = [tmp_path / "one", tmp_path / "two"]
    for folder in packages:
        folder.mkdir()
        assert EVALUATION in write_package(adapter, "alice/mine", PushOptions(), folder)
    files = [{file.name: file.read_bytes() for file in folder.iterdir()} for folder in packages]
    assert files[0] == files[1] and b"ecret" not in files[0][EVALUATION] + files[0]["README.md"]
    again = import_adapter(export_zip(adapter, tmp_path / "out.zip"), "again").adapter
    assert is_stated(again) and [one.scores for one in read_evaluated(again.folder)] == [evaluated().scores]
    assert "stated by its author" in score_words(again, "loss") and "stated" not in score_words(adapter, "loss")


def test_what_an_author_states_is_no_result_of_ours_and_gives_way_to_what_is_measured_here(adapter):
    foreign = from_elsewhere(adapter, {"test_sets": [{"kind": "bundled", "name": "general", "scores": [SCORE]}]})
    card = card_of(foreign)
    assert "Stated by its author, not measured here." in card and "model-index" not in front_of(card)
    keep_evaluated(foreign, [evaluated()])
    ours = find_adapter("mine")
    assert read_evaluated(ours.folder) == [evaluated()] and not is_stated(ours)
    assert "Stated" not in card_of(ours) and "model-index" in front_of(card_of(ours))


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"test_sets": {"scores": 1}},
        {"test_sets": [None, 1, {"scores": [[], {}, {**SCORE, "adapter": 7}]}]},
        {
            "test_sets": [
                {"scores": [{**SCORE, "adapter": {**NUMBER, **wrong}}]}
                for wrong in (
                    {"n": None},
                    {"n": 1},
                    {"n": 2.5},
                    {"n": True},
                    {"n": 1e14},
                    {"low": None},
                    {"low": float("nan")},
                    {"low": 0.7},
                    {"high": float("inf")},
                    {"value": "0.5"},
                    {"value": 10**400},
                    {"value": []},
                )
            ]
        },
        {"test_sets": [{"scores": [{**SCORE, "unit": "stars"}, {**SCORE, "unit": []}, {**SCORE, "name": 5}]}]},
    ],
    ids=["list", "object", "odd", "numbers", "units"],
)
def test_what_is_no_number_with_interval_and_n_is_nothing(adapter, content):
    foreign = from_elsewhere(adapter, content)
    assert read_evaluated(foreign.folder) == [] and score_words(foreign, "exact") == "" == scores_html(foreign)
    assert "Evaluated" not in card_of(foreign)


def test_forged_words_are_bounded_and_only_words(adapter, capsys):
    one = dict.fromkeys(("kind", "name", "title", "dataset", "revision", "fingerprint"), HOSTILE * 100)
    score = {**SCORE, "title": HOSTILE * 100, "verdict": HOSTILE, "base": NUMBER, "difference": NUMBER}
    one |= {"time": 1e14, "versions": {HOSTILE * 50: HOSTILE}, "scores": [score] * 30}
    foreign = from_elsewhere(adapter, {"test_sets": [{**one, "scores": [score]}]})
    card, page = card_of(foreign), scores_html(foreign) + cards_html([foreign], None, "", "exact")
    assert "<img" not in card + page and "\n# Trained" not in card and not re.search(r"(?<!\\)\]\(javascript", card)
    assert "50.0 (40.0 to 60.0), n 60" in page and "Stated by its author" in page and "stated by its author" in page
    assert len(card) < 5000 and len(page) < 5000
    assert main(["show", "mine"]) == 0 and "\x1b" not in capsys.readouterr().out
    assert decided_words(read_evaluated(foreign.folder)) is None, "no verdict of ours"
    (foreign.folder / EVALUATION).write_text(json.dumps({"test_sets": [one]}))
    assert read_evaluated(foreign.folder) == [], "of more bytes than any has"
    with pytest.raises(UserError, match=EVALUATION):
        check_adapter(foreign.folder)


def test_the_list_shows_the_score_of_choice_with_interval_and_n(adapter, capsys):
    assert main(["list"]) == 0 and "Evaluated" not in capsys.readouterr().out
    keep_evaluated(adapter, [evaluated()])
    line = "Loss per token 1.700 (1.650 to 1.750), n 60, Held-out rows, better than the base"
    assert main(["list"]) == 0 and line in capsys.readouterr().out
    assert line in cards_html([adapter], None, "", "loss")
    choose_score("exact")
    assert main(["list"]) == 0 and "Exact match 50.0 (45.0 to 55.0), n 60" in capsys.readouterr().out
    assert main(["list", "--score", "chrf"]) == 0 and "n 60" not in capsys.readouterr().out
    assert main(["show", "mine"]) == 0
    assert "-0.400 (-0.450 to -0.350), n 60" in capsys.readouterr().out
    assert "<td>+2.0 (-3.0 to 7.0), n 60</td><td>not decided</td>" in scores_html(adapter)


def test_nobody_makes_a_folder_by_choosing_a_score(tmp_path):
    choose_score("exact", "guest-nobody")
    assert not Path(tmp_path / "adapters" / "guest-nobody").exists()


@pytest.mark.parametrize(
    ("verdict", "difference", "words"),
    [
        (
            "better",
            (-0.4, -0.45, -0.35),
            "better than the base by 0.400 nats (95 %: 0.350 to 0.450) on 60 rows",
        ),
        (
            "worse",
            (0.4, 0.35, 0.45),
            "worse than the base by 0.400 nats (95 %: 0.350 to 0.450) on 60 rows",
        ),
        ("undecided", (-0.4, -0.9, 0.1), None),
        ("different", (-0.4, -0.45, -0.35), None),
    ],
)
def test_the_picture_tells_a_decided_difference_in_the_place_of_the_losses(monkeypatch, verdict, difference, words):
    from PIL import ImageDraw

    from adapters.result_picture import Result, Sample, draw_result

    written, real = [], ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, place, words, **how: written.append(words) or real(self, place, words, **how),
    )
    score = Measured(
        "loss", "Loss per token", "nats", Number(1, 1, 1, 9), Number(1, 1, 1, 9), Number(*difference, 60), verdict
    )
    decided = decided_words([replace(evaluated(), scores=(score,))])
    words = words and f"Loss per token, Held-out rows: {words}"
    result = Result("mine", "base", loss_before=2.0, loss_after=1.0, losses=[(1, 2.0), (2, 1.0)], decided=decided)
    assert draw_result(result) and (decided and str(decided)) == words
    told = " ".join(written)
    assert (words is None or words in told) and ("Held-out loss fell" in told) == (words is None)
    assert draw_result(Result(**{**vars(result), "sample": Sample("p", "a", "b")})), "beside a sample, too"
