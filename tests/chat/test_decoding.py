"""The stream never shows half a character, a special token or a role tag."""

import itertools

import pytest

from chat.decoding import TextStream

TAGS = ["<|user|>", "<|assistant|>"]


def stream(tokenizer, ids):
    text = TextStream(tokenizer, TAGS)
    return [text.add(token) for token in ids] + [text.finish()]


@pytest.mark.parametrize("text", ["안녕하세요, 라마!", "🦙👩‍👩‍👧 and 🇰🇷", "ä€𝄞 x", "  two  spaces\n\n  kept", "plain"])
def test_the_text_grows_by_whole_characters(tinyllama_tokenizer, text):
    texts = stream(tinyllama_tokenizer, tinyllama_tokenizer.encode("a" + text, add_special_tokens=False))
    assert texts[-1] == "a" + text
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert not any("\ufffd" in shown for shown in texts)


@pytest.mark.parametrize(
    ("written", "cut", "shown"),
    [
        ("llama 🦙", 1, "llama "),  # half a character at the end
        ("llama 🦙", 0, "llama 🦙"),
        ("yes</s>", 0, "yes"),
        ("1 <", 0, "1 <"),  # it only began like a tag
        ("Fine.\n<|user|>\nAnd you?", 0, "Fine."),
    ],
)
def test_an_answer_ends_with_all_its_words_and_nothing_else(tinyllama_tokenizer, written, cut, shown):
    ids = tinyllama_tokenizer.encode(written, add_special_tokens=False)
    assert stream(tinyllama_tokenizer, ids[: len(ids) - cut])[-1] == shown


def test_no_part_of_a_role_tag_is_shown(tinyllama_tokenizer):
    ids = tinyllama_tokenizer.encode("Fine.\n<|user|>\nAnd you?", add_special_tokens=False)
    assert all("<" not in text for text in stream(tinyllama_tokenizer, ids))


@pytest.mark.parametrize("lone", [["<0xF0>"], ["<0x5D>", "<0xF0>", "<0x9F>"]])
def test_bytes_that_never_become_a_character_do_not_block_the_rest(tinyllama_tokenizer, lone):
    """The library raises where a byte that was a letter becomes a part of what is no character."""
    ids = tinyllama_tokenizer.convert_tokens_to_ids(lone)
    texts = stream(tinyllama_tokenizer, ids + tinyllama_tokenizer.encode("and so on and on", add_special_tokens=False))
    assert texts[-1].endswith("and so on and on") and "so" in texts[-3] and "\ufffd" not in texts[-1]
