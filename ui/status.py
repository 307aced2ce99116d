"""What runs in a process of its own, on the page: what it does now, how far it is, and what went wrong. All text is escaped."""

import html
import time

from common.language import Sentence, _, joined
from common.words import duration
from evaluation.run import Status, read_progress
from ui.chosen import Titled, title_of
from ui.hints import hint_html

FRESH_SECONDS = 3600
RESUMABLE: tuple[Status, ...] = ("stopped", "failed", "interrupted")
ENDS: dict[Status, Sentence] = {
    "done": _("Done"),
    "stopped": _("Stopped"),
    "failed": _("Failed"),
    "interrupted": _("Interrupted"),
}


def progress_html(one: Titled, label: Sentence, running: Sentence) -> str:
    """Return what an evaluation, an experiment or a made set does now, with its bar, which is called `label`.

    `running` is the word for its status while it runs. Its root has the class `run-alive`, which puts it first on a phone, while
    it is under way and for a while after its end.
    """
    title, progress = title_of(one), read_progress(one)
    words = {"waiting": _("Waiting"), "running": running, **ENDS}
    is_stopping = progress.is_running and one.stop_file.exists()
    now = _("Stopping") if is_stopping else (progress.is_running and progress.activity) or words[progress.status]
    facts: list[Sentence] = []
    if progress.total:
        facts.append(_("{done:,} of {total:,}", done=progress.done, total=progress.total))
    if progress.is_running and progress.eta_seconds is not None:
        facts.append(_("about {time} left", time=duration(progress.eta_seconds)))
    percent = 100.0 if progress.status == "done" else 100 * (progress.fraction or 0.0)
    announced = joined([f"{title}:", _("Stopping") if is_stopping else words[progress.status]])
    told = "".join(f"<span>{html.escape(one)}</span>" for one in facts)
    lines = [
        f"<p class='said' role='status' aria-live='polite'>{html.escape(announced)}</p>",
        f"<div class='run-title'>{html.escape(title)}</div>",
        f"<div class='status-line'><b>{html.escape(str(now))}</b>{told}</div>",
        f"<div class='bar' role='progressbar' aria-valuenow='{percent:.0f}' aria-valuemin='0' aria-valuemax='100' "
        f"aria-label='{html.escape(label)}'><div style='width: {percent:.1f}%'></div></div>",
    ]
    if progress.message:
        kind = "problem" if progress.status in ("failed", "interrupted") else "hint"
        lines.append(hint_html(f"{progress.message} {progress.hint}".strip(), kind))
    is_fresh = progress.is_running or time.time() - one.folder.stat().st_mtime < FRESH_SECONDS
    return f"<div class='{'run run-alive' if is_fresh else 'run'}'>{''.join(lines)}</div>"
