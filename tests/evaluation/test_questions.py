"""Items become the tokens that a training trains, with examples before them, within the window."""

import pytest

from evaluation.questions import MAX_ROW_TOKENS, chat_prompt, chat_question, fit_prompt, text_question
from models.prompt import PromptFormat, encode_messages
from models.templates import read_template, without_marks
from models.templates.choice import Template

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is a llama?"},
    {"role": "assistant", "content": "An animal."},
    {"role": "user", "content": "이것은 무엇인가요?"},
]


def question(tokenizer, answers, messages=TALK, name="zephyr", window=2048, with_stop=False):
    format = PromptFormat(tokenizer, Template(name, without_marks(read_template(name))))
    return chat_question(format, 1, messages, answers, window, with_stop)


@pytest.mark.parametrize("name", ["zephyr", "alpaca"])
@pytest.mark.parametrize("answer", ["Yes", "라마예요.\n\nIt is", "", "</s> typed"])
def test_an_answer_is_what_a_training_would_train_of_it(tinyllama_tokenizer, name, answer):
    turns = [*TALK[:2], {**TALK[2], "trained": False}, TALK[3], {"role": "assistant", "content": answer}]
    ids, trained = encode_messages(turns, tinyllama_tokenizer, read_template(name))
    first, behind = trained.index(True), len(trained) - trained[::-1].index(True)
    row = question(tinyllama_tokenizer, [answer], name=name, with_stop=True).rows[0]
    assert (row.prompt, row.branches) == (ids[:first], [ids[first:behind]])
    assert row.branches[0][-1] == tinyllama_tokenizer.eos_token_id


def test_a_choice_has_no_stop_token_and_all_stand_behind_one_prompt(tinyllama_tokenizer):
    found = question(tinyllama_tokenizer, ["Yes", "Yes, it is", "아니요"])
    assert [tinyllama_tokenizer.decode(branch) for branch in found.rows[0].branches] == ["Yes", "Yes, it is", "아니요"]
    assert tinyllama_tokenizer.decode(found.rows[0].prompt).endswith("<|assistant|>\n")


def test_many_long_choices_are_read_in_several_rows(tinyllama_tokenizer):
    choices = [f"{number} " + "word " * 500 for number in range(8)]
    rows = question(tinyllama_tokenizer, choices).rows
    assert len(rows) == 3 and all(row.length() <= MAX_ROW_TOKENS for row in rows)
    assert [tinyllama_tokenizer.decode(branch)[0] for row in rows for branch in row.branches] == list("01234567")


def test_the_earliest_turns_are_left_out_of_a_prompt_beyond_the_window_and_a_long_question_is_not_asked(
    tinyllama_tokenizer,
):
    whole = question(tinyllama_tokenizer, ["Yes"])
    cut = question(tinyllama_tokenizer, ["Yes"], window=len(whole.rows[0].prompt))
    assert (whole.is_cut, cut.is_cut) == (False, True)
    assert cut.rows == question(tinyllama_tokenizer, ["Yes"], [TALK[0], TALK[3]]).rows
    none = question(tinyllama_tokenizer, ["Yes"], window=30)
    assert (none.rows, none.is_cut, none.tokens) == ([], True, 0)
    assert fit_prompt(PromptFormat(tinyllama_tokenizer), TALK, 30) is None


def test_examples_are_earlier_turns_behind_the_system_prompt():
    shots = [
        {"number": 7, "messages": [{"role": "system", "content": "Other."}, TALK[1]], "answer": "An animal."},
        {"number": 8, "messages": [{"role": "user", "content": "And this?"}], "answer": "A tree."},
    ]
    turns = chat_prompt({"number": 1, "messages": [TALK[0], TALK[3]], "answer": "x"}, shots)
    assert [turn["content"] for turn in turns] == [
        "Be brief.",
        "What is a llama?",
        "An animal.",
        "And this?",
        "A tree.",
        "이것은 무엇인가요?",
    ]
    assert [turn["role"] for turn in turns[1:]] == ["user", "assistant"] * 2 + ["user"]
    assert chat_prompt({"messages": [TALK[3]]}) == [TALK[3]]


@pytest.mark.parametrize("window", [5, 16, 4096])
def test_windows_of_a_text_predict_each_token_but_the_first_once(tinyllama_tokenizer, window):
    format, text = PromptFormat(tinyllama_tokenizer), "This is one long text </s> about llamas. " * 20
    ids = format.tokenizer(text, split_special_tokens=True)["input_ids"]
    found = text_question(format, {"number": 3, "text": text}, window)
    assert [token for row in found.rows for token in row.branches[0]] == ids[1:] and found.tokens == len(ids) - 1
    before = [ids[0], *(row.branches[0][-1] for row in found.rows)]
    assert [row.prompt for row in found.rows] == [[token] for token in before[:-1]]
    assert all(len(row.prompt + row.branches[0]) <= window for row in found.rows)
    assert text_question(format, {"number": 4, "text": ""}, window).rows == []
