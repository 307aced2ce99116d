"""Pushes a data set to the Hub: its rows, a card and a fingerprint, planned and sent as `models/hub/push.py` does it."""

from dataclasses import dataclass
from pathlib import Path

import numpy

from adapters.trust.scan import NOTHING_SENT, found_in
from common.errors import UserError
from common.files import read_json_lines, write_json, write_text
from common.language import _, joined
from data.conversations import Conversations
from data.data_card import DataFacts, DataFingerprint, facts_of, write_data_card
from data.feedback import Row, RowsFile
from data.fingerprint import file_fingerprint
from data.published import SPLITS, columns_of, line_of, plain_row, source_of
from data.split import held_out_of
from models.hub.client import Account, client, errors_explained
from models.hub.push import PushPlan, plan_files, repository_of, sending_folder

CARD, FINGERPRINT = "README.md", "fingerprint.json"
MAX_TEST_SHARE = 0.5
SPLIT_SEED = 0  # a second push of the same rows changes nothing


@dataclass(frozen=True)
class DataPushOptions:
    """The options of a push. `test_share` of the prompts are held out, with all their answers, as the split `test`."""

    repo_name: str = ""
    private: bool = True
    license: str = ""
    language: str = ""
    test_share: float = 0.0


def plan_data_push(dataset: RowsFile, account: Account, options: DataPushOptions) -> PushPlan:
    """Write the files of a push, scan them, and compare them with the repository; nothing is sent. Raises UserError."""
    repo_id = repository_of(account, options.repo_name or dataset.name)
    with sending_folder() as folder:
        parts = _split(_rows_of(dataset, account.token), options.test_share, folder)
        columns = columns_of(row for part in parts.values() for row in part)
        facts = facts_of(repo_id, parts, columns, options.license, options.language)
        names = _write_files(folder, parts, facts)
        # a split of an earlier push would hold rows that are for training now
        splits = [f"{split}.jsonl" for split in SPLITS]
        plan = plan_files(folder, names, repo_id, "dataset", account, options.private, obsolete=splits)
        _check_source(dataset, plan.private)
    return plan


def _rows_of(dataset: RowsFile, token: str) -> list[Row]:
    """Return the rows as they may be published. Raises UserError for a set without rows, and for a row with a secret in it."""
    rows: list[Row] = []
    for number, row in enumerate(read_json_lines(dataset.path), 1):
        plain = plain_row(row)
        if plain is None:
            raise UserError(_("Row {row} has no conversation that can be read.", row=number), NOTHING_SENT)
        rows.append(plain)
    if not rows:
        raise UserError(_("The dataset has no rows."), NOTHING_SENT)
    lines = [line_of(row, row).encode(errors="replace") for row in rows]
    if found_in(b"".join(lines), token):  # once for all: nearly no set has any
        for number, line in enumerate(lines, 1):
            if found := found_in(line, token):
                hint = _("Change that row or take it out, then push again.")
                raise UserError(_("Row {row} contains {found}.", row=number, found=found), joined([NOTHING_SENT, hint]))
    return rows


def _split(rows: list[Row], test_share: float, folder: Path) -> dict[str, list[Row]]:
    """Return the rows by split. Rows with one prompt stay on one side; with `test_share` 0 all are for training."""
    if not 0 <= test_share <= MAX_TEST_SHARE:
        words = _("{share:.0%} of the rows cannot be held out.", share=test_share)
        raise UserError(words, _("Hold out at most {most:.0%}.", most=MAX_TEST_SHARE))
    prompts = Conversations(folder)
    for number, row in enumerate(rows, 1):
        prompts.append(number, {"messages": row["messages"][:-1]})
    mask = held_out_of(prompts, numpy.ones(len(prompts), dtype=bool), test_share, SPLIT_SEED)
    parts: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for row, is_held_out in zip(rows, mask, strict=True):
        parts["test" if is_held_out else "train"].append(row)
    return {split: part for split, part in parts.items() if part}


def _write_files(folder: Path, parts: dict[str, list[Row]], facts: DataFacts) -> list[str]:
    """Write rows, fingerprint and card into the folder, and return their names."""
    for split, part in parts.items():
        write_text(folder / f"{split}.jsonl", "".join(line_of(row, facts.columns) for row in part))
    names = [f"{split}.jsonl" for split in parts]
    files = [file_fingerprint(folder / name, name) for name in names]
    write_json(folder / FINGERPRINT, DataFingerprint(files=files, rows=facts.rows, made=facts.made))
    write_text(folder / CARD, write_data_card(facts))
    return [CARD, FINGERPRINT, *names]


def _check_source(dataset: RowsFile, is_private: bool) -> None:
    """Raise UserError for a public push of rows that were downloaded from a repository that is not public, if it still is not."""
    source = source_of(dataset)
    if is_private or source is None or source.is_public:
        return
    try:
        with errors_explained(source.repo_id):
            client(False).auth_check(source.repo_id, repo_type="dataset")
    except UserError as error:
        words = _(
            "The dataset '{name}' was downloaded from {repo}, which is not public.",
            name=dataset.name,
            repo=source.repo_id,
        )
        by = _("It was downloaded by {account}.", account=source.by) if source.by else ""
        hint = _("Push it as private, or have the owner of that repository make it public first.")
        raise UserError(joined([words, by]), hint) from error
