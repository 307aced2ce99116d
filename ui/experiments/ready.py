"""The ready experiments: claims as students hear them, what is known of each, and what was found of it here."""

import html
from contextlib import suppress

from common.errors import UserError
from common.language import Sentence, _
from evaluation.experiments.experiment import list_experiments
from evaluation.experiments.notes import NOTES, Note
from evaluation.experiments.verdicts import FINDINGS, Finding, verdicts
from ui.hints import hint_html, link_html
from ui.long_lists import Choice

MAX_READ = 20  # experiments, the newest first, in which the findings are looked for
NEEDS: dict[str, Sentence] = {"gpu": _("needs a GPU"), "gpus": _("needs several GPUs")}


def ready_choices(owner: str) -> list[Choice]:
    """Return each claim with what the newest experiment of `owner` says of it, or what it needs, and its id."""
    found = _findings(owner)
    told = {note.id: FINDINGS[found[note.id]] if note.id in found else NEEDS.get(note.needs, "") for note in NOTES}
    return [(f"{note.claim}\n{told[note.id]}".strip(), note.id) for note in NOTES]


def _findings(owner: str) -> dict[str, Finding]:
    """Return what was found of a claim, by its id."""
    found: dict[str, Finding] = {}
    for experiment in list_experiments(owner)[:MAX_READ]:
        with suppress(OSError, UserError):  # deleted meanwhile, or damaged
            for note, settled in verdicts(experiment):
                found.setdefault(note.id, settled.finding)
    return found


def note_html(note: Note) -> str:
    """Return what is known of a claim, what its experiment measures, and where both are from."""
    lines = [hint_html(note.known), hint_html(note.measured)]
    if note.command:
        lines.append(f"<p class='hint'>{html.escape(_('In a shell:'))} <code>{html.escape(note.command)}</code></p>")
    sources = "".join(f"<li>{_source_html(one)}</li>" for one in note.sources)
    title = html.escape(_("Sources"))
    return "".join(lines) + (f"<details><summary>{title}</summary><ul>{sources}</ul></details>" if sources else "")


def _source_html(source: str) -> str:
    """Return a source with its address, which is its last word, as a link."""
    words, _space, address = source.rpartition(" ")
    if not address.startswith("https://"):
        return html.escape(source)
    return f"{html.escape(words)} {link_html(address, address)}"
