"""Mixes two or more adapters of one base into a new one, as PEFT's `add_weighted_adapter` does, in a process of its own.

    mixed = mix([one, other], "svd", [0.5, 0.5], "Both")
    python -m adapters.mix REQUEST.json ANSWER.json          the process: see `common.child.ask_child`

PEFT has the whole base in memory for it (4.4 GB for TinyLlama in fp32) and takes the SVD of each layer's whole change. Here
the layers come one after the other from the adapters' files: a sum of LoRAs is a product of thin matrices, of which the SVD is
exact and takes milliseconds. What PEFT's own functions prune by TIES or DARE is no such product: torch.svd_lowrank is close.
"""

import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adapters.intake import Imported, check_room
from adapters.library import Adapter, read_adapter
from adapters.loras import Lora, Loras, keep_made, low_rank, origin_of, padded, write_loras
from adapters.trust.config import MAX_RANK
from common.child import Tell, answer_parent, ask_child, with_time_left
from common.errors import UserError
from common.imports import import_lock
from common.language import _
from common.paths import as_title, home
from models.hub.errors import child_environment

KINDS = {
    "cat": _("all of them side by side: exact; the ranks add up"),
    "svd": _("the best approximation of their sum in the largest rank"),
    "ties_svd": _("TIES: small values dropped, signs by majority; then as svd"),
    "dare_linear_svd": _("DARE: values dropped by chance, the others scaled up; then as svd"),
}
PRUNED = ("ties_svd", "dare_linear_svd")
MAX_ADAPTERS = 8
MAX_WEIGHT = 10.0
DENSITY = 0.5  # the part of the values that TIES and DARE keep
MORE_DIRECTIONS, ITERATIONS = 16, 4  # of the randomised SVD (arXiv 0909.4061), beyond the rank that is kept


@dataclass(frozen=True)
class Mix:
    """How adapters are mixed: one of KINDS, a weight for each, and for TIES and DARE the part of the values that is kept."""

    kind: str
    weights: list[float]
    density: float = DENSITY

    def check(self, adapters: Sequence[Adapter]) -> None:
        """Raise UserError unless these adapters can be mixed so: their base is one, their layers are compared later."""
        if self.kind not in KINDS:
            words = _("Adapters cannot be mixed by '{kind}'.", kind=self.kind[:40])
            raise UserError(words, _("Choose one of these: {names}.", names=", ".join(KINDS)))
        if not 2 <= len(adapters) <= MAX_ADAPTERS:
            raise UserError(_("Choose 2 to {most} adapters to mix.", most=MAX_ADAPTERS))
        if len(self.weights) != len(adapters) or not all(0 < abs(weight) <= MAX_WEIGHT for weight in self.weights):
            words = _("Each adapter needs a weight between -{most:g} and {most:g}, not 0.", most=MAX_WEIGHT)
            raise UserError(words, _("Give {count} numbers, as in 0.5 0.5.", count=len(adapters)))
        if not 0 < self.density <= 1:
            raise UserError(_("The part of the values that is kept must be above 0 and at most 1."))
        for one in adapters[1:]:
            if one.base != adapters[0].base:
                words = _(
                    "'{one}' is an adapter of {base}, '{other}' of {other_base}.",
                    one=adapters[0].title,
                    base=adapters[0].base,
                    other=one.title,
                    other_base=one.base,
                )
                raise UserError(words, _("Only adapters of one base can be mixed."))


def mix(
    adapters: Sequence[Adapter],
    how: Mix,
    title: str = "",
    tell: Tell = lambda what, fraction: None,
    stop: threading.Event | None = None,
) -> Imported:
    """Mix adapters of one owner into a new one of theirs, which is named by what it was made of without a `title`.

    Setting `stop` ends it. Raises UserError, leaving nothing.
    """
    how.check(adapters)
    check_room(adapters[0].folder.parent.name, 0)
    parts = " + ".join(f"{one.title} × {weight:g}" for one, weight in zip(adapters, how.weights, strict=True))
    made_so = f"{parts} ({how.kind})"
    home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home()) as made:
        request = {"adapters": [str(one.folder) for one in adapters], "how": asdict(how), "made": made}
        ask_child("adapters.mix", request, child_environment(), tell, stop)
        return keep_made(Path(made), adapters, origin_of("mixed", made_so, adapters), as_title(title or made_so))


def main(arguments: list[str]) -> int:
    """Answer the request of `mix`: write the mixed config and weights to its folder `made`."""
    return answer_parent(arguments, _write)


def _write(request: dict[str, Any], tell: Tell) -> None:
    adapters = [read_adapter(Path(folder)) for folder in request["adapters"]]
    write_mix(adapters, Mix(**request["how"]), Path(request["made"]), with_time_left(tell))


def write_mix(adapters: Sequence[Adapter], how: Mix, folder: Path, tell: Tell = lambda what, fraction: None) -> None:
    """Write the mixed config and weights to `folder`, by one layer after the other. Raises UserError."""
    import torch

    torch.manual_seed(0)  # DARE drops values by chance
    opened = [Loras(one) for one in adapters]
    ranks = [one.rank for one in opened]
    rank = sum(ranks) if how.kind == "cat" else max(ranks)
    if rank > MAX_RANK:
        words = _("Side by side they would have the rank {rank}; at most {most} are allowed.", rank=rank, most=MAX_RANK)
        raise UserError(words, _("Mix them by svd."))
    paths = list(dict.fromkeys(path for one in opened for path in one.paths))
    mixed = {}
    for done, path in enumerate(paths, 1):
        found = [one.at(path) for one in opened]
        pairs = [(lora, weight) for lora, weight in zip(found, how.weights, strict=True) if lora]
        if len({(lora.b.shape[0], lora.a.shape[1]) for lora, _weight in pairs}) > 1:
            words = _("The adapters do not fit each other: {layer} is of different sizes.", layer=path)
            raise UserError(words, _("Only adapters of one base can be mixed."))
        mixed[path] = padded(*_mixed(pairs, how, rank), rank)
        tell(_("Mixing layer {done} of {total}", done=done, total=len(paths)), done / len(paths))
    write_loras(folder, _config(adapters, paths, rank), mixed)


def _mixed(pairs: list[tuple[Lora, float]], how: Mix, rank: int) -> tuple[Any, Any]:
    """Return (b, a) of one layer, of at most `rank` and the scaling 1, from the LoRAs that change it and their weights."""
    import torch

    if how.kind in PRUNED:
        return _pruned(pairs, how, rank)
    b = torch.cat([lora.b for lora, _weight in pairs], dim=1)
    a = torch.cat([weight * lora.scaling * lora.a for lora, weight in pairs])
    return (b, a) if how.kind == "cat" else low_rank(b, a, rank)


def _pruned(pairs: list[tuple[Lora, float]], how: Mix, rank: int) -> tuple[Any, Any]:
    """Return (b, a) of one layer, of at most `rank`, by TIES (arXiv 2306.01708) or DARE (arXiv 2311.03099)."""
    import torch

    with import_lock:
        from peft.utils.merge_utils import dare_linear, ties

    changes = [lora.scaling * (lora.b @ lora.a) for lora, _weight in pairs]
    prune = ties if how.kind == "ties_svd" else dare_linear
    change = prune(changes, torch.tensor([weight for _lora, weight in pairs]), density=how.density)
    u, s, v = torch.svd_lowrank(change, min(rank + MORE_DIRECTIONS, *change.shape), niter=ITERATIONS)
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * v[:, :rank].T


def _config(adapters: Sequence[Adapter], paths: list[str], rank: int) -> dict[str, Any]:
    """Return the adapter_config.json of the mix, of scaling 1: all modules and layers that any of the adapters changes."""
    is_partial = any(one.config.get("layers_to_transform") is not None for one in adapters)
    return {
        **adapters[0].config,
        "r": rank,
        "lora_alpha": rank,
        "use_rslora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        "exclude_modules": None,
        "target_modules": sorted({path.rpartition(".")[2] for path in paths}),
        "layers_to_transform": sorted({int(path.split(".")[2]) for path in paths}) if is_partial else None,
        "layers_pattern": None,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
