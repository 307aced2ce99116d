"""Our templates render byte for byte like the models' own, are found by their hash, and mark exactly what is trained."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from common.errors import UserError
from data.dataset import IGNORED, Encoder
from models.templates import NAMES, read_template, training_template, without_marks
from models.templates.known import KNOWN, fingerprint, normalised, recognise
from models.tokenizer import load_tokenizer
from tests.conftest import TOKENIZER

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
ALTERNATE = "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
    "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    + ALTERNATE
    + "{% if "
    "loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + "
    "message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + "
    "content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# as written before 2024, with a branch that no conversation comes to
OLD_LLAMA2 = LLAMA2.replace(
    "{% elif",
    "{% elif message['role'] == 'system' %}{{ '<<SYS>>\\n' + content.strip() + '\\n<</SYS>>\\n\\n' }}{% elif",
)
ALPACA = (
    "{% if messages[0]['role'] == 'system' %}{% set system_message = messages[0]['content'] | trim + '\\n\\n' %}{% set "
    "messages = messages[1:] %}{% else %}{% set system_message = '' %}{% endif %}{{ bos_token + system_message }}{% for "
    "message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    + ALTERNATE
    + "{% if message['role'] "
    "== 'user' %}{{ '### Instruction:\\n' + message['content'] | trim + '\\n\\n' }}{% elif message['role'] == 'assistant' %}"
    "{{ '### Response:\\n' + message['content'] | trim + eos_token + '\\n\\n' }}{% endif %}{% endfor %}{% if "
    "add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}"
)
UNSLOTH_ZEPHYR = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '<|user|>\n' + message['content'] + eos_token + '\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ '<|assistant|>\n' + message['content'] + eos_token + '\n' }}{% else %}"
    "{{ '<|system|>\n' + message['content'] + eos_token + '\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|assistant|>\n' }}{% endif %}"
)
UNSLOTH_CHATML = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{'<|im_start|>user\n' + message['content'] + "
    "'<|im_end|>\n'}}{% elif message['role'] == 'assistant' %}{{'<|im_start|>assistant\n' + message['content'] + "
    "'<|im_end|>\n' }}{% else %}{{ '<|im_start|>system\n' + message['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
AUTOTRAIN_CHATML = (
    "{% for message in messages %}\n{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% if loop.last and add_generation_prompt %}{{'<|im_start|>assistant\n' }}{% endif %}{% endfor %}"
)
DOCUMENTED = "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}" + CHATML
TINYLLAMA = json.loads((TOKENIZER / "tokenizer_config.json").read_text())["chat_template"]
OF_TRL = Path(find_spec("trl").origin).parent / "chat_templates"
LLAMA3 = (OF_TRL / "llama3.jinja").read_text()
PUBLISHED = [("zephyr", TINYLLAMA), ("zephyr", UNSLOTH_ZEPHYR), ("smollm2", SMOLLM2), ("chatml", CHATML)]
PUBLISHED += [("chatml", DOCUMENTED), ("chatml", AUTOTRAIN_CHATML), ("chatml", UNSLOTH_CHATML), ("llama2", LLAMA2)]
PUBLISHED += [("llama2", OLD_LLAMA2), ("llama3", LLAMA3), ("alpaca", ALPACA)]
AS_PUBLISHED = {
    "llama3.1": "llama3_1",
    "llama3.2": "llama3_2",
    "deepseek-r1": "deepseek_r1_distill",
    "qwen2.5": "qwen2_5",
    "qwen3": "qwen3",
    "qwen3-2507": "qwen3_instruct_2507",
}
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
@pytest.mark.parametrize(("name", "original"), PUBLISHED, ids=range(len(PUBLISHED)))
def test_ours_renders_byte_for_byte_like_the_original(tinyllama_tokenizer, name, original, turns, opening):
    for ours in (read_template(name), without_marks(read_template(name))):
        texts = [
            tinyllama_tokenizer.apply_chat_template(
                messages(turns), chat_template=template, tokenize=False, add_generation_prompt=opening
            )
            for template in (original, ours)
        ]
        assert texts[0] == texts[1]


def test_each_published_text_is_known_by_its_hash_and_no_hash_stands_for_a_text_that_is_not_tested():
    assert [recognise(text) for _, text in PUBLISHED] == [name for name, _ in PUBLISHED]
    texts = [text for _, text in PUBLISHED] + [(OF_TRL / f"{file}.jinja").read_text() for file in AS_PUBLISHED.values()]
    assert [recognise(text) for text in texts[len(PUBLISHED) :]] == list(AS_PUBLISHED)
    assert set(KNOWN) == {fingerprint(text) for text in texts}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_training_here_leaves_behind_is_known_whatever_its_line_ends(name):
    text = without_marks(read_template(name))
    for written in (text, read_template(name), f"\n{text}\n", text.replace("\n", "\r\n")):
        assert recognise(written) == name


def test_another_text_is_not_known_however_small_the_difference():
    for other in (TINYLLAMA.replace("<|user|>", "<|person|>"), f"{CHATML}x", "", "{{ messages }}"):
        assert recognise(other) is None
    assert normalised("{%- generation -%}a{% endgeneration %}") == "a"


@pytest.mark.parametrize("name", NAMES)
def test_every_family_marks_the_answers_with_what_ends_them_and_nothing_else(name):
    from transformers.utils.chat_template_utils import render_jinja_template

    (text,), (spans,) = render_jinja_template(
        [messages(THREE_TURNS)],
        chat_template=read_template(name),
        return_assistant_tokens_mask=True,
        **{"bos_token": "<s>", "eos_token": "</s>"},
    )
    stop = {"chatml": "<|im_end|>", "smollm2": "<|im_end|>", "llama3": "<|eot_id|>"}.get(name, "</s>")
    trained = [text[start:end].strip().replace(f" {stop}", stop) for start, end in spans]
    assert trained == [f"I am fine.{stop}", f"The answer is 42.{stop}", f"You are welcome.{stop}"]


def trained_text(tokenizer, template) -> str:
    (row,) = Encoder(tokenizer, template, 1024).encode({"messages": messages(THREE_TURNS)})
    return tokenizer.decode([label for label in row["labels"] if label != IGNORED])


def test_of_three_turns_with_tinyllama_exactly_the_answers_and_their_stop_tokens_are_trained(tinyllama_tokenizer):
    text = trained_text(tinyllama_tokenizer, training_template(tinyllama_tokenizer))
    assert text == "I am fine.</s>The answer is 42.</s>You are welcome.</s>"


def test_the_stop_token_is_trained_at_the_end_of_every_answer(tinyllama_tokenizer):
    encoder = Encoder(tinyllama_tokenizer, training_template(tinyllama_tokenizer), 1024)
    (row,) = encoder.encode({"messages": messages(THREE_TURNS)})
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


def test_a_base_without_a_template_gets_tinyllamas(tmp_path):
    import shutil

    for file in TOKENIZER.iterdir():
        shutil.copy(file, tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del config["chat_template"], config["pad_token"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(tmp_path)
    assert training_template(tokenizer) == read_template("zephyr") and tokenizer.pad_token == "</s>"


def test_a_template_that_is_marked_is_taken_as_it_is_however_its_marks_are_spaced():
    tokenizer = load_tokenizer(TOKENIZER)
    tokenizer.chat_template = (
        "{% for message in messages %}[{{ message['role'] }}] "
        "{%generation%}{{ message['content'] }}{%endgeneration%}{% endfor %}"
    )
    assert training_template(tokenizer) == tokenizer.chat_template


def test_an_unknown_template_is_refused_with_what_to_do():
    tokenizer = load_tokenizer(TOKENIZER)
    tokenizer.chat_template = (
        "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}{% endfor %}"
    )
    with pytest.raises(UserError, match="Choose another template"):
        training_template(tokenizer)
