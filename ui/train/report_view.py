"""The report of a data check as HTML: numbers, lengths, findings, rows as conversations and as tokens.

Pure functions of a report. All text from the data is escaped.
"""

import html
from collections.abc import Iterable

from data.columns import in_words
from data.report import Finding, Histogram, PreviewRow, Report
from models.messages import Message

LEVEL_WORDS = {"stop": "Needs fixing", "warning": "Note", "info": "Good to know"}
MAX_RAW_ROWS = 3
MAX_SHOWN = 4000  # characters of one message, tokens of one row


def summary(report: Report) -> str:
    """Show the numbers of the data, the histogram of lengths, and every finding."""
    if report["mapping"] is None:
        return _fact(report["rows"], "rows") + _findings(report["findings"][:1])
    facts = (
        (report["rows"], "rows"),
        (report["usable"], "usable"),
        (report["turns"], "turns"),
        (report["tokens"], "tokens"),
        (report["trained_tokens"], "trained tokens"),
        (report["held_out_rows"], "held out"),
        (report["longest"], "tokens in the longest row"),
    )
    findings = _findings(report["findings"]) or "<p class='good'>Nothing to complain about.</p>"
    base = f"Columns: {in_words(report['mapping'])}. Counted with the tokenizer of {report['base']}: {report['base_reason']}."
    return (
        f"<div class='facts'>{''.join(_fact(*fact) for fact in facts)}</div>{histogram(report['lengths'])}"
        f"{findings}<p class='hint'>{escape(base)}</p>"
    )


def _fact(value: int, words: str) -> str:
    """Return a number with its label as HTML."""
    return f"<span class='fact'><b>{value:,}</b> {escape(words)}</span>"


def _findings(findings: Iterable[Finding]) -> str:
    """Return findings as HTML boxes; their cures are buttons of the page."""
    return "".join(
        f"<p class='finding {escape(item['level'])}'><b>{LEVEL_WORDS[item['level']]}:</b> {escape(item['message'])}</p>"
        for item in findings
    )


def histogram(lengths: Histogram) -> str:
    """Show how many rows have how many tokens as bars; "" where no row was counted."""
    edges, counts = lengths["edges"], lengths["counts"]
    if not any(counts):
        return ""
    bars = "".join(
        f"<div class='bin' title='{count} rows of {low:.0f} to {high:.0f} tokens'>"
        f"<i style='height:{max(2.0 if count else 0.0, 100 * count / max(counts)):.1f}%'></i></div>"
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    )
    return (
        f"<div class='histogram' role='img' aria-label='Lengths of the rows in tokens'>{bars}</div>"
        f"<div class='axis'><span>{edges[0]:.0f}</span><span>tokens a row</span><span>{edges[-1]:.0f}</span></div>"
    )


def raw_rows(report: Report) -> str:
    """Return the first rows as they were read, for the choice of columns."""
    return "".join(
        _section(f"Row {number}", "".join(_turn(name, value) for name, value in row.items()))
        for number, row in zip(report["sample_rows"][:MAX_RAW_ROWS], report["sample"], strict=False)
    )


def conversations(preview: list[PreviewRow]) -> str:
    """Show the first rows as conversations."""
    return "".join(
        _section(_head(row), "".join(map(_message, row["messages"])))
        if row["messages"]
        else _section(_head(row), f"<div class='turn'>{_clipped(row['text'] or '')}</div>")
        for row in preview
    )


def tokens(preview: list[PreviewRow]) -> str:
    """Show the first rows as the ids that the trainer gets: trained tokens coloured, special tokens as they are."""
    parts = ["<p class='hint'><span class='tok on'>trained</span> <span class='tok'>read, not trained</span></p>"]
    for row in preview:
        spans = [
            f"<span class='tok{' on' if trained else ''}' title='{number}'>{escape(token)}</span>"
            f"{'<br>' if '↵' in token else ''}"
            for number, token, trained in zip(row["ids"][:MAX_SHOWN], row["tokens"], row["trained"], strict=False)
        ]
        more = row["length"] - len(spans)
        body = f"<div class='tokens'>{''.join(spans)}{f' … and {more} more' if more > 0 else ''}</div>"
        parts.append(_section(_head(row), body))
    return "".join(parts)


def _head(row: PreviewRow) -> str:
    """Return the heading of a row: number, tokens, trained tokens, and why it is not used."""
    of = "" if row["length"] == len(row["ids"]) else f"of the first {len(row['ids'])} "
    why_not = "" if row["used"] else f" · not used: {row['why_not']}"
    return f"Row {row['row']} · {row['length']} tokens, {sum(row['trained'])} {of}trained{why_not}"


def _section(head: str, body: str) -> str:
    """Return a heading with its body as HTML; `body` is HTML already."""
    return f"<section class='sample'><h4>{escape(head)}</h4>{body}</section>"


def _turn(name: str, text: str, role: str = "") -> str:
    """Return one message of a conversation as HTML."""
    return f"<div class='turn {escape(role)}'><b>{escape(name)}</b> {_clipped(text)}</div>"


def _message(message: Message) -> str:
    """Return one message as HTML, and whether it is an answer that is not trained."""
    read_only = "" if message.get("trained", True) else " (read, not trained)"
    return _turn(f"{message['role']}{read_only}", message["content"], message["role"])


def _clipped(text: str) -> str:
    """Return the first MAX_SHOWN characters as HTML, with the number of the others."""
    more = len(text) - MAX_SHOWN
    return escape(text[:MAX_SHOWN]).replace("\n", "<br>") + (f" … and {more} more characters" if more > 0 else "")


def escape(value: object) -> str:
    """Return the value as text without markup."""
    return html.escape(str(value), quote=True)
