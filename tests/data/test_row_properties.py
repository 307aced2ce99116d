"""Whatever rows of a kind hold: what is trained is exactly what the row means, or a notice says otherwise."""

import json
import re
import string

from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from data.columns import NAMES, guess_mapping, recognise, rows_of_object
from data.dataset import IGNORED, Encoder
from data.shapes import to_conversation
from data.turns import LeftOut
from models.templates import training_template

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)
PLAIN = st.text(string.ascii_letters + " .", min_size=1, max_size=30).filter(str.strip).map(str.strip)
EMPTY = st.sampled_from([None, "", " ", [], {}, {"a": None}, [None, ""], float("nan")])
FULL = st.one_of(PLAIN.map("# {}".format), st.integers(), st.booleans(), st.lists(PLAIN, min_size=1))
NOISE = st.tuples(*(st.dictionaries(st.sampled_from(names), values, max_size=3) for names, values in (
    (["note", "source", "thinking", "score"], FULL), (["tags", "id", "url", "meta"], EMPTY),
)))  # fmt: skip
FLAGS = st.sampled_from([{"weight": 0}, {"train": False}, {"loss": "false"}, {"trainable": 0}])
SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}


@st.composite
def talks(draw, words=WORDS, is_flagged: bool = True) -> list[dict]:
    """Messages as training takes them: maybe a system prompt, then questions and answers, some of them read only."""
    talk = [{"role": "system", "content": draw(words)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        read_only = {"trained": False} if is_flagged and draw(st.booleans()) else {}
        talk += [{"role": "user", "content": draw(words)}, {"role": "assistant", "content": draw(words), **read_only}]
    return talk


def written(
    talk: list[dict], flag: dict, who: str = "role", what: str = "content", roles: dict | None = None
) -> list[dict]:
    """The same turns as a file writes them."""
    names = roles or {}
    return [
        {
            who: names.get(turn["role"], turn["role"]),
            what: turn["content"],
            **({} if turn.get("trained", True) else flag),
        }
        for turn in talk
    ]


def in_columns(turns: list[dict]) -> dict:
    keys = dict.fromkeys(key for turn in turns for key in turn)
    return {key: [turn.get(key) for turn in turns] for key in keys}


WAYS = {
    "openai": lambda talk, flag: {"messages": written(talk, flag)},
    "sharegpt": lambda talk, flag: {"conversations": written(talk, flag, "from", "value", SHAREGPT)},
    "arrow": lambda talk, flag: {
        "conversations": [{"from": None, "value": None, "weight": None, **turn} for turn in written(talk, flag)]
    },
    "parts": lambda talk, flag: {
        "messages": [
            {
                **turn,
                "content": [
                    {"type": "text", "text": turn["content"][:3]},
                    {"type": "text", "text": turn["content"][3:]},
                ],
            }
            for turn in written(talk, flag)
        ]
    },
    "columns": lambda talk, flag: {"messages": in_columns(written(talk, flag))},
    "json": lambda talk, flag: {"messages": json.dumps(written(talk, flag))},
    "inside": lambda talk, flag: {"body": {"messages": written(talk, flag)}},
    "any name": lambda talk, flag: {"whatever": written(talk, flag)},
    "trl": lambda talk, flag: {"prompt": written(talk[:-1], flag), "completion": written(talk[-1:], flag)},
    "chosen": lambda talk, flag: {"chosen": written(talk, flag), "rejected": written(talk[:-1], flag)},
}


@given(talks(), st.sampled_from(sorted(WAYS)), FLAGS, NOISE)
def test_turns_are_trained_as_they_are_meant_however_they_are_written(talk, way, flag, noise):
    full, empty = noise
    row, notices = WAYS[way](talk, flag) | full | empty, set()
    assert to_conversation(row, notices=notices) == {"messages": talk}
    expected = {("unused", name) for name in full}
    expected |= {("untrained", "") for turn in talk if "trained" in turn}
    expected |= {("preference", "")} if way == "chosen" else set()
    assert notices == expected
    mapping = recognise([row])
    assert mapping and to_conversation(row, mapping) == {"messages": talk}


@given(talks(is_flagged=False), st.sampled_from(["pairs", "turns", "json", "xtuner"]), NOISE)
def test_turns_before_a_pair_come_before_it(talk, way, noise):
    system = {"system": talk[0]["content"]} if talk[0]["role"] == "system" else {}
    *before, question, answer = talk[len(system) :]
    pairs = [[asked["content"], said["content"]] for asked, said in zip(before[::2], before[1::2], strict=True)]
    history = {"pairs": pairs, "turns": before, "json": json.dumps(pairs), "xtuner": None}[way]
    row: dict = {
        "instruction": question["content"],
        "input": "",
        "output": answer["content"],
        "history": history,
        **system,
    }
    if way == "xtuner":
        exchanges = [
            {"input": asked, "output": said} for asked, said in [*pairs, [question["content"], answer["content"]]]
        ]
        row = {"conversation": [{**exchanges[0], **system}, *exchanges[1:]]}
    full, empty = noise
    notices: set = set()
    assert to_conversation(row | full | empty, notices=notices) == {"messages": talk}
    assert notices == {("unused", name) for name in full}


@given(talks(words=PLAIN), st.lists(st.tuples(st.integers(0, 9), PLAIN), min_size=1, max_size=3), st.booleans())
def test_system_turns_anywhere_are_joined_to_the_front_and_said_or_kept(talk, later, ends_with_a_question):
    turns = written(talk, {"weight": 0})
    for place, words in later:
        turns.insert(1 + place % (len(turns) - 1), {"role": "system", "content": words})
    thanks = [{"role": "user", "content": "Thanks"}] if ends_with_a_question else []
    notices: set = set()
    joined = to_conversation({"messages": turns + thanks}, notices=notices)["messages"]
    texts = dict.fromkeys(turn["content"] for turn in turns if turn["role"] == "system")
    assert joined[0] == {"role": "system", "content": "\n\n".join(texts)}
    assert joined[1:] == [turn for turn in talk if turn["role"] != "system"]
    assert (("unanswered", "") in notices) == ends_with_a_question
    assert ("system_turns", "") in notices or (talk[0]["role"] == "system" and len(texts) == 1)
    kept = to_conversation({"messages": turns + thanks}, system_turns="keep")["messages"]
    assert written(kept, {"weight": 0}) == turns


@given(PLAIN, PLAIN, PLAIN, st.sampled_from(["text", "turns", "whole", "sharegpt", "hh", "kto"]), st.booleans())
def test_of_preference_data_the_good_side_alone_is_trained(question, good, bad, way, is_first):
    asked, right, wrong = ({"role": role, "content": text} for role, text in (
        ("user", question), ("assistant", good), ("assistant", f"BAD {bad}"),
    ))  # fmt: skip
    sides = {
        "text": [good, f"BAD {bad}"],
        "turns": [[right], [wrong]],
        "whole": [[asked, right], [asked, wrong]],
        "sharegpt": [{"from": "gpt", "value": good}, {"from": "gpt", "value": f"BAD {bad}"}],
        "hh": [f"\n\nHuman: {question}\n\nAssistant: {answer}" for answer in (good, f"BAD {bad}")],
        "kto": [None, None],
    }[way]
    prompt = {"text": question, "turns": [asked], "whole": question, "hh": None}.get(way)
    row = {"prompt": prompt, "chosen": sides[0], "rejected": sides[1]}
    if way == "sharegpt":
        row = {**row, "conversations": [{"from": "human", "value": question}]}
    if way == "kto":
        row = {"prompt": question, "completion": good if is_first else f"BAD {bad}", "label": is_first}
    row = dict(row.items() if is_first else reversed(row.items()))
    notices: set = set()
    try:
        trained = to_conversation(row, notices=notices)
    except LeftOut as left_out:
        assert way == "kto" and not is_first and left_out.notice[0] == "label"
    else:
        assert trained == {"messages": [asked, right]} and (way != "kto" or is_first)
        assert notices == (set() if way == "kto" else {("preference", "")})


@given(talks(words=PLAIN, is_flagged=False), st.data())
def test_calls_of_tools_leave_the_other_turns(talk, data):
    calls = st.sampled_from([
        [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, {"role": "tool", "content": "3"}],
        [{"role": "assistant", "content": "", "function_call": {"name": "w"}}, {"role": "function", "content": "3"}],
        [{"from": "function_call", "value": "{}"}, {"from": "observation", "value": "3"}],
        [{"role": "assistant", "content": [{"type": "tool_use"}]}, {"role": "user", "content": [{"type": "tool_result"}]}],
        [{"from": "gpt", "value": "<tool_call>{}</tool_call>"}, {"from": "tool", "value": "3"}],
    ])  # fmt: skip
    answers = [place for place, turn in enumerate(talk) if turn["role"] == "assistant"]
    place = data.draw(st.sampled_from(answers))
    notices: set = set()
    row = {"messages": [*talk[:place], *data.draw(calls), *talk[place:]]}
    assert to_conversation(row, notices=notices) == {"messages": talk} and notices == {("tools", "")}


@given(talks(words=PLAIN, is_flagged=False), st.data())
def test_a_picture_ends_what_is_trained_of_a_row(talk, data):
    pictures = st.sampled_from(
        [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "image"}, {"image": b"\x89", "text": None}]
    )
    place = data.draw(st.sampled_from([place for place, turn in enumerate(talk) if turn["role"] == "user"]))
    part = {"type": "text", "text": talk[place]["content"]}
    turns = [*talk[:place], {"role": "user", "content": [data.draw(pictures), part]}, *talk[place + 1 :]]
    notices: set = set()
    try:
        trained = to_conversation({"messages": turns}, notices=notices)
    except LeftOut as left_out:
        assert not any(turn["role"] == "assistant" for turn in talk[:place]) and left_out.notice[0] == "pictures"
    else:
        assert trained == {"messages": talk[:place]} and notices == {("pictures", "")}


NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), PLAIN.map(str.encode))


@given(NUMBERS, WORDS, st.sampled_from([("prompt", "completion"), ("question", "answer"), ("input", "output")]))
def test_numbers_truth_values_and_bytes_become_text(value, words, names):
    prompt, completion = names
    text = value.decode() if isinstance(value, bytes) else str(value).lower() if isinstance(value, bool) else str(value)
    for row, said in (
        ({prompt: words, completion: value}, [words, text]),
        ({prompt: value, completion: words}, [text, words]),
    ):
        notices: set = set()
        messages = to_conversation(row, notices=notices)["messages"]
        assert [message["content"] for message in messages] == said
        assert notices == {("to_text", name) for name in names if row[name] is value}


CELLS = st.one_of(PLAIN, st.integers(), st.none(), st.lists(PLAIN, max_size=2))
COLUMNS = st.lists(st.sampled_from(["prompt", "completion", "note", "id"]), min_size=1, unique=True)


@given(
    COLUMNS.flatmap(lambda names: st.lists(st.fixed_dictionaries(dict.fromkeys(names, CELLS)), min_size=1, max_size=4))
)
def test_columns_in_an_object_are_rows_and_never_turns(rows):
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    by_index = {name: {str(number): cell for number, cell in enumerate(column)} for name, column in columns.items()}
    beside = {
        "columns": list(columns),
        "index": list(range(len(rows))),
        "data": [[row[name] for name in columns] for row in rows],
    }
    assert rows_of_object(columns) == rows_of_object(by_index) == rows_of_object(beside) == rows


KEYS = (
    "role",
    "content",
    "from",
    "value",
    "text",
    "type",
    "messages",
    "parts",
    "tool_calls",
    "input",
    "output",
    "weight",
)
COLUMN_NAMES = [name for names in NAMES.values() for name in names] + [
    "chosen",
    "rejected",
    "choices",
    "image",
    "tools",
    "A",
]
SCALARS = st.one_of(
    st.sampled_from(["user", "assistant", "system", "tool", "Q", "", "[]", "[{", "false"]), NUMBERS, EMPTY
)
ANY = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
)


@given(st.dictionaries(st.sampled_from(COLUMN_NAMES), ANY, max_size=5), st.sampled_from(["join", "keep"]))
def test_any_row_is_a_conversation_or_a_sentence_without_a_word_of_python(row, system_turns):
    notices: set = set()
    guess_mapping([row])
    try:
        conversation = to_conversation(row, notices=notices, system_turns=system_turns)
    except UserError as error:
        assert str(error) and not re.search(r"NoneType|\bdict\b|\bbytes\b", str(error))
        return
    messages = conversation.get("messages", [])
    assert "text" in conversation or messages[-1]["role"] == "assistant"
    assert all(message["content"].strip() for message in messages)
    assert system_turns == "keep" or "system" not in [message["role"] for message in messages[1:]]


@given(talks(words=PLAIN), FLAGS)
def test_the_mask_covers_the_answers_that_are_trained_and_no_other_token(tinyllama_tokenizer, talk, flag):
    encoder = Encoder(tinyllama_tokenizer, training_template(tinyllama_tokenizer), 4096)
    (shown,) = encoder.preview(1, {"messages": written(talk, flag)})
    (row,) = encoder.encode(to_conversation({"messages": written(talk, flag)}))
    answers = [turn["content"] for turn in talk if turn["role"] == "assistant" and turn.get("trained", True)]
    said = tinyllama_tokenizer.decode([label for label in row["labels"] if label != IGNORED])
    assert "".join(said.split()) == "".join("".join(f"{answer}</s>" for answer in answers).split())
    assert shown["ids"] == row["input_ids"] and shown["used"] == bool(answers)
    assert shown["trained"] == [label != IGNORED for label in row["labels"]]
