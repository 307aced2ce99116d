"""Replies stream, end by themselves, can be stopped, and the base pane is the base."""

import itertools
import threading

import pytest
import torch

from chat.engine import Engine, Model, Sampling
from common.errors import UserError

HELLO = [{"role": "user", "content": "Hello there"}]
SHORT = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module")
def adapters(tiny_base, tmp_path_factory):
    """Two adapters with large random weights: their replies differ from the base's and from each other's."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folders = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(tiny_base),
            LoraConfig(target_modules="all-linear", init_lora_weights=False),
        )
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.normal_(std=0.5)
        folder = tmp_path_factory.mktemp("adapters") / f"adapter-{seed}"
        model.save_pretrained(folder)
        folders.append(folder)
    return folders


def say(engine: Engine, model: Model, messages=HELLO, sampling=SHORT) -> str:
    return list(engine.reply(model, messages, sampling))[-1].text


def test_the_base_pane_is_the_base_in_every_order(tiny_base, adapters):
    """Compared with an engine that never saw an adapter."""
    base = say(Engine(), Model(tiny_base))
    first, second = (say(Engine(), Model(tiny_base, adapter_folder=folder)) for folder in adapters)
    assert len({base, first, second}) == 3
    engine = Engine()
    for folder, wanted in (
        (None, base),
        (adapters[0], first),
        (None, base),
        (adapters[1], second),
        (adapters[0], first),
    ):
        assert say(engine, Model(tiny_base, adapter_folder=folder)) == wanted
    assert say(engine, Model(tiny_base)) == base


def test_the_text_grows_and_the_prompt_is_not_in_it(tiny_base):
    texts = [reply.text for reply in Engine().reply(Model(tiny_base), HELLO, SHORT)]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert "Hello there" not in texts[-1] and "<|assistant|>" not in texts[-1]


def test_a_stop_ends_the_generation_and_frees_the_engine(tiny_base):
    engine, stop = Engine(), threading.Event()
    reply = engine.reply(Model(tiny_base), HELLO, Sampling(max_new_tokens=200), stop)
    next(reply)
    stop.set()
    assert list(reply)[-1].new_tokens < 100
    assert say(engine, Model(tiny_base))


def test_closing_the_stream_frees_the_engine(tiny_base):
    engine = Engine()
    reply = engine.reply(Model(tiny_base), HELLO, Sampling(max_new_tokens=200))
    next(reply)
    reply.close()
    assert say(engine, Model(tiny_base))


def test_a_batch_gives_the_answers_that_one_by_one_gives(tiny_base, adapters):
    conversations = [HELLO, [{"role": "user", "content": "A much longer question than the other one, is it not?"}]]
    for folder in (None, adapters[0]):
        model = Model(tiny_base, adapter_folder=folder)
        together = [reply.text for reply in Engine().answers(model, conversations, SHORT)]
        assert together == [say(Engine(), model, messages) for messages in conversations]


def test_old_turns_are_left_out_when_the_window_is_full(tiny_base):
    messages = []
    for turn in range(30):
        messages += [
            {"role": "user", "content": f"Question {turn}"},
            {"role": "assistant", "content": f"Answer {turn}"},
        ]
    reply = list(Engine().reply(Model(tiny_base), [*messages, *HELLO], SHORT))[-1]
    assert reply.left_out > 0 and reply.tokens_used + 12 <= reply.window == 256


@pytest.mark.parametrize(
    "sampling",
    [Sampling(temperature=float("nan")), Sampling(temperature=-1), Sampling(max_new_tokens=0), Sampling(top_p=2.0)],
)
def test_settings_that_mean_nothing_are_refused(tiny_base, sampling):
    with pytest.raises(UserError, match="must be between"):
        say(Engine(), Model(tiny_base), sampling=sampling)


def test_a_message_longer_than_the_window_is_refused_and_the_next_one_answered(tiny_base):
    engine = Engine()
    with pytest.raises(UserError, match="Shorten it"):
        say(engine, Model(tiny_base), [{"role": "user", "content": "word " * 500}])
    assert say(engine, Model(tiny_base))


def test_a_damaged_adapter_is_refused_and_the_base_goes_on(tiny_base, adapters, tmp_path):
    import shutil

    engine, damaged = Engine(), tmp_path / "damaged"
    shutil.copytree(adapters[0], damaged)
    (damaged / "adapter_model.safetensors").write_bytes(b"no safetensors")
    base = say(engine, Model(tiny_base))
    with pytest.raises(UserError, match="'damaged'"):
        say(engine, Model(tiny_base, adapter_folder=damaged))
    assert say(engine, Model(tiny_base)) == base


def test_sampling_with_a_seed_can_be_repeated(tiny_base):
    sampling = Sampling(max_new_tokens=12, temperature=1.5, seed=7)
    assert say(Engine(), Model(tiny_base), sampling=sampling) == say(Engine(), Model(tiny_base), sampling=sampling)
