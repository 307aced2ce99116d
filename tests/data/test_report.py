"""The report before the start says what a training gets, what is wrong with the data, and what cures it."""

import json
from collections import Counter

import pytest

from data import examine as module
from data.dataset import IGNORED
from data.examine import build_report, histogram
from data.feedback import keep_row, read_rows
from data.findings import CheckedBase
from data.intake import load_data
from data.parts import parts_of
from data.report import Finding, Report
from models.templates import read_template
from tests.data.test_dataset import LONG as LONG_TURNS

KOREAN = [
    {"질문": f"{number}번 학생은 무엇을 배웠습니까?", "답변": f"{number}번 학생은 국어와 수학을 배웠습니다."}
    for number in range(30)
]
PAIRS = [{"prompt": f"What is {number}?", "completion": f"It is the number {number}."} for number in range(30)]
LONG = {"messages": LONG_TURNS[1:]}


@pytest.fixture
def examine(tmp_path, tinyllama_tokenizer, data_settings):
    """Reports on rows, through the real intake; `examine.settings` are the last ones."""

    def run(rows: list[dict], positions: int | None = 2048, **values) -> Report:
        run.settings = data_settings(rows, **{"max_length": 128, "eval_fraction": 0.1, **values})
        base = CheckedBase("test/base", "for a test", positions)
        told = build_report(run.settings, tmp_path, tinyllama_tokenizer, base, 10, lambda sentence: None)
        return json.loads(json.dumps(told))

    return run


def found(report: Report, code: str) -> Finding:
    return next(item for item in report["findings"] if item["code"] == code)


def changes(report: Report, code: str) -> dict:
    return found(report, code)["cure"]["changes"]


def levels(report: Report) -> set[str]:
    return {item["level"] for item in report["findings"]}


@pytest.mark.parametrize("too_long", ["drop", "cut", "split"])
def test_the_report_counts_what_the_trainer_gets(examine, tmp_path, tinyllama_tokenizer, too_long):
    rows = [*PAIRS, LONG, PAIRS[0], {"text": "Once upon a time."}]
    report = examine(rows, too_long=too_long)
    data = load_data(examine.settings, tmp_path, tinyllama_tokenizer)
    assert report["train_rows"] == len(data.train.rows)
    assert report["held_out_rows"] == len(data.held_out.rows)
    assert report["tokens"] == sum(len(row["input_ids"]) for row in data.train.rows)
    assert report["trained_tokens"] == sum(label != IGNORED for row in data.train.rows for label in row["labels"])
    assert sum(report["lengths"]["counts"]) == len(rows) and report["estimated_from"] is None
    assert report["rows"] == 33 and report["turns"] == 72 and report["shape"] == "messages and text"
    assert report["duplicates"] == {"count": 1, "rows": [32]}


def test_the_preview_of_the_report_is_what_the_trainer_gets(examine, tmp_path, tinyllama_tokenizer):
    typed = {"prompt": "a</s>", "completion": "<|assistant|></s>b"}
    report = examine([typed, {"text": "x " * 300}, LONG, KOREAN[0]], eval_fraction=0.0)
    data = load_data(examine.settings, tmp_path, tinyllama_tokenizer)
    used = [piece for piece in report["preview"] if piece["used"]]
    assert [piece["ids"] for piece in used] == [row["input_ids"] for row in data.train.rows]
    assert used[0]["tokens"].count("</s>") == 2, "those that were typed are not shown as control tokens"
    (left_out,) = [piece for piece in report["preview"] if not piece["used"]]
    assert left_out["row"] == 3 and "more than the limit of 128" in left_out["why_not"]
    assert all(len(piece["tokens"]) == len(piece["ids"]) == len(piece["trained"]) for piece in report["preview"])


def test_a_report_on_korean_says_what_it_costs(examine):
    report = examine(KOREAN)
    assert report["mapping"] == {"prompt": "질문", "completion": "답변"} and "stop" not in levels(report)
    words = found(report, "script")["message"]
    assert words.startswith("100% of the letters are Hangul, for which this tokenizer needs ")
    assert "The limit of 128 tokens (max_length) holds about" in words
    assert (
        "번학생은" in "".join(report["preview"][0]["tokens"]).replace("␣", "") and "" in report["preview"][0]["tokens"]
    )
    assert "script" not in {item["code"] for item in examine(PAIRS)["findings"]}


@pytest.mark.parametrize(
    ("rows", "values", "code"),
    [
        ([{"frage": "Was ist das?", "antwort": f"Das ist {n}."} for n in range(30)], {}, "columns"),
        ([*PAIRS, {"prompt": "Q", "completion": ""}], {}, "bad_rows"),
        ([LONG] * 2, {}, "too_long"),
        ([{"prompt": "Q", "completion": "word " * 200}] * 3, {}, "too_long"),
        (PAIRS, {"max_length": 4096}, "max_length"),
    ],
)
def test_what_stops_a_start_comes_with_a_cure_that_cures(examine, rows, values, code):
    report = examine(rows, **values)
    stop = found(report, code)
    assert stop["level"] == "stop" and stop["message"]
    assert report["findings"][0]["level"] == "stop", "the worst first"
    cured = examine(rows, **{**values, **changes(report, code)})
    assert "stop" not in levels(cured) and cured["train_rows"] > 0


def test_unrecognised_columns_still_give_a_report(examine):
    report = examine([{"a b": "Was ist das?", "zahl": 5}])
    assert report["mapping"] is None and report["guess"] == {"text": "a b"} and report["columns"] == ["a b", "zahl"]
    assert report["sample"] == [{"a b": "Was ist das?", "zahl": "5"}] and report["train_rows"] == 0
    assert report["preview"][0]["why_not"].startswith("None of the known shapes")
    assert examine([{"n": 1}])["guess"] == {}
    turns = examine([{"role": "user", "text": "Hi", "id": 1}, {"role": "assistant", "text": "Hello.", "id": 2}])
    assert "Each row is a single turn" in found(turns, "columns")["message"]


def test_an_answer_beside_a_text_is_offered_as_one(examine):
    texts = examine([{"document": f"Text {number}.", "summary": "Short."} for number in range(30)])
    pair = {"prompt": "document", "completion": "summary"}
    assert json.loads(changes(texts, "unused")["columns"]) == pair and texts["preview"][0]["text"] == "Text 0."
    spans = examine([{"text": "Text.", "label": [[0, 2, "NAME"]]}])
    assert found(spans, "unused")["cure"] is None


def test_names_that_are_megabytes_long_make_no_long_report(examine):
    report = examine([{"x" * 10**6 + str(number): "a", "b" * 200: "c"} for number in range(20)])
    assert report["columns"] == ["b" * 200] and len(json.dumps(report)) < 50_000
    assert parts_of({"train": PAIRS, " " * 10**6 + "test": PAIRS}) == {}


def test_empty_answers_and_duplicates_are_named(examine):
    report = examine([{"prompt": "Q", "completion": ""}, *PAIRS, PAIRS[3], {"prompt": "", "completion": "A"}])
    assert report["empty_answers"] == {"count": 1, "rows": [1]} and report["bad"]["count"] == 2
    assert changes(report, "duplicates") == {"drop_duplicates": True}
    assert changes(report, "bad_rows") == {"skip_bad_rows": True}
    mended = examine([{"prompt": "Q", "completion": ""}, *PAIRS, PAIRS[3]], skip_bad_rows=True, drop_duplicates=True)
    assert mended["train_rows"] + mended["held_out_rows"] == 30
    assert {found(mended, code)["level"] for code in ("bad_rows", "duplicates")} == {"info"}


def test_what_is_not_trained_is_told_once_with_its_cure(examine):
    system = {"messages": [*LONG_TURNS[1:3], LONG_TURNS[0], *LONG_TURNS[3:5]], "thinking": "hm"}
    labelled = [{"prompt": f"Q {n}", "completion": "A", "label": n > 1, "thinking": "hm"} for n in range(30)]
    report = examine([system, *labelled])
    codes = Counter(item["code"] for item in report["findings"])
    assert found(report, "unused")["message"] == "Not used: `thinking` (29 rows)." and codes["unused"] == 1
    assert changes(report, "system_turns") == {"system_turns": "keep"}
    kept = examine([system, *labelled], system_turns="keep")
    assert "system_turns" not in {item["code"] for item in kept["findings"]}
    assert [turn["role"] for turn in kept["preview"][0]["messages"]][2] == "system"
    assert report["train_rows"] + report["held_out_rows"] == 29 and not report["bad"]["count"]
    cured = examine([system, *labelled], **changes(report, "label"))
    assert "`label` (30 rows)" in found(cured, "unused")["message"]


def test_of_what_people_said_in_the_chat_the_good_answers_are_trained_and_the_rest_is_told(
    examine, tmp_path, isolated_home
):
    rows = [
        [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
        for row in PAIRS
    ]
    for number, messages in enumerate(rows):
        source, worse = [("liked", ""), ("disliked", ""), ("edited", "It is none.")][number % 3]
        kept = keep_row("mine", messages, source, str(number), rejected=[worse])
    report = examine(read_rows("mine"))
    assert str(kept.counts.words) == "10 good, 10 bad, 10 pairs"
    assert report["train_rows"] + report["held_out_rows"] == 20 and not report["bad"]["count"]
    assert "not to be trained, and left out: `label` (10 rows)" in found(report, "label")["message"]
    assert "Preference pairs: 10 rows. Only the chosen answers are trained" in found(report, "preference")["message"]
    assert "It is none" not in str(report["preview"])
    by_hand = examine(read_rows("mine"), columns=json.dumps(report["mapping"]))
    assert by_hand["train_rows"] == report["train_rows"], "the columns that are proposed train the bad ones"


def test_a_file_without_one_line_that_can_be_read_is_told_so(examine, tmp_path):
    report = examine([1, 2])
    assert report["rows"] == 2 and "Line 1: It is not an object" in found(report, "bad_rows")["message"]
    assert found(report, "bad_rows")["cure"] is None and report["findings"][0]["level"] == "stop"


def test_rows_of_the_held_out_file_are_told_of_and_those_that_are_trained_too(examine, tmp_path):
    held_out = tmp_path / "held.jsonl"
    held_out.write_text(json.dumps(PAIRS[0]) + "\n" + json.dumps({"prompt": "Q", "completion": "A", "note": "x"}))
    report = examine(PAIRS, eval_data=str(held_out))
    assert found(report, "unused")["message"] == "Not used: `note` (1 row)."
    assert found(report, "leaked")["level"] == "warning" and report["held_out_rows"] == 2
    assert examine(PAIRS, eval_data=str(held_out), drop_duplicates=True)["train_rows"] == 29


def test_a_longer_max_length_is_the_cure_where_the_base_takes_it(examine):
    assert changes(examine([*PAIRS, LONG]), "too_long") == {"max_length": 256}
    assert changes(examine([*PAIRS, LONG], positions=128), "too_long") == {"too_long": "cut"}


def test_large_data_is_estimated_and_says_so(examine, monkeypatch):
    whole = examine(PAIRS * 20, drop_duplicates=False)
    monkeypatch.setattr(module, "MAX_ENCODED_ROWS", 100)
    part = examine(PAIRS * 20, drop_duplicates=False)
    assert part["estimated_from"] and found(part, "estimated")["level"] == "info"
    assert part["train_rows"] == whole["train_rows"] and abs(part["tokens"] / whole["tokens"] - 1) < 0.05


def test_the_text_of_stage_1_is_reported_too(examine, tmp_path):
    (tmp_path / "book.txt").write_text("\n\n".join("A sentence of the book. " * 100 for _ in range(4)))
    told = examine(PAIRS, text_data=str(tmp_path / "book.txt"))
    assert told["text"]["rows"] == 4 and told["text"]["tokens"] > 2000 and told["text"]["train_rows"] > 10
    assert examine(PAIRS)["text"] is None
    (tmp_path / "book.jsonl").write_text(json.dumps(PAIRS[0]))
    told = examine(PAIRS, text_data=str(tmp_path / "book.jsonl"))
    assert found(told, "text_data")["level"] == "stop" and told["text"] is None


def test_the_histogram_counts_every_row_once():
    assert histogram(Counter()) == {"edges": [0, 1], "counts": [0]}
    shown = histogram(Counter([1, 5, 30, 100, 1000]))
    assert sum(shown["counts"]) == 5 and len(shown["edges"]) == len(shown["counts"]) + 1
    assert shown["edges"][-1] > 1000 and len(shown["counts"]) <= 21


def test_a_template_that_marks_nothing_stops_with_a_cure(examine, tinyllama_tokenizer, monkeypatch):
    strange = "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}{% endfor %}"
    monkeypatch.setattr(tinyllama_tokenizer, "chat_template", strange)
    assert changes(examine(PAIRS), "template") == {"chat_template": "zephyr"}


def test_the_bases_own_system_prompt_is_told_where_rows_have_none(examine, tinyllama_tokenizer, monkeypatch):
    assert "system_prompt" not in {item["code"] for item in examine(PAIRS)["findings"]}, "TinyLlama has none"
    monkeypatch.setattr(tinyllama_tokenizer, "chat_template", read_template("smollm2"))
    told = found(examine([*PAIRS, {**PAIRS[0], "system": "Be brief."}]), "system_prompt")
    assert told["level"] == "info" and told["message"].startswith("30 conversations have no system prompt")
    assert "'You are a helpful AI assistant named SmolLM" in told["message"]
