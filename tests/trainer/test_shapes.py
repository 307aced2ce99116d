"""Columns in common use are recognised; others are guessed and mapped."""

import json

import pytest

from common.errors import UserError
from trainer.data.intake import gather
from trainer.data.reading import source_of
from trainer.data.shapes import apply_mapping, guess_mapping, recognise, to_conversation

PAIR = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]


@pytest.mark.parametrize(
    ("row", "mapping"),
    [
        ({"question": "Q", "answer": "A", "id": 3}, {"prompt": "question", "completion": "answer"}),
        ({"Question": "Q", "Answer": "A"}, {"prompt": "Question", "completion": "Answer"}),
        ({"input": "Q", "output": "A"}, {"prompt": "input", "completion": "output"}),
        ({"prompt": "Q", "response": "A"}, {"prompt": "prompt", "completion": "response"}),
        ({"user": "Q", "assistant": "A"}, {"prompt": "user", "completion": "assistant"}),
        ({"질문": "Q", "답변": "A"}, {"prompt": "질문", "completion": "답변"}),
        ({"dialog": ["Q", "A"]}, {"messages": "dialog"}),
        ({"conversation": [{"human": "Q", "assistant": "A"}], "lang": "en"}, {"messages": "conversation"}),
        (
            {"messages": [{"role": "User", "content": [{"type": "text", "text": "Q"}]}, PAIR[1]]},
            {"messages": "messages"},
        ),
        (
            {"turns": json.dumps([{"from": "prompter", "value": "Q"}, {"from": "bot", "value": "A"}])},
            {"messages": "turns"},
        ),
    ],
)
def test_common_names_are_recognised(row, mapping):
    assert recognise([row]) == mapping == guess_mapping([row])
    assert to_conversation(row) == apply_mapping(row, mapping) == {"messages": PAIR}


def test_context_and_system_prompt_are_taken_along():
    row = {"instruction": "Add", "context": "1 and 2", "response": "3", "system_prompt": "Be exact."}
    assert [message["content"] for message in to_conversation(row)["messages"]] == ["Be exact.", "Add\n\n1 and 2", "3"]
    assert recognise([row]) == {
        "prompt": "instruction", "completion": "response", "context": "context", "system": "system_prompt"
    }  # fmt: skip


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
    with pytest.raises(UserError, match="no column 'b'"):
        to_conversation(row, {"prompt": "q", "completion": "b"})
    with pytest.raises(UserError, match="columns maps 'answer'"):
        to_conversation(row, {"prompt": "q", "answer": "a"})
    with pytest.raises(UserError, match="too little"):
        to_conversation(row, {"prompt": "q"})


def test_rows_keep_their_numbers_and_empty_answers_are_counted(tmp_path):
    rows = [
        {"prompt": "Q", "completion": " "},
        {"prompt": "Q", "completion": "A"},
        {"messages": [*PAIR[:1], {**PAIR[1], "content": ""}]},
    ]
    found = gather(source_of(rows), tmp_path)
    assert list(found.conversations.part()) == [{"row": 2, "messages": PAIR}]
    assert (found.rows, found.bad.count, found.empty_answers.first) == (3, 2, [1, 3])
