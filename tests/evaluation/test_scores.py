"""Scores against values computed by hand and by the libraries that others use."""

import time

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import CHRF
from sklearn.metrics import accuracy_score, f1_score

from common.errors import UserError
from evaluation.scores import SCORES, scores_with
from evaluation.text_match import normalised, token_f1

ANSWERS = [
    "The cat sat on the mat.",
    "I don't know",
    "",
    "서울은 한국의 수도입니다",
    "a b c d e f",
    "Zürich, naïve café",
]
REFERENCES = ["A cat sat on a mat", "I do not know", "something", "한국의 수도는 서울이다", "", "Zurich, naïve café!"]


def of_answers(name: str, answers: list[str], references: list[str]):
    """The parts of a score for each pair."""
    pairs = zip(answers, references, strict=True)
    return [SCORES[name].per_item({"answer": wanted}, {"item": 1, "answer": given}) for given, wanted in pairs]


def of_choices(name: str, losses: list[list[float]], choices: list[str], answers: list[str]):
    """The parts of a score for each question with the same choices."""
    return [
        SCORES[name].per_item({"choices": choices, "answer": answer}, {"item": 1, "choice_losses": found})
        for found, answer in zip(losses, answers, strict=True)
    ]


@pytest.mark.parametrize(
    ("answer", "reference", "is_same"),
    [
        ("  The Eiffel Tower. ", "eiffel  tower", True),
        ("a well-known fact", "wellknown fact", True),
        ("서울", "\u1109\u1165\u110b\u116e\u11af", True),  # decomposed
        ("「서울」", "서울", True),
        ("서울은", "서울", False),
        ("-5", "5", False),
        ("1.5", "15", False),
        (".5", "5", False),
        ("-.5", "0.5", False),
        ("1,500", "1500", True),
        ("5.", "5", True),
        ("!", "?", False),
        ("the", "a", False),
        ("", "the", False),
    ],
)
def test_exact_match_forgives_what_squad_forgives_but_not_the_sign_of_a_number(answer, reference, is_same):
    assert of_answers("exact", [answer], [reference]) == [(float(is_same), 1.0)]


@pytest.mark.parametrize(
    ("answer", "reference", "f1"),
    [
        ("the cat sat", "a cat lay", 0.5),  # 1 of 2 words each
        ("cat cat cat", "cat dog", 0.4),  # a word counts as often as both have it
        ("no", "yes", 0),
        ("", "", 1),
        ("", "yes", 0),
        ("서울입니다", "서울", 4 / 7),  # 2 of 5 syllables and 2 of 2
    ],
)
def test_token_f1_is_squads_and_counts_syllables_in_korean(answer, reference, f1):
    assert token_f1(answer, reference) == pytest.approx(f1)


def test_chrf_is_sacrebleus_for_a_corpus_and_for_each_answer():
    parts = of_answers("chrf", ANSWERS, REFERENCES)
    score = SCORES["chrf"]
    assert 100 * score.value(parts) == pytest.approx(CHRF().corpus_score(ANSWERS, [REFERENCES]).score)
    for one, given, wanted in zip(parts, ANSWERS, REFERENCES, strict=True):
        assert 100 * score.value([one]) == pytest.approx(CHRF().sentence_score(given, [wanted]).score)
    several = np.stack([np.sum(parts[:3], axis=0), np.sum(parts[3:], axis=0)])
    assert list(score.total(several)) == [score.value(parts[:3]), score.value(parts[3:])]


def test_rouge_l_is_the_librarys_and_keeps_other_letters():
    for given, wanted in zip(ANSWERS[:3], REFERENCES[:3], strict=True):
        theirs = RougeScorer(["rougeL"]).score(wanted, given)["rougeL"].fmeasure
        assert of_answers("rouge_l", [given], [wanted]) == [(theirs, 1.0)]
    # 한국의 is the longest common subsequence: 1 of 3 words each
    assert SCORES["rouge_l"].value(of_answers("rouge_l", ANSWERS[3:4], REFERENCES[3:4])) == pytest.approx(1 / 3)
    assert SCORES["rouge_l"].value(of_answers("rouge_l", ANSWERS[5:], REFERENCES[5:])) == pytest.approx(2 / 3)


def test_scores_of_labels_are_scikit_learns_over_the_labels_that_are_there():
    labels = ["pos", "neg", "neutral", "never"]
    draw = np.random.default_rng(0)
    losses = draw.gamma(2, size=(200, 4))
    losses[:, 3] += 100
    answers = [labels[place] for place in draw.integers(0, 3, 200)]
    chosen = [labels[place] for place in losses.argmin(1)]
    found = of_choices("macro_f1", losses.tolist(), labels, answers)
    assert SCORES["macro_f1"].value(found) == pytest.approx(f1_score(answers, chosen, average="macro"))
    found = of_choices("label_accuracy", losses.tolist(), labels, answers)
    assert SCORES["label_accuracy"].value(found) == accuracy_score(answers, chosen)


def test_multiple_choice_divides_by_the_length_and_labels_do_not():
    losses, choices = [[6.0, 9.0]], ["no", "certainly"]  # 3 and 1 nats a character
    assert of_choices("choice_accuracy", losses, choices, ["certainly"]) == [(1.0, 1.0)]
    assert of_choices("label_accuracy", losses, choices, ["certainly"]) == [(0.0, 1.0)]


def test_loss_is_of_all_tokens_not_the_mean_of_the_items():
    results = [{"item": 1, "loss": 2.0, "tokens": 1}, {"item": 2, "loss": 3.0, "tokens": 9}]
    assert SCORES["loss"].value([SCORES["loss"].per_item({}, result) for result in results]) == 0.5


def test_rates_and_length_are_means_of_what_the_engine_saw():
    results = [
        {"item": 1, "answer": "x", "ended": True, "is_repeating": False, "new_tokens": 3},
        {"item": 2, "answer": "y", "ended": False, "is_repeating": True, "new_tokens": 64},
        {"item": 3, "answer": "z", "ended": True, "is_repeating": False, "new_tokens": 2},
    ]
    found = {
        name: SCORES[name].value([SCORES[name].per_item({}, result) for result in results])
        for name in ("stop_rate", "repetition_rate", "length")
    }
    assert found == {"stop_rate": pytest.approx(2 / 3), "repetition_rate": pytest.approx(1 / 3), "length": 23}


def test_an_item_is_left_out_of_a_score_that_it_has_no_number_for():
    scores = scores_with(".*")
    assert not [name for name, score in scores.items() if score.per_item({}, {"item": 1}) is not None]
    assert scores["loss"].per_item({}, {"item": 1, "loss": float("nan"), "tokens": 3}) is None
    assert scores["loss"].per_item({}, {"item": 1, "loss": 0.0, "tokens": 0}) is None
    broken = {"item": 1, "choice_losses": [1.0, float("inf")]}
    for name in ("choice_accuracy", "label_accuracy", "macro_f1"):
        assert scores[name].per_item({"choices": ["a", "b"], "answer": "a"}, broken) is None
        assert scores[name].per_item({"choices": ["a", "b"], "answer": "c"}, broken | {"choice_losses": [1, 2]}) is None
        assert scores[name].per_item({"choices": ["a"], "answer": "a"}, broken | {"choice_losses": [1, 2]}) is None


def test_each_score_is_asked_for_where_it_fits():
    fits = {
        kind: [name for name, score in SCORES.items() if score.fits(*kind)]
        for kind in (("text", ()), ("conversations", ("yes", "no")))
    }
    assert fits["text", ()] == ["loss"]
    assert {*fits["conversations", ("yes", "no")]} == {*SCORES} - {"choice_accuracy"}


def test_a_long_answer_takes_no_long_time():
    began = time.thread_time()
    of_answers("rouge_l", ["word " * 50_000], ["other " * 50_000])
    of_answers("chrf", ["word " * 20_000], ["other " * 20_000])
    assert time.thread_time() - began < 5


@pytest.mark.parametrize(
    ("rule", "answer", "follows"),
    [
        (r"(yes|no)\.?", " yes. ", True),
        (r"(yes|no)\.?", "yes, because", False),
        (r"A:.*", "A: one\ntwo", True),
        ('{"type": "object", "required": ["a"]}', '{"a": 1}', True),
        ('{"type": "object", "required": ["a"]}', '{"b": 1}', False),
        ('{"type": "object", "required": ["a"]}', "[]", False),
        ('{"type": "object"}', "```json\n{}\n```", False),
        ('{"properties": {"a": {"type": "integer", "minimum": 1}}}', '{"a": 1.0}', True),
        ('{"properties": {"a": {"type": "integer", "minimum": 1}}}', '{"a": true}', False),
        ('{"properties": {"a": {"type": "integer", "minimum": 1}}}', '{"a": 0}', False),
        ('{"properties": {"a": true}, "additionalProperties": false}', '{"a": 1, "b": 2}', False),
        ('{"type": "array", "items": {"enum": ["x", 1]}, "minItems": 2}', '["x", 1]', True),
        ('{"type": "array", "items": {"enum": ["x", 1]}, "minItems": 2}', '["x", true]', False),
        ('{"type": ["string", "null"], "maxLength": 3}', '"aaa"', True),
        ('{"type": ["string", "null"], "maxLength": 3}', '"aaab"', False),
        ('{"const": null, "title": "nothing"}', "null", True),
        (".*", "x" * 20_001, False),
    ],
)
def test_a_format_rule_is_a_regular_expression_or_a_schema(rule, answer, follows):
    found = scores_with(rule)["format"].per_item({}, {"item": 1, "answer": answer})
    assert found == (float(follows), 1.0)


def test_a_rule_that_is_slow_with_every_answer_is_given_up_after_its_seconds(monkeypatch):
    monkeypatch.setattr("evaluation.format_rule.MAX_RULE_SECONDS", 0.2)
    per_item, began = scores_with(r"(a+)+b")["format"].per_item, time.monotonic()
    assert [per_item({}, {"item": 1, "answer": "a" * 5_000}) for _ in range(500)] == [None] * 500
    assert time.monotonic() - began < 5


def test_of_a_reference_of_megabytes_the_beginning_is_compared():
    said, long = "ab " * 30_000, {"answer": "ab " * 2_000_000}
    began, answer = time.monotonic(), {"item": 1, "answer": said}
    parts = {name: SCORES[name].per_item(long, answer) for name in ("exact", "token_f1", "rouge_l", "chrf")}
    assert parts["exact"] == parts["token_f1"] == parts["rouge_l"] == (1, 1)
    assert parts["chrf"] == SCORES["chrf"].per_item({"answer": said}, answer)
    assert time.monotonic() - began < 10


def test_a_rule_with_usual_repeats_is_taken():
    uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    answer = "aaaaaaaa-bbbb-bbbb-bbbb-cccccccccccc"
    assert scores_with(uuid)["format"].per_item({}, {"item": 1, "answer": answer}) == (1, 1)


@pytest.mark.parametrize("rule", [r"(a+)+b", "(?R)", "a" * 500])
def test_a_regular_expression_that_takes_for_ever_is_given_up(rule):
    began = time.monotonic()
    follows = [scores_with(rule)["format"].per_item({}, {"item": 1, "answer": "a" * 5_000}) for _ in range(2)]
    assert follows == ([(0, 1)] * 2 if rule == "a" * 500 else [None, None])
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("(", "is not a regular expression"),
        ('{"type": ', "is not JSON"),
        ('{"$ref": "https://example.com"}', "'$ref' of a JSON schema is not checked here"),
        ('{"allOf": []}', "'allOf'"),
        ('{"type": "text"}', "'type' has a value that cannot be used"),
        ('{"items": {"maxLength": "3"}}', "'maxLength' has a value"),
        ('{"items": ' * 30 + "{}" + "}" * 30, "nested too deeply"),
        ('{"a":' * 20_000, "more than 4,000 characters"),
        ("a" * 501, "more than 500 characters"),
        ("(" * 500, "is not a regular expression"),
        ("a{1000000000}", "repeats too much"),
        ("((a{0900}){900}){900,}", "repeats too much"),
        (r"(?ix)a{1 000 000 000}", r"repeats too much"),
        ('{"pattern": "(a+)+b"}', "'pattern' of a JSON schema is not checked here"),
    ],
)
def test_what_is_no_rule_is_refused_in_words(rule, words):
    with pytest.raises(UserError, match=words.replace("$", r"\$")):
        scores_with(rule)


def test_without_a_rule_there_is_no_format_score_but_its_title():
    assert "format" not in scores_with(" ") and "format" in SCORES


def test_normalised_text_of_both_languages():
    assert normalised("The  answer: “4.5”!") == "answer 4.5" and normalised("…") == "…"
