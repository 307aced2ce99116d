"""Takes back some of what an adapter made its base forget: alpha scaled down, or fewer intruder dimensions.

    find_intruders(adapter, base_folder)                       once: minutes for TinyLlama, kept beside the adapter
    write_repaired(adapter, Repair("reduce", 0.5), folder)     any strength, in a moment
    keep_repaired(adapter, Repair("reduce", 0.5))              as a new adapter

Intruder dimensions are singular vectors of base plus adapter that the base has nothing like; scaling them down restores most of
what was forgotten (arXiv 2410.21228). PEFT's `reduce_intruder_dimension` takes every SVD again for each strength, from a base in
memory. Here the layers come one after the other from the base's files, what they intrude with is kept, and a strength costs thin
matrices alone. The strength is 1 - PEFT's `mitigation_lambda`: 0 changes nothing, 1 takes the intruders away as a whole.
"""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adapters.intake import Imported
from adapters.library import CONFIG, WEIGHTS, Adapter
from adapters.loras import Lora, Loras, keep_made, low_rank, origin_of, write_loras
from common.child import Tell
from common.errors import UserError
from common.files import write_json
from common.language import Sentence, _, english
from common.paths import as_title, home
from models.hardware import use_all_cores
from models.quantised import quantised_in, strange_weights

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["scale", "reduce"]
KINDS: dict[str, Sentence] = {
    "scale": _("alpha scaled: all that it learned, weaker"),
    "reduce": _("intruder dimensions reduced: what its base has nothing like, weaker"),
}
INTRUDERS = "intruders.safetensors"
TOP = 10  # the largest singular vectors, among which intruders are looked for: PEFT's default
MAX_LIKENESS = 0.5  # of an intruder to any of the base's: the largest absolute cosine; PEFT's default


@dataclass(frozen=True)
class Repair:
    """A change of an adapter: alpha times `value` (1 changes nothing), or intruders less by that part (0 changes nothing)."""

    kind: Kind
    value: float

    def check(self) -> None:
        """Raise UserError unless this can be done."""
        if self.kind not in KINDS or not 0 <= self.value <= 1:
            words = _("There is no such repair.")
            raise UserError(words, _("Alpha is scaled, and intruders are reduced, by 0 to 1."))

    def words(self) -> Sentence:
        """Return what is changed, in short."""
        if self.kind == "scale":
            return _("alpha × {value:g}", value=self.value)
        return _("intruders −{share:.0%}", share=self.value)


def find_intruders(adapter: Adapter, base_folder: Path, tell: Tell = lambda what, fraction: None) -> int:
    """Find the intruder dimensions of `adapter`, keep them in its folder, and return their number; at once where they are known.

    Needs the base's weights in 16 or 32 bits, one layer at a time. Raises UserError.
    """
    from safetensors.torch import save_file

    if (adapter.folder / INTRUDERS).is_file():
        return _count(adapter)
    loras, weights = Loras(adapter), _base_weights(base_folder)
    use_all_cores()
    found: dict[str, Tensor] = {}
    for done, path in enumerate(loras.paths, 1):
        lora = loras.at(path)
        assert lora
        u, sv = _intruders(_weight(weights, path, base_folder), lora)
        if u.shape[1]:
            found |= {f"{path}.u": u.contiguous(), f"{path}.sv": sv.contiguous()}
        words = _("Looking for intruder dimensions: layer {done} of {total}", done=done, total=len(loras.paths))
        tell(words, done / len(loras.paths))
    with tempfile.TemporaryDirectory(dir=home()) as folder:
        file = Path(folder, INTRUDERS)
        save_file(found, file)
        file.rename(adapter.folder / INTRUDERS)
    return _count(adapter)


def _count(adapter: Adapter) -> int:
    """Return how many intruder dimensions are kept beside the adapter."""
    from safetensors import safe_open

    with safe_open(adapter.folder / INTRUDERS, framework="pt") as file:
        return sum(file.get_slice(name).get_shape()[1] for name in file.keys() if name.endswith(".u"))  # noqa: SIM118


def _base_weights(folder: Path) -> dict[str, Any]:
    """Return {tensor: the open file that holds it} of a base. Raises UserError for one whose weights are quantised."""
    from safetensors import safe_open

    if stored := quantised_in(folder):
        words = _("The weights of its base are quantised: singular vectors of rounded weights are not the base's.")
        raise UserError(
            words, _("Scale alpha, or use the 16-bit model that it was made from{twin}.", twin=stored.named_twin())
        )
    files = [safe_open(path, framework="pt") for path in sorted(folder.glob("model*.safetensors"))]
    return {name: file for file in files for name in file.keys()}  # noqa: SIM118


def _weight(weights: Mapping[str, Any], path: str, base_folder: Path) -> "Tensor":
    """Return the weight (outputs, inputs) of the base's layer at `path` in fp32. Raises UserError without one."""
    if f"{path}.weight" not in weights:
        raise strange_weights(base_folder.name)
    return weights[f"{path}.weight"].get_tensor(f"{path}.weight").float()


def _intruders(weight: "Tensor", lora: Lora) -> tuple["Tensor", "Tensor"]:
    """Return what intrudes into a layer: u (outputs, n), and the singular values times v, (n, inputs); often n is 0.

    As in peft's tuners/lora/intruders.py, whose SVD of the sum is taken here of its TOP largest vectors alone.
    """
    import torch
    from scipy.sparse.linalg import svds

    u_base = torch.linalg.svd(weight, full_matrices=False)[0]
    merged = weight + lora.scaling * (lora.b @ lora.a)
    top = min(TOP, min(merged.shape) - 1)  # ARPACK finds fewer than all
    u, s, v = (torch.from_numpy(part.copy()) for part in svds(merged.numpy(), k=top, rng=0))
    is_intruder = (u.T @ u_base).abs().amax(dim=1) < MAX_LIKENESS
    return u[:, is_intruder], s[is_intruder, None] * v[is_intruder]


def write_repaired(adapter: Adapter, repair: Repair, folder: Path) -> None:
    """Write the config and weights of the repaired adapter to `folder`. Raises UserError.

    To reduce its intruders, `find_intruders` must have found them.
    """
    from safetensors import safe_open

    repair.check()
    loras, config = Loras(adapter), adapter.config
    if repair.kind == "scale":
        alphas = {name: repair.value * alpha for name, alpha in (config.get("alpha_pattern") or {}).items()}
        scaled = {**config, "lora_alpha": repair.value * config["lora_alpha"], "alpha_pattern": alphas}
        write_json(folder / CONFIG, scaled)
        shutil.copyfile(adapter.folder / WEIGHTS, folder / WEIGHTS)
        return
    import torch

    changed = {}
    with safe_open(adapter.folder / INTRUDERS, framework="pt") as file:
        intruded = {name.removesuffix(".u") for name in file.keys() if name.endswith(".u")}  # noqa: SIM118
        for path in loras.paths:
            lora = loras.at(path)
            assert lora
            changed[path] = (lora.b, lora.a)
            if path in intruded and repair.value:
                b = torch.cat([lora.b, -repair.value * file.get_tensor(f"{path}.u")], dim=1)
                a = torch.cat([lora.a, file.get_tensor(f"{path}.sv") / lora.scaling])
                changed[path] = low_rank(b, a, lora.a.shape[0])
    write_loras(folder, config, changed)


def keep_repaired(adapter: Adapter, repair: Repair, title: str = "", notes: str = "") -> Imported:
    """Take the repaired adapter into the library of its owner, beside the one that it was made of. Raises UserError."""
    if repair == Repair("scale", 0):
        raise UserError(_("With alpha times 0 nothing is left of the adapter."), _("Choose another point."))
    how = f"{adapter.title} ({english(repair.words())})"
    home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home()) as made:
        write_repaired(adapter, repair, Path(made))
        return keep_made(Path(made), [adapter], origin_of("repaired", how, [adapter]), as_title(title or how), notes)
