"""Opens the bundle of an experiment from elsewhere: sizes are bounded, no name in it leads anywhere, values have the right types.

with opened(file) as bundle:
    config = bundle.settings()
    bundle.unpack(config, folder)       data/ and asked/, as an experiment's folder has them
"""

import json
import re
import zipfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, cast, get_args

from common.errors import UserError
from common.files import JSON_ERRORS, parse_json, write_json
from common.language import _, packed, unpacked
from common.paths import as_title, is_name
from common.zips import BROKEN, extract, files_of, open_zip
from data.test_sets import MAX_BYTES, Item, Kind
from evaluation.asked import packages
from evaluation.experiments.arms import arms_of, data_of
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Experiment, Rows, Split
from evaluation.run import AskedTestSet, Versions
from models.plain_yaml import MAX_SETTINGS_BYTES

MAX_MEMBERS = 1000
MAX_JSON_BYTES = 1_000_000  # of what says how the data was split and what is asked
MAX_ROWS_BYTES = 10**9  # of the data
MAX_LINE_BYTES = 8 * 2**20  # as of any file of rows
MAX_RATIO = 20  # words get five times smaller in a zip
SETTINGS, ENTRIES, SPLIT, VERSIONS = "experiment.yaml", "entries.json", "data/split.json", "asked/versions.json"
DATA, ITEMS, SHOTS = "data", "asked/items", "shots.jsonl"  # folders of JSON lines, and one of the second
NOT_OPENED = _("Not opened.")
WRONG = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
)  # what a value of another type than expected raises


@contextmanager
def opened(file: Path) -> Generator["Bundle"]:
    """Open a bundle: a zip with one folder in it. Raises UserError, also for what is found broken inside."""
    try:
        with open_zip(file, MAX_MEMBERS, NOT_OPENED) as source:
            found = files_of(source, NOT_OPENED)
            roots = [name.removesuffix(SETTINGS) for name in found if name.rpartition("/")[2] == SETTINGS]
            if len(roots) != 1:
                raise UserError(_("The zip is not a bundle of an experiment."), NOT_OPENED)
            root = roots[0]
            members = {name.removeprefix(root): member for name, member in found.items() if name.startswith(root)}
            yield Bundle(source, members)
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise UserError(_("The zip is damaged."), NOT_OPENED) from error


@dataclass(frozen=True)
class Bundle:
    """The files of an open bundle, by their names in it."""

    source: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]

    def text(self, name: str, max_bytes: int) -> bytes:
        """Return the content of a file. Raises UserError when it is not there, or too large."""
        if name not in self.members:
            raise UserError(_("There is no {file} in the bundle.", file=name), NOT_OPENED)
        with self.source.open(self.members[name]) as content:
            found = content.read(max_bytes + 1)
        if len(found) > max_bytes:
            raise too_large(name)
        return found

    def json(self, name: str, max_bytes: int = MAX_JSON_BYTES) -> Any:
        """Return the value in a file. Raises UserError when it is none."""
        try:
            return unpacked(parse_json(self.text(name, max_bytes)))
        except JSON_ERRORS as error:
            raise damaged(name) from error

    def settings(self) -> ExperimentConfig:
        """Return the settings, checked as those of any file. Raises UserError."""
        try:
            text = self.text(SETTINGS, MAX_SETTINGS_BYTES).decode()
        except UnicodeDecodeError as error:
            raise damaged(SETTINGS) from error
        config = ExperimentConfig.from_text(text, SETTINGS)
        config.check()
        return config

    def rows_bytes(self) -> int:
        """Return what the rows and questions take on a disk. Raises UserError for more than a bundle may have, and for none."""
        sizes = {folder: sum(one.file_size for one in self._lines(folder).values()) for folder in (DATA, ITEMS)}
        if not sizes[DATA]:
            raise UserError(_("The rows are not in the bundle."), _("Only somebody who has them can run it again."))
        packed_bytes = sum(one.compress_size for one in self._lines(DATA).values())
        most_rows = min(MAX_ROWS_BYTES, max(MAX_BYTES, MAX_RATIO * packed_bytes))
        for folder, most in ((DATA, most_rows), (ITEMS, MAX_BYTES)):
            if sizes[folder] > most:
                raise too_large(folder)
        return sum(sizes.values())

    def unpack(self, config: ExperimentConfig, folder: Path) -> None:
        """Write data/ and asked/ into `folder`. Raises UserError for what does not go together with the settings."""
        self.rows_bytes()
        for name in (DATA, ITEMS):
            (folder / name).mkdir(parents=True)
            for file, member in self._lines(name).items():
                extract(self.source, member, folder / name / file, member.file_size, too_large(file))
        split = _split(self.json(SPLIT), folder / DATA)
        texts = {arm.settings.get("text_data") or None for arm in arms_of(config)} - {None}
        if not {*data_of(config)} <= {*split["train"]} or not texts <= {*split["texts"]}:
            raise damaged(SPLIT)
        made = _versions(self.json(VERSIONS), folder / ITEMS)
        if {*config.test_sets} != {*made["test_sets"]}:
            raise damaged(VERSIONS)
        write_json(folder / SPLIT, packed(split))
        write_json(folder / VERSIONS, packed(made))
        kept = Experiment(folder)
        # too large to be read again, they would be as if they were not there: what the settings call data would be read
        for file, found in ((SPLIT, kept.split()), (VERSIONS, kept.asked.versions())):
            if found is None:
                raise damaged(file)

    def _lines(self, folder: str) -> dict[str, zipfile.ZipInfo]:
        """Return the files of JSON lines in a folder of the bundle, by their names in it."""
        place = re.compile(rf"{folder}/([^/]+\.jsonl)")
        found = {match[1]: member for name, member in self.members.items() if (match := place.fullmatch(name))}
        return {name: member for name, member in found.items() if is_name(name)}


def too_large(name: str) -> UserError:
    """Return the error for more bytes than a file or folder of a bundle may have."""
    return UserError(_("'{file}' in the bundle is too large.", file=name), NOT_OPENED)


def damaged(name: str) -> UserError:
    """Return the error for a file of a bundle that does not hold what it should."""
    return UserError(_("'{file}' in the bundle is damaged.", file=name), NOT_OPENED)


def _split(value: Any, folder: Path) -> Split:
    """Return how the data was split, each file of rows in `folder` with its own fingerprint. Raises UserError."""

    def rows(one: dict[str, Any]) -> Rows:
        file, count = one["file"], one["rows"]
        if not is_name(file) or not file.endswith(".jsonl"):
            raise ValueError(file)
        digest, lines = sha256(), 0
        for line in _lines_in(folder / file):
            digest.update(line)
            lines += 1
        if digest.hexdigest() != one["fingerprint"] or lines != count:
            raise ValueError(file)
        return Rows(file=file, rows=count, fingerprint=digest.hexdigest())

    try:
        return Split(
            train={str(name): rows(one) for name, one in value["train"].items()},
            texts={str(name): rows(one) for name, one in value["texts"].items()},
            validation=rows(value["validation"]),
            held_out=rows(value["held_out"]),
            left_out=int(value["left_out"]),
            notes=[note for note in value["notes"] if isinstance(note, str)],
        )
    except (*WRONG, FileNotFoundError) as error:
        raise damaged(SPLIT) from error


def _versions(value: Any, items: Path) -> Versions:
    """Return what is asked, with the packages of this machine; `items` has a file for each test set. Raises UserError."""

    def asked(test_set: str, one: dict[str, Any]) -> AskedTestSet:
        texts = (*(one[name] for name in ("title", "fingerprint", "dataset", "revision")), *one["labels"])
        counts = (*(one[name] for name in ("rows", "asked", "exact", "near")), *one["shots"])
        is_plain = all(isinstance(text, str) for text in texts) and all(isinstance(count, int) for count in counts)
        if not (is_plain and is_name(test_set) and f"{test_set}.jsonl" in files and one["kind"] in get_args(Kind)):
            raise ValueError(test_set)
        known = {name: one[name] for name in AskedTestSet.__annotations__}
        title = as_title(one["title"])  # a sentence is one on one line, too
        return cast(AskedTestSet, known | {"title": one["title"] if one["title"] == title else title})

    try:
        files = [file.name for file in items.iterdir() if file.stat().st_size]
        for file in files:
            numbered = {"number": 0} if file == SHOTS else {}  # these are shown, not asked
            if not all(_is_item(numbered | json.loads(line)) for line in _lines_in(items / file)):
                raise ValueError(file)
        return Versions(
            base="",
            base_revision="",
            adapters={},
            unknown_data=[],
            test_sets={name: asked(name, one) for name, one in value["test_sets"].items()},
            packages=packages(),
            seed=int(value["seed"]),
        )
    except WRONG as error:
        raise damaged(VERSIONS) from error


def _lines_in(file: Path) -> Iterator[bytes]:
    """Yield the lines of a file one by one. Raises ValueError for one that would take too much memory."""
    with open(file, "rb") as content:
        while line := content.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(file.name)
            yield line


def _is_item(value: dict[str, Any]) -> bool:
    """Return whether a line is a question with its answer, or a text, with its number."""
    messages, choices = value.get("messages", []), value.get("choices", [])
    return (
        {*value} <= {*Item.__annotations__}
        and isinstance(value.get("number"), int)
        and isinstance(value.get("text", value.get("answer")), str)
        and isinstance(value.get("teacher", ""), str)
        and isinstance(choices, list)
        and all(isinstance(choice, str) for choice in choices)
        and isinstance(messages, list)
        and all(isinstance(one, dict) and {*map(type, one.values())} == {str} for one in messages)
        and all({"role", "content"} <= {*one} for one in messages)
    )
