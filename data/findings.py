"""What is wrong with the data, from the counts of the report: sentences, each with its level and, where one exists, its cure.

A new finding is one more `finding(...)` in the function of its kind; `find_problems` takes them together.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from common.errors import UserError
from common.language import Sentence, _, joined, n_
from common.made_by import describe_made
from data.columns import NAMES, columns_of, mapping_words
from data.conversations import RowNumber, Tally
from data.dataset import name_rows, tell_nothing_trained, tell_shortened, tell_too_long
from data.gathering import Gathered
from data.intake import Prepared, text_markup
from data.markup import describe_markup
from data.notices import describe, name_bad
from data.parts import held_out_among, split_among
from data.report import MAX_BAD_ROWS, BadRow, Cure, Finding, Level, Report, TextReport
from data.settings import DataSettings
from data.tables import Table
from data.turns import role_of

FEW_ROWS = 20
MAX_PROMPT_CHARACTERS = 100  # that are shown of a base's system prompt
LEAVE_OUT: Cure = {"label": _("Leave these out"), "changes": {"skip_bad_rows": True}}
ANSWERS = ("summary", "highlights", "headline", "label", "label_text", "labels")  # to a text, where that is meant


@dataclass(frozen=True)
class CheckedBase:
    """What the report needs to know of a base model: `positions` is the most tokens that it takes."""

    model_id: str
    reason: str
    positions: int | None


def finding(
    code: str, level: Level, message: str, cure: Cure | None = None, *others: Cure, rows: Iterable[BadRow] = ()
) -> Finding:
    """Return one finding, with its cures, the best one first."""
    return Finding(code=code, level=level, message=message, cure=cure, other_cures=list(others), rows=list(rows))


def in_text_stage(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings on the plain text of stage 1, which say so."""
    return [{**one, "message": _("Plain text: {finding}", finding=one["message"])} for one in findings]


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
        words = _(
            "The tokens are estimated from {part:,} of {rows:,} rows.",
            part=report["estimated_from"],
            rows=report["rows"],
        )
        found.append(finding("estimated", "info", words))
    found += _base_problems(settings, base, template_error)
    is_recognised = report["mapping"] is not None or not report["columns"]
    if not is_recognised:
        found.append(_unrecognised(report, prepared))
    else:
        found += _bad_rows(settings, prepared)
        found += _lengths(settings, report, base)
    found += _noticed(prepared, report)
    found += _made(prepared, report)
    found += _markup(prepared.markup, settings.markup, cure(_("Read it as messages"), markup="turns"))
    found += _double_rows(settings, prepared)
    if is_recognised and not report["train_rows"]:
        found.append(finding("no_rows", "stop", _("No rows are left to train on.")))
    elif 0 < report["train_rows"] < FEW_ROWS:
        words = n_(
            "There is only {count} row to train on: the model will repeat it rather than learn from it.",
            "There are only {count} rows to train on: the model will repeat them rather than learn from them.",
            report["train_rows"],
        )
        found.append(finding("few_rows", "warning", words))
    if report["train_rows"] and not report["held_out_rows"]:
        words = _("No rows are held out, so nothing will show when the model only memorises its examples.")
        found.append(finding("held_out", "info", words))
    return found + [finding("script", "warning", words) for words in report["scripts"]]


def find_own_prompt(rows: int, prompt: str) -> list[Finding]:
    """Return the finding on the system prompt of a base that comes before the rows that have none."""
    if not (rows and prompt):
        return []
    words = n_(
        "{count:,} conversation has no system prompt, so the base model's own comes before it: '{prompt}'. To train with "
        "another one, add a system message to your rows; otherwise leave it: the chat uses the same one.",
        "{count:,} conversations have no system prompt, so the base model's own comes before them: '{prompt}'. To train with "
        "another one, add a system message to your rows; otherwise leave it: the chat uses the same one.",
        rows,
        prompt=prompt if len(prompt) <= MAX_PROMPT_CHARACTERS else f"{prompt[:MAX_PROMPT_CHARACTERS]} ...",
    )
    return [finding("system_prompt", "info", words)]


def _other_parts(settings: DataSettings, prepared: Prepared) -> list[Finding]:
    """Return the finding on parts of the data, like "validation", that are neither trained nor held out."""
    splits = prepared.data.splits
    used = [split_among(splits, split) for split in (settings.data_split, settings.eval_split or "")]
    others = {name: rows for name, rows in splits.items() if rows and name not in used}
    if not others:
        return []
    named = joined(
        (
            n_("{name} ({count:,} row)", "{name} ({count:,} rows)", rows, name=name[:40])
            for name, rows in list(others.items())[:10]
        ),
        ", ",
    )
    held_out = held_out_among(others)
    is_free = held_out and len(prepared.parts) == 1 and not (settings.eval_split or settings.eval_data)
    take = cure(_("Hold out '{part}'", part=held_out), eval_split=held_out) if is_free else None
    return [finding("parts", "info", _("The data has other parts, which are not trained: {parts}.", parts=named), take)]


def _base_problems(settings: DataSettings, base: CheckedBase, template_error: UserError | None) -> list[Finding]:
    found = []
    if template_error:
        take = cure(_("Train with TinyLlama's template"), chat_template="zephyr")
        words = joined([template_error.message, template_error.hint])
        found.append(finding("template", "stop", words, take))
    if base.positions and settings.max_length > base.positions:
        words = _(
            "max_length is {length:,} tokens, but the base model takes at most {most:,}.",
            length=settings.max_length,
            most=base.positions,
        )
        found.append(finding("max_length", "stop", words, _cure_to(base.positions)))
    return found


def _unrecognised(report: Report, prepared: Prepared) -> Finding:
    shown = ", ".join(name[:60] for name in report["columns"][:20]) or _("none")
    file = next((number.file for number in prepared.data.numbers if isinstance(number, RowNumber)), "")
    if any(role_of(row) for row in prepared.data.head):
        words = _(
            "Each row is a single turn (columns: {columns}), and nothing says which turns belong to one conversation. "
            "Write each conversation as one row: {example}.",
            columns=shown,
            example='{"messages": [...]}',
        )
        return finding("columns", "stop", _in_file(file, words))
    words = _(
        "The columns are not recognised: {columns}. Choose which one is the prompt and which the answer.", columns=shown
    )
    guess = report["guess"]
    return finding("columns", "stop", _in_file(file, words), _cure_of_columns(guess) if guess else None)


def _in_file(file: str, words: Sentence) -> Sentence:
    """Return the sentence with the file that it is about, where there are several."""
    return _("{file}: {finding}", file=file, finding=words) if file else words


def _cure_of_columns(mapping: dict[str, str]) -> Cure:
    label = _("Use {columns}", columns=mapping_words(mapping))
    return cure(label, columns=json.dumps(mapping, ensure_ascii=False))


def _bad_rows(settings: DataSettings, prepared: Prepared) -> list[Finding]:
    bad, answers = prepared.bad, prepared.data.empty_answers
    if not bad:
        return []
    words = [_tell_bad(bad.count, settings.skip_bad_rows)]
    if answers:
        words.append(n_("{count:,} has no answer.", "{count:,} have no answer.", answers.count))
    message, rows = joined([*words, name_bad(bad.first[:1])]), bad.first[:MAX_BAD_ROWS]
    if settings.skip_bad_rows:
        return [finding("bad_rows", "info", message, rows=rows)]
    leave_out = LEAVE_OUT if len(prepared.data.conversations) else None
    return [finding("bad_rows", "stop", message, leave_out, rows=rows)]


def _tell_bad(count: int, are_left_out: bool) -> Sentence:
    if are_left_out:
        return n_(
            "{count:,} row cannot be used and is left out.", "{count:,} rows cannot be used and are left out.", count
        )
    return n_("{count:,} row cannot be used.", "{count:,} rows cannot be used.", count)


def _noticed(prepared: Prepared, report: Report) -> list[Finding]:
    """Return a finding for each kind of thing in the rows that is not trained as it stands there."""
    mapping = report["mapping"] or {}
    without_label = {key: column for key, column in mapping.items() if key != "label"}
    cures = {
        "system_turns": cure(_("Keep them where they are"), system_turns="keep"),
        "unused": _answer_to_text(mapping, prepared),
        "label": cure(_("Train on them, too"), columns=json.dumps(without_label, ensure_ascii=False))
        if mapping
        else None,
    }
    return [finding(kind, level, sentence, cures.get(kind)) for kind, level, sentence in describe(prepared.noticed)]


def _made(prepared: Prepared, report: Report) -> list[Finding]:
    """Return the findings on rows that a teacher made, those to train on and those that are held out."""
    found = []
    if words := describe_made(report["made"], len(prepared.train)):
        found.append(finding("made", "info", words))
    if words := describe_made(prepared.held_out.made(), len(prepared.held_out)):
        meaning = _("These measure how well the model imitates its teacher, not how often it is right.")
        found.append(finding("made_held_out", "info", _("Held out: {made}", made=joined([words, meaning]))))
    return found


def _answer_to_text(mapping: dict[str, str], prepared: Prepared) -> Cure | None:
    """Return the cure that makes an unused column beside a text, like a summary or the name of a class, the answer to it."""
    head = prepared.data.head
    for column in columns_of(head) if set(mapping) == {"text"} else ():
        is_answer = (
            column.strip().lower() in (*NAMES["completion"], *ANSWERS) and ("unused", column) in prepared.noticed
        )
        if is_answer and not any(isinstance(row.get(column), list | dict) for row in head):
            return _cure_of_columns({"prompt": mapping["text"], "completion": column})
    return None


def _markup(rows: Tally, markup: str, *cures: Cure, code: str = "markup") -> list[Finding]:
    """Return the finding on chat markup: a warning with `cures` and two more until a person has said what becomes of it."""
    cures += (cure(_("Remove it"), markup="strip"), cure(_("Keep it as text"), markup="keep"))
    level, ways = ("warning", cures) if markup == "ask" else ("info", ())
    return [finding(code, level, words, *ways) for words in describe_markup(rows, markup)]


def _lengths(settings: DataSettings, report: Report, base: CheckedBase) -> list[Finding]:
    """Return the findings on rows over max_length, with the settings that would keep them."""
    found = []
    level: Level = "warning" if report["train_rows"] else "stop"
    if report["shortened"]:
        found.append(finding("shortened", "info", tell_shortened(report["shortened"], settings.max_length)))
    too_long, nothing = report["too_long"], report["nothing_trained"]
    if too_long["count"]:
        words = tell_too_long(too_long["count"], too_long["rows"], settings.max_length)
        found.append(finding("too_long", level, words, _cure_of_length(settings, report["longest"], base.positions)))
    if nothing["count"]:
        found.append(finding("nothing_trained", level, tell_nothing_trained(nothing["count"], nothing["rows"])))
    return found


def _cure_of_length(settings: DataSettings, longest: int, positions: int | None) -> Cure | None:
    """Return a larger max_length where the base takes the longest row; else cutting, which helps rows of several turns."""
    if positions and longest <= positions:
        return _cure_to(min(-(-longest // 64) * 64, positions))
    if settings.too_long == "drop":
        return cure(_("Cut them at the end of a turn"), too_long="cut")
    return _cure_to(positions) if positions and settings.max_length < positions else None


def _cure_to(length: int) -> Cure:
    return cure(_("Set max_length to {length:,}", length=length), max_length=length)


def find_table_problems(tables: Iterable[Table]) -> list[Finding]:
    """Return a finding for each thing in these tables that could be other than it was meant."""
    found = []
    for table in tables:
        cures = {
            "header": cure(_("Use the first row like the others"), header=False),
            "null_words": cure(_("Keep them as text"), keep_null_words=True),
        }
        if table.other_sheets and table.settings.sheet is not None:
            other = table.other_sheets[0]
            cures["sheet"] = cure(_("Read the sheet '{sheet}' instead", sheet=other[:40]), sheet=other)
        found += [finding(code, level, words, cures.get(code)) for code, level, words in table.described()]
    return found


def _double_rows(settings: DataSettings, prepared: Prepared) -> list[Finding]:
    once = cure(_("Use each once"), drop_duplicates=True)
    found, double = [], prepared.duplicates
    if double and settings.drop_duplicates:
        words = n_(
            "{count:,} row says the same as an earlier one and is left out: {rows}.",
            "{count:,} rows say the same as an earlier one and are left out: {rows}.",
            double.count,
            rows=name_rows(double.first),
        )
        found.append(finding("duplicates", "info", words))
    elif double:
        words = n_(
            "{count:,} row says the same as an earlier one, and would be trained twice: {rows}.",
            "{count:,} rows say the same as an earlier one, and would be trained twice: {rows}.",
            double.count,
            rows=name_rows(double.first),
        )
        found.append(finding("duplicates", "warning", words, once))
    if prepared.leaked and not settings.drop_duplicates:
        words = n_(
            "{count:,} row is both trained and held out, so the held-out loss would look too good.",
            "{count:,} rows are both trained and held out, so the held-out loss would look too good.",
            prepared.leaked,
        )
        found.append(finding("leaked", "warning", words, once))
    return found


def find_text_problems(settings: DataSettings, text: TextReport, data: Gathered) -> list[Finding]:
    """Return all findings on the open text of stage 1."""
    found = [finding("text_note", "info", note) for note in data.notes]
    found += [finding(f"text_{kind}", level, words) for kind, level, words in describe(data.noticed)]
    found += _markup(data.markup, text_markup(settings), code="text_markup")
    bad = text["bad"]
    if bad["count"]:
        are_left_out = bool(settings.skip_bad_rows and text["usable"])
        words = joined([_tell_bad(bad["count"], are_left_out), name_bad(bad["rows"][:1])])
        take = None if are_left_out else LEAVE_OUT
        found.append(finding("text_bad_rows", "info" if are_left_out else "stop", words, take, rows=bad["rows"]))
    if not text["usable"]:
        found.append(finding("text_no_rows", "stop", _("No text is left to train on.")))
    found += [finding("text_script", "warning", words) for words in text["scripts"]] + find_table_problems(data.tables)
    return in_text_stage(found)
