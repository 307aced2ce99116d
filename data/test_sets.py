"""Test sets: questions with their answers, or texts, on which candidates are measured; kept by their owner.

STUDIO_HOME/testsets/<owner>/<id>/about.json     title, source, fingerprint, ...
STUDIO_HOME/testsets/<owner>/<id>/items.jsonl    an item a line, without its number
data/bundled/<id>/                               the same, for everybody

keep_test_set(settings, "My exam")               read as a training reads it, in a process of its own
for item in find_test_set("my-exam").items():    {"number": 1, "messages": [...], "answer": ...}
items_of(conversations)                          the same of held-out rows
"""

import json
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypedDict, cast

from common.errors import UserError
from common.files import JSON_ERRORS, read_object, write_json
from common.language import _, packed, unpacked
from common.paths import LOCAL_OWNER, as_title, contained, test_sets_folder
from data.check import in_child
from data.conversations import Conversation
from data.settings import DataSettings
from models.messages import Message

BUNDLED_FOLDER = Path(__file__).resolve().parent / "bundled"
BUNDLED = {  # in the order in which they are listed
    "general": _("General text, English and Korean"),
    "questions": _("50 questions of general knowledge"),
}
ABOUT_FILE, ITEMS_FILE = "about.json", "items.jsonl"
MAX_BYTES = 100_000_000  # of all test sets of one owner
MAX_ABOUT_BYTES = 1_000_000
MAX_LABELS = 20
MAX_LABEL_CHARACTERS = 40
MIN_ROWS_A_LABEL = 4  # on average
DAMAGED = _("It is damaged.")

Kind = Literal["conversations", "text"]


class Item(TypedDict, total=False):
    """One question with its answer, `choices` where it is multiple choice (`answer` is one of them); or a plain `text`.

    `teacher` is there where the row was made: whose words the answer or text is.
    """

    number: int  # in its test set, from 1
    messages: list[Message]  # the prompt; the last one is the user's
    answer: str
    choices: list[str]
    text: str
    teacher: str


@dataclass(frozen=True)
class TestSet:
    """Items in a folder. `labels` are the answers where these are few, as of a classification; `notes` say what was left out.

    `fingerprint` is the SHA-256 of the file of the items. A damaged one has no rows.
    """

    __test__ = False  # to pytest

    id: str
    owner: str
    title: str
    source: str  # the name of the file, or the id of the data set
    revision: str
    fingerprint: str
    rows: int
    kind: Kind
    labels: tuple[str, ...]
    folder: Path
    notes: tuple[str, ...] = ()

    def items(self) -> Iterator[Item]:
        """Yield the items, numbered from 1; a damaged line is none, and the others keep their numbers."""
        with open(self.folder / ITEMS_FILE, "rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    item = json.loads(line)
                except JSON_ERRORS:
                    continue
                if isinstance(item, dict) and isinstance(item.get("text", item.get("answer")), str):
                    yield {"number": number, **item}


def items_of(conversations: Iterable[Conversation]) -> Iterator[Item]:
    """Yield an item for each conversation that can be asked, numbered from 1."""
    number = 0
    for conversation in conversations:
        if item := item_of(conversation):
            number += 1
            yield {"number": number, **item}


def item_of(conversation: Conversation) -> Item | None:
    """Return a conversation as an item: all before its last answer is the prompt; None where no question precedes one.

    An answer that is not to be trained is not to be asked for, either.
    """
    teacher: Item = {"teacher": conversation["made"]["teacher"]} if "made" in conversation else {}
    if "text" in conversation:
        return {"text": conversation["text"], **teacher}
    messages = conversation["messages"]
    plain = [Message(role=message["role"], content=message["content"]) for message in messages]
    for place in range(len(messages) - 1, 0, -1):
        is_answer = messages[place]["role"] == "assistant" and messages[place].get("trained", True)
        if is_answer and messages[place - 1]["role"] == "user":
            return {"messages": plain[:place], "answer": plain[place]["content"], **teacher}
    return None


def keep_test_set(
    settings: DataSettings,
    title: str,
    owner: str = LOCAL_OWNER,
    progress: Callable[[str], None] = lambda sentence: None,
    stop: threading.Event | None = None,
) -> TestSet:
    """Make a test set of a file or Hub data set (see test_set_intake.py), in a process of its own. Raises UserError."""
    request = {"settings": asdict(settings), "title": title, "owner": owner}
    return find_test_set(in_child(request, progress, stop)["id"], owner)


def write_test_set(
    folder: Path,
    items: Iterable[Item],
    title: str,
    source: str,
    owner: str = LOCAL_OWNER,
    revision: str = "",
    notes: Sequence[str] = (),
) -> TestSet:
    """Write a test set into `folder`, which is made, and return it; its numbers are the places of the items.

    Raises UserError when the items take more than `MAX_BYTES`.
    """
    folder.mkdir(parents=True)
    digest, rows, written, kind = sha256(), 0, 0, cast("Kind", "text")
    answers: set[str] = set()  # as many as tell that they are no labels
    with open(folder / ITEMS_FILE, "wb") as file:
        for item in items:
            line = _line(item)
            digest.update(line)
            rows, written = rows + 1, written + file.write(line)
            if written > MAX_BYTES:
                raise too_large()
            if "text" not in item:
                kind = "conversations"
            if len(answers) <= MAX_LABELS:
                answers.add("" if "choices" in item or "text" in item else item["answer"].strip())
    about = {"title": title, "source": source, "revision": revision, "fingerprint": digest.hexdigest(), "rows": rows}
    write_json(
        folder / ABOUT_FILE, {**about, "kind": kind, "labels": labels_of(answers, rows), "notes": packed([*notes])}
    )
    return read_test_set(folder, owner)


def fingerprint(items: Iterable[Item]) -> str:
    """Return the SHA-256 over items, whatever their numbers: that of a test set with these items."""
    digest = sha256()
    for item in items:
        digest.update(_line(item))
    return digest.hexdigest()


def _line(item: Item) -> bytes:
    plain = {name: value for name, value in item.items() if name != "number"}
    return json.dumps(plain, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace") + b"\n"


def labels_of(answers: Iterable[str], rows: int) -> list[str]:
    """Return the distinct answers of so many rows where they are labels of a classification: few, short, repeated; else []."""
    labels = {answer.strip() for answer in answers}
    is_few = 2 <= len(labels) <= MAX_LABELS and rows >= MIN_ROWS_A_LABEL * len(labels)
    is_short = all(0 < len(label) <= MAX_LABEL_CHARACTERS and "\n" not in label for label in labels)
    return sorted(labels) if is_few and is_short else []


def read_test_set(folder: Path, owner: str) -> TestSet:
    """Return the test set in `folder`; one that is damaged has no rows, and says so in its notes."""
    known = read_object(folder / ABOUT_FILE, MAX_ABOUT_BYTES)
    texts = [known.get(name) for name in ("title", "source", "revision", "fingerprint", "kind")]
    title, source, revision, digest, kind = (text if isinstance(text, str) else "" for text in texts)
    rows, labels, notes = known.get("rows"), known.get("labels"), known.get("notes")
    if not (isinstance(rows, int) and isinstance(labels, list) and all(isinstance(one, str) for one in labels)):
        rows, labels = 0, []
    if kind not in ("conversations", "text") or not (folder / ITEMS_FILE).is_file():
        rows = 0
    told = [one for one in unpacked(notes) if isinstance(one, str)] if isinstance(notes, list) else []
    title = BUNDLED.get(folder.name, title) if folder.parent == BUNDLED_FOLDER else as_title(title) or folder.name
    return TestSet(
        folder.name,
        owner,
        title,
        source,
        revision,
        digest,
        rows,
        cast("Kind", kind),
        tuple(labels),
        folder,
        tuple(told) if rows else (DAMAGED,),
    )


def list_test_sets(owner: str = LOCAL_OWNER) -> list[TestSet]:
    """Return the test sets that `owner` can use: the bundled ones, then their own by title. Damaged ones have no rows."""
    bundled = [read_test_set(BUNDLED_FOLDER / name, owner) for name in BUNDLED]
    own = [read_test_set(folder, owner) for folder in test_sets_folder(owner).glob("[!.]*")]
    there = [one for one in own if one.folder.is_dir()]  # not deleted meanwhile
    return bundled + sorted(there, key=lambda one: (one.title.casefold(), one.id))


def find_test_set(wanted: str, owner: str = LOCAL_OWNER) -> TestSet:
    """Return the test set with the id `wanted` that `owner` can use. Raises UserError when there is none, or it is damaged."""
    is_bundled = wanted in BUNDLED
    found = read_test_set(BUNDLED_FOLDER / wanted if is_bundled else contained(test_sets_folder(owner), wanted), owner)
    if not found.folder.is_dir():
        raise UserError(_("There is no test set '{name}'.", name=wanted), _("Was it deleted? Choose another one."))
    if not found.rows:
        raise UserError(_("The test set '{name}' is damaged.", name=found.title), _("Delete it, and make it again."))
    return found


def delete_test_set(wanted: str, owner: str = LOCAL_OWNER) -> None:
    """Delete a test set of `owner` for good. Raises UserError when there is none of this id, and for a bundled one."""
    if wanted in BUNDLED:
        raise UserError(_("This test set comes with the program and cannot be deleted."))
    folder = contained(test_sets_folder(owner), wanted)
    gone = folder.with_name(f".new-{secrets.token_hex(8)}")  # swept later, should this be killed
    try:
        folder.rename(gone)
    except FileNotFoundError as error:
        raise UserError(_("There is no test set '{name}'.", name=wanted), _("It is deleted already.")) from error
    shutil.rmtree(gone, ignore_errors=True)


def too_large() -> UserError:
    """Return the error for more than `MAX_BYTES` of test sets."""
    words = _("Your test sets take more than {size} MB together, the limit.", size=MAX_BYTES // 10**6)
    return UserError(words, _("Set max_rows to read only some of the rows, or delete another test set."))
