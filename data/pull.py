"""Downloads a data set that was pushed from here, one's own private one too, as data sets of its owner: rows to train on.

A public data set of any shape needs no download: its ID is what a training takes (data/hub_data.py).
"""

import hashlib
import json
import re
import tempfile
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from common.errors import UserError
from common.files import JSON_ERRORS, parse_json
from common.language import Sentence, _, joined, n_
from common.limits import check_room_of_guests
from common.paths import LOCAL_OWNER, home, slug
from data.feedback import MAX_BYTES, MAX_ROWS, Row, RowsFile, change_rows, list_datasets
from data.published import SPLITS, HubSource, keep_source, plain_row
from models.hub.client import Token, account_of, client, errors_explained, parse_repo
from models.hub.fetch import Progress
from models.hub.transfer import fetch_all

TRAIN = f"{SPLITS[0]}.jsonl"
MAX_LINE_BYTES = 10_000_000
# lists and objects in a line, and brackets in its texts: each may take far more memory than its two brackets
MAX_LINE_PARTS = 500_000
MAX_NAME_CHARACTERS = 50  # what is added to it still makes a name
NOTHING_KEPT = _("Nothing was downloaded.")


@dataclass(frozen=True)
class PulledData:
    """What was downloaded: a data set for each split, from which commit, and how many rows could not be read."""

    sets: list[RowsFile]
    source: HubSource
    unread: int

    def sentence(self) -> Sentence:
        """Return it in words."""
        names = joined(
            (
                n_("'{name}' with {count:,} row", "'{name}' with {count:,} rows", one.rows, name=one.name)
                for one in self.sets
            ),
            ", ",
        )
        values = {"repo": self.source.repo_id, "commit": self.source.revision[:8], "names": names}
        unread = n_(
            "{count:,} row could not be read and was left out.",
            "{count:,} rows could not be read and were left out.",
            self.unread,
        )
        return joined([_("Downloaded {repo} at {commit}: {names}.", **values), unread if self.unread else ""])


def pull_data(
    wanted: str,
    token: Token,
    owner: str = LOCAL_OWNER,
    name: str = "",
    progress: Progress = lambda what, fraction: None,
) -> PulledData:
    """Download owner/name, owner/name@revision or an address; the commit that it has now is kept.

    The data set is called `name`, without one as the repository, with a number where that is taken. The rows of the split `test`
    become a data set of their own, NAME-test. Raises UserError, also for a name that is taken and when the owner's room is full.
    """
    repo_id, revision = parse_repo(re.sub(r"^((https?://)?[^/]+/)datasets/", r"\1", str(wanted).strip()))
    names = _free_names(name.strip(), repo_id, owner)
    with errors_explained(repo_id):
        api = client(token)
        api.auth_check(repo_id, repo_type="dataset")
        info = api.dataset_info(repo_id, revision=revision, files_metadata=True)
    remote = {file.rfilename: file for file in info.siblings or []}
    files = [remote[f"{split}.jsonl"] for split in SPLITS if f"{split}.jsonl" in remote]
    if TRAIN not in remote:
        hint = _(
            "Only what was pushed from here is downloaded. A public dataset is trained on by its ID, in the Train tab."
        )
        raise UserError(_("{place} has no {file}.", place=repo_id, file=TRAIN), hint)
    size = sum(file.size or 0 for file in files)
    check_room_of_guests(owner, size)
    if size > MAX_BYTES:
        words = _("The rows of {repo} take more than {size} MB.", repo=repo_id, size=MAX_BYTES // 10**6)
        raise UserError(words, NOTHING_KEPT)
    with tempfile.TemporaryDirectory(dir=home()) as folder:
        paths = fetch_all(repo_id, files, info.sha or "", Path(folder), token, progress, repo_type="dataset")
        read = {path.stem: _read(path) for path in paths}
    if not any(rows for rows, _unread in read.values()):
        raise UserError(_("{repo} has no row that can be read.", repo=repo_id), NOTHING_KEPT)
    is_public = not info.private and not info.gated
    by = "" if is_public or not token else account_of(token).name
    source, sets = HubSource(repo_id, info.sha or "", is_public, by), []
    for split, (rows, _unread) in read.items():
        if rows:
            sets.append(change_rows(names[split], rows, owner))
            keep_source(sets[-1], source)
    return PulledData(sets, source, sum(unread for _rows, unread in read.values()))


def _free_names(wanted: str, repo_id: str, owner: str) -> dict[str, str]:
    """Return the names of the data sets by split. Raises UserError when one that was asked for is taken."""
    known = {one.name for one in list_datasets(owner)}
    first = slug(wanted or repo_id.split("/")[1])[:MAX_NAME_CHARACTERS].strip("-")
    endings = chain([""], (f"-{number}" for number in count(2)))
    choices = ((f"{first}{ending}", f"{first}{ending}-test") for ending in endings)
    names = next(choices) if wanted else next(one for one in choices if not known & {*one})
    if taken := known & {*names}:
        words = _("You have a dataset '{name}' already.", name=min(taken))
        raise UserError(words, _("Choose another name."))
    return dict(zip(SPLITS, names, strict=True))


def _read(path: Path) -> tuple[dict[str, Row], int]:
    """Return (the rows of a file by their keys, how many lines hold none). Raises UserError for too many."""
    rows: dict[str, Row] = {}
    unread = 0
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            row = _row_in(line)
            if row is None:
                unread += 1
                continue
            if row.get("key", "") == "" or row["key"] in rows:  # of a row without a key, or with another's
                row["key"] = hashlib.sha256(json.dumps([number, row]).encode()).hexdigest()[:16]
            rows[row["key"]] = row
            if len(rows) > MAX_ROWS:
                raise UserError(_("{file} has more than {count:,} rows.", file=path.name, count=MAX_ROWS), NOTHING_KEPT)
    return rows, unread


def _row_in(line: bytes) -> Row | None:
    """Return the row in a stranger's line; None where there is none, and where it would take far more memory than its bytes."""
    if len(line) > MAX_LINE_BYTES or line.count(b"[") + line.count(b"{") > MAX_LINE_PARTS:
        return None
    try:
        value = parse_json(line)
    except JSON_ERRORS:
        return None
    return plain_row(value) if isinstance(value, dict) else None
