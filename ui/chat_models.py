"""Who can answer: the choices of the model lists, and the model behind a choice, looked up for its owner only."""

from collections.abc import Callable
from dataclasses import dataclass

from adapters.library import list_adapters
from adapters.pull import open_adapter
from chat.engine import Model
from chat.remote import RemoteEngine, RemoteModel
from chat.resident import wanted_precision
from common.errors import UserError
from models.base import AUTO, DEFAULT_BASE, EMBEDDED, choose_base, fetch_base
from ui.owner import Visitor

BASE_CHOICES = [
    ("Base: automatic", f"base:{AUTO}"),
    ("Base: TinyLlama 1.1B Chat", f"base:{DEFAULT_BASE}"),
    ("Base: SmolLM2 135M Instruct (embedded)", f"base:{EMBEDDED}"),
]
BESIDE_BASE = ("Its base, without the adapter", "bare:")


@dataclass(frozen=True)
class Picked:
    """A model that was picked: its name for people, what the engine gets, and what is told about its base."""

    name: str
    model: Model | RemoteModel
    base: str


def _silent(sentence: str, fraction: float | None) -> None:
    """Nobody listens."""


def model_choices(owner: str, remote: RemoteEngine | None) -> list[tuple[str, str]]:
    """What the list offers, as (label, value): the owner's adapters, newest first, the bases, and the server's models."""
    adapters = [(f"Adapter: {adapter.name}", f"adapter:{adapter.name}") for adapter in list_adapters(owner)]
    served = [(f"Server: {name}", f"remote:{name}") for name in remote.models()] if remote else []
    return adapters + BASE_CHOICES + served


def pick(value: str, first: str, visitor: Visitor, remote: RemoteEngine | None, progress: Callable = _silent) -> Picked:
    """The model behind a choice; 'bare:' is the base of the `first` choice. Raises UserError.

    A base that is not on this machine yet is fetched; `progress` gets a sentence and a fraction on the way.
    """
    kind, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind == "bare":
        with_adapter = pick(first, first, visitor, remote, progress)
        if isinstance(with_adapter.model, RemoteModel):
            raise UserError("A server's models have no base here.", "Pick another one to stand beside it.")
        bare = Model(with_adapter.model.base_folder, with_adapter.model.precision)
        return Picked(f"{short_name(with_adapter.base)} without the adapter", bare, with_adapter.base)
    if kind == "adapter":
        adapter = open_adapter(name, visitor.owner, visitor.hub_token)  # asks the Hub for what was pulled in private
        base = choose_base(adapter.base_choice, adapter.base_revision)
        return Picked(adapter.name, Model(fetch_base(base, progress), wanted_precision(), adapter.folder), str(base))
    if kind == "remote" and remote and name in remote.models():
        return Picked(name, RemoteModel(name), "on a server")  # its address is not for visitors
    if value not in [choice for _, choice in BASE_CHOICES]:
        raise UserError("This model is not in the list.", "Pick one of the list.")
    base = choose_base(name)
    return Picked(base.model_id, Model(fetch_base(base, progress), wanted_precision()), str(base))


def short_name(base: str) -> str:
    """The last part of a base's id or folder."""
    return base.split(" (")[0].rsplit("/", 1)[-1]
