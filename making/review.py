"""What a person decides on made rows, and the accepted ones as a data set to train on.

    decisions.jsonl    {"keys": [...], "decision": "accepted" | "rejected" | "pending"}      an act, of one row or many
                       {"keys": [...], "decision": ..., "messages": [...], "findings": [...]}  with other words
                       {"undo": true}                                                        takes back the last act that counts
    checked.json       what was found in rows beside others, and of how many bytes of rows

Lines are appended and never changed, so that two pages, or a page and the command line, lose nothing of each other.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from common.errors import UserError
from common.files import append_json_line, read_json_lines, read_object, write_json
from common.language import _, n_
from data.feedback import MADE, Row, RowsFile, change_rows, list_datasets
from data.made import Origin
from data.published import keep_source, source_of
from making.checks import FINDINGS, check_row, check_set
from making.made import MAX_ROW_BYTES, MadeRow, MadeSet, read_rows
from models.messages import Message, check_messages

Decision = Literal["pending", "accepted", "rejected"]
MAX_DECISIONS_BYTES = 20_000_000  # read with every step
MAX_CHECKED_BYTES = 20_000_000


@dataclass(frozen=True)
class ReviewRow:
    """A made row with its messages as they are now, what was decided on it, and ids of what may be wrong with it."""

    made: MadeRow
    messages: list[Message]
    decision: Decision
    findings: list[str]

    @property
    def key(self) -> str:
        """What identifies the row."""
        return self.made["key"]

    @property
    def is_edited(self) -> bool:
        """Whether a person changed its words."""
        return self.messages != self.made["messages"]


def read_review(made: MadeSet) -> list[ReviewRow]:
    """Return all rows that were made so far, the oldest first, as a person left them."""
    decisions: dict[str, Decision] = {}
    written: dict[str, tuple[list[Message], list[str]]] = {}
    for act in _acts(made):
        decisions |= dict.fromkeys(act["keys"], act["decision"])
        if "messages" in act:
            written |= dict.fromkeys(act["keys"], (act["messages"], act["findings"]))
    beside = _found_beside(made)
    rows = []
    for row in read_rows(made):
        key, messages, findings = row["key"], row["messages"], row["findings"]
        if key in written and written[key][0] != messages:
            messages, findings = written[key]
        found = [name for name in [*findings, *beside.get(key, ())] if name in FINDINGS]
        rows.append(ReviewRow(row, messages, decisions.get(key, "pending"), list(dict.fromkeys(found))))
    return rows


def count_findings(rows: Iterable[ReviewRow]) -> dict[str, int]:
    """Return in how many rows each thing was found, in the order of FINDINGS, without those that were found nowhere."""
    counts = Counter(name for row in rows for name in row.findings)
    return {name: counts[name] for name in FINDINGS if counts[name]}


def decide(made: MadeSet, keys: Sequence[str], decision: Decision, messages: list[Message] | None = None) -> None:
    """Decide on rows, in one act; with `messages` a row gets other words. Raises UserError for a row that is not there."""
    there = {row["key"]: row for row in read_rows(made)}
    if unknown := [key for key in keys if key not in there]:
        raise UserError(_("There is no row '{key}'.", key=unknown[0][:80]), _("Show the rows again."))
    if not keys:
        return
    if decision not in get_args(Decision):
        names = ", ".join(get_args(Decision))
        raise UserError(_("'{value}' is not one of {choices}.", value=decision[:80], choices=names))
    act: dict[str, Any] = {"keys": [*keys], "decision": decision}
    if messages is not None:
        row = there[keys[0]]
        act["messages"] = _checked(messages, [there[key] for key in keys])
        passage = row["passage"] if row["made"]["document"] else ""
        act["findings"] = check_row(MadeRow(**{**row, "messages": act["messages"]}), passage, made.config())
    if _bytes_of(made.decisions_file) > MAX_DECISIONS_BYTES:
        raise UserError(
            _("No more decisions on these rows can be kept."), _("Use the accepted rows, and make another set.")
        )
    append_json_line(made.decisions_file, act)


def undo(made: MadeSet) -> list[str]:
    """Take back the last act; return the keys of its rows. Raises UserError when there is nothing to take back."""
    acts = _acts(made)
    if not acts:
        raise UserError(_("There is nothing to undo."))
    append_json_line(made.decisions_file, {"undo": True})
    return acts[-1]["keys"]


def keep(made: MadeSet, name: str, owner: str, accept_rest: bool = False) -> RowsFile:
    """Put the accepted rows into the data set `name` of `owner`, each with where it is from; those kept before are replaced.

    With `accept_rest` also those on which nothing was decided and in which nothing was found. Raises UserError when no row is
    left, and when the owner has no room.
    """
    kept: dict[str, Row | None] = {}
    for row in read_review(made):
        is_rest = accept_rest and row.decision == "pending" and not row.findings
        is_kept = row.decision == "accepted" or is_rest
        kept[row.key] = _kept(row) if is_kept else None
    count = sum(row is not None for row in kept.values())
    if not count:
        raise UserError(_("No row is accepted."), _("Accept rows, or accept the rest."))
    dataset = change_rows(name, kept, owner)
    seeds = next((one for one in list_datasets(owner) if str(one.path) == made.config().seed_rows), None)
    if seeds and (source := source_of(seeds)) and not source.is_public:  # its words are in these rows, too
        keep_source(dataset, source)
    return dataset


def check_beside(made: MadeSet) -> dict[str, list[str]]:
    """Find what is wrong with rows beside others (duplicates, test sets), and keep it until there are more rows."""
    size = _bytes_of(made.rows_file)
    found = check_set(read_rows(made), made.owner)
    write_json(_checked_file(made), {"bytes": size, "found": found})
    return found


def _found_beside(made: MadeSet) -> dict[str, list[str]]:
    """Return what `check_beside` finds; while rows are still made, what it found last."""
    known = read_object(_checked_file(made), MAX_CHECKED_BYTES)
    size = _bytes_of(made.rows_file)
    if known.get("bytes") == size or made.is_alive():
        return known.get("found", {})
    return check_beside(made)


def _bytes_of(file: Path) -> int:
    """Return the size of a file; 0 for one that is not there yet."""
    return file.stat().st_size if file.is_file() else 0


def _checked_file(made: MadeSet) -> Path:
    return made.folder / "checked.json"


def _acts(made: MadeSet) -> list[dict[str, Any]]:
    """Return the acts that count, in their order."""
    acts: list[dict[str, Any]] = []
    for line in read_json_lines(made.decisions_file):
        if line.get("undo") is True:
            del acts[-1:]
        keys = line.get("keys")
        if (
            isinstance(keys, list)
            and all(isinstance(key, str) for key in keys)
            and line.get("decision") in get_args(Decision)
        ):
            acts.append(line)
    return acts


def _checked(messages: list[Message], rows: Sequence[MadeRow]) -> list[Message]:
    """Return other words for one row. Raises UserError for an answer without any, and for turns that the row has not."""
    checked = check_messages(messages, continuing=True)
    if len(rows) != 1 or [one["role"] for one in checked] != [one["role"] for one in rows[0]["messages"]]:
        raise UserError(_("Only the words of one row can be changed, not its turns."))
    if not all(one["content"].strip() for one in checked):
        raise UserError(_("An empty answer teaches nothing."), _("Reject the row instead."))
    if len(json.dumps(checked)) > MAX_ROW_BYTES:
        words = n_("A row has at most {count:,} character.", "A row has at most {count:,} characters.", MAX_ROW_BYTES)
        raise UserError(words)
    return checked


def _kept(row: ReviewRow) -> Row:
    """Return the row of a data set."""
    origin = row.made["made"]
    if row.is_edited:
        origin = Origin(**{**origin, "edited": True})
    return {"messages": row.messages, "source": MADE, "key": row.key, "made": origin}
