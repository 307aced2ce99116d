"""The summary fits into the window whatever the language: it is cut by tokens, and written in rounds."""

import json
import shutil

import pytest

from chat.engine import Engine, Model
from chat.history import MessageTooLong
from chat.summary import MAX_SUMMARISED_CHARACTERS, summarise

TEXTS = {
    "korean": "안녕하세요 라마는 어디에 살아요? ",
    "english": "The quick brown fox number 42 jumps. ",
    "code": "x_{i} = f(a[i], b[i]) + 3.14159;\n",
}


@pytest.fixture(scope="module")
def base(tiny_base, tmp_path_factory):
    """The tiny base with TinyLlama's window of 2048 tokens, and its tokenizer."""
    folder = shutil.copytree(tiny_base, tmp_path_factory.mktemp("wide") / "base")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 2048}))
    return folder


class Listens(Engine):
    """Remembers what was asked and answered."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def reply(self, model, messages, sampling, *more, **others):
        for reply in super().reply(model, messages, sampling, *more, **others):
            yield reply
        self.asked.append((messages[0]["content"], reply))


@pytest.mark.parametrize("name", TEXTS)
def test_a_long_talk_is_summarised_whole_whatever_its_tokens(base, name):
    text = (TEXTS[name] * 1000)[: MAX_SUMMARISED_CHARACTERS - 100]
    messages = [{"role": "user", "content": f"The number is 7. {text}"}, {"role": "assistant", "content": "END"}]
    engine = Listens()
    last = list(summarise(engine, Model(base), "", messages, 1, 0))[-1]
    assert all(reply.tokens_used + 160 <= 2048 for _, reply in engine.asked)
    pieces = [asked for asked, _ in engine.asked]
    assert "The number is 7." in pieces[0] and pieces[-1].endswith("END") and len(pieces) > 1
    assert sum(asked.count("라마") for asked in pieces) >= text.count("라마") - len(pieces)
    assert last.text == engine.asked[-1][1].text
    assert engine.asked[0][1].text.strip() in pieces[1], "a round does not know what was noted before"


def test_a_summary_that_leaves_no_room_is_refused(base):
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    with pytest.raises(MessageTooLong):
        list(summarise(Engine(), Model(base), "word " * 5000, messages, 1, 0))
