"""What rows hold besides what is trained of them, and what became of it: counted by rows, told in sentences.

notices: set[Notice] = set()
to_conversation(row, notices=notices)      {("unused", "thinking"), ("unanswered", "")}
count(noticed, notices)                    one row more of each
describe(noticed)                          [("unused", "info", "Not used: `thinking` (12 rows)."), ...]
"""

from collections import Counter
from collections.abc import Iterable

from common.words import counted
from data.report import Level

Notice = tuple[str, str]  # its kind, and the column or key of a turn
MAX_NOTICES = 1000  # kinds and names that are counted: each row may bring names of its own
MAX_NAMES = 12  # in a sentence
LEFT_OUT = "left out"  # the name of a notice on a row of which nothing is left
BESIDE = "beside"  # ... on a row whose pictures lie in a column of their own

SENTENCES: dict[str, tuple[Level, str]] = {
    "preference": (
        "warning",
        "Preference pairs: {}. The chosen answers are trained, the rejected ones are not: preferences are not trained here.",
    ),
    "label": ("warning", "Labelled false or 0, as answers not to train, and left out: {}."),
    "system_turns": ("warning", "System turns that are not the first turn are joined to the front: {}."),
    "unanswered": ("info", "What follows the last answer is left out: {}."),
    "untrained": ("info", "Turns that are marked so (weight, train, loss) are read, not trained: {}."),
    "first": ("info", "Of several answers the first is trained: {}."),
    "to_text": ("info", "Numbers and the like became text: {}."),
    "unused": ("info", "Not used: {}."),
}
MEDIA = {"tools": "Tool calls", "pictures": "Pictures", "media": "Sound, video and files"}


def count(noticed: Counter[Notice], notices: Iterable[Notice]) -> None:
    """Add the notices of one row to `noticed`, which never holds more than `MAX_NOTICES`."""
    for notice in notices:
        if notice in noticed or len(noticed) < MAX_NOTICES:
            noticed[notice] += 1


def describe(noticed: Counter[Notice]) -> list[tuple[str, Level, str]]:
    """Return (kind, level, sentence) of each kind that was noticed."""
    told: list[tuple[str, Level, str]] = [
        (kind, "warning", _media(what, {name: count for (one, name), count in noticed.items() if one == kind}))
        for kind, what in MEDIA.items()
        if any(one == kind for one, _ in noticed)
    ]
    for kind, (level, sentence) in SENTENCES.items():
        rows = Counter({name: count for (one, name), count in noticed.items() if one == kind})
        if rows:
            names = [
                counted(count, "row") if name in ("", LEFT_OUT) else f"`{name}` ({counted(count, 'row')})"
                for name, count in sorted(rows.items(), key=lambda item: (-item[1], item[0]))
            ]
            more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
            told.append((kind, level, sentence.format(", ".join(names[:MAX_NAMES]) + more)))
    return told


def _media(what: str, rows: dict[str, int]) -> str:
    """Say what became of the rows with tool calls, pictures and the like."""
    words = f"{what} are not trained here."
    if some := rows.get(""):
        kept = (
            "calls and results are left out, the other turns are trained"
            if what == MEDIA["tools"]
            else "only the turns before them are trained"
        )
        words += f" {counted(some, 'row').capitalize()} with some: {kept}."
    if beside := rows.get(BESIDE):
        words += f" {counted(beside, 'row').capitalize()} with some in a column: only the words are trained."
    if lost := rows.get(LEFT_OUT):
        words += f" {counted(lost, 'row').capitalize()} without any other answer: left out."
    return words
