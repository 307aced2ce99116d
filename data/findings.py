"""What is wrong with the data, from the counts of the report: sentences, each with its level and, where one exists, its cure.

A new finding is one more `finding(...)` in the function of its kind; `find_problems` takes them together.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from common.errors import UserError
from common.words import counted
from data.columns import NAMES, columns_of, in_words
from data.conversations import Kept, RowNumber
from data.dataset import name_rows
from data.gathering import Gathered
from data.intake import Prepared, text_markup
from data.markup import describe_markup
from data.notices import describe
from data.parts import held_out_among, split_among
from data.report import Cure, Finding, Level, Report, Script, TextReport
from data.settings import DataSettings
from data.tables import Table
from data.turns import role_of

FEW_ROWS = 20
ANSWERS = ("summary", "highlights", "headline", "label", "label_text", "labels")  # to a text, where that is meant


@dataclass(frozen=True)
class CheckedBase:
    """What the report needs to know of a base model: `positions` is the most tokens that it takes."""

    model_id: str
    reason: str
    positions: int | None


def finding(code: str, level: Level, message: str, cure: Cure | None = None, *others: Cure) -> Finding:
    """Return one finding, with its cures, the best one first."""
    return {"code": code, "level": level, "message": message, "cure": cure, "other_cures": list(others)}


def cure(label: str, **changes) -> Cure:
    """Return a button that changes these settings."""
    return {"label": label, "changes": changes}


def find_problems(
    settings: DataSettings, prepared: Prepared, report: Report, base: CheckedBase, template_error: UserError | None
) -> list[Finding]:
    """Return all findings on the conversations; `report` has everything but its findings."""
    found = [finding("note", "info", note) for note in prepared.notes] + find_table_problems(prepared.tables)
    found += _other_parts(settings, prepared)
    if report["estimated_from"]:
        words = f"Token counts are estimated from {counted(report['estimated_from'], 'row')} of {report['rows']:,}."
        found.append(finding("estimated", "info", words))
    found += _base_problems(settings, base, template_error)
    if report["mapping"] is None and report["columns"]:
        found.append(_unrecognised(report, prepared))
    else:
        found += _bad_rows(settings, prepared)
        found += _lengths(settings, report, base)
    found += _noticed(prepared, report)
    found += _markup(prepared.markup, settings.markup, cure("Turn it into turns", markup="turns"))
    found += _double_rows(settings, prepared)
    if not report["train_rows"]:
        found.append(finding("no_rows", "stop", "No row is left to train on."))
    elif report["train_rows"] < FEW_ROWS:
        words = (
            f"Only {counted(report['train_rows'], 'row')} to train on: it will repeat them rather than learn from them."
        )
        found.append(finding("few_rows", "warning", words))
    if report["train_rows"] and not report["held_out_rows"]:
        found.append(finding("held_out", "info", "No row is held out: nothing will tell when it learns by heart."))
    return found + _costly_scripts(report["scripts"])


def _other_parts(settings: DataSettings, prepared: Prepared) -> list[Finding]:
    """Return the finding on parts of the data, like "validation", that are neither trained nor held out."""
    splits = prepared.data.splits
    used = [split_among(splits, split) for split in (settings.data_split, settings.eval_split or "")]
    others = {name: rows for name, rows in splits.items() if rows and name not in used}
    if not others:
        return []
    named = ", ".join(f"{name[:40]} ({counted(rows, 'row')})" for name, rows in list(others.items())[:10])
    held_out = held_out_among(others)
    is_free = held_out and len(prepared.parts) == 1 and not (settings.eval_split or settings.eval_data)
    take = cure(f"Hold out {held_out}", eval_split=held_out) if is_free else None
    return [finding("parts", "info", f"The data has other parts, which are not trained: {named}.", take)]


def _base_problems(settings: DataSettings, base: CheckedBase, template_error: UserError | None) -> list[Finding]:
    found = []
    if template_error:
        take = cure("Train with TinyLlama's template", chat_template="zephyr")
        found.append(finding("template", "stop", str(template_error), take))
    if base.positions and settings.max_length > base.positions:
        words = f"max_length {settings.max_length} is more than the {base.positions} positions of the base."
        lower = cure(f"Set max_length to {base.positions}", max_length=base.positions)
        found.append(finding("max_length", "stop", words, lower))
    return found


def _unrecognised(report: Report, prepared: Prepared) -> Finding:
    shown = ", ".join(name[:60] for name in report["columns"][:20]) or "none"
    file = next((f" of {number.file}" for number in prepared.data.numbers if isinstance(number, RowNumber)), "")
    if any(role_of(row) for row in prepared.data.head):
        words = f"Each row{file} is one turn (columns: {shown}), and nothing says which turns make a conversation."
        return finding("columns", "stop", f'{words} Write each as one row: {{"messages": [...]}}.')
    words = f"The columns{file} are not recognised: {shown}. Say which holds the prompt and which the answer."
    guess = report["guess"]
    take = cure(f"Take {in_words(guess)}", columns=json.dumps(guess, ensure_ascii=False)) if guess else None
    return finding("columns", "stop", words, take)


def _bad_rows(settings: DataSettings, prepared: Prepared) -> list[Finding]:
    bad, answers = prepared.bad, prepared.data.empty_answers
    if not bad:
        return []
    empty = f", {answers.count:,} of them without an answer" if answers else ""
    words = f"{counted(bad.count, 'row')} that cannot be used{empty}: {' '.join(bad.first[:3])}"
    if settings.skip_bad_rows:
        return [finding("bad_rows", "info", f"Left out: {words}")]
    leave_out = cure("Leave out these rows", skip_bad_rows=True) if len(prepared.data.conversations) else None
    return [finding("bad_rows", "stop", words, leave_out)]


def _noticed(prepared: Prepared, report: Report) -> list[Finding]:
    """Return a finding for each kind of thing in the rows that is not trained as it stands there."""
    mapping = report["mapping"] or {}
    without_label = {key: column for key, column in mapping.items() if key != "label"}
    cures = {
        "system_turns": cure("Keep them where they are", system_turns="keep"),
        "unused": _answer_to_text(mapping, prepared),
        "label": cure("Train them too", columns=json.dumps(without_label, ensure_ascii=False)) if mapping else None,
    }
    return [finding(kind, level, sentence, cures.get(kind)) for kind, level, sentence in describe(prepared.noticed)]


def _answer_to_text(mapping: dict[str, str], prepared: Prepared) -> Cure | None:
    """Return the cure that makes an unused column beside a text, like a summary or the name of a class, the answer to it."""
    head = prepared.data.head
    for column in columns_of(head) if set(mapping) == {"text"} else ():
        is_answer = (
            column.strip().lower() in (*NAMES["completion"], *ANSWERS) and ("unused", column) in prepared.noticed
        )
        if is_answer and not any(isinstance(row.get(column), list | dict) for row in head):
            pair = {"prompt": mapping["text"], "completion": column}
            return cure(f"Take {in_words(pair)}", columns=json.dumps(pair, ensure_ascii=False))
    return None


def _markup(rows: Kept, markup: str, *cures: Cure, stage: str = "", code: str = "markup") -> list[Finding]:
    """Return the finding on chat markup: a warning with `cures` and two more until a person has said what becomes of it."""
    cures += (cure("Strip it", markup="strip"), cure("Keep it as letters", markup="keep"))
    level, ways = ("warning", cures) if markup == "ask" else ("info", ())
    return [finding(code, level, f"{stage}{words}", *ways) for words in describe_markup(rows, markup)]


def _lengths(settings: DataSettings, report: Report, base: CheckedBase) -> list[Finding]:
    """Return the findings on rows over max_length, with the settings that would keep them."""
    found = []
    level: Level = "warning" if report["train_rows"] else "stop"
    if report["shortened"]:
        words = (
            f"Shortened to whole turns within max_length {settings.max_length}: {counted(report['shortened'], 'row')}."
        )
        found.append(finding("shortened", "info", words))
    too_long, nothing = report["too_long"], report["nothing_trained"]
    if too_long["count"]:
        words = f"Longer than max_length {settings.max_length} and left out: {counted(too_long['count'], 'row')}"
        words += f": {name_rows(too_long['rows'])}."
        found.append(finding("too_long", level, words, _cure_of_length(settings, report["longest"], base.positions)))
    if nothing["count"]:
        words = f"Left out because no token of it is trained: {counted(nothing['count'], 'row')}: {name_rows(nothing['rows'])}."
        found.append(finding("nothing_trained", level, words))
    return found


def _cure_of_length(settings: DataSettings, longest: int, positions: int | None) -> Cure | None:
    """Return a larger max_length where the base takes the longest row; else cutting, which helps rows of several turns."""
    if positions and longest <= positions:
        needed = min(-(-longest // 64) * 64, positions)
        return cure(f"Set max_length to {needed}", max_length=needed)
    if settings.too_long == "drop":
        return cure("Cut them at the end of a turn", too_long="cut")
    if positions and settings.max_length < positions:
        return cure(f"Set max_length to {positions}", max_length=positions)
    return None


def find_table_problems(tables: Iterable[Table], stage: str = "") -> list[Finding]:
    """Return a finding for each thing in these tables that could be other than it was meant."""
    found = []
    for table in tables:
        cures = {
            "header": cure("Use the first row like the others", header=False),
            "null_words": cure("Keep them as words", keep_null_words=True),
        }
        if table.other_sheets and table.settings.sheet is not None:
            other = table.other_sheets[0]
            cures["sheet"] = cure(f"Read the sheet '{other[:40]}' instead", sheet=other)
        found += [finding(code, level, f"{stage}{words}", cures.get(code)) for code, level, words in table.described()]
    return found


def _double_rows(settings: DataSettings, prepared: Prepared) -> list[Finding]:
    once = cure("Use each once", drop_duplicates=True)
    found = []
    if prepared.duplicates:
        rows = f"{counted(prepared.duplicates.count, 'row')}: {name_rows(prepared.duplicates.first)}"
        words = f"Says the same as an earlier one: {rows}."
        if settings.drop_duplicates:
            found.append(finding("duplicates", "info", f"Left out: {words}"))
        else:
            found.append(finding("duplicates", "warning", f"{words} What is there twice is trained twice.", once))
    if prepared.leaked and not settings.drop_duplicates:
        words = (
            f"Trained and held out at once: {counted(prepared.leaked, 'row')}. The held-out loss would look too good."
        )
        found.append(finding("leaked", "warning", words, once))
    return found


def _costly_scripts(scripts: Iterable[Script], stage: str = "", code: str = "script") -> list[Finding]:
    return [finding(code, "warning", f"{stage}{item['message']}") for item in scripts if item["message"]]


def find_text_problems(settings: DataSettings, text: TextReport, data: Gathered) -> list[Finding]:
    """Return all findings on the open text of stage 1."""
    found = [finding("text_note", "info", note) for note in data.notes]
    found += [finding(f"text_{kind}", level, f"Stage 1: {words}") for kind, level, words in describe(data.noticed)]
    found += _markup(data.markup, text_markup(settings), stage="Stage 1: ", code="text_markup")
    bad = text["bad"]
    if bad["count"]:
        words = f"Stage 1: {counted(bad['count'], 'row')} that cannot be used. {' '.join(bad['sentences'][:3])}"
        if settings.skip_bad_rows and text["usable"]:
            found.append(finding("text_bad_rows", "info", words))
        else:
            take = cure("Leave out these rows", skip_bad_rows=True)
            found.append(finding("text_bad_rows", "stop", words, take))
    if not text["usable"]:
        found.append(finding("text_no_rows", "stop", "Stage 1: no text is left to train on."))
    return found + _costly_scripts(text["scripts"], "Stage 1: ", "text_script")
