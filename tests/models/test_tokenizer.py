"""A base's tokenizer: what cannot be read is a sentence, and on a Space it is tried in a process with limits first."""

import json
import shutil

import pytest

from common.errors import UserError
from models import tokenizer as module
from models.templates.choice import template_of
from models.tokenizer import load_base_tokenizer, load_tokenizer
from models.try_tokenizer import try_tokenizer
from tests.conftest import TOKENIZER

GROWING = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}
ENDLESS = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}


@pytest.fixture
def base(tmp_path):
    """TinyLlama's tokenizer, of the class that takes its tokenizer.json as it is."""
    folder = shutil.copytree(TOKENIZER, tmp_path / "base")
    change(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    return folder


def change(file, **values) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_a_panic_of_rust_is_a_sentence(base, monkeypatch):
    from transformers import AutoTokenizer

    panic = type("PanicException", (BaseException,), {})

    def read(*args, **options):
        raise panic(f"called `Option::unwrap()` on a `None` value in {base}")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", read)
    with pytest.raises(UserError, match="tokenizer of 'base' cannot be read") as error:
        load_tokenizer(base)
    assert str(base) not in str(error.value)


@pytest.mark.parametrize("content", ["", "{}", "not json", "[" * 100_000, '{"model": {"type": "BPE"}}'])
def test_a_damaged_tokenizer_of_a_base_is_a_sentence(base, content):
    (base / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match="tokenizer of 'base' cannot be read"):
        load_tokenizer(base)


def test_a_tokenizer_is_tried_before_it_is_read_on_a_space_and_once_only(base, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    tried = []
    monkeypatch.setattr(
        module, "try_tokenizer", lambda folder: tried.append(folder) or "The tokenizer of this base takes too long."
    )
    for _ in range(2):
        with pytest.raises(UserError, match="The tokenizer of this base takes too long"):
            load_base_tokenizer(base, template_of(base))
    assert tried == [base]
    change(base / "tokenizer_config.json", more=1)
    with pytest.raises(UserError, match="takes too long"):
        load_base_tokenizer(base, template_of(base))
    assert len(tried) == 2, "another commit is another tokenizer"
    monkeypatch.delenv("SPACE_ID")
    assert load_base_tokenizer(base, template_of(base)) and len(tried) == 2


@pytest.mark.slow
def test_the_trial_lets_a_real_one_through_and_stops_those_that_grow_or_never_end(base):
    assert try_tokenizer(base) == ""
    whole = (base / "tokenizer.json").read_text()
    many = {"type": "Sequence", "normalizers": [GROWING] * 8}
    for values in ({"normalizer": many}, {"pre_tokenizer": ENDLESS}, {"model": {"type": "BPE"}}):
        (base / "tokenizer.json").write_text(whole)
        change(base / "tokenizer.json", **values)
        assert try_tokenizer(base), values
