"""How the rows of a data set lie on the Hub: as JSON lines, a file for each split, and where a data set was downloaded from.

    train.jsonl    {"messages": [...], "rejected": null, "source": "liked", "key": ..., "made": null}
    test.jsonl     where some rows are held out

The Hub's readers take columns and types from a file's first rows. So each row has every column that any of them has, null where
it has nothing to say, and the card names the types. On the way back the nulls are gone.

    STUDIO_HOME/datasets/<owner>/<name>.json    where a data set is from, beside its rows
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_type_hints

from common.errors import UserError
from common.files import read_object, write_json
from data.feedback import MAX_REJECTED, Row, RowsFile
from data.made import COLUMN as MADE
from data.made import Origin, origin_of
from models.messages import MAX_MESSAGE_CHARACTERS, check_messages

SPLITS = ("train", "test")
MAX_NAME_CHARACTERS = 100  # of a key, a source
TYPES = {str: "string", int: "int64", float: "float64", bool: "bool"}  # of the Hub's cards
ORIGIN = {name: TYPES[kind] for name, kind in get_type_hints(Origin).items()}
COLUMNS: dict[str, dict[str, Any]] = {  # what a row may have, and its type in a card
    "messages": {"list": [{"name": name, "dtype": "string"} for name in ("role", "content")]},
    "rejected": {"list": "string"},
    "label": {"dtype": "bool"},
    "source": {"dtype": "string"},
    "key": {"dtype": "string"},
    MADE: {"struct": [{"name": name, "dtype": kind} for name, kind in ORIGIN.items()]},
}


@dataclass(frozen=True)
class HubSource:
    """The repository and commit that a data set was downloaded from, and by which account, "" for nobody's."""

    repo_id: str
    revision: str
    is_public: bool
    by: str = ""


def plain_row(row: Mapping[str, object]) -> Row | None:
    """Return the columns of a row that are known and hold what they should; None where there is no conversation.

    The row may be a stranger's.
    """
    try:
        plain: Row = {"messages": check_messages(row.get("messages"), continuing=True)}
    except UserError:
        return None
    worse = row.get("rejected")
    if isinstance(worse, list) and 0 < len(worse) <= MAX_REJECTED:
        if not all(isinstance(text, str) and len(text) <= MAX_MESSAGE_CHARACTERS for text in worse):
            return None
        plain["rejected"] = worse
    if isinstance(row.get("label"), bool):
        plain["label"] = row["label"]
    for name in ("source", "key"):
        text = row.get(name)
        if isinstance(text, str) and 0 < len(text) <= MAX_NAME_CHARACTERS:
            plain[name] = text
    if origin := origin_of(row):
        plain[MADE] = origin
    return plain


def columns_of(rows: Iterable[Row]) -> list[str]:
    """Return the columns that any of these plain rows has, in the order of COLUMNS."""
    found = {name for row in rows for name in row}
    return [name for name in COLUMNS if name in found]


def line_of(row: Row, columns: Iterable[str]) -> str:
    """Return a plain row as a line of JSON with these columns."""
    whole = {name: row.get(name) for name in columns}
    if made := row.get(MADE):
        whole[MADE] = {**dict.fromkeys(ORIGIN), **made}
    return json.dumps(whole, ensure_ascii=False) + "\n"


def source_of(dataset: RowsFile) -> HubSource | None:
    """Return where a data set was downloaded from, None where it was not."""
    try:
        return HubSource(**read_object(_source_file(dataset)))
    except TypeError:  # no file, or a damaged one
        return None


def keep_source(dataset: RowsFile, source: HubSource) -> None:
    """Keep where a data set was downloaded from."""
    write_json(_source_file(dataset), asdict(source))


def _source_file(dataset: RowsFile) -> Path:
    return dataset.path.with_suffix(".json")
