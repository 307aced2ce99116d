"""The choices of the model lists, and the model of a choice, looked up among its owner's only."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from adapters.library import adapter_names
from adapters.pull import open_adapter
from chat.conversation import Conversation
from chat.engine import Model
from chat.remote import RemoteEngine, RemoteModel
from chat.resident import wanted_precision
from common.errors import UserError
from models.base import BASE_CHOICES, choose_base, fetch_base
from models.hub.fetch import Progress
from ui.long_lists import called_first, first_with
from ui.owner import Visitor

CHOICES = [(f"Base: {label}", f"base:{choice}") for label, choice in BASE_CHOICES]
BESIDE_BASE = ("Its base, without the adapter", "bare:")


@dataclass(frozen=True)
class Picked:
    """A model that was picked: its name for people, the engine's model, and the base in words."""

    name: str
    model: Model | RemoteModel
    base: str


def model_choices(
    owner: str, remote: RemoteEngine | None, picked: Iterable[str] = (), typed: str = ""
) -> list[tuple[str, str]]:
    """Return the choices as (label, value): the owner's adapters, the newest first, the bases, the server's models.

    Of many adapters the newest that match `typed`, and those that are `picked`.
    """
    adapters = [(f"Adapter: {name}", f"adapter:{name}") for name in called_first(adapter_names(owner), typed)]
    shown, kept = first_with(adapters, typed), list(picked)
    shown += [choice for choice in adapters if choice[1] in kept and choice not in shown]
    served = [(f"Server: {name}", f"remote:{name}") for name in remote.models()] if remote else []
    return shown + CHOICES + served


def pick(
    value: str,
    first: str,
    visitor: Visitor,
    remote: RemoteEngine | None,
    progress: Progress = lambda sentence, fraction: None,
    stop: threading.Event | None = None,
) -> Picked:
    """Return the model of a choice; 'bare:' is the base of the `first` choice. Raises UserError.

    A base that is not on this machine yet is fetched; `progress` gets a sentence and a fraction on the way, and
    setting `stop` ends it.
    """
    kind, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind == "bare":
        with_adapter = pick(first, first, visitor, remote, progress, stop)
        if isinstance(with_adapter.model, RemoteModel):
            raise UserError("A server's models have no base here.", "Pick another one to stand beside it.")
        bare = Model(with_adapter.model.base_folder, with_adapter.model.precision)
        return Picked(f"{short_name(with_adapter.base)} without the adapter", bare, with_adapter.base)
    if kind == "adapter":
        adapter = open_adapter(name, visitor.owner, visitor.hub_token)  # asks the Hub for what was pulled in private
        base = choose_base(adapter.base_choice, adapter.base_revision)
        return Picked(
            adapter.name, Model(fetch_base(base, progress, stop), wanted_precision(), adapter.folder), str(base)
        )
    if kind == "remote" and remote and name in remote.models():
        return Picked(name, RemoteModel(name), "on a server")  # its address is not for visitors
    if value not in [choice for _, choice in CHOICES]:
        raise UserError("This model is not in the list.", "Pick one of the list.")
    base = choose_base(name)
    return Picked(base.model_id, Model(fetch_base(base, progress, stop), wanted_precision()), str(base))


def label_of(model: str) -> str:
    """Return the label of a choice above its answers: the name alone of an adapter or a server's model."""
    if model == BESIDE_BASE[1]:
        return "Base, without the adapter"
    bases = {choice: label for label, choice in CHOICES}
    return bases.get(model) or model.partition(":")[2] or "Model"


def short_name(base: str) -> str:
    """Return the last part of a base's id or folder."""
    return base.split(" (")[0].rsplit("/", 1)[-1]


def models_of(conversation: Conversation) -> tuple[str, list[str]]:
    """Return the first pane's model, and those beside it."""
    first, *beside = [pane["model"] for pane in conversation["panes"]]
    return first, beside
