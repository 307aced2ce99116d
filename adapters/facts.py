"""What is known of an adapter in words: for the list, the details and the command line."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from adapters.history import kept_step
from adapters.library import Adapter
from adapters.trust.check import known_base_template
from common.language import _, joined
from common.words import duration
from models.templates import LABELS
from models.templates.choice import BASE, OWN, chosen, own_choice, own_text, recognise_for, template_choices

TEMPLATE_WORDS = {**LABELS, BASE: _("the base's"), OWN: _("its own, in a separate process")}


def facts_of(adapter: Adapter) -> list[tuple[str, str]]:
    """Return (label, value) of everything that is known, the most asked first."""
    metrics, targets = adapter.metrics, adapter.config.get("target_modules")
    if isinstance(targets, list):
        targets = ", ".join(sorted({str(target).rsplit(".", 1)[-1] for target in targets}))
    found = [
        (_("Name"), adapter.title),
        (_("Folder"), adapter.name if adapter.name != adapter.title else ""),
        (_("Base model"), adapter.base),
        (_("Base revision"), adapter.base_revision or ""),
        (_("Base in its files"), _describe_base_in_files(adapter)),
        (_("Trained on"), adapter.data()),
        (_("Held-out loss"), _describe_loss(adapter)),
        (_("Rank"), str(adapter.lora_r)),
        (_("Modules"), str(targets or "")),
        (_("Chat template"), describe_template(adapter)),
        (_("Size"), _describe_size(adapter)),
        (_("Created"), _describe_when(adapter)),
        (_("Origin"), describe_origin(adapter)),
        (_("Pushed to"), ", ".join(adapter.pushed_to)),
        (_("Steps"), steps_of(metrics)),
        (_("Precision"), str(metrics.get("precision") or "")),
        (_("Hardware"), str(metrics.get("hardware") or "")),
        (_("Training time"), training_time(adapter)),
        (_("Notes"), adapter.notes),
        (_("Damaged"), joined([_("{file} cannot be read.", file=name) for name in adapter.damaged])),
    ]
    return [(label, value) for label, value in found if value]


def template_choice(adapter: Adapter) -> tuple[str, bool]:
    """Return (the value of `choices()` that was chosen, "" without a valid one; whether there is a choice)."""
    text, choice = own_text(adapter.folder), chosen(adapter.folder)
    if choice.startswith(f"{OWN}:"):
        choice = OWN if choice == own_choice(text) else ""
    if choice not in [value for _, value in template_choices()]:  # a Space runs nobody's template
        choice = ""
    return choice, bool(choice) or recognise_for(text, known_base_template(adapter.base)) is None


def describe_template(adapter: Adapter) -> str:
    """Return the name of the adapter's chat template, and whether it was chosen by a person."""
    choice, is_open = template_choice(adapter)
    if is_open:
        return _("{template} (chosen)", template=TEMPLATE_WORDS[choice]) if choice else _("unknown: choose one")
    name = recognise_for(own_text(adapter.folder), known_base_template(adapter.base))
    assert name  # else the choice would be open
    return TEMPLATE_WORDS.get(name, name)


def _describe_loss(adapter: Adapter) -> str:
    """Return '2.500 → 1.250', before and after, or the part of it that is known."""
    return " → ".join(f"{loss:.3f}" for loss in (adapter.loss_before, adapter.loss_after) if loss is not None)


def _describe_base_in_files(adapter: Adapter) -> str:
    """Return the base that the files named before a person named another one, "" when nobody did."""
    found = adapter.record.get("base_in_files")
    if not isinstance(found, dict):
        return ""
    revision = found.get("revision")
    return f"{found.get('base')}{f' at {revision}' if revision else ''}"


def _describe_size(adapter: Adapter) -> str:
    """Return the size of the adapter's files in MB."""
    return f"{adapter.size_bytes / 1e6:.1f} MB"


def _describe_when(adapter: Adapter) -> str:
    """Return the local time at which it was made; times out of range are moved into it."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(min(max(adapter.created, 0), 4e9)))


def describe_origin(adapter: Adapter) -> str:
    """Return how the adapter came here: trained, imported from a file, computed from others, or pulled, with the repository."""
    origin = adapter.origin
    if origin.kind == "pulled":
        return _("downloaded from {repo}", repo=origin.source)
    ways = {
        "imported": _("imported from {file}", file=origin.source),
        "mixed": _("mixed from {parts}", parts=origin.source),
        "repaired": _("repaired: {parts}", parts=origin.source),
    }
    words = ways.get(origin.kind, _("trained here"))
    sources = adapter.private_sources
    return joined([words, _("from {repo} (private)", repo=sources[0].repo_id) if sources else ""], ", ")


def steps_of(metrics: Mapping[str, Any]) -> str:
    """Return '60', or '40 of 60 (lowest held-out loss)'; "" where that is not known."""
    step, kept = metrics.get("step"), kept_step(metrics)
    return _("{kept} of {steps} (lowest held-out loss)", kept=kept, steps=step) if kept else str(step or "")


def training_time(adapter: Adapter) -> str:
    """Return how long the training took, "" where that is not known."""
    return "" if adapter.seconds is None else duration(adapter.seconds)


class Column(NamedTuple):
    """A column of the list of adapters; `width` in characters."""

    title: str
    width: int
    value: Callable[[Adapter], str]


COLUMNS = (
    Column(_("Name"), 20, lambda adapter: adapter.title),
    Column(_("Base model"), 18, lambda adapter: adapter.base.rsplit("/", 1)[-1]),
    Column(_("Trained on"), 23, Adapter.data),
    Column(_("Held-out loss"), 18, _describe_loss),
    Column(_("Rank"), 8, lambda adapter: str(adapter.lora_r)),
    Column(_("Size"), 10, _describe_size),
    Column(_("Created"), 18, _describe_when),
    Column(_("Origin"), 24, describe_origin),
    Column(_("Pushed to"), 22, lambda adapter: ", ".join(adapter.pushed_to)),
)
