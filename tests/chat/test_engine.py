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
    [
        Sampling(temperature=float("nan")),
        Sampling(temperature=-1),
        Sampling(temperature=float("inf")),
        Sampling(temperature=1e-38),
        Sampling(max_new_tokens=0),
        Sampling(max_new_tokens=5.5),
        Sampling(seed=1.5),
        Sampling(top_k=2.5),
        Sampling(top_p=2.0),
    ],
)
def test_settings_that_mean_nothing_are_refused(tiny_base, sampling):
    with pytest.raises(UserError, match=r"must be (0, or )?between"):
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


def changed(folder, to, weights=None, **config):
    """A copy of an adapter with other weights or another configuration."""
    import json
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, to)
    save_file(load_file(folder / "adapter_model.safetensors") | (weights or {}), to / "adapter_model.safetensors")
    own = json.loads((to / "adapter_config.json").read_text())
    (to / "adapter_config.json").write_text(json.dumps({**own, **config}))
    return to


def test_an_adapter_that_changes_the_base_itself_is_refused(tiny_base, adapters, tmp_path):
    engine, base = Engine(), say(Engine(), Model(tiny_base))
    poison = {"base_model.model.model.norm.weight": torch.randn(64) * 5}
    with pytest.raises(UserError, match="changes the base itself"):
        say(engine, Model(tiny_base, adapter_folder=changed(adapters[0], tmp_path / "poison", poison)))
    assert say(engine, Model(tiny_base)) == base


@pytest.mark.parametrize(
    "config", [{"r": "a"}, {"r": -3}, {"r": 4}, {"target_modules": 7}, {"task_type": "SEQ_CLS"}, {"peft_type": "X"}]
)
def test_a_damaged_configuration_is_a_sentence_and_the_base_stays_in_memory(tiny_base, adapters, tmp_path, config):
    engine, base = Engine(), say(Engine(), Model(tiny_base))
    say(engine, Model(tiny_base))
    with pytest.raises(UserError, match="'odd'") as error:
        say(engine, Model(tiny_base, adapter_folder=changed(adapters[0], tmp_path / "odd", **config)))
    assert str(tmp_path) not in str(error.value)
    assert say(engine, Model(tiny_base)) == base and engine.resident.bases_loaded == 1


def test_a_dora_adapter_answers(tiny_base, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(target_modules="all-linear", use_dora=True, init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base), config).save_pretrained(tmp_path / "dora")
    assert say(Engine(), Model(tiny_base, adapter_folder=tmp_path / "dora")) != say(Engine(), Model(tiny_base))


@pytest.fixture
def own_tokenizer(adapters, tmp_path):
    """An adapter with the files of a tokenizer beside it."""
    import shutil

    from tests.conftest import TOKENIZER

    folder = shutil.copytree(adapters[0], tmp_path / "own")
    shutil.copytree(TOKENIZER, folder, dirs_exist_ok=True)
    return folder


def test_an_adapter_with_a_pickled_cut_or_hostile_tokenizer_answers_with_its_bases(tiny_base, own_tokenizer):
    engine = Engine()
    expected = say(engine, Model(tiny_base, adapter_folder=own_tokenizer))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        for content in (
            b"",
            b"[]",
            b"\x80\x04\x95",
            b'{"version": "1.0", "mod',
            b'{"auto_map": {"AutoTokenizer": ["a.B"]}}',
        ):
            (own_tokenizer / name).write_bytes(content)
            assert say(engine, Model(tiny_base, adapter_folder=own_tokenizer)) == expected


def test_an_adapter_with_an_unknown_template_answers_once_its_owner_chose_one(tiny_base, own_tokenizer):
    from common.files import write_json
    from models.templates.choice import own_choice

    engine, names = Engine(), set()
    foreign = "{% for message in messages %}[{{ message.role }}] {{ message.content }}{% endfor %}[assistant]"
    (own_tokenizer / "chat_template.jinja").write_text(foreign)
    with pytest.raises(UserError, match="'own' brings a chat template that is not known here"):
        say(engine, Model(tiny_base, adapter_folder=own_tokenizer))
    for choice in ("base", "chatml", own_choice(foreign)):
        write_json(own_tokenizer / "studio.json", {"template": choice})
        replies = list(engine.reply(Model(tiny_base, adapter_folder=own_tokenizer), HELLO, SHORT))
        names.add(replies[-1].template)
        assert replies[-1].new_tokens
    assert len(names) == 3 and say(engine, Model(tiny_base))


def test_sampling_with_a_seed_can_be_repeated(tiny_base):
    sampling = Sampling(max_new_tokens=12, temperature=1.5, seed=7)
    assert say(Engine(), Model(tiny_base), sampling=sampling) == say(Engine(), Model(tiny_base), sampling=sampling)


def test_a_process_ends_well_in_the_middle_of_an_answer(tiny_base):
    """The thread that computes is stopped first: torch would take the process down."""
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from chat.engine import Engine, Model, Sampling\n"
        "engine = Engine()\n"
        "reply = engine.reply(Model(Path(sys.argv[1])), [{'role': 'user', 'content': 'Hi'}], Sampling(200))\n"
        "next(reply), print('said')"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tiny_base)], capture_output=True, text=True, check=False)
    assert result.returncode == 0 and "said" in result.stdout, result.stderr[-500:]
