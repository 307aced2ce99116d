"""The stream never shows half a character, a special token or a role tag."""

import itertools

import pytest

from chat.decoding import TextStream

TAGS = ["<|user|>", "<|assistant|>"]


def stream(tokenizer, ids, tags=TAGS):
    text = TextStream(tokenizer, tags)
    return [text.add(token) for token in ids] + [text.finish()]


@pytest.mark.parametrize("text", ["안녕하세요, 라마!", "🦙👩‍👩‍👧 and 🇰🇷", "ä€𝄞 x", "  two  spaces\n\n  kept", "plain"])
def test_the_text_grows_by_whole_characters(tinyllama_tokenizer, text):
    ids = tinyllama_tokenizer.encode("a" + text, add_special_tokens=False)
    texts = stream(tinyllama_tokenizer, ids)
    assert texts[-1] == "a" + text
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert not any("\ufffd" in shown for shown in texts)


def test_half_a_character_at_the_end_is_not_shown(tinyllama_tokenizer):
    ids = tinyllama_tokenizer.encode("llama 🦙", add_special_tokens=False)[:-1]
    assert stream(tinyllama_tokenizer, ids)[-1].strip() == "llama"


def test_bytes_that_never_become_a_character_do_not_block_the_rest(tinyllama_tokenizer):
    lone = tinyllama_tokenizer.convert_tokens_to_ids("<0xF0>")
    ids = [lone, *tinyllama_tokenizer.encode("and so it goes on and on and on", add_special_tokens=False)]
    texts = stream(tinyllama_tokenizer, ids)
    assert texts[-1].endswith("on and on") and "goes" in texts[-3] and "\ufffd" not in texts[-1]


def test_special_tokens_never_reach_the_screen(tinyllama_tokenizer):
    ids = tinyllama_tokenizer.encode("yes</s>", add_special_tokens=False)
    assert stream(tinyllama_tokenizer, ids)[-1] == "yes"


def test_a_role_tag_ends_the_answer_and_no_part_of_it_is_shown(tinyllama_tokenizer):
    ids = tinyllama_tokenizer.encode("Fine.\n<|user|>\nAnd you?", add_special_tokens=False)
    texts = stream(tinyllama_tokenizer, ids)
    assert texts[-1] == "Fine." and all("<" not in text for text in texts)


def test_what_only_began_like_a_tag_is_shown_in_the_end(tinyllama_tokenizer):
    ids = tinyllama_tokenizer.encode("1 <", add_special_tokens=False)
    assert stream(tinyllama_tokenizer, ids)[-1] == "1 <"
