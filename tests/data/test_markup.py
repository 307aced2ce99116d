"""Texts that carry a chat template give their conversation back, or lose the marks; prose about templates is left alone."""

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from data.dataset import IGNORED, Encoder
from data.examine import build_report
from data.findings import CheckedBase
from data.intake import load_data, load_text, prepare
from data.markup import BOILERPLATE, MAX_CHARACTERS, STOP_TOKENS, STYLES, dialogue_turns, find_markup
from data.reading import read_rows
from data.shapes import conversation_of, to_conversation
from models.templates import NAMES, read_template, without_marks
from runs.config import MARKUP, TrainConfig

LETTERS = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="<>[]#:|｜`'\"({")
CONTENTS = st.text(LETTERS | st.just("\n"), min_size=1, max_size=40).map(str.strip).filter(bool)
TITLES = {"user": "Human", "assistant": "Assistant", "system": "System"}


def talk(*contents: str, system: str = "") -> list[dict]:
    turns = [
        {"role": "user" if number % 2 == 0 else "assistant", "content": words} for number, words in enumerate(contents)
    ]
    return [{"role": "system", "content": system}, *turns] if system else turns


@st.composite
def conversations(draw, with_system: bool | None = None):
    """Whole exchanges, with or without a system turn."""
    contents = draw(st.lists(st.tuples(CONTENTS, CONTENTS), min_size=1, max_size=3))
    system = draw(CONTENTS) if with_system or (with_system is None and draw(st.booleans())) else ""
    return talk(*[words for exchange in contents for words in exchange], system=system)


def lines(marker: str, stop: str, names: dict[str, str] | None = None, start: str = ""):
    """How templates write turns that are alike: `marker` with the role's name in it, the words, `stop`."""
    return lambda turns: (
        start
        + "".join(f"{marker % (names or {}).get(turn['role'], turn['role'])}{turn['content']}{stop}" for turn in turns)
    )


FORMATS = {  # as their authors publish them
    "Phi 3": ("Zephyr", lines("<|%s|>\n", "<|end|>\n")),
    "Tulu": ("Zephyr", lines("<|%s|>\n", "\n")),
    "GLM 4": ("Zephyr", lines("<|%s|>\n", "", start="[gMASK]<sop>")),
    "OpenAssistant": ("Zephyr", lines("<|%s|>", "<|endoftext|>", {"user": "prompter"})),
    "Qwen": ("ChatML", lines("<|im_start|>%s\n", "<|im_end|>\n")),
    "Llama 3": (
        "Llama 3",
        lines("<|start_header_id|>%s<|end_header_id|>\n\n", "<|eot_id|>", start="<|begin_of_text|>"),
    ),
    "Llama 4": ("Llama 4", lines("<|header_start|>%s<|header_end|>\n\n", "<|eot|>", start="<|begin_of_text|>")),
    "Gemma": ("Gemma", lines("<start_of_turn>%s\n", "<end_of_turn>\n", {"assistant": "model"}, "<bos>")),
    "Granite": ("Granite", lines("<|start_of_role|>%s<|end_of_role|>", "<|end_of_text|>\n")),
    "Command R": (
        "Command R",
        lines(
            "<|START_OF_TURN_TOKEN|><|%s_TOKEN|>",
            "<|END_OF_TURN_TOKEN|>",
            {"user": "USER", "system": "SYSTEM", "assistant": "CHATBOT"},
        ),
    ),
    "OIG": ("<human>: / <bot>:", lines("<%s>: ", "\n", {"user": "human", "assistant": "bot"})),
    "gpt-oss": (
        "Harmony",
        lines("<|start|>%s<|message|>", "<|end|>", {"assistant": "assistant<|channel|>final"}),
    ),
    "guanaco": ("### ...:", lines("### %s: ", "", TITLES)),
    "Orca": ("### ...:", lines("### %s:\n", "\n\n", TITLES)),
    "hh-rlhf": ("Human: / Assistant:", lines("\n\n%s: ", "", TITLES)),
    "User:": ("Human: / Assistant:", lines("%s: ", "\n", {**TITLES, "user": "User"})),
}


def turns_of(text_or_messages) -> list[dict] | None:
    key = "text" if isinstance(text_or_messages, str) else "messages"
    found = find_markup({key: text_or_messages})
    return found and found.turns["messages"]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_template_of_ours_renders_is_read_back_as_a_text_a_pair_and_message_by_message(
    tinyllama_tokenizer, name
):
    template = without_marks(read_template(name))

    def rendered(turns, opening=False):
        return tinyllama_tokenizer.apply_chat_template(
            turns, chat_template=template, tokenize=False, add_generation_prompt=opening
        )

    # SmolLM2 writes a system prompt of its own where there is none
    @settings(max_examples=40, deadline=None)
    @given(conversations(with_system=True if name == "smollm2" else None))
    def check(turns):
        text, prompt = rendered(turns), rendered(turns[:-1], opening=True)
        assert turns_of(text) == turns
        assert turns_of(rendered([*turns, *talk("More?")])) == [*turns, *talk("More?")]
        assert text.startswith(prompt)
        assert turns_of(talk(prompt, text[len(prompt) :])) == turns

    check()


@pytest.mark.parametrize("name", FORMATS)
def test_published_formats_are_read_back_with_their_name(name):
    family, rendered = FORMATS[name]

    @settings(max_examples=40, deadline=None)
    @given(conversations())
    def check(turns):
        text = rendered(turns)
        assert turns_of(text) == turns and find_markup({"text": text}).family == family
        assert turns_of(text.rstrip()) == turns
        assert turns_of(rendered([*turns, *talk("More?")])) == [*turns, *talk("More?")]
        assert turns_of([{**turn, "content": rendered([turn])} for turn in turns]) == turns
        if not any("\n" in turn["content"] for turn in turns):
            assert turns_of(text.replace("\n", "\r\n")) == turns
        said = "\n\n".join(turn["content"] for turn in turns)
        assert find_markup({"text": text}).stripped == {"text": said}

    check()


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("<|user|>\nHi</s>\n<|assistant|>\nHello.</s>\n", talk("Hi", "Hello.")),
        ("<|user|>\nHi</s>\n<|assistant|>\nHello.", talk("Hi", "Hello.")),
        ("<|user|>\nHi</s>\n<|assistant|>\n", talk("Hi")),
        ("<s>[INST] Hi [/INST] Hello.</s>[INST] Bye [/INST] Bye.</s>", talk("Hi", "Hello.", "Bye", "Bye.")),
        ("[INST]<<SYS>>Be short.<</SYS>>Hi[/INST]Hello.", talk("Hi", "Hello.", system="Be short.")),
        ("[SYSTEM_PROMPT]Be short.[/SYSTEM_PROMPT][INST]Hi[/INST]Yo</s>", talk("Hi", "Yo", system="Be short.")),
        ("<｜begin▁of▁sentence｜>S<｜User｜>Hi<｜Assistant｜>Yo<｜end▁of▁sentence｜>", talk("Hi", "Yo", system="S")),
        ("### Human: Hi### Assistant: Hello.", talk("Hi", "Hello.")),
        ('### Human: Say "hi"### Assistant: "hi"', talk('Say "hi"', '"hi"')),
        (f"{BOILERPLATE[0]}\n\n### Instruction:\nHi\n\n### Response:\nHello.", talk("Hi", "Hello.")),
        (
            f"{BOILERPLATE[1]}\n\n### Instruction:\nAdd\n\n### Input:\n1, 2\n\n### Response:\n3\n\n### End",
            talk("Add\n\n1, 2", "3"),
        ),
        ("You know SQL.\n\n### Instruction:\nHi\n\n### Response:\nYo", talk("Hi", "Yo", system="You know SQL.")),
        ("### 질문: 안녕?\n\n### 답변: 네.", talk("안녕?", "네.")),
        ("User: Hi\nBot: Hello.", talk("Hi", "Hello.")),
        ("사용자: 안녕?\n챗봇: 네.", talk("안녕?", "네.")),
        ("Instruct: Hi\nOutput: Hello.", talk("Hi", "Hello.")),
        (f"{BOILERPLATE[2]} USER: Hi ASSISTANT: Hello.</s>USER: Bye", talk("Hi", "Hello.", "Bye")),
        ("USER: Hi\nASSISTANT: Hello.", talk("Hi", "Hello.")),
        ("Human: Hi\nAI: def f():\n    pass", talk("Hi", "def f():\n    pass")),
        ("<|im_start|>user\nCode<|im_end|>\n<|im_start|>assistant\n    pass\n<|im_end|>", talk("Code", "    pass")),
        ("<|user|>\nWhat is </s>?</s>\n<|assistant|>\nIt is\n`<|user|>`'s end.</s>",
         talk("What is </s>?", "It is\n`<|user|>`'s end.")),
    ],
)  # fmt: skip
def test_what_people_have_in_their_files_is_read_as_they_mean_it(text, turns):
    assert turns_of(text) == turns


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        (talk("<|user|>\nSay 0</s>\n<|assistant|>\n", "0.</s>"), talk("Say 0", "0.")),
        (talk("<|im_start|>user\nHi<|im_end|>\n", "Hello."), talk("Hi", "Hello.")),
        (talk("<s>[INST] Hi [/INST]", "Hello.</s>"), talk("Hi", "Hello.")),
        (talk("\n\nHuman: Hi\n\nAssistant: Yo\n\nHuman: Bye\n\nAssistant:", " Bye."), talk("Hi", "Yo", "Bye", "Bye.")),
        (talk("<|user|>\nHi</s>\n<|assistant|>\n", "Yo</s>\n<|user|>\nBye</s>"), talk("Hi", "Yo", "Bye")),
        (talk("Hi", "Hello.</s>"), talk("Hi", "Hello.")),
        (talk("Hi", "Hello.<|im_end|>\n", "Bye", "Bye."), talk("Hi", "Hello.", "Bye", "Bye.")),
    ],
)
def test_markup_within_messages_is_found_and_the_roles_stay(messages, turns):
    found = find_markup({"messages": messages})
    assert found.turns["messages"] == turns
    assert [turn["role"] for turn in found.stripped["messages"]] == [turn["role"] for turn in messages]


@pytest.mark.parametrize(
    "conversation",
    [
        {"text": "TinyLlama writes <|user|> and <|assistant|> before the turns, and </s> after them."},
        {"text": "<|user|> and <|assistant|> are TinyLlama's tags."},
        {"text": "<|user|>\n<|assistant|>\n<|system|>\nare TinyLlama's tags."},
        {"text": "ChatML looks so:\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>"},
        {"text": "Human: the adjective.\nAn Assistant: somebody who helps."},
        {"text": "He said:\n\nHuman: What is it?\n\nAssistant: A test.\n\nThen he left."},
        {"text": "# Prompts\n\nWrite\n\n### Instruction:\nDo it\n\n### Response:\nDone"},
        {"text": "# FAQ\n\n### Question: Why?\n\n### Answer: So."},
        {"text": "### Summary:\nA report.\n### Question:\nWhy?"},
        {"text": "Strike <s>old</s> and <s>older</s>"},
        {"text": "The last token is </s>"},
        {"text": "Once upon a time."},
        {"messages": talk("What is this?\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>", "C")},
        {"messages": talk("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>", "That is ChatML.")},
        {"messages": talk("User: a\nAssistant: b\n\nSum this talk up.", "They spoke.")},
        {"messages": talk("Human: Hi", "Hello.")},
        {"messages": talk("a</s><|assistant|>", "b</s>\n<|user|>\nc")},
    ],
)
def test_what_mentions_markup_holds_none(conversation):
    assert find_markup(conversation) is None


MENTIONS = [f"<|{role}|>" for role in ("user", "assistant", "system")] + ["</s>", "<s>", "[INST]", "[/INST]", "<<SYS>>"]
MENTIONS += ["<|im_start|>user", "<|im_end|>", "Human:", "Assistant:", "USER:", "ASSISTANT:", "### Human:", "<bos>"]
MENTIONS += ["### Instruction:", "### Response:", "<start_of_turn>model", "<|eot_id|>", "`<|user|>`", '"<|user|>"']


@settings(max_examples=300, deadline=None)
@given(st.lists(CONTENTS.map(lambda words: " ".join(words.split())) | st.sampled_from(MENTIONS), max_size=12))
def test_prose_with_markers_in_its_sentences_is_never_found(words):
    assert find_markup({"text": " ".join(["Note", *words, "."])}) is None
    assert find_markup({"messages": talk(" ".join(["What is", *words, "?"]), " ".join(["It is", *words, "."]))}) is None


UNITS = ("<|", "##", "### ", "Human:", "\nHuman: a\nAssistant: b", "<|user|>", "<|im_start|>user\n", "</s>", "[INST]")
UNITS += ("USER: ASSISTANT:", "<|start_header_id|>", " ", "\t \n")
HEADS = ("", "<|user|>\nHi</s>\n<|assistant|>\n", "Human: Hi\n\nAssistant: ", "### Human: a### Assistant: ")


@pytest.mark.parametrize("unit", UNITS)
def test_no_text_takes_long_whatever_it_repeats(unit):
    for head, size in ((HEADS[0], 8_000_000), *((head, MAX_CHARACTERS - 100) for head in HEADS)):
        text = head + unit * (size // len(unit))
        before = time.thread_time()
        find_markup({"text": text})
        dialogue_turns(text)
        assert time.thread_time() - before < 5, head


def test_dialogue_is_found_for_preference_data():
    assert dialogue_turns("\n\nHuman: Hi\n\nAssistant: Yo\n\nHuman: Bye\n\nAssistant: Bye.") == talk(
        "Hi", "Yo", "Bye", "Bye."
    )
    assert dialogue_turns("Once upon a time.") is dialogue_turns("<|user|>\nHi</s>\n<|assistant|>\nYo</s>") is None


def test_every_family_has_a_name_of_its_own():
    assert len({family.name for family in STYLES} | {STOP_TOKENS}) == len(STYLES) + 1


ROWS = [
    {"text": "<|user|>\nHi</s>\n<|assistant|>\nHello.</s>\n"},
    {"text": "<s>[INST] Hi [/INST] Hello there.</s>"},
    {"prompt": "<|user|>\nSay 0</s>\n<|assistant|>\n", "completion": "0.</s>"},
    {"prompt": "What are `<|user|>` and `</s>`?", "completion": "A tag and a token."},
    {"text": "Once upon a time."},
]


@pytest.mark.parametrize("markup", MARKUP)
def test_the_preview_shows_what_the_trainer_gets_of_marked_rows(tmp_path, tinyllama_tokenizer, data_settings, markup):
    config = data_settings(ROWS, markup=markup)
    data = load_data(config, tmp_path, tinyllama_tokenizer)
    template = prepare(config, tmp_path).template(tinyllama_tokenizer)
    encoder = Encoder(tinyllama_tokenizer, template, 64, markup=markup)
    shown = [piece for row in read_rows(config.data) for piece in encoder.preview(1, row)]
    assert [piece["ids"] for piece in shown] == [row["input_ids"] for row in data.train.rows]
    assert any("3 rows contain chat markup (Zephyr, Llama 2)" in note for note in data.notes)
    trained = [
        tinyllama_tokenizer.decode([label for label in row["labels"] if label != IGNORED]).strip()
        for row in data.train.rows
    ]
    unmarked = ["A tag and a token.</s>", "<s> Once upon a time.</s>"]
    expected = {
        "turns": ["Hello.</s>", "Hello there.</s>", "0.</s>"],
        "strip": ["<s> Hi\n\nHello.</s>", "<s> Hi\n\nHello there.</s>", "0.</s>"],
    }
    assert trained[3:] == unmarked
    assert trained[:3] == expected.get(markup, trained[:3])
    if markup in ("ask", "keep"):
        assert shown[0]["text"] == ROWS[0]["text"] and shown[2]["messages"][0]["content"] == ROWS[2]["prompt"]


def test_the_report_warns_of_markup_until_a_person_has_chosen_and_every_cure_cures(
    tmp_path, tinyllama_tokenizer, data_settings
):
    def findings(**values):
        config = data_settings(ROWS, **values)
        base = CheckedBase("test/base", "for a test", 2048)
        report = build_report(config, tmp_path, tinyllama_tokenizer, base, 5, lambda sentence: None)
        return [item for item in report["findings"] if item["code"] == "markup"]

    (found,) = findings()
    assert found["level"] == "warning"
    assert found["message"].startswith("3 rows contain chat markup (Zephyr, Llama 2): row 1, row 2, row 3.")
    cures = [found["cure"], *found["other_cures"]]
    assert [cure["label"] for cure in cures] == ["Read it as messages", "Remove it", "Keep it as text"]
    for cure in cures:
        TrainConfig.from_dict(cure["changes"]).check()
        (cured,) = findings(**cure["changes"])
        assert cured["level"] == "info" and not cured["cure"] and not cured["other_cures"]


def test_markup_in_the_text_of_stage_1_is_told_and_has_no_turns(tmp_path, tinyllama_tokenizer, data_settings):
    config = replace(data_settings(ROWS[:2], max_length=256), text_data=str(tmp_path / "rows.jsonl"))
    for markup, text in (("ask", "<|user|>"), ("keep", "[INST]"), ("turns", "Hello."), ("strip", "Hello.")):
        data = load_text(replace(config, markup=markup), tmp_path, tinyllama_tokenizer)
        words = tinyllama_tokenizer.decode(data.train.rows[0]["input_ids"])
        assert text in words and ("<|user|>" in words) == (markup in ("ask", "keep"))
        assert any("2 rows contain chat markup" in note for note in data.notes)


def test_markup_of_the_held_out_file_is_told_with_its_rows(tmp_path, data_settings):
    held_out = tmp_path / "held_out.jsonl"
    held_out.write_text('{"text": "USER: Hi ASSISTANT: Hello.</s>"}')
    found = prepare(data_settings(ROWS[:1], eval_data=str(held_out), markup="turns"), tmp_path)
    assert found.markup.first == [("row 1", "Zephyr"), ("held-out row 1", "USER: / ASSISTANT:")]
    assert [row["messages"] for row in found.held_out] == [talk("Hi", "Hello.")]


def test_an_answer_that_is_read_only_stays_so_without_its_markup():
    first = {"role": "assistant", "content": "<|assistant|>\nYo</s>", "weight": 0}
    row = {"messages": [*talk("<|user|>\nHi</s>"), first, *talk("<|user|>\nBye</s>", "<|assistant|>\nBye.</s>")]}
    for markup in ("turns", "strip"):
        said = conversation_of(row, None, "join", markup)[0]["messages"]
        assert [turn["content"] for turn in said] == ["Hi", "Yo", "Bye", "Bye."]
        assert [turn.get("trained", True) for turn in said] == [True, False, True, True]


def test_turns_of_roles_that_are_not_trained_here_are_a_sentence():
    text = "<|start|>user<|message|>Hi<|end|><|start|>assistant<|channel|>analysis<|message|>Greet.<|end|>"
    text += "<|start|>assistant<|channel|>final<|message|>Hello.<|return|>"
    with pytest.raises(UserError, match="has the unknown role 'analysis'"):
        conversation_of({"text": text}, None, "join", "turns")


MARKED = st.lists(st.sampled_from(MENTIONS) | st.sampled_from(["\n", "\r\n", " ", "Hi", "Yo", ""]), max_size=20).map(
    "".join
)


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries({"text": MARKED}) | st.fixed_dictionaries({"prompt": MARKED, "completion": MARKED}))
def test_whatever_is_typed_is_a_conversation_or_a_sentence_and_stays_as_it_is_until_asked(row):
    for markup in MARKUP:
        try:
            conversation, family = conversation_of(row, None, "join", markup)
        except UserError as error:
            assert str(error)
            continue
        if markup in ("ask", "keep") or not family:
            assert conversation == to_conversation(row)
        said = (
            [conversation["text"]] if "text" in conversation else [one["content"] for one in conversation["messages"]]
        )
        typed = "".join(row.values()).split()
        assert all(any(word in piece for piece in typed) for words in said for word in words.split())
