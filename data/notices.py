"""What rows hold besides what is trained of them, and what became of it: counted by rows, told in sentences.

notices: set[Notice] = set()
to_conversation(row, notices=notices)      {("unused", "thinking"), ("unanswered", "")}
count(noticed, notices)                    one row more of each
describe(noticed)                          [("unused", "info", "Not used: `thinking` (12 rows)."), ...]
name_bad(bad.first)                        "Line 3: This line is not JSON: ..."
"""

from collections import Counter
from collections.abc import Callable, Iterable

from common.language import Sentence, _, joined, n_
from data.report import BadRow, Level

Notice = tuple[str, str]  # its kind, and the column or key of a turn
MAX_NOTICES = 1000  # kinds and names that are counted: each row may bring names of its own
MAX_NAMES = 12  # in a sentence
LEFT_OUT = "left out"  # the name of a notice on a row of which nothing is left
BESIDE = "beside"  # ... on a row whose pictures lie in a column of their own

SENTENCES: dict[str, tuple[Level, Callable[[Sentence], Sentence]]] = {
    "preference": (
        "warning",
        lambda rows: _(
            "Preference pairs: {rows}. Only the chosen answers are trained; preferences themselves are not trained here.",
            rows=rows,
        ),
    ),
    "label": ("warning", lambda rows: _("Labelled false or 0, not to be trained, and left out: {rows}.", rows=rows)),
    "system_turns": (
        "warning",
        lambda rows: _("System messages that do not come first are moved to the front: {rows}.", rows=rows),
    ),
    "unanswered": ("info", lambda rows: _("What follows the last answer is left out: {rows}.", rows=rows)),
    "untrained": (
        "info",
        lambda rows: _("Turns marked with weight, train or loss are read, but not trained: {rows}.", rows=rows),
    ),
    "first": ("info", lambda rows: _("Of several answers the first one is trained: {rows}.", rows=rows)),
    "to_text": ("info", lambda rows: _("Numbers and other values were turned into text: {rows}.", rows=rows)),
    "unused": ("info", lambda rows: _("Not used: {rows}.", rows=rows)),
}
MEDIA = {
    "tools": _("Tool calls are not trained here."),
    "pictures": _("Images are not trained here."),
    "media": _("Audio, video and files are not trained here."),
}


def count(noticed: Counter[Notice], notices: Iterable[Notice]) -> None:
    """Add the notices of one row to `noticed`, which never holds more than `MAX_NOTICES`."""
    for notice in notices:
        if notice in noticed or len(noticed) < MAX_NOTICES:
            noticed[notice] += 1


def describe(noticed: Counter[Notice]) -> list[tuple[str, Level, Sentence]]:
    """Return (kind, level, sentence) of each kind that was noticed."""
    found: list[tuple[str, Level, Sentence]] = []
    for kind in (*MEDIA, *SENTENCES):
        rows = Counter({name: count for (one, name), count in noticed.items() if one == kind})
        if rows and kind in MEDIA:
            found.append((kind, "warning", _media(kind, rows)))
        elif rows:
            level, sentence = SENTENCES[kind]
            found.append((kind, level, sentence(_names(rows))))
    return found


def _names(rows: Counter[str]) -> Sentence:
    """Name the columns, or keys of turns, the commonest first, with the number of rows that have them."""
    counts = sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    names = [
        n_("{count:,} row", "{count:,} rows", count)
        if name in ("", LEFT_OUT)
        else n_("`{name}` ({count:,} row)", "`{name}` ({count:,} rows)", count, name=name)
        for name, count in counts
    ]
    first = joined(names[:MAX_NAMES], ", ")
    more = len(names) - MAX_NAMES
    return _("{names} and {count} more", names=first, count=more) if more > 0 else first


def _media(kind: str, rows: Counter[str]) -> Sentence:
    """Say what became of the rows with tool calls, images and the like."""
    words = [MEDIA[kind]]
    if rows[""] and kind == "tools":
        words.append(
            n_(
                "{count:,} row has some: calls and their results are left out, the other turns are trained.",
                "{count:,} rows have some: calls and their results are left out, the other turns are trained.",
                rows[""],
            )
        )
    elif rows[""]:
        words.append(
            n_(
                "{count:,} row has some: only the turns before them are trained.",
                "{count:,} rows have some: only the turns before them are trained.",
                rows[""],
            )
        )
    if rows[BESIDE]:
        words.append(
            n_(
                "{count:,} row has some in a column: only the words are trained.",
                "{count:,} rows have some in a column: only the words are trained.",
                rows[BESIDE],
            )
        )
    if rows[LEFT_OUT]:
        words.append(
            n_(
                "{count:,} row has no other answer and is left out.",
                "{count:,} rows have no other answer and are left out.",
                rows[LEFT_OUT],
            )
        )
    return joined(words)


def name_bad(rows: Iterable[BadRow]) -> Sentence:
    """Say of each of these rows why it cannot be used."""
    return joined(_("{where}: {reason}", where=row["where"], reason=row["reason"]) for row in rows)
