"""The report of a data check as HTML: numbers, lengths, findings, rows as conversations and as tokens.

Pure functions of a report. All text from the data is escaped.
"""

import html

from common.language import Sentence, _, joined, n_
from data.columns import mapping_words
from data.report import BadRow, Cure, Histogram, PreviewRow, Report
from models.messages import Message
from ui.answers import ROLE_WORDS, clipped_html, turn_html
from ui.hints import hint_html

LEVEL_WORDS = {"stop": _("Needs fixing:"), "warning": _("Note:"), "info": _("Good to know:")}
MAX_RAW_ROWS = 3
MAX_SHOWN = 4000  # tokens of one row
# A cure is a button in its finding; a click says its place in `cures_of`.
CURES_SCRIPT = """
element.addEventListener('click', event => {
    const cure = event.target.closest('[data-cure]');
    if (cure) trigger('click', {number: Number(cure.dataset.cure)});
});
"""


def found_in_one_line(report: Report) -> Sentence:
    """Say what was found: '220 conversations, 198 to train on and 22 held out, about 90 tokens each'."""
    if report["mapping"] is None and report["columns"]:
        return n_(
            "{count:,} row, but it is not clear which column is what",
            "{count:,} rows, but it is not clear which column is what",
            report["rows"],
        )
    usable = report["usable"]
    if not usable:
        return _("Nothing to train on was found")
    if report["shape"] == "messages":
        found = n_("{count:,} conversation", "{count:,} conversations", usable)
    elif report["shape"] == "text":
        found = n_("{count:,} text", "{count:,} texts", usable)
    else:
        found = _rows(usable)
    length = n_("about {count:,} token each", "about {count:,} tokens each", round(report["mean_length"]))
    if not report["held_out_rows"]:
        return _("{found} to train on, {length}", found=found, length=length)
    return _(
        "{found}, {train:,} to train on and {held_out:,} held out, {length}",
        found=found,
        train=report["train_rows"],
        held_out=report["held_out_rows"],
        length=length,
    )


def summary(report: Report) -> str:
    """Show the numbers of the data, the histogram of lengths, and every finding."""
    if report["mapping"] is None:
        return _fact(_rows(report["rows"])) + _findings(report)
    longest = report["longest"]
    facts = (
        _rows(report["rows"]),
        _("{count:,} usable", count=report["usable"]),
        n_("{count:,} turn", "{count:,} turns", report["turns"]),
        n_("{count:,} token", "{count:,} tokens", report["tokens"]),
        n_("{count:,} trained token", "{count:,} trained tokens", report["trained_tokens"]),
        _("{count:,} held out", count=report["held_out_rows"]),
        n_("{count:,} token in the longest row", "{count:,} tokens in the longest row", longest),
    )
    findings = _findings(report) or hint_html(_("No problems found."), "good")
    columns = _("Columns: {columns}.", columns=mapping_words(report["mapping"]))
    counted = _("Counted with the tokenizer of {base}.", base=report["base"])
    base = joined([columns, counted, report["base_reason"]])
    return (
        f"<div class='facts'>{''.join(map(_fact, facts))}</div>{histogram(report['lengths'])}"
        f"{findings}{hint_html(base)}"
    )


def _rows(count: int) -> Sentence:
    return n_("{count:,} row", "{count:,} rows", count)


def _fact(words: Sentence) -> str:
    """Return a number with its label as HTML."""
    number = f"{words.values['count']:,}"
    return f"<span class='fact'>{escape(words).replace(number, f'<b>{number}</b>', 1)}</span>"


def cures_of(report: Report | None) -> list[Cure]:
    """Return the cures of all findings, the pressing ones first, each once."""
    findings = sorted(report["findings"] if report else [], key=lambda item: item["level"] != "stop")
    cures = [cure for item in findings for cure in (item["cure"], *item["other_cures"]) if cure]
    return [cure for number, cure in enumerate(cures) if cure not in cures[:number]]


def _findings(report: Report) -> str:
    """Return findings as HTML boxes, each with its rows and the buttons of its cures."""
    boxes, known = [], cures_of(report)
    for item in report["findings"]:
        words = f"<b>{escape(LEVEL_WORDS[item['level']])}</b> {escape(item['message'])}{_bad_rows(item['rows'])}"
        cures = "".join(
            f"<button type='button' data-cure='{known.index(cure)}'>{escape(cure['label'])}</button>"
            for cure in (item["cure"], *item["other_cures"])
            if cure
        )
        boxes.append(f"<div class='finding {escape(item['level'])}'>{words}{cures and f'<p>{cures}</p>'}</div>")
    return "".join(boxes)


def _bad_rows(rows: list[BadRow]) -> str:
    """Return the first rows that cannot be used as a folded list; "" without any."""
    if not rows:
        return ""
    items = "".join(
        f"<li><b>{escape(row['where'])}</b> {escape(row['reason'])} <code>{escape(row['text'])}</code></li>"
        for row in rows
    )
    title = n_("Show the row", "Show the first {count} rows", len(rows))
    return f"<details><summary>{escape(title)}</summary><ul>{items}</ul></details>"


def histogram(lengths: Histogram) -> str:
    """Show how many rows have how many tokens as bars; "" where no row was counted."""
    edges, counts = lengths["edges"], lengths["counts"]
    if not any(counts):
        return ""
    bars = "".join(
        f"<div class='bin' title='{escape(_bin(count, low, high))}'>"
        f"<i style='height:{max(2.0 if count else 0.0, 100 * count / max(counts)):.1f}%'></i></div>"
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    )
    label, unit = _("Lengths of the rows in tokens"), _("tokens per row")
    return (
        f"<div class='histogram' role='img' aria-label='{escape(label)}'>{bars}</div>"
        f"<div class='axis'><span>{edges[0]:,}</span><span>{escape(unit)}</span><span>{edges[-1]:,}</span></div>"
    )


def _bin(count: int, low: int, high: int) -> Sentence:
    return n_(
        "{count:,} row of {low:,} to {high:,} tokens",
        "{count:,} rows of {low:,} to {high:,} tokens",
        count,
        low=low,
        high=high,
    )


def raw_rows(report: Report) -> str:
    """Return the first rows as they were read, for the choice of columns."""
    return "".join(
        _section(_("Row {row}", row=number), "".join(turn_html(name, value) for name, value in row.items()))
        for number, row in zip(report["sample_rows"][:MAX_RAW_ROWS], report["sample"], strict=False)
    )


def conversations(preview: list[PreviewRow]) -> str:
    """Show the first rows as conversations."""
    return "".join(
        _section(_head(row), "".join(map(_message, row["messages"])))
        if row["messages"]
        else _section(_head(row), f"<div class='turn'>{clipped_html(row['text'] or '')}</div>")
        for row in preview
    )


def tokens(preview: list[PreviewRow]) -> str:
    """Show the first rows as the ids that the trainer gets: trained tokens coloured, special tokens as they are.

    A character of several tokens is one piece with their number.
    """
    trained, read = _("trained"), _("read, not trained")
    parts = [
        f"<p class='hint'><span class='tok on'>{escape(trained)}</span> <span class='tok'>{escape(read)}</span></p>"
    ]
    for row in preview:
        ids, pieces = row["ids"][:MAX_SHOWN], []
        for place in range(len(ids)):
            if row["tokens"][place] or not pieces:
                pieces.append([])
            pieces[-1].append(place)
        more = row["length"] - len(ids)
        rest = escape(_("… and {count:,} more", count=more)) if more > 0 else ""
        body = f"<div class='tokens'>{''.join(_piece(row, places) for places in pieces)} {rest}</div>"
        parts.append(_section(_head(row), body))
    return "".join(parts)


def _piece(row: PreviewRow, places: list[int]) -> str:
    """Return a token, or the tokens of one character, as HTML: its text, and its ids as a tooltip."""
    text, ids = row["tokens"][places[0]], ", ".join(str(row["ids"][place]) for place in places)
    is_on = " on" if row["trained"][places[0]] else ""
    if len(places) == 1:
        return f"<span class='tok{is_on}' title='{ids}'>{escape(text)}</span>{'<br>' if '↵' in text else ''}"
    title = n_("{count} token: {ids}", "{count} tokens: {ids}", len(places), ids=ids)
    return f"<span class='tok{is_on}' title='{escape(title)}'>{escape(text)}<sub>{len(places)}</sub></span>"


def _head(row: PreviewRow) -> Sentence:
    """Return the heading of a row: number, tokens, trained tokens, and why it is not used."""
    trained = _("{count:,} trained", count=sum(row["trained"]))
    if row["length"] != len(row["ids"]):
        trained = _("{count:,} of the first {first:,} trained", count=sum(row["trained"]), first=len(row["ids"]))
    size = n_("{count:,} token, {trained}", "{count:,} tokens, {trained}", row["length"], trained=trained)
    why_not = "" if row["used"] else _("not used: {reason}", reason=row["why_not"])
    return joined([_("Row {row}", row=row["row"]), size, why_not], " · ")


def _section(head: str, body: str) -> str:
    """Return a heading with its body as HTML; `body` is HTML already."""
    return f"<section class='sample'><h4>{escape(head)}</h4>{body}</section>"


def _message(message: Message) -> str:
    """Return one message as HTML, and whether it is an answer that is not trained."""
    name = ROLE_WORDS.get(message["role"], message["role"])
    if not message.get("trained", True):
        name = _("{role} (read, not trained)", role=name)
    return turn_html(name, message["content"], message["role"])


def escape(value: object) -> str:
    """Return the value as text without markup."""
    return html.escape(str(value), quote=True)
