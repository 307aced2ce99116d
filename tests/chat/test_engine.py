"""Replies stream, end by themselves, can be stopped, and the base pane is the base."""

import itertools
import subprocess
import sys

import pytest

from chat.engine import Engine, Model, Sampling
from common.errors import UserError
from common.files import write_json
from models.templates.choice import own_choice
from tests.chat.asking import HELLO, SHORT, say
from tests.chat.conftest import make_adapter


def test_the_base_pane_is_the_base_in_every_order(tiny_base, adapters):
    """Compared with an engine that never saw an adapter."""
    folders, engine = [None, *adapters], Engine()
    wanted = {folder: say(Engine(), Model(tiny_base, adapter_folder=folder)) for folder in folders}
    assert len(set(wanted.values())) == 3
    for place in (0, 1, 0, 2, 1, 0):
        assert say(engine, Model(tiny_base, adapter_folder=folders[place])) == wanted[folders[place]]


def test_the_text_grows_and_the_prompt_is_not_in_it(tiny_base):
    texts = [reply.text for reply in Engine().reply(Model(tiny_base), HELLO, SHORT)]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert "Hello there" not in texts[-1] and "<|assistant|>" not in texts[-1]


def test_a_closed_stream_ends_the_generation_and_frees_the_engine(tiny_base):
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
    turns = [("user", "Question"), ("assistant", "Answer")]
    messages = [{"role": role, "content": f"{word} {turn}"} for turn in range(30) for role, word in turns]
    reply = list(Engine().reply(Model(tiny_base), [*messages, *HELLO], SHORT))[-1]
    assert reply.left_out > 0 and reply.tokens_used + 12 <= reply.window == 256


def test_a_dora_adapter_answers(tiny_base, tmp_path):
    dora = make_adapter(tiny_base, tmp_path / "dora", 0, target_modules="all-linear", use_dora=True)
    assert say(Engine(), Model(tiny_base, adapter_folder=dora)) != say(Engine(), Model(tiny_base))


def test_an_adapter_with_an_unknown_template_answers_once_its_owner_chose_one(tiny_base, own_tokenizer):
    engine, names, model = Engine(), set(), Model(tiny_base, adapter_folder=own_tokenizer)
    foreign = "{% for message in messages %}[{{ message.role }}] {{ message.content }}{% endfor %}[assistant]"
    (own_tokenizer / "chat_template.jinja").write_text(foreign)
    with pytest.raises(UserError, match="'own' has a chat template that is not known here"):
        say(engine, model)
    for choice in ("base", "chatml", own_choice(foreign)):
        write_json(own_tokenizer / "studio.json", {"template": choice})
        reply = list(engine.reply(model, HELLO, SHORT))[-1]
        assert reply.new_tokens
        names.add(reply.template)
    assert len(names) == 3 and say(engine, Model(tiny_base))


def test_sampling_with_a_seed_can_be_repeated(tiny_base):
    sampling = Sampling(max_new_tokens=12, temperature=1.5, seed=7)
    assert say(Engine(), Model(tiny_base), sampling=sampling) == say(Engine(), Model(tiny_base), sampling=sampling)


def test_a_process_ends_well_in_the_middle_of_an_answer(tiny_base):
    """The thread that computes is stopped first: torch would take the process down."""
    code = (
        "import sys; from pathlib import Path; from chat.engine import Engine, Model, Sampling\n"
        "engine = Engine()\n"
        "reply = engine.reply(Model(Path(sys.argv[1])), [{'role': 'user', 'content': 'Hi'}], Sampling(200))\n"
        "next(reply), print('said')"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tiny_base)], capture_output=True, text=True, check=False)
    assert result.returncode == 0 and "said" in result.stdout, result.stderr[-500:]
