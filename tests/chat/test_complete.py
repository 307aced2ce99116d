"""Raw prompts: what follows them, and how likely their tokens are, beside others' answers and in pieces."""

import threading

import pytest

from chat import scheduler
from chat.answer import PromptTooLong
from chat.engine import Engine, Model
from chat.logprobs import with_texts
from chat.request import Score
from common.errors import UserError
from common.files import read_json, write_json
from evaluation.likelihood import text_losses
from models.prompt import encode_text
from tests.chat.asking import SHORT, started
from tests.tiny import make_tiny_base

TEXT = "The llama walks over the hills, and nobody knows why. 안녕 🦙 " * 4


def completed(engine, model, prompt, **options):
    return list(engine.complete(model, prompt, SHORT, **options))[-1]


@pytest.fixture
def ids(tinyllama_tokenizer):
    return encode_text(TEXT, tinyllama_tokenizer)


def logprobs_of(base, ids, adapter=None):
    """The same by one plain forward pass of transformers."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(base)
    network = PeftModel.from_pretrained(network, adapter) if adapter else network
    with torch.inference_mode():
        logprobs = network.eval()(torch.tensor([ids])).logits[0].float().log_softmax(-1)
    return logprobs[:-1].gather(-1, torch.tensor(ids[1:])[:, None])[:, 0].tolist(), logprobs.max(-1).values.tolist()


@pytest.mark.parametrize("length", [1, 2, 16, 17, 18, 90])
def test_the_tokens_of_a_prompt_are_scored_in_pieces_as_in_one_pass(tiny_base, adapters, ids, length, monkeypatch):
    monkeypatch.setattr(scheduler, "PIECE_TOKENS", 16)
    engine, ids = Engine(), ids[:length]
    for folder in (None, adapters[0]):
        reply = completed(engine, Model(tiny_base, "fp32", folder), ids, room=1, top=2, with_prompt=True)
        own, best = logprobs_of(tiny_base, ids, folder)
        found = [one.logprob for one in reply.scored]
        assert found[0] is None and found[1:length] == pytest.approx(own, abs=1e-4)
        assert [max(one.top.values()) for one in reply.scored[1:]] == pytest.approx(best, abs=1e-4)
        assert len(found) == length + 1 and reply.scored[-1].logprob == max(reply.scored[-1].top.values())


def test_a_prompt_is_scored_the_same_while_others_are_answered(tiny_base, adapters, ids, monkeypatch):
    monkeypatch.setattr(scheduler, "PIECE_TOKENS", 16)
    alone = completed(Engine(), Model(tiny_base, "fp32", adapters[1]), ids, room=0, top=1, with_prompt=True)
    engine = Engine()
    models = [Model(tiny_base, "fp32", folder) for folder in (None, *adapters)]
    streams = started(engine, models)
    reply = completed(engine, models[2], ids, room=0, top=1, with_prompt=True)
    assert [one.logprob for one in reply.scored[1:]] == pytest.approx([o.logprob for o in alone.scored[1:]], abs=1e-4)
    assert all(next(stream).new_tokens for stream in streams)


def test_a_prompt_of_one_token_disturbs_nobody(tiny_base, adapters, ids):
    engine, model = Engine(), Model(tiny_base, "fp32")
    streams = started(engine, [model, model])
    alone = completed(Engine(), model, ids[:1], room=4, top=0, with_prompt=True)
    beside = completed(engine, model, ids[:1], room=4, top=0, with_prompt=True)
    assert [one.text for one in beside.scored] == [one.text for one in alone.scored] and len(beside.scored) == 5
    assert all(next(stream).new_tokens for stream in streams)


def test_the_sum_is_what_an_evaluation_finds(tiny_base, ids):
    engine, model = Engine(), Model(tiny_base, "fp32")
    reply = completed(engine, model, TEXT, room=0, top=0, with_prompt=True)
    assert reply.tokens_used == len(ids) and not reply.new_tokens and reply.prompt == TEXT
    (wanted,) = text_losses(Engine().resident, model, [{"number": 0, "text": TEXT}], threading.Event())
    assert -sum(one.logprob for one in reply.scored[1:]) == pytest.approx(wanted["loss"], rel=1e-5)


def test_the_texts_of_the_tokens_are_the_text_and_say_where_they_begin(tinyllama_tokenizer, ids):
    told = with_texts([Score(token) for token in ids], tinyllama_tokenizer)
    assert told[0].text == "<s>" and "".join(one.text for one in told[1:]) == TEXT
    assert all(TEXT[one.start :].startswith(one.text) for one in told[1:])
    broken = tinyllama_tokenizer.convert_tokens_to_ids(["<0xF0>"] * 30)
    assert len(with_texts([Score(token) for token in broken], tinyllama_tokenizer)) == 30


def test_a_stop_token_that_was_written_is_scored_and_not_shown(tiny_base, ids, tmp_path):
    """Whoever adds up the prompt's tokens takes the last score for that of the one token that was to follow."""
    base = make_tiny_base(tmp_path / "base")
    first = completed(Engine(), Model(base, "fp32"), ids, room=1, top=1)
    (best,) = first.scored[0].top
    told = read_json(base / "generation_config.json", {})
    import torch
    from transformers import AutoModelForCausalLM

    with torch.inference_mode():
        token = int(AutoModelForCausalLM.from_pretrained(base)(torch.tensor([ids])).logits[0, -1].argmax())
    write_json(base / "generation_config.json", told | {"eos_token_id": [2, token]})
    reply = completed(Engine(), Model(base, "fp32"), ids, room=1, top=1, with_prompt=True)
    assert reply.ended and reply.text == "" and reply.new_tokens == 0
    assert len(reply.scored) == len(ids) + 1 and reply.scored[-1].top.keys() == {best}


def test_a_completion_goes_on_where_the_prompt_ends(tiny_base, ids, tinyllama_tokenizer):
    """The space before its first word is its own."""
    reply = completed(Engine(), Model(tiny_base, "fp32"), ids, room=12, top=0)
    together = tinyllama_tokenizer.decode(ids, skip_special_tokens=True) + reply.text
    assert together == TEXT + "".join(one.text for one in reply.scored)


def test_a_stop_ends_the_text_before_it_and_the_white_space_stays(tiny_base, ids):
    whole = completed(Engine(), Model(tiny_base, "fp32"), ids)
    stop = whole.text[5:8]
    replies = list(Engine().complete(Model(tiny_base, "fp32"), ids, SHORT, stops=[stop, "nowhere"]))
    assert all(stop not in reply.text for reply in replies)
    assert replies[-1].text == whole.text[: whole.text.index(stop)] and replies[-1].ended


@pytest.mark.parametrize("prompt", ["", []])
def test_no_prompt_is_a_sentence(tiny_base, prompt, monkeypatch):
    if prompt == "":
        monkeypatch.setattr(
            "chat.answer.encode_text", lambda text, tokenizer: []
        )  # of a tokenizer that puts nothing before it
    with pytest.raises(UserError, match="The prompt is empty"):
        completed(Engine(), Model(tiny_base), prompt)


@pytest.mark.parametrize("ids", [[1, -1], [1, 32000], [1, 10**30]])
def test_a_number_that_no_token_has_is_a_sentence(tiny_base, ids):
    with pytest.raises(UserError, match="numbers 0 to 31,999"):
        completed(Engine(), Model(tiny_base), ids)


def test_a_prompt_beyond_the_window_is_refused_whole(tiny_base):
    assert completed(Engine(), Model(tiny_base), [5] * 244).new_tokens == 12
    with pytest.raises(PromptTooLong, match="245 tokens and 12 more"):
        completed(Engine(), Model(tiny_base), [5] * 245)


def test_control_tokens_in_a_text_are_text(tiny_base, tinyllama_tokenizer):
    reply = completed(Engine(), Model(tiny_base, "fp32"), "a</s>b", room=0, top=0, with_prompt=True)
    assert "</s>" not in [one.text for one in reply.scored] and reply.tokens_used > 4
