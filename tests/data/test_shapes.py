"""Columns in common use are recognised, others are guessed and mapped; a bad row is named with what was found and what to do."""

import json

import pytest

from common.errors import UserError
from data.columns import guess_mapping, recognise
from data.gathering import gather
from data.shapes import to_conversation
from data.source import Source

PAIR = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
SHAREGPT = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]


@pytest.mark.parametrize(
    ("row", "mapping"),
    [
        ({"messages": PAIR}, {"messages": "messages"}),
        ({"messages": json.dumps(PAIR), "id": "7"}, {"messages": "messages"}),
        ({"conversations": SHAREGPT}, {"messages": "conversations"}),
        ({"conversations": PAIR}, {"messages": "conversations"}),
        ({"dialog": ["Q", "A"]}, {"messages": "dialog"}),
        ({"conversation": [["Q", "A"]]}, {"messages": "conversation"}),
        ({"messages": [["human", "Q"], ["ai", "A"]]}, {"messages": "messages"}),
        (
            {"conversations": [{"from": "사용자", "value": "Q"}, {"from": "어시스턴트", "value": "A"}]},
            {"messages": "conversations"},
        ),
        ({"contents": [{"role": "user", "parts": [{"text": "Q"}]}, PAIR[1]]}, {"messages": "contents"}),
        ({"conversation": [{"human": "Q", "assistant": "A"}], "lang": "en"}, {"messages": "conversation"}),
        (
            {"messages": [{"role": "User", "content": [{"type": "text", "text": "Q"}]}, PAIR[1]]},
            {"messages": "messages"},
        ),
        (
            {"turns": json.dumps([{"from": "prompter", "value": "Q"}, {"from": "bot", "value": "A"}])},
            {"messages": "turns"},
        ),
        ({"prompt": "Q", "completion": "A"}, {"prompt": "prompt", "completion": "completion"}),
        ({"prompt": PAIR[:1], "completion": PAIR[1:]}, {"prompt": "prompt", "completion": "completion"}),
        ({"instruction": "Q", "output": "A"}, {"prompt": "instruction", "completion": "output"}),
        (
            {"instruction": "Q", "input": "", "output": "A"},
            {"prompt": "instruction", "completion": "output", "context": "input"},
        ),
        ({"question": "Q", "answer": "A", "id": 3}, {"prompt": "question", "completion": "answer"}),
        ({"Question": "Q", "Answer": "A"}, {"prompt": "Question", "completion": "Answer"}),
        ({"input": "Q", "output": "A"}, {"prompt": "input", "completion": "output"}),
        ({"prompt": "Q", "response": "A"}, {"prompt": "prompt", "completion": "response"}),
        ({"input": PAIR[:1], "ideal": "A"}, {"prompt": "input", "completion": "ideal"}),
        ({"instruction": "Q", "generation": "A"}, {"prompt": "instruction", "completion": "generation"}),
        ({"user": "Q", "assistant": "A"}, {"prompt": "user", "completion": "assistant"}),
        ({"질문": "Q", "답변": "A"}, {"prompt": "질문", "completion": "답변"}),
    ],
)
def test_every_known_shape_is_recognised_and_is_the_same_conversation(row, mapping):
    assert recognise([row]) == mapping == guess_mapping([row])
    assert to_conversation(row) == to_conversation(row, mapping) == {"messages": PAIR}


def test_context_and_system_prompt_are_taken_along():
    row = {"instruction": "Add", "context": "1 and 2", "response": "3", "system_prompt": "Be exact."}
    assert [message["content"] for message in to_conversation(row)["messages"]] == ["Be exact.", "Add\n\n1 and 2", "3"]
    assert recognise([row]) == {
        **{"prompt": "instruction", "completion": "response"},
        **{"context": "context", "system": "system_prompt"},
    }


@pytest.mark.parametrize(
    ("row", "system"),
    [
        ({"messages": [{"role": "developer", "content": "Be exact."}, *PAIR]}, "Be exact."),
        ({"messages": [{"role": "system", "content": ""}, *PAIR]}, None),
        ({"messages": [{"role": "system", "content": None}, *PAIR], "system": "Be exact."}, "Be exact."),
        ({"conversations": [{"role": None, "content": None, **turn} for turn in SHAREGPT]}, None),
        ({"messages": [{**turn, "from": None, "value": None} for turn in PAIR]}, None),
        ({"conversation": [{"human": "Q", "assistant": None}, {"human": None, "assistant": "A"}]}, None),
        ({"instruction": "", "input": "Q", "output": "A"}, None),
    ],
)
def test_developer_is_system_and_what_is_empty_or_null_does_not_count(row, system):
    expected = [{"role": "system", "content": system}] if system else []
    assert to_conversation(row) == {"messages": [*expected, *PAIR]}


def test_text_stays_text():
    assert to_conversation({"text": "Once upon a time"}) == {"text": "Once upon a time"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"frage": "Q", "antwort": "A"}, "its keys: frage, antwort"),
        ({}, "its keys: none"),
        ({"role": "user", "content": "Q"}, "It is only one turn"),
        ({"prompt": "Q", "completion": ""}, "'completion' is empty"),
        ({"prompt": None, "completion": "A"}, "'prompt' is empty"),
        ({"prompt": "Q", "completion": float("nan")}, "'completion' is empty"),
        ({"prompt": "Q", "completion": {"a": "b"}}, "'completion' is an object, not text"),
        ({"prompt": "Q", "completion": ["a", "b"]}, "'completion' is a list, not text"),
        ({"prompt": "Q", "completion": b"\xff"}, "'completion' is not text"),
        ({"question": "2+2?", "choices": ["3", "4"], "answer": 1}, "'answer' is the number of a choice"),
        ({"question": "2+2?", "choices": {"text": ["3"], "label": ["A"]}, "answer": "A"}, "is the number of a choice"),
        ({"question": "2+2?", "A": "3", "B": "4", "answer": "B"}, "'answer' is the number of a choice"),
        ({"prompt": "Q", "completion": "A", "history": ["a", "b"]}, "'history' is not a list of turns"),
        ({"prompt": ["Hi", "Bye"], "completion": ["Hello.", "See you."]}, "'prompt' is a list, not text"),
        ({"messages": []}, "empty"),
        ({"messages": "[1"}, "not JSON"),
        ({"messages": str(PAIR)}, "not JSON. Write it with json.dumps"),
        ({"messages": [{"role": "user"}]}, "Turn 1 has no 'role'"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "unknown role 'robot'"),
        ({"messages": PAIR[:1]}, "no answer in it"),
        ({"messages": [{"role": "system", "content": ""}]}, "no answer in it"),
        ({"conversations": [{"from": "tool", "value": "x"}]}, "Tool calls are not trained here"),
        ({"messages": [{"role": "user", "content": [5]}, PAIR[1]]}, "Turn 1 contains something that is not text"),
    ],
)
def test_a_bad_row_says_what_was_found(row, words):
    with pytest.raises(UserError, match=words):
        to_conversation(row)


def test_unknown_names_are_guessed_from_names_and_contents():
    rows = [{"id": str(n), "frage": f"Was ist {n}?", "antwort": f"Es ist die {n}.", "lang": "de"} for n in range(30)]
    assert recognise(rows) is None
    assert guess_mapping(rows) == {"prompt": "frage", "completion": "antwort"}
    assert guess_mapping([{"a": "short one", "b": "a much longer text " * 5}]) == {"prompt": "a", "completion": "b"}
    assert guess_mapping([{"x": [{"role": "user", "content": "Q"}], "y": "z"}]) == {"messages": "x"}
    assert guess_mapping([{"body": "words and words", "n": 1}]) == {"text": "body"}
    assert guess_mapping([{"n": 1}]) == {}


def test_a_mapping_wins_over_what_is_recognised():
    row = {"prompt": "no", "completion": "no", "q": "Q", "a": "A"}
    assert to_conversation(row, {"prompt": "q", "completion": "a"}) == {"messages": PAIR}
    for mapping, words in (
        ({"prompt": "q", "completion": "b"}, "no column 'b'"),
        ({"prompt": "q", "answer": "a"}, "'columns' maps 'answer'"),
        ({"prompt": "q"}, "too little"),
    ):
        with pytest.raises(UserError, match=words):
            to_conversation(row, mapping)


def test_rows_keep_their_numbers_and_empty_answers_are_counted(tmp_path):
    empty = {"messages": [*PAIR[:1], {**PAIR[1], "content": ""}]}
    rows = [{"prompt": "Q", "completion": " "}, {"prompt": "Q", "completion": "A"}, empty]
    found = gather(Source.of(enumerate(rows, 1), []), tmp_path)
    assert list(found.conversations.part()) == [{"row": 2, "messages": PAIR}]
    assert (found.rows, found.bad.count, found.empty_answers.first) == (3, 2, [1, 3])
