"""The LoRAs of an adapter layer by layer, from its files alone, and adapters that are computed from them.

Only what is a sum can be scaled and mixed: LoRAs of linear layers, without DoRA and without embeddings or tokens of their own.
Torch is imported when called.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.intake import Imported, accept, check_room, staged
from adapters.library import CONFIG, METRICS, WEIGHTS, Adapter, read_adapter, sources_of_copy, update_record
from adapters.origin import Origin
from adapters.trust.check import TOKENIZER_FILES, check_adapter
from adapters.trust.config import check_config
from adapters.trust.layers import Layers
from common.errors import UserError
from common.files import folder_bytes, publish, write_json
from common.language import _

if TYPE_CHECKING:
    from torch import Tensor

PREFIX = "base_model.model."
BESIDE = ("use_dora", "modules_to_save", "trainable_token_indices")  # what is no sum


@dataclass(frozen=True)
class Lora:
    """The LoRA of a linear layer, which adds scaling * B(A(x)). `a` is (rank, inputs), `b` (outputs, rank), both in fp32."""

    a: "Tensor"
    b: "Tensor"
    scaling: float


class Loras:
    """The LoRAs of one adapter by the paths of their layers (`model.layers.0.mlp.up_proj`), read when asked for.

    Raises UserError for an adapter that is more than LoRAs of linear layers, and for one that is damaged.
    """

    def __init__(self, adapter: Adapter) -> None:
        from safetensors import safe_open

        check_adapter(adapter.folder)
        self.title = adapter.title
        config = check_config(adapter.config)
        if beside := [name for name in BESIDE if config.get(name)]:
            words = _(
                "'{name}' is more than a plain LoRA ({settings}).", name=adapter.title, settings=", ".join(beside)
            )
            raise UserError(words, _("Such an adapter can be neither scaled nor mixed."))
        self._layers = Layers(config)
        self._file = safe_open(adapter.folder / WEIGHTS, framework="pt")
        names = [name for name in self._file.keys() if ".lora_A." in name]  # noqa: SIM118
        self.paths = [name.removeprefix(PREFIX).partition(".lora_A.")[0] for name in names]
        self.rank = max(map(self._layers.rank, self.paths))  # of its largest

    def at(self, path: str) -> Lora | None:
        """Return the LoRA of the layer at `path`, None without one. Raises UserError for numbers that are none."""
        if path not in self.paths:
            return None
        a, b = (self._file.get_tensor(f"{PREFIX}{path}.lora_{part}.weight").float() for part in "AB")
        if not (a.isfinite().all() and b.isfinite().all()):
            words = _("The weights of '{name}' hold values that are not numbers: {layer}.", name=self.title, layer=path)
            raise UserError(words, _("Train it again, with a lower learning rate."))
        return Lora(a, b, self._layers.scaling(path))


def low_rank(b: "Tensor", a: "Tensor", rank: int) -> tuple["Tensor", "Tensor"]:
    """Return the best approximation (b, a) of rank `rank` to the product `b` (outputs, n) times `a` (n, inputs).

    A truncated SVD by QR of both factors: its cost grows with n, not with the layer. Both get the root of the singular values.
    """
    import torch

    (q_b, r_b), (q_a, r_a) = torch.linalg.qr(b), torch.linalg.qr(a.T)
    u, s, v = torch.linalg.svd(r_b @ r_a.T)
    root = s[:rank].sqrt()
    return padded(q_b @ u[:, : len(root)] * root, root[:, None] * (v[: len(root)] @ q_a.T), rank)


def padded(b: "Tensor", a: "Tensor", rank: int) -> tuple["Tensor", "Tensor"]:
    """Return `b` (outputs, n) and `a` (n, inputs) with zeros up to `rank` columns and rows: the same product."""
    from torch.nn.functional import pad

    missing = rank - a.shape[0]
    return pad(b, (0, missing)), pad(a, (0, 0, 0, missing))


def write_loras(folder: Path, config: Mapping[str, Any], loras: Mapping[str, tuple["Tensor", "Tensor"]]) -> None:
    """Write adapter_config.json and the weights, {path: (b, a)}, to `folder`."""
    from safetensors.torch import save_file

    write_json(folder / CONFIG, config)
    tensors = {
        f"{PREFIX}{path}.lora_{part}.weight": tensor.contiguous()
        for path, (b, a) in loras.items()
        for part, tensor in (("A", a), ("B", b))
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def keep_made(made: Path, parts: Sequence[Adapter], origin: Origin, title: str, notes: str = "") -> Imported:
    """Take the adapter in `made` (config and weights), computed from `parts`, into the library of their owner.

    It is checked like an import, and gets tokenizer, chat template and base of the first part; `notes` are private. Raises
    UserError, leaving nothing.
    """
    first, owner = parts[0], parts[0].folder.parent.name
    check_room(owner, folder_bytes(made))
    with staged(title, owner) as (partial, final):
        for folder, names in ((first.folder, TOKENIZER_FILES), (made, (CONFIG, WEIGHTS))):
            for name in names:
                if (folder / name).is_file():
                    shutil.copyfile(folder / name, partial / name)
        known = {name: first.metrics[name] for name in ("base", "base_source") if name in first.metrics}
        write_json(partial / METRICS, {**known, "created": time.time()})
        said = accept(partial, origin, (title, title))
        chosen = {"template": first.record["template"]} if "template" in first.record else {}
        update_record(partial, notes=notes, **chosen)
        publish(partial, final)
    return Imported(read_adapter(final), said)


def origin_of(kind: str, how: str, parts: Sequence[Adapter]) -> Origin:
    """Return the origin of an adapter that was computed from `parts`: `how`, and the private repositories that they are from."""
    private = dict.fromkeys(one for part in parts for one in part.private_sources or sources_of_copy(part))
    return Origin(kind, how, time=time.time(), made_of=tuple(private))
