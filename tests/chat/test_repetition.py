"""An answer that repeats itself is ended and says so; lists, code and tables are not taken for one."""

import pytest

from chat.engine import Engine, Model, Sampling
from chat.repetition import repeats_itself
from tests.chat.asking import HELLO, say

SENTENCE = "I am here to help you with all of your questions about the sea. "
NUMBERS = "\n".join(f"{number}. Bring {thing}." for number, thing in enumerate(["water", "bread", "salt", "tea"] * 6))
TABLE = "| Name | Age | City |\n|---|---|---|\n" + "".join(f"| Ada {n} | {30 + n} | Oslo |\n" for n in range(12))
WIDE_TABLE = "|" + " --- |" * 24 + "\n" + "| x |" + " |" * 23
CODE = "".join(f"if answer == {n}:\n    print('No, try again.')\n    tries += 1\n" for n in range(14))
BOARD = "board = [\n" + "    [0, 0, 0, 0, 0, 0, 0, 0],\n" * 8 + "]\n"
HTML = (
    "<ul>\n" + "".join(f"  <li class='item'><a href='/{word}'>{word}</a></li>\n" for word in NUMBERS.split()) + "</ul>"
)
RULE = "A title\n" + "=" * 72 + "\n\n" + "-" * 72 + "\n"
SONG = (
    "Row, row, row your boat, gently down the stream. " * 3 + "Merrily, merrily, merrily, merrily, life is but a dream."
)


def place_of_end(tokenizer, text: str) -> int | None:
    """The number of tokens after which an answer with this text is ended, None when it is not."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    return next((end for end in range(1, len(ids) + 1) if repeats_itself(ids[:end], tokenizer.decode)), None)


@pytest.mark.parametrize(
    "text", [SENTENCE * 3, NUMBERS, TABLE, WIDE_TABLE, CODE, BOARD, HTML, RULE, SONG, "0, " * 60, "no " * 20, ""]
)
def test_what_repeats_a_little_is_no_repetition(tinyllama_tokenizer, text):
    assert place_of_end(tinyllama_tokenizer, text) is None


@pytest.mark.parametrize(
    ("text", "times"),
    [
        (SENTENCE, 5),
        ("The sea. ", 20),
        ("no ", 60),
        ("라마는 안데스에 살아요. ", 6),
        ("- Be kind.\n", 20),
        ("0, ", 130),
    ],
)
def test_what_only_repeats_itself_is_found_before_long(tinyllama_tokenizer, text, times):
    opening = "A llama lives in the Andes.\n\n"
    whole = tinyllama_tokenizer.encode(opening + text * times, add_special_tokens=False)
    end = place_of_end(tinyllama_tokenizer, opening + text * 3 * times)
    assert end and end <= len(whole), f"{end} tokens, {len(whole)} are {times} times"


@pytest.fixture
def repeats_after_20(monkeypatch):
    """Every answer counts as repetition as soon as it has 20 tokens."""
    monkeypatch.setattr("chat.scheduler.repeats_itself", lambda tokens, text_of: len(tokens) >= 20)


def test_a_repetition_ends_the_answer_alone_and_beside_others_unless_it_is_switched_off(tiny_base, repeats_after_20):
    model, engine = Model(tiny_base, "fp32"), Engine()
    off = Sampling(max_new_tokens=40, stop_repetition=False)
    reply = list(engine.reply(model, HELLO, Sampling(max_new_tokens=40)))[-1]
    assert (reply.new_tokens, reply.is_repeating, reply.ended) == (20, True, False)
    whole = list(engine.reply(model, HELLO, off))[-1]
    assert (whole.new_tokens, whole.is_repeating) == (40, False) and whole.text.startswith(reply.text)
    both = engine.answers(model, [HELLO, HELLO], Sampling(max_new_tokens=40))
    assert [(one.new_tokens, one.is_repeating) for one in both] == [(20, True)] * 2


def test_a_penalty_does_not_count_what_the_question_says(tiny_base, monkeypatch):
    from chat import scheduler

    given = []

    class Listens(scheduler.Chooser):
        def choose(self, logits, answer):
            given.append(list(answer))
            return super().choose(logits, answer)

    monkeypatch.setattr(scheduler, "Chooser", Listens)
    say(Engine(), Model(tiny_base, "fp32"), HELLO, Sampling(max_new_tokens=3, repetition_penalty=1.3))
    assert [len(answer) for answer in given] == [0, 1, 2]
