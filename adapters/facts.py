"""What is known of an adapter in words: for the list, the details and the command line."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from adapters.history import kept_step
from adapters.library import Adapter
from adapters.trust.check import known_base_template
from common.words import duration
from models.templates import LABELS
from models.templates.choice import BASE, OWN, choices, chosen, own_choice, own_text, recognise_for

TEMPLATE_WORDS = {**LABELS, BASE: "its base's", OWN: "its own, in a separate process"}


def facts_of(adapter: Adapter) -> list[tuple[str, str]]:
    """Return (label, value) of everything that is known, the most asked first."""
    metrics, targets = adapter.metrics, adapter.config.get("target_modules")
    if isinstance(targets, list):
        targets = ", ".join(sorted({str(target).rsplit(".", 1)[-1] for target in targets}))
    found = [
        ("Name", adapter.name),
        ("Base", adapter.base),
        ("Base revision", adapter.base_revision or ""),
        ("Base in its files", _describe_base_in_files(adapter)),
        ("Trained on", adapter.data()),
        ("Held-out loss", _describe_loss(adapter)),
        ("Rank", str(adapter.lora_r)),
        ("Modules", str(targets or "")),
        ("Chat template", describe_template(adapter)),
        ("Size", _describe_size(adapter)),
        ("When", _describe_when(adapter)),
        ("From", describe_origin(adapter)),
        ("Pushed to", ", ".join(adapter.pushed_to)),
        ("Steps", steps_of(metrics)),
        ("Precision", str(metrics.get("precision") or "")),
        ("Hardware", str(metrics.get("hardware") or "")),
        ("Training time", training_time(adapter)),
        ("Notes", adapter.notes),
        ("Damaged", "; ".join(f"{name} cannot be read: what it said is not known" for name in adapter.damaged)),
    ]
    return [(label, value) for label, value in found if value]


def template_choice(adapter: Adapter) -> tuple[str, bool]:
    """Return (the value of `choices()` that was chosen, "" without a valid one; whether there is a choice)."""
    text, choice = own_text(adapter.folder), chosen(adapter.folder)
    if choice.startswith(f"{OWN}:"):
        choice = OWN if choice == own_choice(text) else ""
    if choice not in [value for _, value in choices()]:  # a Space runs nobody's template
        choice = ""
    return choice, bool(choice) or recognise_for(text, known_base_template(adapter.base)) is None


def describe_template(adapter: Adapter) -> str:
    """Return the name of the adapter's chat template, and whether it was chosen by a person."""
    choice, is_open = template_choice(adapter)
    if is_open:
        return f"{TEMPLATE_WORDS[choice]} (chosen)" if choice else "not known here: choose one"
    name = recognise_for(own_text(adapter.folder), known_base_template(adapter.base))
    assert name  # else the choice would be open
    return TEMPLATE_WORDS.get(name, name)


def _describe_loss(adapter: Adapter, before: str = " before, ", after: str = " after") -> str:
    """Return '2.500 before, 1.250 after', or the part of it that is known."""
    if adapter.loss_after is None:
        return ""
    if adapter.loss_before is None:
        return f"{adapter.loss_after:.3f}"
    return f"{adapter.loss_before:.3f}{before}{adapter.loss_after:.3f}{after}"


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
    """Return how the adapter came here: trained, imported from a file, or pulled, with the repository."""
    origin = adapter.origin
    words = {"imported": "imported from", "pulled": "pulled from"}.get(origin.kind)
    sources = adapter.private_sources if origin.kind != "pulled" else []
    began = f", from {sources[0].repo_id} (private)" if sources else ""
    return (f"{words} {origin.source}" if words else "trained here") + began


def steps_of(metrics: Mapping[str, Any]) -> str:
    """Return '60', or '40 of 60: the best by held-out loss'; "" where that is not known."""
    step, kept = metrics.get("step"), kept_step(metrics)
    return f"{kept} of {step}: the best by held-out loss" if kept else str(step or "")


def training_time(adapter: Adapter) -> str:
    """Return how long the training took, "" where that is not known."""
    seconds = adapter.metric("train_seconds")
    return "" if seconds is None else duration(seconds)


class Column(NamedTuple):
    """A column of the list of adapters; `width` in characters."""

    title: str
    width: int
    value: Callable[[Adapter], str]


COLUMNS = (
    Column("Name", 20, lambda adapter: adapter.name),
    Column("Base", 18, lambda adapter: adapter.base.rsplit("/", 1)[-1]),
    Column("Trained on", 23, Adapter.data),
    Column("Held-out loss", 18, lambda adapter: _describe_loss(adapter, " -> ", "")),
    Column("Rank", 8, lambda adapter: str(adapter.lora_r)),
    Column("Size", 10, _describe_size),
    Column("When", 18, _describe_when),
    Column("From", 24, describe_origin),
    Column("Pushed to", 22, lambda adapter: ", ".join(adapter.pushed_to)),
)
