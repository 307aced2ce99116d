"""The choices of the model lists, and the model of a choice, looked up among its owner's only."""

import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from adapters.history import read_history
from adapters.library import adapter_names, adapter_title, find_adapter
from adapters.pull import open_adapter
from chat.conversation import Conversation
from chat.engine import Model
from chat.remote import RemoteEngine, RemoteModel, adapter_behind
from chat.resident import wanted_precision
from common.errors import UserError
from common.language import Sentence, _
from models.base import AUTO, BASE_CHOICES, Base, choose_base, fetch_base
from models.hub.fetch import Progress
from ui.long_lists import titled_adapters
from ui.owner import Visitor

MAX_PROMPTS, MAX_PROMPT_CHARACTERS = 3, 2_000
EXAMPLES = [
    _("Explain in two sentences why the sky is blue."),
    _("My name is Ada and I live in Oslo. What could I do there on Sunday?"),
    _("Write a short poem about a llama."),
]
ADAPTER = "adapter:"
BASE_AUTO = f"base:{AUTO}"
CHOICES = [(_("Base: {name}", name=label), f"base:{choice}") for label, choice in BASE_CHOICES]
BESIDE_BASE = (_("Its base, without the adapter"), "bare:")


@dataclass(frozen=True)
class PickedModel:
    """A model that was picked: its name above its answers, the engine's model, and the name of its base."""

    name: str
    model: Model | RemoteModel
    base: str


def model_choices(
    owner: str, remote: RemoteEngine | None, picked: Iterable[str] = (), typed: str = ""
) -> list[tuple[str, str]]:
    """Return the choices as (label, value): the owner's adapters, the newest first, the bases, the server's models.

    Of many adapters the newest that match `typed`, and those that are `picked`. Of the adapters that the app put on the server
    only the owner's own.
    """
    kept = [value.removeprefix(ADAPTER) for value in picked]
    titled = titled_adapters(
        owner, adapter_names(owner), typed, kept, lambda name: str(_("Adapter: {name}", name=name))
    )
    shown = [(label, ADAPTER + name) for label, name in titled]
    served = [(name, adapter_behind(name)) for name in remote.models()] if remote else []
    titled_served = [
        (str(_("Server: {name}", name=adapter_title(behind[1], owner) if behind else name)), f"remote:{name}")
        for name, behind in served
        if behind is None or behind[0] == owner
    ]
    return shown + said_choices(CHOICES) + titled_served


def said_choices(choices: list[tuple[Sentence, str]]) -> list[tuple[str, str]]:
    """Return choices with their labels in the current language."""
    return [(str(label), value) for label, value in choices]


def pick(
    value: str,
    first: str,
    visitor: Visitor,
    remote: RemoteEngine | None,
    progress: Progress = lambda sentence, fraction: None,
    stop: threading.Event | None = None,
) -> PickedModel:
    """Return the model of a choice; 'bare:' is the base of the `first` choice. Raises UserError.

    A base that is not on this machine yet is fetched; `progress` gets a sentence and a fraction on the way, and
    setting `stop` ends it.
    """
    kind, _colon, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind == "bare":
        with_adapter = pick(first, first, visitor, remote, progress, stop)
        if isinstance(with_adapter.model, RemoteModel):
            raise UserError(_("A server's models have no base here."), _("Compare with another model."))
        bare = Model(with_adapter.model.base_folder, with_adapter.model.precision)
        return PickedModel(with_adapter.base, bare, with_adapter.base)
    if kind == "adapter":
        adapter = open_adapter(name, visitor.owner, visitor.hub_token)  # asks the Hub for what was pulled in private
        base = choose_base(adapter.base_choice, adapter.base_revision)
        model = Model(fetch_base(base, progress, stop), wanted_precision(), adapter.folder)
        return PickedModel(adapter.title, model, _name_of(base))
    if kind == "remote" and remote and name in remote.models():
        behind = adapter_behind(name)
        if behind is None:
            return PickedModel(name, RemoteModel(name), "")  # its address is not for visitors
        if behind[0] == visitor.owner:  # is it still there, and theirs to use?
            return PickedModel(open_adapter(behind[1], visitor.owner, visitor.hub_token).title, RemoteModel(name), "")
    if value not in [choice for _label, choice in CHOICES]:
        raise UserError(_("This model is not in the list."), _("Pick one from the list."))
    base = choose_base(name)
    return PickedModel(_name_of(base), Model(fetch_base(base, progress, stop), wanted_precision()), _name_of(base))


def _name_of(base: Base) -> str:
    """Return the last part of a base's id or folder."""
    return base.model_id.rstrip("/").rsplit("/", 1)[-1]


def prompts_to_try(model: str, owner: str) -> list[str]:
    """Return up to MAX_PROMPTS prompts to try: an adapter's own, of held-out rows that its training never saw, else examples."""
    found: list[str] = []
    kind, _colon, name = model.partition(":") if isinstance(model, str) else ("", "", "")
    if kind == "adapter":
        with suppress(UserError):  # it is gone, or cannot be read: the answer will say so
            found = [one["prompt"] for one in read_history(find_adapter(name, owner)).answers_before]
    fitting = [prompt for prompt in dict.fromkeys(found) if 0 < len(prompt.strip()) <= MAX_PROMPT_CHARACTERS]
    return fitting[:MAX_PROMPTS] or [str(text) for text in EXAMPLES]


def label_of(model: str) -> str:
    """Return the label of a choice before it answers: the name alone of an adapter or a server's model."""
    known = {value: label for label, value in [*CHOICES, BESIDE_BASE]}
    return str(known.get(model) or model.partition(":")[2] or _("Model"))


def with_titles(conversation: Conversation, owner: str) -> Conversation:
    """Name the panes of adapters that have not answered yet by the adapters' titles, and return the conversation."""
    for pane in conversation["panes"]:
        kind, _colon, name = pane["model"].partition(":")
        if kind == "adapter" and not pane["who"]:
            pane["who"] = adapter_title(name, owner)
    return conversation


def models_of(conversation: Conversation) -> tuple[str, list[str]]:
    """Return the first pane's model, and those beside it."""
    first, *beside = [pane["model"] for pane in conversation["panes"]]
    return first, beside
