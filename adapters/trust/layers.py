"""Which layers of a base the settings of a LoRA name, and with what rank and scale: PEFT's rules, for plain names alone.

PEFT takes these names for regular expressions and compares each with every layer. `config.py` lets only plain names through, for
which the rules are comparisons of text, so that no pattern from elsewhere is run that could hang.
"""

from collections.abc import Mapping
from typing import Required, TypedDict

from models.family import MODULES


class AdapterConfig(TypedDict, total=False):
    """The fields of an adapter_config.json that are used after `config.check_config`."""

    r: Required[int]
    lora_alpha: Required[float]
    target_modules: Required[list[str] | str]
    base_model_name_or_path: Required[str]
    revision: str | None
    init_lora_weights: bool | str | None
    use_dora: bool | None
    use_rslora: bool | None
    rank_pattern: dict[str, int] | None
    alpha_pattern: dict[str, float] | None
    exclude_modules: list[str] | str | None
    layers_to_transform: list[int] | int | None
    layers_pattern: list[str] | str | None
    modules_to_save: list[str] | None
    trainable_token_indices: list[int] | dict[str, list[int]] | None


class Layers:
    """The linear layers of a base as the settings of one LoRA see them, by their paths: `model.layers.0.self_attn.q_proj`."""

    def __init__(self, config: AdapterConfig) -> None:
        excluded, targets, numbers = (
            config.get(name) for name in ("exclude_modules", "target_modules", "layers_to_transform")
        )
        # of one name in place of a list PEFT wants the whole path
        self._excluded = {f"^{excluded}"} if isinstance(excluded, str) else set(excluded or ())
        self._targets = None if targets == "all-linear" else set(_listed(targets))
        patterns = _listed(config.get("layers_pattern") or [])
        self._numbers = None if numbers is None or numbers == [] else set(_listed(numbers))
        if self._numbers and patterns and not {"layers", "model.layers"} & set(patterns):
            self._numbers = set()
        self._rank, self._alpha = config["r"], config["lora_alpha"]
        self._ranks, self._alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
        self._root = 0.5 if config.get("use_rslora") else 1

    def changes(self, layer: int, module: str) -> bool:
        """Return whether the settings name this layer (peft's tuners_utils.check_target_module_exists)."""
        names = _names(path_of(layer, module))
        is_target = self._targets is None or any(name in self._targets for name in names)
        is_picked = self._numbers is None or layer in self._numbers
        return is_target and is_picked and not any(name in self._excluded for name in names)

    def rank(self, path: str) -> int:
        """Return the rank of the LoRA of a layer."""
        return int(_first(self._ranks, path, self._rank))

    def scaling(self, path: str) -> float:
        """Return the number by which PEFT multiplies B(A(x)) of a layer."""
        return _first(self._alphas, path, self._alpha) / self.rank(path) ** self._root


def path_of(layer: int, module: str) -> str:
    """Return the path of a linear layer of the base."""
    return f"model.layers.{layer}.{MODULES[module]}.{module}"


def _names(path: str) -> list[str]:
    """Return the names that mean the layer at `path`: its end from any dot on, and with '^' the whole."""
    parts = path.split(".")
    return [f"^{path}", *(".".join(parts[start:]) for start in range(len(parts)))]


def _first(patterns: Mapping[str, float], path: str, default: float) -> float:
    """Return the value of the first pattern that means `path` (peft's get_pattern_key)."""
    found = [name for name in _names(path) if name in patterns]
    if len(found) > 1:
        found = [name for name in patterns if name in found]
    return patterns[found[0]] if found else default


def _listed(value):
    """Return a list of one for a single value."""
    return value if isinstance(value, list) else [value]
