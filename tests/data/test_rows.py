"""Rows as people bring them: what is trained of each, and what is said of the rest."""

from collections import Counter

import pytest

from common.errors import UserError
from data.columns import guess_mapping, recognise
from data.gathering import gather
from data.notices import describe
from data.shapes import to_conversation
from data.source import Source

USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}
TALK = [USER, ANSWER]
HH = "\n\nHuman: Hi\n\nAssistant: {}"
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
PICTURE = {"type": "image_url", "image_url": {"url": "x"}}


def shown(conversation: dict) -> str:
    """'s: Be brief. | u: Hi | a: Hello.'; an answer that is read, not trained, is 'a*'."""
    marks = {True: "", False: "*"}
    return conversation.get("text") or " | ".join(
        f"{message['role'][0]}{marks[message.get('trained', True)]}: {message['content']}"
        for message in conversation["messages"]
    )


def told(noticed) -> str:
    return " ".join(sentence for _, _, sentence in describe(Counter(noticed)))


@pytest.mark.parametrize(
    ("row", "trained", "words"),
    [
        # turns that are read, not trained
        (
            {"messages": [USER, {**ANSWER, "weight": 0}, *TALK]},
            "u: Hi | a*: Hello. | u: Hi | a: Hello.",
            "are read, but not",
        ),
        ({"messages": [USER, {**ANSWER, "train": False}]}, "u: Hi | a*: Hello.", "are read, but not trained: 1 row"),
        ({"messages": [USER, {**ANSWER, "loss": "false"}]}, "u: Hi | a*: Hello.", "are read, but not trained: 1 row"),
        ({"messages": [{**USER, "train": False}, {**ANSWER, "weight": 1}]}, "u: Hi | a: Hello.", ""),
        ({"messages": TALK, "weight": 1}, "u: Hi | a: Hello.", ""),
        (
            {"messages": [{**USER, "train": True}, {**ANSWER, "weight": 0.5}]},
            "u: Hi | a: Hello.",
            "`train` (1 row), `wei",
        ),
        # what is not used is named
        (
            {"question": "Hi", "thinking": "hm", "response": "Hello."},
            "u: Hi | a: Hello.",
            "Not used: `thinking` (1 row).",
        ),
        (
            {
                "messages": [USER, {**ANSWER, "reasoning_content": "hm"}],
                "tools": [{"name": "w"}],
                "label": 3,
                "row_id": 7,
            },
            "u: Hi | a: Hello.",
            "`label` (1 row)",
        ),
        (
            {"prompt": "Hi", "completion": "Hello.", "id": 3, "note": None, "tags": [], "meta": {"a": None}},
            "u: Hi | a: Hello.",
            "",
        ),
        ({"text": "Once", "url": "http://x"}, "Once", "Not used: `url` (1 row)."),
        ({"text": "Once", "source": "http://x"}, "Once", "Not used: `source` (1 row)."),
        ({"messages": TALK, "source": "liked", "key": "1"}, "u: Hi | a: Hello.", ""),
        ({"text": "Once", "author": "Ann"}, "Once", "Not used: `author` (1 row)."),
        # turns before
        (
            {
                "instruction": "More?",
                "input": "",
                "output": "No.",
                "system": "Be brief.",
                "history": [["Hi", "Hello."]],
            },
            "s: Be brief. | u: Hi | a: Hello. | u: More? | a: No.",
            "",
        ),
        ({"prompt": "More?", "response": "No.", "history": TALK}, "u: Hi | a: Hello. | u: More? | a: No.", ""),
        (
            {"prompt": "More?", "response": "No.", "history": [["user", "Hi"], ["assistant", "Hello."]]},
            "u: Hi | a: Hello. | u: More? | a: No.",
            "",
        ),
        ({"prompt": "Hi", "response": "Hello.", "history": []}, "u: Hi | a: Hello.", ""),
        # system turns
        ({"messages": [{"role": "developer", "content": "Be brief."}, *TALK]}, "s: Be brief. | u: Hi | a: Hello.", ""),
        (
            {"messages": [*TALK, {"role": "system", "content": "9:00"}, *TALK]},
            "s: 9:00 | u: Hi | a: Hello. | u: Hi | a: Hello.",
            "moved to the front",
        ),
        (
            {"system": "A", "messages": [{"role": "system", "content": "B"}, *TALK]},
            "s: A\n\nB | u: Hi | a: Hello.",
            "moved to the front: 1 row",
        ),
        ({"system": [{"type": "text", "text": "S"}], "messages": TALK}, "s: S | u: Hi | a: Hello.", ""),
        ({"systemInstruction": {"parts": [{"text": "S"}]}, "contents": TALK}, "s: S | u: Hi | a: Hello.", ""),
        ({"system": ["A", "B"], "messages": TALK}, "u: Hi | a: Hello.", "Not used: `system`"),
        ({"system": None, "conversations": [{"from": "system", "value": ""}, *TALK]}, "u: Hi | a: Hello.", ""),
        # the ends
        (
            {"messages": [*TALK, {"role": "user", "content": "Thanks"}]},
            "u: Hi | a: Hello.",
            "last answer is left out: 1 row",
        ),
        ({"messages": [ANSWER, *TALK]}, "a: Hello. | u: Hi | a: Hello.", ""),
        # one Arrow struct for turns of several shapes
        ({"messages": [{**turn, "content": "", "text": turn["content"]} for turn in TALK]}, "u: Hi | a: Hello.", ""),
        (
            {"messages": [{**turn, "from": None, "value": None, "tool_calls": None} for turn in TALK]},
            "u: Hi | a: Hello.",
            "",
        ),
        ({"messages": None, "text": None, "prompt": "Hi", "completion": "Hello."}, "u: Hi | a: Hello.", ""),
        ({"messages": None, "prompt": None, "completion": None, "text": "Once"}, "Once", ""),
        # values that are not text
        ({"prompt": "1+1?", "completion": 2}, "u: 1+1? | a: 2", "turned into text: `completion` (1 row)"),
        ({"prompt": "Is it?", "completion": True}, "u: Is it? | a: true", "turned into text: `completion` (1 row)"),
        ({"prompt": b"Hi", "completion": "Hello."}, "u: Hi | a: Hello.", "turned into text: `prompt` (1 row)"),
        # turns inside of something, and written otherwise
        ({"conversation": {"id": 1, "messages": TALK}}, "u: Hi | a: Hello.", ""),
        (
            {"custom_id": "1", "method": "POST", "body": {"model": "x", "messages": TALK}},
            "u: Hi | a: Hello.",
            "`body.model` (1 row)",
        ),
        ({"messages": {"role": ["user", "assistant"], "content": ["Hi", "Hello."]}}, "u: Hi | a: Hello.", ""),
        ({"conversation": [{"output": "Hello.", "input": "Hi", "system": "S"}]}, "s: S | u: Hi | a: Hello.", ""),
        ({"anything": TALK, "lang": "en"}, "u: Hi | a: Hello.", "Not used: `lang` (1 row)."),
        ({"instruction": "", "input": "Hi", "output": "Hello."}, "u: Hi | a: Hello.", ""),
        # several answers
        (
            {"title": "T", "context": "C", "question": "Q", "answers": {"text": ["A", "a"], "answer_start": [0, 0]}},
            "u: Q\n\nC | a: A",
            "first one is trained: `answers` (1 row). Not used: `answers.answer_start` (1 row), `title` (1 row).",
        ),
        ({"question": "Q", "answer": ["A", "a"]}, "u: Q | a: A", "first one is trained: `answer` (1 row)"),
        ({"question": "2+2?", "choices": ["3", "4"], "answer": "4"}, "u: 2+2? | a: 4", "Not used: `choices`"),
        # preference data
        ({"prompt": "Hi", "chosen": "Hello.", "rejected": "BAD"}, "u: Hi | a: Hello.", "Preference pairs: 1 row."),
        (
            {"rejected": [USER, {**ANSWER, "content": "BAD"}], "chosen": TALK},
            "u: Hi | a: Hello.",
            "Preference pairs: 1 row.",
        ),
        (
            {"prompt": "Hi", "chosen": TALK, "rejected": [USER], "score_chosen": 8.0},
            "u: Hi | a: Hello.",
            "Not used: `score_chosen`",
        ),
        (
            {"prompt": [USER], "chosen": TALK, "rejected": TALK},
            "u: Hi | a: Hello.",
            "preferences themselves are not trained here.",
        ),
        ({"prompt": [USER], "chosen": [ANSWER], "rejected": [ANSWER]}, "u: Hi | a: Hello.", "Preference pairs: 1 row."),
        (
            {
                "conversations": [USER],
                "chosen": {"from": "gpt", "value": "Hello."},
                "rejected": {"from": "gpt", "value": "BAD"},
            },
            "u: Hi | a: Hello.",
            "Preference pairs: 1 row.",
        ),
        (
            {"chosen": HH.format("Hello."), "rejected": HH.format("BAD")},
            "u: Hi | a: Hello.",
            "Preference pairs: 1 row.",
        ),
        (
            {"input": {"messages": [USER]}, "preferred_output": [ANSWER], "non_preferred_output": [ANSWER]},
            "u: Hi | a: Hello.",
            "Preference pairs: 1 row.",
        ),
        ({"messages": TALK, "rejected": ["BAD", "WORSE"]}, "u: Hi | a: Hello.", "Preference pairs: 1 row."),
        ({"messages": TALK, "rejected_response": "BAD"}, "u: Hi | a: Hello.", "Preference pairs: 1 row."),
        ({"messages": TALK, "rejected": None, "label": None}, "u: Hi | a: Hello.", ""),  # as Arrow fills it in
        ({"prompt": "Hi", "completion": "Hello.", "label": True}, "u: Hi | a: Hello.", ""),
        # tools and pictures
        (
            {
                "messages": [
                    USER,
                    {"role": "assistant", "content": None, "tool_calls": [CALL]},
                    {"role": "tool", "content": "3"},
                    ANSWER,
                ]
            },
            "u: Hi | a: Hello.",
            "1 row has some: calls and their results are left out, the other turns are trained.",
        ),
        (
            {
                "conversations": [
                    USER,
                    {"from": "function_call", "value": "{}"},
                    {"from": "observation", "value": "3"},
                    ANSWER,
                ]
            },
            "u: Hi | a: Hello.",
            "Tool calls are not trained here.",
        ),
        (
            {"messages": [USER, {**ANSWER, "content": 'Hello.\n<tool_call>\n{"name": "w"}\n</tool_call>'}]},
            "u: Hi | a: Hello.",
            "Tool calls are not trained here.",
        ),
        (
            {"messages": [*TALK, {"role": "user", "content": "<tool_response>3</tool_response>"}, ANSWER]},
            "u: Hi | a: Hello. | a: Hello.",
            "Tool calls are not trained here.",
        ),
        ({"prompt": "Tags?", "completion": "A <tool_call> is one."}, "u: Tags? | a: A <tool_call> is one.", ""),
        (
            {"messages": [*TALK, {"role": "user", "content": [{"type": "text", "text": "This?"}, PICTURE]}, ANSWER]},
            "u: Hi | a: Hello.",
            "Images are not trained here. 1 row has some: only the turns before them are trained.",
        ),
        (
            {"image": "x.png", "prompt": "Hi", "completion": "Hello."},
            "u: Hi | a: Hello.",
            "in a column: only the words are trained",
        ),
    ],
)
def test_a_row_is_trained_as_what_it_means_and_the_rest_is_said(row, trained, words):
    notices = set()
    conversation = to_conversation(row, notices=notices)
    assert shown(conversation) == trained
    assert words in told(notices) if words else not notices
    mapping = recognise([row])
    assert mapping and to_conversation(row, mapping) == conversation, (
        "the mapping that is shown is the one that is taken"
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"prompt": "Hi", "completion": "BAD", "label": False},
            "Labelled false or 0, not to be trained, and left out: `label` (1 row).",
        ),
        ({"prompt": "Hi", "completion": "BAD", "label": "False"}, "Labelled false"),
        ({"messages": TALK, "kto_tag": False}, "Labelled false"),
        ({"prompt": "Hi", "completion": "BAD", "label": "undesirable"}, "Labelled false"),
        ({"prompt": "Hi", "completion": "BAD", "label": True, "weight": 0.0}, "left out: `weight` (1 row)"),
        ({"messages": TALK, "train": False}, "left out: `train` (1 row)"),
        ({"question": "Q", "answer": "BAD", "is_correct": False}, "left out: `is_correct` (1 row)"),
        (
            {"query": "Hi", "answers": '[{"name": "w", "arguments": {}}]', "tools": "[{}]"},
            "Tool calls are not trained here. 1 row has no other answer and is",
        ),
        ({"prompt": "Hi", "completion": '<tool_call>{"name": "w"}</tool_call>'}, "Tool calls are not trained"),
        (
            {"messages": [USER, {"role": "assistant", "content": [{"type": "tool_use", "name": "w"}]}]},
            "Tool calls are not trained",
        ),
        (
            {"messages": [{"role": "user", "content": [PICTURE]}, ANSWER]},
            "Images are not trained here. 1 row has no other answer",
        ),
        (
            {"image": "x.png", "conversations": [{"from": "human", "value": "<image>\nWhat?"}, ANSWER]},
            "Images are not trained",
        ),
        (
            {"videos": ["x.mp4"], "messages": [{**USER, "content": "<video>What?"}, ANSWER]},
            "Audio, video and files are not trained",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, ANSWER]},
            "Audio, video and files",
        ),
    ],
)
def test_a_row_that_is_not_to_be_trained_is_left_out_and_counted(tmp_path, row, words):
    found = gather(Source.of(enumerate([row, {"prompt": "Q", "completion": "A"}], 1), []), tmp_path)
    assert [conversation["row"] for conversation in found.conversations.part()] == [2] and not found.bad
    assert words in told(found.noticed)


@pytest.mark.parametrize(
    ("labels", "trained"),
    [
        ([1, 0, 1], [1, 3]),
        (["1", "0", "1"], [1, 3]),
        ([1.0, None, 0.0], [1, 2]),  # as pandas writes them
        ([1, 0.5, 0], [1, 2, 3]),  # a score
        ([1, 0, 2], [1, 2, 3]),  # a class
        ([0, 0, 0], [1, 2, 3]),
    ],
)
def test_labels_in_numbers_are_those_of_kto_where_the_rows_hold_zero_and_one_alone(tmp_path, labels, trained):
    rows = [{"prompt": f"Q {label}", "completion": "A", "label": label} for label in labels]
    found = gather(Source.of(enumerate(rows, 1), []), tmp_path)
    assert [conversation["row"] for conversation in found.conversations.part()] == trained
    assert ("Labelled false" in told(found.noticed)) == (len(trained) < 3)
    assert ("label" in (recognise(rows) or {})) == (len(trained) < 3)


def test_the_mapping_of_mixed_rows_names_the_label_that_few_have(tmp_path):
    bad = {"messages": TALK, "label": False}
    rows = [{"messages": TALK}, bad, {"messages": TALK}, {"messages": TALK, "chosen": ANSWER, "rejected": ANSWER}]
    mapping = recognise(rows)
    assert mapping == {"messages": "messages", "label": "label"}
    by_names, chosen_by_hand = (gather(Source.of(enumerate(rows, 1), []), tmp_path, one) for one in (None, mapping))
    for found in (by_names, chosen_by_hand):
        assert 2 not in [conversation["row"] for conversation in found.conversations.part()] and not found.bad


@pytest.mark.parametrize("kind", ["middle", "second"])
def test_a_later_system_turn_may_stay_where_it_is(kind):
    first = [{"role": "system", "content": "A"}] if kind == "second" else TALK
    row = {"messages": [*first, {"role": "system", "content": "B"}, *TALK]}
    notices = set()
    assert to_conversation(row, notices=notices, system_turns="keep") == row and not notices


def test_turns_that_differ_in_what_is_trained_are_no_duplicates(tmp_path):
    rows = [
        {"messages": [USER, {**ANSWER, **flag}, *TALK]} for flag in ({}, {"weight": 1}, {"weight": 0}, {"train": False})
    ]
    found = gather(Source.of(enumerate(rows, 1), []), tmp_path)
    ((_, hashes),) = found.conversations.hashes()
    assert hashes[0] == hashes[1] != hashes[2] == hashes[3]


@pytest.mark.parametrize(
    ("row", "guess"),
    [
        ({"frage": "Wie geht es?", "antwort": "Gut geht es."}, {"prompt": "frage", "completion": "antwort"}),
        ({"antwort": "Gut geht es.", "frage": "Wie geht es?"}, {"prompt": "frage", "completion": "antwort"}),
        ({"frage": "Wie?", "antwort": "Gut.", "anmerkung": "Ein Gruß."}, {"prompt": "frage", "completion": "antwort"}),
        (
            {"first_message": "Hi there", "second_message": "Hello."},
            {"prompt": "first_message", "completion": "second_message"},
        ),
        (
            {"my_question": "Q one", "correct_answer": "A", "incorrect_answer": "B"},
            {"prompt": "my_question", "completion": "correct_answer"},
        ),
        ({"prompt": "Q", "response_a": "A one", "response_b": "B one"}, {}),
        ({"source": "some site", "instruction": "Say hi", "completions": [{"model": "x"}]}, {}),
        ({"one": "Some text", "two": "More text", "three": "Any text"}, {}),
        (
            {"anchor": "Some text", "positive": "More text", "negative": "Any text"},
            {"prompt": "anchor", "completion": "positive"},
        ),
        ({"my_question": "2+2?", "choices": ["3", "4"], "answerKey": "B x"}, {}),
        ({"method": "POST", "url": "/v1/chat", "custom_id": "one two"}, {}),
        ({"list": ["some", "words"], "n": 1}, {}),
        ({"instruction": "Say hi to me", "completions": [{"model": "x"}]}, {}),
        ({"a": TALK, "b": TALK}, {}),
        ({"translation": {"en": "Hi", "fr": "Salut"}}, {}),
    ],
)
def test_what_is_not_certain_is_asked_and_what_would_be_a_bet_is_not_guessed(row, guess):
    assert recognise([row]) is None and guess_mapping([row]) == guess
    with pytest.raises(UserError, match="None of the known shapes"):
        to_conversation(row)


def test_notices_are_counted_within_bounds(tmp_path):
    rows = [{"prompt": "Q", "completion": "A", f"column {number}": "x", "both": "y"} for number in range(1500)]
    found = gather(Source.of(enumerate(rows, 1), []), tmp_path)
    assert len(found.noticed) == 1000 and "`both` (1,500 rows)" in told(found.noticed)
    assert "and 988 more" in told(found.noticed)
