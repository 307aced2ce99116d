"""What a check of the data says, as HTML: numbers, lengths, findings, rows as conversations and as tokens.

Pure functions of the result of `trainer.data.checking.check`. Every word that came from data is escaped.
"""

import html

LEVEL_WORDS = {"stop": "Must be mended", "warning": "Look at this", "info": "Good to know"}
RAW_ROWS = 3
LONGEST_SHOWN = 4000  # characters of one message, tokens of one row


def summary(report: dict) -> str:
    """The numbers of the data, the histogram of lengths, and every finding."""
    if report["mapping"] is None:
        return _fact(report["rows"], "rows") + "".join(finding(item) for item in report["findings"][:1])
    facts = [
        _fact(report["rows"], "rows"),
        _fact(report["usable"], "usable"),
        _fact(report["turns"], "turns"),
        _fact(report["tokens"], "tokens"),
        _fact(report["trained_tokens"], "trained tokens"),
        _fact(report["held_out_rows"], "held out"),
        _fact(report["longest"], "tokens in the longest row"),
    ]
    parts = [f"<div class='facts'>{''.join(facts)}</div>", histogram(report.get("lengths"))]
    parts += [finding(item) for item in report["findings"]]
    if not report["findings"]:
        parts.append("<p class='good'>Nothing to complain about.</p>")
    parts.append(
        f"<p class='hint'>Counted with the tokenizer of {escape(report['base'])}: {escape(report['base_reason'])}.</p>"
    )
    return "".join(parts)


def _fact(value, words: str) -> str:
    number = f"{value:,}" if isinstance(value, int) else escape(value)
    return f"<span class='fact'><b>{number}</b> {escape(words)}</span>"


def finding(item: dict) -> str:
    """One finding as a box; the button with its cure is the page's business."""
    word = LEVEL_WORDS.get(item["level"], "Good to know")
    return f"<p class='finding {escape(item['level'])}'><b>{word}:</b> {escape(item['message'])}</p>"


def histogram(lengths: dict | None) -> str:
    """Bars of how many rows have how many tokens; "" without counts."""
    if not lengths or not any(lengths["counts"]):
        return ""
    edges, counts = lengths["edges"], lengths["counts"]
    most = max(counts)
    bars = "".join(
        f"<div class='bin' title='{count} rows of {low:.0f} to {high:.0f} tokens'>"
        f"<i style='height:{max(2.0 if count else 0.0, 100 * count / most):.1f}%'></i></div>"
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    )
    return (
        f"<div class='histogram' role='img' aria-label='Lengths of the rows in tokens'>{bars}</div>"
        f"<div class='axis'><span>{edges[0]:.0f}</span><span>tokens a row</span><span>{edges[-1]:.0f}</span></div>"
    )


def raw_rows(report: dict) -> str:
    """The first rows as they were read, for who must say which column is what."""
    parts = []
    for number, row in enumerate(report.get("sample", [])[:RAW_ROWS], 1):
        cells = "".join(
            f"<div class='turn'><b>{escape(name)}</b> {_clipped(str(value))}</div>" for name, value in row.items()
        )
        parts.append(f"<section class='sample'><h4>Row {number}</h4>{cells}</section>")
    return "".join(parts)


def conversations(report: dict) -> str:
    """The first rows as conversations."""
    return "".join(_row(row, _messages(row)) for row in report["preview"])


def tokens(report: dict) -> str:
    """The first rows as the ids that the trainer gets: trained tokens coloured, special tokens as they are."""
    legend = "<p class='hint'><span class='tok on'>trained</span> <span class='tok'>read, not trained</span></p>"
    return legend + "".join(_row(row, _tokens(row)) for row in report["preview"])


def _row(row: dict, body: str) -> str:
    trained = sum(map(bool, row["trained"]))
    length = row.get("length", len(row["ids"]))
    trained_words = (
        f"{trained} trained" if length == len(row["ids"]) else f"{trained} of the first {len(row['ids'])} trained"
    )
    head = f"Row {row['row']} · {length} tokens, {trained_words}"
    if not row["used"]:
        head += f" · not used: {row.get('why_not') or 'nothing in it is trained'}"
    return f"<section class='sample'><h4>{escape(head)}</h4>{body}</section>"


def _messages(row: dict) -> str:
    if not row.get("messages"):
        return f"<div class='turn'>{_clipped(row.get('text') or '')}</div>"
    return "".join(
        f"<div class='turn {escape(message['role'])}'><b>{escape(message['role'])}</b> {_clipped(message['content'])}</div>"
        for message in row["messages"]
    )


def _tokens(row: dict) -> str:
    shown = zip(row["ids"][:LONGEST_SHOWN], row["tokens"], row["trained"], strict=False)
    spans = [
        f"<span class='tok{' on' if trained else ''}' title='{number}'>{escape(token)}</span>"
        f"{'<br>' if '↵' in token else ''}"
        for number, token, trained in shown
    ]
    more = row.get("length", len(row["ids"])) - min(LONGEST_SHOWN, len(row["ids"]))
    return f"<div class='tokens'>{''.join(spans)}{f' … and {more} more' if more > 0 else ''}</div>"


def _clipped(text: str) -> str:
    more = len(text) - LONGEST_SHOWN
    return escape(text[:LONGEST_SHOWN]).replace("\n", "<br>") + (f" … and {more} more characters" if more > 0 else "")


def escape(value: object) -> str:
    return html.escape(str(value), quote=True)
