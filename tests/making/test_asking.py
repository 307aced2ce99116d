"""A teacher is asked until its answers can be read, as often as makes sense; what came is kept, and nothing is asked twice."""

import json
import threading
import time

import pytest

from common.errors import UserError
from making import teacher as teachers
from making.config import MakingConfig
from making.made import read_rows, read_summary
from making.teacher import Stopped, retry_after
from tests.making.making import document, made_set, run, seeds
from tests.teacher import Said, passages, teacher, wait_for


@pytest.fixture(autouse=True)
def loopback_may_be_called(monkeypatch):
    """The Hub is off in tests; its client would call nobody at all then. Pauses are short."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(teachers, "PAUSE_SECONDS", 0.01)


def config_of(tmp_path, passages: int = 10, **settings) -> MakingConfig:
    return MakingConfig.from_dict(
        {"documents": [str(document(tmp_path, passages))], "rows": 10, "parallel": 1, **settings}
    )


def test_each_row_says_where_it_is_from_and_is_made_of_its_passage(tmp_path):
    made = made_set(config_of(tmp_path, licence="apache-2.0"))
    with teacher() as (server, url):
        run(made, url)
    rows = [*read_rows(made)]
    text = (tmp_path / "guide.txt").read_text()
    assert len(rows) == len({row["key"] for row in rows}) == len(server.asked) == 10
    for row, asked in zip(rows, server.asked, strict=True):
        origin = row["made"]
        assert text[origin["start"] : origin["end"]] == row["passage"] == passages(asked)[0]
        assert row["messages"][-1]["content"] in row["passage"]
        assert (origin["teacher"], origin["recipe"], origin["version"]) == ("tiny", "question-answer", "1")
        assert origin["document"] == "guide.txt" and origin["licence"] == "apache-2.0" and origin["time"] > 1.7e9
    prompts = [json.loads(line)["prompt"] for line in made.prompts_file.read_text().splitlines()]
    assert prompts == [asked["messages"][0]["content"] for asked in server.asked]
    assert read_summary(made)["tokens_in"] == 1000 and read_summary(made)["lost"] == 0


def test_a_full_disk_ends_it_with_a_sentence_and_what_is_there_is_kept(tmp_path, monkeypatch):
    made = made_set(config_of(tmp_path, 30, rows=30))

    def check_room(owner: str) -> None:
        if len([*read_rows(made)]) >= 3:
            raise UserError("Only 299 MB are free.")

    monkeypatch.setattr("making.asking.check_room_on_disk", check_room)
    monkeypatch.setattr("making.asking.WRITE_SECONDS", 0)
    with teacher() as (_server, url), pytest.raises(UserError, match="299 MB"):
        run(made, url)
    assert 3 <= len([*read_rows(made)]) < 30 and read_summary(made)["answers"] >= 3


@pytest.mark.parametrize("kind", ["empty", "cut"])
def test_an_answer_that_cannot_be_read_is_asked_for_twice_more_then_counted(tmp_path, kind):
    made = made_set(config_of(tmp_path, rows=2))
    with teacher([kind, kind, "good", kind, kind, kind]) as (server, url):
        run(made, url)
        assert (server.said, len([*read_rows(made)])) == ([kind, kind, "good", kind, kind, kind], 1)
        assert read_summary(made) | {"seconds": 0} == {
            "answers": 6, "unreadable": 5, "lost": 1, "tokens_in": 600, "tokens_out": 120, "seconds": 0, "notes": [],
        }  # fmt: skip
        run(made, url)  # a resume asks for the lost row again
        assert len(server.asked) == 7 and len([*read_rows(made)]) == 2 and read_summary(made)["lost"] == 0


@pytest.mark.parametrize(
    ("kind", "words", "requests"),
    [
        ("unauthorised", "refuses the key", 1),
        ("unpaid", "credits", 1),
        ("forbidden", "may not use", 1),
        ("limited for long", "takes no more requests for 24 h", 1),
        ("broken", r"an error \(500\)", 5),
        ("drops", "broke off in the middle", 5),
    ],
)
def test_a_teacher_that_fails_for_good_is_a_sentence_and_what_is_there_is_kept(tmp_path, kind, words, requests):
    made = made_set(config_of(tmp_path))
    with teacher(lambda asked, number: "good" if number < 3 else kind) as (server, url):
        with pytest.raises(UserError, match=words) as raised:
            run(made, url)
        assert len(server.asked) == 3 + requests and url not in str(raised.value)
    rows = [*read_rows(made)]
    with teacher() as (server, url):
        run(made, url)
        assert len(server.asked) == 7 and [*read_rows(made)][:3] == rows and len([*read_rows(made)]) == 10


def test_a_bad_moment_of_a_server_costs_a_pause_and_no_row(tmp_path):
    made = made_set(config_of(tmp_path))
    with teacher(["good", "broken", "drops", "good", "broken", "limited", "broken", "good"]) as (server, url):
        began = time.monotonic()
        run(made, url)
        assert time.monotonic() - began >= 1, "the second that Retry-After asks for"
    assert len([*read_rows(made)]) == 10 and len(server.asked) == 15


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("9" * 400, 999999999.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert retry_after(value) == seconds


def test_an_answer_without_end_is_cut(tmp_path):
    made = made_set(config_of(tmp_path, rows=1))
    with teacher(["endless"]) as (server, url):
        run(made, url)
    assert len(server.asked) == 2 and server.sent < 100 and len([*read_rows(made)]) == 1


def test_a_stop_ends_within_two_seconds_and_keeps_every_row(tmp_path):
    made, stop, ended = made_set(config_of(tmp_path, parallel=3)), threading.Event(), []

    def work() -> None:
        with pytest.raises(Stopped):
            run(made, url, stop)
        ended.append(time.monotonic())

    with teacher(lambda asked, number: "good" if number < 4 else "slow") as (server, url):
        thread = threading.Thread(target=work)
        thread.start()
        wait_for(lambda: len(server.asked) == 7 and len([*read_rows(made)]) == 4)
        at = time.monotonic()
        stop.set()
        thread.join(10)
    assert ended and ended[0] - at < 2 and len([*read_rows(made)]) == 4


def test_the_same_rows_are_asked_for_whoever_dies_when(tmp_path):
    config = config_of(tmp_path, rows=25, parallel=4)  # ten passages: two rounds, and half of a third
    whole, killed = made_set(config, "whole"), made_set(config, "killed")
    with teacher() as (_server, url):
        run(whole, url)
        run(killed, url)
        lines = killed.rows_file.read_bytes().splitlines(keepends=True)
        killed.rows_file.write_bytes(b"".join(lines[:7]) + lines[7][:40])
        run(killed, url)
    assert {row["key"] for row in read_rows(whole)} == {row["key"] for row in read_rows(killed)}
    assert len([*read_rows(killed)]) == 25


def test_what_was_asked_of_a_passage_is_not_asked_again_also_after_a_resume(tmp_path):
    made = made_set(config_of(tmp_path, 1, rows=2))
    with teacher() as (server, url):
        run(made, url)
        first = next(read_rows(made))["messages"][0]["content"]
        assert first not in server.asked[0]["messages"][0]["content"] and first in passages(server.asked[1])[1]
        made.rows_file.write_bytes(made.rows_file.read_bytes().splitlines(keepends=True)[0])
        run(made, url)
        assert first in passages(server.asked[2])[1]


def test_requests_about_one_passage_wait_for_each_other(tmp_path):
    made = made_set(config_of(tmp_path, 1, rows=3, parallel=3))
    with teacher(pause=0.1) as (server, url):
        run(made, url)
    assert len({row["messages"][0]["content"] for row in read_rows(made)}) == len(server.asked) == 3


def test_a_teacher_checks_its_answers_in_both_orders(tmp_path):
    made = made_set(config_of(tmp_path, rows=2, check_answers=True))
    no = Said(json.dumps({"supported": False}))
    with teacher(lambda asked, number: no if number == 5 else "good") as (server, url):
        run(made, url)
    assert [row["findings"] for row in read_rows(made)] == [[], ["unsupported"]]
    first, second = passages(server.asked[1]), passages(server.asked[2])
    assert first == second[::-1] and first[0] == next(read_rows(made))["passage"]


@pytest.mark.parametrize(
    ("settings", "last"),
    [
        ({"recipe": "instruction"}, None),
        ({"recipe": "rewrite", "manner": "kindly"}, "To put it kindly"),
        ({"recipe": "translate", "language": "ko"}, "Answer number"),
        ({"recipe": "label", "labels": ["good", "bad"]}, "good"),
        (
            {
                "recipe": "own",
                "recipe_text": 'Make one like it.\n{passage}\nAnswer with JSON: {"question": "", "answer": ""}',
            },
            None,
        ),
    ],
)
def test_every_recipe_makes_rows_of_seeds(tmp_path, settings, last):
    made = made_set(MakingConfig.from_dict({"seed_rows": str(seeds(tmp_path)), "rows": 4, "parallel": 1, **settings}))
    with teacher() as (_server, url):
        run(made, url)
    rows = [*read_rows(made)]
    assert len(rows) == 4 and all(row["messages"][-1]["role"] == "assistant" for row in rows)
    assert last is None or all(last in row["messages"][-1]["content"] for row in rows)
