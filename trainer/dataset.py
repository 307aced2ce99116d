"""From a file or a Hub data set to what the trainer gets: rows, conversations, tokens and which of them are trained.

The preview calls the same functions: what is shown is what is trained. No torch here.

    rows = read_rows("data.jsonl")                       [{"prompt": ..., "completion": ...}, ...]
    conversations = to_conversations(rows)               [{"messages": [...]} or {"text": ...}, ...]
    encoded = encode(conversation, tokenizer, template)  [{"input_ids": [...], "labels": [...]}]
"""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError
from common.paths import REPOSITORY
from trainer.config import EXAMPLE

EXAMPLE_TRAIN = REPOSITORY / "examples" / "study_coach.jsonl"
EXAMPLE_HELD_OUT = REPOSITORY / "examples" / "study_coach_heldout.jsonl"
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
ROLES = ("system", "user", "assistant")
SHAREGPT_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
SHAPES = "messages; prompt and completion; instruction, input and output; conversations; text"
IGNORED = -100  # the label that PyTorch's cross entropy leaves out


@dataclass
class Encoded:
    """Rows ready for the trainer, and a report of what was left out. Row numbers count from 1, as people do."""

    rows: list[dict] = field(default_factory=list)
    too_long: list[tuple[int, int]] = field(default_factory=list)  # (row number, tokens)
    nothing_trained: list[int] = field(default_factory=list)

    def report(self, max_length: int) -> str:
        """One sentence a kind of row that was left out; "" when all are used."""
        parts = []
        if self.too_long:
            shown = ", ".join(f"row {number} ({tokens} tokens)" for number, tokens in self.too_long[:5])
            parts.append(f"{len(self.too_long)} rows are longer than {max_length} tokens and left out: {shown}.")
        if self.nothing_trained:
            shown = ", ".join(f"row {number}" for number in self.nothing_trained[:5])
            parts.append(f"{len(self.nothing_trained)} rows hold no token to train and are left out: {shown}.")
        return " ".join(parts)


def read_rows(data: str, split: str = "train") -> list[dict]:
    """The rows of `data`: 'example', a file, or a Hub data set id. Raises UserError when there are none."""
    if data == EXAMPLE:
        return _read_file(EXAMPLE_TRAIN)
    path = Path(data)
    if path.suffix.lower() in SUFFIXES or path.exists():
        return _read_file(path)
    return _read_hub(data, split)


def _read_file(path: Path) -> list[dict]:
    readers = {".jsonl": _read_jsonl, ".json": _read_json, ".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"'{path.name}' is not a kind of file that is read.", f"Use {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise UserError(f"There is no file '{path}'.")
    try:
        rows = reader(path)
    except UnicodeDecodeError as error:
        raise UserError(f"'{path.name}' is not UTF-8 text.", "Save it as UTF-8.") from error
    if not rows:
        raise UserError(f"'{path.name}' holds no rows.", f"Give at least one row in one of these shapes: {SHAPES}.")
    return rows


def _read_jsonl(path: Path) -> list[dict]:
    rows = []
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                rows.append(_parse(line, f"line {number} of '{path.name}'"))
    return rows


def _parse(text: str, where: str) -> dict:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where} is not JSON: {str(error)[:100]}.", "Write one JSON object a line.") from error
    if not isinstance(row, dict):
        raise UserError(
            f"{where} is a {type(row).__name__}, not an object.", 'Write {"prompt": ..., "completion": ...}.'
        )
    return row


def _read_json(path: Path) -> list[dict]:
    text = path.read_text(encoding="utf-8-sig")
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UserError(
            f"'{path.name}' is not JSON: {str(error)[:100]}.", "Is it JSON lines? Call it .jsonl."
        ) from error
    if isinstance(value, dict):
        lists = [part for part in value.values() if isinstance(part, list)]
        value = lists[0] if len(lists) == 1 and "messages" not in value else [value]
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise UserError(f"'{path.name}' is not a list of objects.", 'Write [{"prompt": ..., "completion": ...}, ...].')
    return value


def _read_csv(path: Path) -> list[dict]:
    import pandas

    try:
        table = pandas.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pandas.errors.EmptyDataError:
        return []
    except pandas.errors.ParserError as error:
        raise UserError(f"'{path.name}' is not a table: {str(error)[:100]}.") from error
    return table.to_dict("records")


def _read_parquet(path: Path) -> list[dict]:
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise UserError(f"'{path.name}' is not a Parquet file: {str(error)[:100]}.") from error


def _read_hub(name: str, split: str) -> list[dict]:
    from datasets import load_dataset
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return load_dataset(name, split=split, token=False).to_list()
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise UserError(
            f"'{name}' is neither a file here nor a data set that the Hub gives: {str(error).splitlines()[0][:200]}",
            "Check the spelling and the network, or upload a file.",
        ) from error


def to_conversations(rows: Iterable[dict], skip_bad_rows: bool = False) -> tuple[list[dict], list[str]]:
    """Every row as {"messages": [...]} or {"text": ...}, and a sentence for each bad one.

    Raises UserError naming the first bad rows unless `skip_bad_rows`, and when nothing is left.
    """
    conversations, bad = [], []
    for number, row in enumerate(rows, 1):
        try:
            conversations.append(to_conversation(row))
        except UserError as error:
            bad.append(f"row {number}: {error}")
    if bad and (not skip_bad_rows or not conversations):
        more = f" And {len(bad) - 3} more." if len(bad) > 3 else ""
        raise UserError(
            f"{len(bad)} of {len(bad) + len(conversations)} rows cannot be used. {' '.join(bad[:3])}{more}",
            "Mend them, or set skip_bad_rows to leave them out.",
        )
    return conversations, bad


def to_conversation(row: dict) -> dict:
    """One row in any known shape as {"messages": [...]} or {"text": ...}. Raises UserError with keys found and cure."""
    if "messages" in row:
        return {"messages": _messages(_listed(row["messages"]), "role", "content", {role: role for role in ROLES})}
    if "conversations" in row:
        turns = _listed(row["conversations"])
        keys = ("from", "value") if turns and isinstance(turns[0], dict) and "from" in turns[0] else ("role", "content")
        return {"messages": _messages(turns, *keys, SHAREGPT_ROLES)}
    if "prompt" in row and "completion" in row:
        return _pair(row["prompt"], row["completion"], "completion")
    if "instruction" in row and "output" in row:
        extra = row.get("input") or ""
        pair = _pair(f"{row['instruction']}\n\n{extra}" if extra else row["instruction"], row["output"], "output")
        system = row.get("system")
        return {"messages": [{"role": "system", "content": system}, *pair["messages"]]} if system else pair
    if "text" in row:
        return {"text": _words(row["text"], "text")}
    raise UserError(f"no known shape; found the keys {', '.join(map(str, row)) or 'none'}.", f"Known shapes: {SHAPES}.")


def _listed(value) -> list:
    """A list of turns; a CSV cell carries it as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise UserError("its list of turns is not JSON.") from error
    if not isinstance(value, list) or not value:
        raise UserError("its list of turns is empty or not a list.", 'Write [{"role": "user", "content": ...}, ...].')
    return value


def _messages(turns: list, role_key: str, text_key: str, roles: dict[str, str]) -> list[dict]:
    messages = []
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, dict) or role_key not in turn or text_key not in turn:
            raise UserError(f"turn {number} lacks '{role_key}' or '{text_key}'.")
        role = roles.get(str(turn[role_key]))
        if role is None:
            raise UserError(f"turn {number} has the unknown role '{turn[role_key]}'.", f"Use {', '.join(roles)}.")
        if role == "system" and number > 1:
            raise UserError(f"turn {number} is a system message.", "Only the first turn can be one.")
        messages.append({"role": role, "content": _words(turn[text_key], f"turn {number}")})
    if messages[-1]["role"] != "assistant":
        raise UserError(f"it ends with the {messages[-1]['role']}'s turn.", "End it with the assistant's answer.")
    return messages


def _pair(prompt, completion, key: str) -> dict:
    """A prompt and a completion, each text or (as TRL writes it) a list of messages."""
    if isinstance(prompt, list) and isinstance(completion, list):
        return {"messages": _messages(prompt + completion, "role", "content", {role: role for role in ROLES})}
    return {
        "messages": [
            {"role": "user", "content": _words(prompt, "prompt")},
            {"role": "assistant", "content": _words(completion, key)},
        ]
    }


def _words(value, where: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{where} is a {type(value).__name__}, not text.")
    if not value.strip():
        raise UserError(f"{where} is empty.")
    return value


def split_held_out(rows: list, fraction: float, seed: int) -> tuple[list, list]:
    """(training rows, held-out rows), chosen by `seed`; at least one row stays on each side when there are two."""
    if fraction <= 0 or len(rows) < 2:
        return rows, []
    count = min(max(1, round(len(rows) * fraction)), len(rows) - 1)
    held_out = set(random.Random(seed).sample(range(len(rows)), count))
    return (
        [row for number, row in enumerate(rows) if number not in held_out],
        [row for number, row in enumerate(rows) if number in held_out],
    )


def encode_all(conversations: list[dict], tokenizer, template: str, max_length: int) -> Encoded:
    """Tokenise every conversation; rows that are too long or hold nothing to train are reported, never cut silently."""
    encoded = Encoded()
    for number, conversation in enumerate(conversations, 1):
        for row in encode(conversation, tokenizer, template, max_length):
            if len(row["input_ids"]) > max_length:
                encoded.too_long.append((number, len(row["input_ids"])))
            elif all(label == IGNORED for label in row["labels"][1:]):
                encoded.nothing_trained.append(number)
            else:
                encoded.rows.append(row)
    return encoded


def encode(conversation: dict, tokenizer, template: str, max_length: int) -> list[dict]:
    """One conversation as [{"input_ids", "labels"}], labels -100 wherever a token is not trained.

    Of messages, what the template marks is trained: the assistant's words and the stop token. Of plain text everything is,
    with the stop token at its end; a text longer than `max_length` becomes several rows and loses nothing.
    """
    if "text" in conversation:
        return _encode_text(conversation["text"], tokenizer, max_length)
    result = tokenizer.apply_chat_template(
        conversation["messages"],
        chat_template=template,
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    ids = list(result["input_ids"])
    labels = [token if trained else IGNORED for token, trained in zip(ids, result["assistant_masks"], strict=True)]
    return [{"input_ids": ids, "labels": labels}]


def _encode_text(text: str, tokenizer, max_length: int) -> list[dict]:
    ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    pieces = [ids[start : start + max_length] for start in range(0, len(ids), max_length)]
    return [{"input_ids": piece, "labels": list(piece)} for piece in pieces]


def preview(rows: list[dict], tokenizer, template: str, max_length: int) -> list[dict]:
    """For each row its ids, tokens and which are trained, exactly as the trainer gets them.

    Returns [{"row": 1, "ids": [...], "tokens": [...], "trained": [...], "used": bool}]; a text may give several entries.
    """
    shown = []
    for number, row in enumerate(rows, 1):
        try:
            conversation = to_conversation(row)
        except UserError as error:
            raise UserError(f"Row {number}: {error.message}", error.hint) from error
        for piece in encode(conversation, tokenizer, template, max_length):
            trained = [label != IGNORED for label in piece["labels"]]
            shown.append(
                {
                    "row": number,
                    "ids": piece["input_ids"],
                    "tokens": tokenizer.convert_ids_to_tokens(piece["input_ids"]),
                    "trained": trained,
                    "used": len(piece["input_ids"]) <= max_length and any(trained[1:]),
                }
            )
    return shown
