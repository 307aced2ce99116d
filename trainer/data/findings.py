"""What is wrong with the data, from the counts of the report: sentences, each with its level and, where one exists, its cure.

Levels: "stop" where a training would fail or mean nothing, "warning" where it would be worse than it could, "info". A cure
is {"label", "changes": {field of TrainConfig: value}}: a button that applies it.
"""

import json
from dataclasses import dataclass

from common.errors import UserError
from trainer.config import TrainConfig
from trainer.data.intake import Prepared

FEW_ROWS = 20


@dataclass(frozen=True)
class CheckedBase:
    """What the report needs to know of a base model: `positions` is the most tokens that it takes."""

    model_id: str
    reason: str
    positions: int | None


def finding(code: str, level: str, message: str, cure: dict | None = None) -> dict:
    return {"code": code, "level": level, "message": message, "cure": cure}


def cure(label: str, **changes) -> dict:
    return {"label": label, "changes": changes}


def rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def find_problems(
    config: TrainConfig, prepared: Prepared, report: dict, base: CheckedBase, template_error: UserError | None
) -> list[dict]:
    """All findings on the data of stage 2."""
    found = [finding("note", "info", note) for note in prepared.notes]
    if config.max_rows and report["rows"] >= config.max_rows:
        found.append(finding("max_rows", "info", f"Only the first {config.max_rows:,} rows were read (max_rows)."))
    if report["estimated_from"]:
        words = f"Token counts are estimated from {rows(report['estimated_from'])} of {report['rows']:,}."
        found.append(finding("estimated", "info", words))
    found += _base_problems(config, base, template_error)
    if report["mapping"] is None:
        found.append(_unrecognised(report))
    else:
        found += _bad_rows(config, prepared)
        found += _lengths(config, report, base)
    found += _double_rows(config, prepared)
    found += _amounts(config, report)
    found += [finding("script", "warning", item["message"]) for item in report["scripts"] if item["message"]]
    return found


def sorted_findings(found: list[dict]) -> list[dict]:
    """The worst first."""
    return sorted(found, key=lambda item: ("stop", "warning", "info").index(item["level"]))


def _base_problems(config: TrainConfig, base: CheckedBase, template_error: UserError | None) -> list[dict]:
    found = []
    if template_error:
        take = cure("Train with TinyLlama's template", chat_template="zephyr")
        found.append(finding("template", "stop", str(template_error), take))
    if base.positions and config.max_length > base.positions:
        words = f"max_length {config.max_length} is more than the {base.positions} positions of the base."
        lower = cure(f"Set max_length to {base.positions}", max_length=base.positions)
        found.append(finding("max_length", "stop", words, lower))
    return found


def _unrecognised(report: dict) -> dict:
    shown = ", ".join(name[:60] for name in report["columns"][:20]) or "none"
    words = f"The columns are not recognised: {shown}. Say which holds the prompt and which the answer."
    guess = report["guess"]
    take = None
    if guess:
        label = ", ".join(f"{key} = {column[:40]}" for key, column in guess.items())
        take = cure(f"Take {label}", columns=json.dumps(guess, ensure_ascii=False))
    return finding("columns", "stop", words, take)


def _bad_rows(config: TrainConfig, prepared: Prepared) -> list[dict]:
    bad, count = prepared.bad()
    if not count:
        return []
    answers = prepared.data.empty_answers
    empty = f", {answers.count:,} of them without an answer" if answers else ""
    words = f"{rows(count)} that cannot be used{empty}: {' '.join(bad[:3])}"
    if config.skip_bad_rows:
        return [finding("bad_rows", "info", f"Left out: {words}")]
    leave_out = cure("Leave out these rows", skip_bad_rows=True) if len(prepared.data.conversations) else None
    return [finding("bad_rows", "stop", words, leave_out)]


def _lengths(config: TrainConfig, report: dict, base: CheckedBase) -> list[dict]:
    """Rows over max_length: what happens to them, and what would keep them."""
    found = []
    if report["shortened"]:
        words = f"Shortened to whole turns within max_length {config.max_length}: {rows(report['shortened'])}."
        found.append(finding("shortened", "info", words))
    count = report["too_long"]["count"]
    if count:
        shown = ", ".join(f"row {number} ({tokens} tokens)" for number, tokens in report["too_long"]["rows"])
        words = f"Longer than max_length {config.max_length} and left out: {rows(count)}: {shown}."
        level = "warning" if report["train_rows"] else "stop"
        found.append(finding("too_long", level, words, _cure_of_length(config, report, base)))
    if report["nothing_trained"]["count"]:
        shown = ", ".join(f"row {number}" for number in report["nothing_trained"]["rows"])
        words = f"Left out because no token of it is trained: {rows(report['nothing_trained']['count'])}: {shown}."
        found.append(finding("nothing_trained", "warning" if report["train_rows"] else "stop", words))
    return found


def _cure_of_length(config: TrainConfig, report: dict, base: CheckedBase) -> dict | None:
    """A larger max_length where the base takes the longest row; else cutting, which helps rows of several turns."""
    needed = -(-report["longest"] // 64) * 64
    if base.positions and report["longest"] <= base.positions:
        needed = min(needed, base.positions)
        return cure(f"Set max_length to {needed}", max_length=needed)
    if config.too_long == "drop":
        return cure("Cut them at the end of a turn", too_long="cut")
    if base.positions and config.max_length < base.positions:
        return cure(f"Set max_length to {base.positions}", max_length=base.positions)
    return None


def _double_rows(config: TrainConfig, prepared: Prepared) -> list[dict]:
    once = cure("Use each once", drop_duplicates=True)
    found = []
    if prepared.duplicates:
        shown = ", ".join(f"row {number}" for number in prepared.duplicates.first[:5])
        words = f"Says the same as an earlier one: {rows(prepared.duplicates.count)}: {shown}."
        if config.drop_duplicates:
            found.append(finding("duplicates", "info", f"Left out: {words}"))
        else:
            found.append(finding("duplicates", "warning", f"{words} What is there twice is trained twice.", once))
    if prepared.leaked and not config.drop_duplicates:
        words = f"Trained and held out at once: {rows(prepared.leaked)}. The held-out loss would look too good."
        found.append(finding("leaked", "warning", words, once))
    return found


def _amounts(config: TrainConfig, report: dict) -> list[dict]:
    if not report["train_rows"]:
        return [finding("no_rows", "stop", "No row is left to train on.")]
    found = []
    if report["train_rows"] < FEW_ROWS:
        words = f"Only {rows(report['train_rows'])} to train on: it will repeat them rather than learn from them."
        found.append(finding("few_rows", "warning", words))
    if not report["held_out_rows"]:
        words = "No row is held out: nothing will tell when it learns by heart."
        found.append(finding("held_out", "info", words))
    return found


def find_text_problems(config: TrainConfig, counts: dict, notes: list[str]) -> list[dict]:
    """Findings on the open text of stage 1."""
    found = [finding("text_note", "info", note) for note in notes]
    if counts["bad"]["count"]:
        words = (
            f"Stage 1: {rows(counts['bad']['count'])} that cannot be used. {' '.join(counts['bad']['sentences'][:3])}"
        )
        take = cure("Leave out these rows", skip_bad_rows=True)
        is_left_out = config.skip_bad_rows and counts["usable"]
        found.append(finding("text_bad_rows", "info" if is_left_out else "stop", words, None if is_left_out else take))
    if not counts["usable"]:
        found.append(finding("text_no_rows", "stop", "Stage 1: no text is left to train on."))
    messages = [item["message"] for item in counts["scripts"] if item["message"]]
    return found + [finding("text_script", "warning", f"Stage 1: {message}") for message in messages]
