"""From conversations to token rows: what is trained, what is cut, split or left out, and that the preview shows just that."""

import pytest

from data.dataset import Encoder
from data.shapes import to_conversation
from models.templates import training_template

PAIR = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
HUGE = [PAIR[0], {"role": "assistant", "content": "word " * 200}]
LONG = [
    {"role": "system", "content": "Be brief."},
    *({"role": ("user", "assistant")[n % 2], "content": f"turn {n} " + "word " * 10} for n in range(10)),
]


@pytest.fixture
def encoder(tinyllama_tokenizer):
    template = training_template(tinyllama_tokenizer)
    return lambda max_length, too_long="drop": Encoder(tinyllama_tokenizer, template, max_length, too_long)


def test_the_preview_shows_the_trained_tokens(encoder):
    (shown,) = encoder(100).preview(1, {"prompt": "Hi", "completion": "Hello."})
    trained = [token for token, is_trained in zip(shown["tokens"], shown["trained"], strict=True) if is_trained]
    assert "".join(trained).replace("␣", " ").strip() == "Hello.</s>" and shown["used"]


def test_a_row_longer_than_max_length_is_reported_and_not_cut(encoder, tinyllama_tokenizer):
    rows = [{"messages": PAIR}, to_conversation({"prompt": "Q", "completion": "word " * 100})]
    encoded = encoder(50).encode_all(rows)
    assert len(encoded.rows) == 1 and encoded.rows[0]["labels"][-2] == tinyllama_tokenizer.eos_token_id
    ((number, tokens),) = encoded.too_long.first
    assert number == 2 and tokens > 100
    assert f"row 2 ({tokens} tokens)" in encoded.report(50)[0]


def test_a_long_text_becomes_several_rows_and_loses_nothing(encoder, tinyllama_tokenizer):
    pieces = encoder(40).encode({"text": "one two three " * 50})
    joined = [token for piece in pieces for token in piece["input_ids"]]
    assert joined == [*tinyllama_tokenizer("one two three " * 50)["input_ids"], tinyllama_tokenizer.eos_token_id]
    assert len(pieces) > 1 and all(len(piece["input_ids"]) <= 40 for piece in pieces)


def test_cut_keeps_whole_turns_up_to_an_answer(encoder, tinyllama_tokenizer):
    (row,) = encoder(128, "cut").encode_all([{"messages": LONG}]).rows
    assert len(row["input_ids"]) <= 128 and row["labels"][-2] == tinyllama_tokenizer.eos_token_id
    text = tinyllama_tokenizer.decode(row["input_ids"])
    assert "Be brief." in text and "turn 0" in text and "turn 1" in text and "turn 9" not in text
    (more,) = encoder(10**6).encode({"messages": LONG[:5]})
    assert len(more["input_ids"]) > 128 or len(row["input_ids"]) == len(more["input_ids"]), "no turn more would fit"


def test_split_keeps_every_turn_and_the_system_prompt(encoder, tinyllama_tokenizer):
    rows = encoder(128, "split").encode_all([{"messages": LONG}]).rows
    texts = [tinyllama_tokenizer.decode(row["input_ids"]) for row in rows]
    assert len(rows) > 1 and all(len(row["input_ids"]) <= 128 for row in rows)
    assert all("Be brief." in text for text in texts)
    assert [sum(f"turn {number} " in text for text in texts) for number in range(10)] == [1] * 10


@pytest.mark.parametrize(("too_long", "count"), [("cut", 1), ("split", 2)])
def test_a_single_turn_that_is_too_long_is_left_out_and_reported(encoder, too_long, count):
    encoded = encoder(64, too_long).encode_all([{"messages": HUGE}])
    assert not encoded.rows and [number for number, _ in encoded.too_long.first] == [1]
    mixed = encoder(64, too_long).encode_all([{"row": 7, "messages": [*PAIR, *HUGE, *PAIR]}])
    assert len(mixed.rows) == count and mixed.shortened.first == [7]
    assert "is shortened to whole turns" in " ".join(mixed.report(64))
