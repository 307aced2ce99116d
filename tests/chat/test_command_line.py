"""`python -m chat` in the terminal: the base or an adapter answers, turn after turn, and what cannot be is a sentence."""

import shutil

import pytest

from chat.__main__ import main
from chat.engine import Engine, Model, Sampling
from common.paths import adapters_folder
from tests.chat.asking import say

FEW = ["--max-new-tokens", "8", "--precision", "fp32", "--repeatable"]


@pytest.fixture
def mine(isolated_home, adapters):
    """An adapter in the library, by the name `mine`."""
    return shutil.copytree(adapters[0], adapters_folder() / "mine")


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main([*arguments, *FEW])
    told = capsys.readouterr()
    return code, told.out, told.err


def answers(model: Model, *said: str) -> list[str]:
    """What an engine of its own answers to these messages, one after the other."""
    engine, messages, found = Engine(), [], []
    for words in said:
        messages.append({"role": "user", "content": words})
        found.append(say(engine, model, messages, Sampling(max_new_tokens=8)))
        messages.append({"role": "assistant", "content": found[-1]})
    return found


def test_an_adapter_answers_in_a_conversation_and_is_named_beside_it(capsys, tiny_base, mine):
    code, out, err = run(capsys, "Hello there", "And then?", "--adapter", "mine")
    wanted = answers(Model(tiny_base, "fp32", mine), "Hello there", "And then?")
    assert code == 0 and out == "".join(f"{text}\n" for text in wanted) and "mine on" in err
    assert wanted != answers(Model(tiny_base, "fp32"), "Hello there", "And then?")


def test_without_an_adapter_the_base_answers(capsys, tiny_base):
    code, out, err = run(capsys, "Hello there", "--base", str(tiny_base))
    assert code == 0 and out.rstrip("\n") == answers(Model(tiny_base, "fp32"), "Hello there")[0].rstrip("\n")
    assert "A folder on this machine." in err


def test_a_system_prompt_changes_the_answer(capsys, tiny_base):
    plain, changed = (
        run(capsys, "Hello there", "--base", str(tiny_base), *more)[1]
        for more in ([], ["--system", "You are a pirate."])
    )
    assert plain and changed and plain != changed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--adapter", "nobody"], "There is no adapter 'nobody'"),
        (["--adapter", "../../etc"], "There is no adapter"),
        (["--base", "/nowhere/at/all"], "neither a folder on this machine nor a Hugging Face ID"),
        (["--adapter", "mine", "--temperature", "nan"], "temperature is nan"),
        (["--adapter", "mine", "--temperature", "inf"], "temperature is inf"),
        (["--adapter", "mine", "--temperature", "-1"], "temperature is -1"),
        (["--adapter", "mine", "--seed", "-1"], "seed is -1"),
        (["--adapter", "mine", "--precision", "int3"], "There is no precision 'int3'"),
    ],
    ids=range(8),
)
def test_what_cannot_be_is_a_sentence_and_an_exit_code(capsys, mine, arguments, sentence):
    code = main(["Hi", *FEW, *arguments])
    told = capsys.readouterr()
    assert code != 0 and sentence in told.err and "Traceback" not in told.err and not told.out


def test_a_damaged_adapter_is_a_sentence(capsys, mine):
    (mine / "adapter_model.safetensors").write_bytes(b"no safetensors")
    code, out, err = run(capsys, "Hi", "--adapter", "mine")
    assert code != 0 and "mine" in err and "Traceback" not in err and not out
