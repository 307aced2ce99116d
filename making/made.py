"""One made set as a folder, and what can be read from it. Light: no torch.

    making/<owner>/<id>/config.yaml      the settings
                        documents/       chunks.jsonl and texts/: what was read from them
                        seeds.jsonl      the seed rows, where there are some
                        rows.jsonl       what the teacher made, appended one by one
                        prompts.jsonl    what the teacher was asked for each row, and how it answered
                        decisions.jsonl  what a person accepted, rejected or edited, the newest last
                        summary.json     what came of the requests: rows, answers that could not be read, tokens
                        progress.json    what it does now, or how it ended
                        process.json     who makes it: process id and its start time
                        making.log       everything it printed
                        stop             exists when a person asked it to stop

Whoever dies, nothing is lost: a row that is there is not asked for again when it is resumed.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypedDict, cast

from common.errors import UserError
from common.files import JSON_ERRORS, read_object
from common.language import _, unpacked
from common.paths import LOCAL_OWNER, contained, making_folder
from data.made import Origin
from evaluation.run import Background, folders_with_settings, owners_in
from making.config import MakingConfig
from models.messages import Message
from runs.run import UNFINISHED, settings_written_at

GO_ON = _("The rows so far are kept. Press 'Resume making' to go on.")
MAX_PASSAGE_CHARACTERS = 4_000
MAX_ROW_BYTES = 2**20  # of a line of rows.jsonl
MAX_SUMMARY_BYTES = 1_000_000


class MadeRow(TypedDict):
    """A row that a teacher made: what is trained, where it is from, and what the checks found at first."""

    key: str
    messages: list[Message]
    made: Origin
    passage: str  # what it was made from, cut after MAX_PASSAGE_CHARACTERS
    findings: list[str]  # ids in making.checks


class Summary(TypedDict):
    """What came of the requests to the teacher so far, of those before every resume, too."""

    answers: int  # whole ones
    unreadable: int  # answers among them of which no row could be made
    lost: int  # rows that were given up for that
    tokens_in: int
    tokens_out: int
    seconds: float  # in which was asked
    notes: list[str]  # sentences on what was left out of documents


@dataclass(frozen=True)
class MadeSet(Background):
    """A made set's folder, with one name for every file in it."""

    module = "making.process"
    kind = "making"
    killed = _("Making data ended without a message: it was killed, or the machine was restarted.")
    go_on = GO_ON

    documents_folder = property(lambda self: self.folder / "documents")
    seeds_file = property(lambda self: self.folder / "seeds.jsonl")
    rows_file = property(lambda self: self.folder / "rows.jsonl")
    prompts_file = property(lambda self: self.folder / "prompts.jsonl")
    decisions_file = property(lambda self: self.folder / "decisions.jsonl")
    summary_file = property(lambda self: self.folder / "summary.json")

    def config(self) -> MakingConfig:
        """Read the settings. Raises UserError when they cannot be read."""
        return MakingConfig.from_yaml(self.config_file)


def read_rows(made: MadeSet) -> Iterator[MadeRow]:
    """Yield the rows as they were made, the oldest first; damaged lines are left out, and a key that came before."""
    known: set[str] = set()
    if not made.rows_file.is_file():
        return
    with open(made.rows_file, "rb") as lines:
        while line := lines.readline(MAX_ROW_BYTES):
            try:
                row = json.loads(line)
            except JSON_ERRORS:
                continue
            if isinstance(row, dict) and {*row} == {*MadeRow.__annotations__} and row["key"] not in known:
                known.add(row["key"])
                yield cast(MadeRow, row)


def read_summary(made: MadeSet) -> Summary:
    """Return what came of the requests so far: nothing, before the first."""
    empty = Summary(answers=0, unreadable=0, lost=0, tokens_in=0, tokens_out=0, seconds=0.0, notes=[])
    found = unpacked(read_object(made.summary_file, MAX_SUMMARY_BYTES))
    return cast(Summary, found) if {*found} == {*empty} else empty


def find_made(id: str, owner: str = LOCAL_OWNER) -> MadeSet:
    """Return the made set of `owner` with this id. Raises UserError when there is none."""
    made = MadeSet(contained(making_folder(owner), id))
    if id.endswith(UNFINISHED) or settings_written_at(made.folder) is None:
        raise UserError(_("There is no made set '{name}'.", name=id), _("`python -m data list` shows all made sets."))
    return made


def list_made(owner: str = LOCAL_OWNER) -> list[MadeSet]:
    """Return all made sets of `owner`, the newest first."""
    return [MadeSet(folder) for folder in folders_with_settings(making_folder(owner))]


def all_made() -> list[MadeSet]:
    """Return the made sets of everyone on this machine."""
    return [one for owner in owners_in(making_folder().parent) for one in list_made(owner)]
