"""Our templates render byte for byte like the models' own and mark exactly what is trained."""

import pytest

from common.errors import UserError
from models.templates import NAMES, read_template, training_template, without_marks
from models.tokenizer import load_tokenizer
from tests.conftest import TOKENIZER
from trainer.data.dataset import IGNORED, encode

# SmolLM2-Instruct's own template, as its GGUF carries it
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a "
    "helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + "
    "'\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% endif %}"
)
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CONVERSATIONS = [
    [("user", "Hi")],
    [("user", "Hi"), ("assistant", "Hello.")],
    [
        ("system", "Be short."),
        ("user", "Hi\n\n"),
        ("assistant", " Hello.\n"),
        ("user", "한국어 🙂"),
        ("assistant", "네"),
    ],
    [("user", "{{ 1 }} <b>"), ("assistant", "  indented\n\tcode\n"), ("user", ""), ("assistant", "x")],
]
THREE_TURNS = [
    ("system", "You are kind."),
    ("user", "How are you?"),
    ("assistant", "I am fine."),
    ("user", "What is 6 times 7?"),
    ("assistant", "The answer is 42."),
    ("user", "Thanks"),
    ("assistant", "You are welcome."),
]


def messages(turns):
    return [{"role": role, "content": content} for role, content in turns]


@pytest.mark.parametrize("opening", [False, True])
@pytest.mark.parametrize("turns", CONVERSATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_ours_renders_byte_for_byte_like_the_original(tinyllama_tokenizer, name, turns, opening):
    original = {"zephyr": tinyllama_tokenizer.chat_template, "smollm2": SMOLLM2, "chatml": CHATML}[name]
    for ours in (read_template(name), without_marks(read_template(name))):
        texts = [
            tinyllama_tokenizer.apply_chat_template(
                messages(turns), chat_template=template, tokenize=False, add_generation_prompt=opening
            )
            for template in (original, ours)
        ]
        assert texts[0] == texts[1]


def trained_text(tokenizer, template) -> str:
    (row,) = encode({"messages": messages(THREE_TURNS)}, tokenizer, template, 1024)
    return tokenizer.decode([label for label in row["labels"] if label != IGNORED])


def test_of_three_turns_with_tinyllama_exactly_the_answers_and_their_stop_tokens_are_trained(tinyllama_tokenizer):
    text = trained_text(tinyllama_tokenizer, training_template(tinyllama_tokenizer))
    assert text == "I am fine.</s>The answer is 42.</s>You are welcome.</s>"


def test_the_stop_token_is_trained_at_the_end_of_every_answer(tinyllama_tokenizer):
    (row,) = encode(
        {"messages": messages(THREE_TURNS)}, tinyllama_tokenizer, training_template(tinyllama_tokenizer), 1024
    )
    assert row["labels"].count(tinyllama_tokenizer.eos_token_id) == 3
    assert (
        row["input_ids"].count(tinyllama_tokenizer.eos_token_id) == 7
    )  # one a message; the four others are not trained


@pytest.mark.slow
def test_of_three_turns_with_chatml_exactly_the_answers_and_their_stop_tokens_are_trained(embedded_base):
    tokenizer = load_tokenizer(embedded_base)
    assert tokenizer.chat_template == SMOLLM2
    assert training_template(tokenizer) == read_template("smollm2")
    text = trained_text(tokenizer, training_template(tokenizer))
    assert text == "I am fine.<|im_end|>The answer is 42.<|im_end|>You are welcome.<|im_end|>"


def test_a_template_is_recognised_by_what_it_renders_not_by_its_text(tinyllama_tokenizer):
    tokenizer = load_tokenizer(TOKENIZER)
    tokenizer.chat_template = tokenizer.chat_template.replace("message['role'] ==", "message.role ==")
    assert tokenizer.chat_template != tinyllama_tokenizer.chat_template
    assert training_template(tokenizer) == read_template("zephyr")


def test_a_base_without_a_template_gets_tinyllamas(tmp_path):
    import json
    import shutil

    for file in TOKENIZER.iterdir():
        shutil.copy(file, tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del config["chat_template"], config["pad_token"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(tmp_path)
    assert training_template(tokenizer) == read_template("zephyr") and tokenizer.pad_token == "</s>"


def test_an_unknown_template_is_refused_with_what_to_do():
    tokenizer = load_tokenizer(TOKENIZER)
    tokenizer.chat_template = (
        "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}{% endfor %}"
    )
    with pytest.raises(UserError, match="Choose the template yourself"):
        training_template(tokenizer)
