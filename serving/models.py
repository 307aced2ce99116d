"""The models that a caller may name: the bases, and their own adapters, by the names that the page and its endpoints use."""

import threading
from typing import Any

from adapters.library import find_adapter, list_adapters
from adapters.pull import open_adapter
from chat.resident import Model, wanted_precision
from common.errors import UserError
from common.language import _
from common.paths import LOCAL_OWNER
from models.base import BASE_CHOICES, choose_base, fetch_base
from models.hub.client import token_of
from serving.asked import ApiError

ADAPTER, BASE = "adapter:", "base:"
BASES = [f"{BASE}{choice}" for _label, choice in BASE_CHOICES]


def listed(owner: str) -> list[dict[str, Any]]:
    """Return the models of `owner` as /v1/models lists them: the bases, then the adapters, the newest first."""
    bases = [_described(name, 0) for name in BASES]
    adapters = list_adapters(owner)
    return bases + [_described(f"{ADAPTER}{one.name}", int(one.created), parent=one.base) for one in adapters]


def found(name: str, owner: str) -> dict[str, Any]:
    """Return one of `listed`. Raises ApiError where `owner` has none of this name."""
    for one in listed(owner):
        if one["id"] == name:
            return one
    raise _unknown(name)


def open_model(name: str, owner: str, stop: threading.Event) -> Model:
    """Return the model of this name, its base fetched where it is not here yet; setting `stop` ends that.

    What was pulled from a private repository is read with the machine's own login, on a laptop alone. Raises ApiError.
    """
    adapter = None
    if name.startswith(ADAPTER):
        try:
            adapter = find_adapter(name.removeprefix(ADAPTER), owner)
            adapter = open_adapter(adapter.name, owner, token_of(None) if owner == LOCAL_OWNER else False)
        except UserError as error:
            raise ApiError(404, str(error), "model", "model_not_found") from error
    if name != (f"{ADAPTER}{adapter.name}" if adapter else name if name in BASES else None):
        raise _unknown(name)  # a title or a former name finds an adapter, too; a program says which one it means
    try:
        base = (
            choose_base(adapter.base_choice, adapter.base_revision) if adapter else choose_base(name.removeprefix(BASE))
        )
        return Model(fetch_base(base, stop=stop), wanted_precision(), adapter.folder if adapter else None)
    except UserError as error:
        raise ApiError(503, str(error), "model") from error


def _described(name: str, created: int, **more: Any) -> dict[str, Any]:
    """Return a model as OpenAI describes one."""
    return {"id": name, "object": "model", "created": created, "owned_by": "studio", **more}


def _unknown(name: str) -> ApiError:
    """Return the error for a model that the caller does not have, whoever else may have it."""
    words = _("There is no model '{name}'. GET /v1/models lists yours.", name=name[:80])
    return ApiError(404, words, "model", "model_not_found")
