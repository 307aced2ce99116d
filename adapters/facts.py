"""What is worth knowing of an adapter, in words: for the list, the details and the command line alike."""

import time

from adapters.check import known_base_template
from adapters.library import Adapter
from common.words import duration
from models.templates import LABELS
from models.templates.choice import BASE, OWN, choices, chosen, own_choice, own_text, recognise_for


def facts_of(adapter: Adapter) -> list[tuple[str, str]]:
    """(label, value) of everything that is known, in the order in which people ask."""
    metrics = adapter.metrics
    found = [
        ("Name", adapter.name),
        ("Base", adapter.base),
        ("Base revision", adapter.base_revision or ""),
        ("Trained on", adapter.data()),
        ("Held-out loss", describe_loss(adapter)),
        ("Rank", str(adapter.lora_r)),
        ("Modules", _modules(adapter)),
        ("Chat template", describe_template(adapter)),
        ("Size", f"{adapter.size_bytes / 1e6:.1f} MB"),
        ("When", describe_when(adapter)),
        ("From", describe_origin(adapter)),
        ("Pushed to", ", ".join(str(one.get("repo_id")) for one in adapter.pushed)),
        ("Steps", str(metrics.get("step") or "")),
        ("Precision", str(metrics.get("precision") or "")),
        ("Hardware", str(metrics.get("hardware") or "")),
        ("Training time", training_time(adapter)),
        ("Notes", adapter.notes),
        ("Damaged", "; ".join(f"{name} cannot be read: what it said is not known" for name in adapter.damaged)),
    ]
    return [(label, value) for label, value in found if value]


def template_choice(adapter: Adapter) -> tuple[str, bool]:
    """(the value of `choices()` that was chosen, "" for none that holds; True when there is something to choose)."""
    text, choice = own_text(adapter.folder), chosen(adapter.folder)
    if choice.startswith(f"{OWN}:"):
        choice = OWN if choice == own_choice(text) else ""
    if choice not in [value for _, value in choices()]:  # a Space runs nobody's template
        choice = ""
    return choice, bool(choice) or recognise_for(text, known_base_template(adapter.base)) is None


def describe_template(adapter: Adapter) -> str:
    """The chat template that the adapter is read in, and whether somebody chose it."""
    words = {BASE: "its base's", OWN: "its own, in a separate process"}
    choice, is_open = template_choice(adapter)
    if is_open:
        return f"{words.get(choice) or LABELS.get(choice)} (chosen)" if choice else "not known here: choose one"
    name = recognise_for(own_text(adapter.folder), known_base_template(adapter.base))
    assert name  # else the choice would be open
    return words.get(name) or LABELS.get(name) or name


def describe_loss(adapter: Adapter) -> str:
    """'2.500 before, 1.250 after', or what of it is known."""
    before, after = adapter.loss_before, adapter.loss_after
    if after is None:
        return ""
    return f"{before:.3f} before, {after:.3f} after" if before is not None else f"{after:.3f}"


def describe_when(adapter: Adapter) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(min(max(adapter.created, 0), 4e9)))


def describe_origin(adapter: Adapter) -> str:
    """How it came here: trained, imported from a file, or pulled from whom."""
    origin = adapter.origin
    words = {"imported": "imported from", "pulled": "pulled from"}.get(origin.get("kind"))
    sources = adapter.private_sources if origin.get("kind") != "pulled" else []
    began = f", from {sources[0]['repo_id']} (private)" if sources else ""
    return (f"{words} {origin.get('from')}" if words else "trained here") + began


def _modules(adapter: Adapter) -> str:
    targets = adapter.config.get("target_modules")
    if not isinstance(targets, list):
        return str(targets or "")
    return ", ".join(sorted({str(target).rsplit(".", 1)[-1] for target in targets}))


def training_time(adapter: Adapter) -> str:
    """Return how long the training took, '' where that is not known."""
    seconds = adapter.metrics.get("train_seconds")
    known = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return duration(seconds) if known else ""
