"""Writes the finished adapter, or the whole model: a folder that is complete from the moment it has its name."""

import platform
import shutil
import time
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import Any

from adapters.history import write_curve
from adapters.trust.check import WEIGHTS
from common.files import publish, read_object, undo_half_published, write_json
from common.paths import adapters_folder, runs_folder
from models.base import Base
from runs.config import told_settings
from runs.events import Metrics
from runs.labels import labels_of
from runs.run import UNFINISHED, Run
from runs.state import state_of, thinned

RECORD = "studio.json"  # the library's, see adapters/library.py
MAX_POINTS = 1000  # of a curve
PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets")


def whole_weights(model) -> dict[str, Any] | None:
    """Gather the trained weights where ZeRO-3 or FSDP2 splits them; None elsewhere. All ranks must call it."""
    from torch.distributed.tensor import DTensor

    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if any(hasattr(weight, "ds_id") for weight in trained.values()):  # ZeRO-3's mark on a weight that it splits
        from deepspeed.zero import GatheredParameters

        with GatheredParameters(list(trained.values())):
            return {name: weight.detach().cpu().clone() for name, weight in trained.items()}
    if any(isinstance(weight, DTensor) for weight in trained.values()):
        return {name: weight.full_tensor().detach().cpu() for name, weight in trained.items()}
    return None


def publish_adapter(
    model,
    tokenizer,
    run: Run,
    base: Base,
    metrics: Metrics,
    weights: dict[str, Any] | None = None,
    checkpoint: Path | None = None,
) -> Path:
    """Save the adapter with everything that chat needs, and rename it into the library. Returns its folder (`place_of`).

    Holds weights (safetensors), adapter_config.json with the base's Hub id and revision, tokenizer and chat template,
    the training config, the metrics and the curve. No pickle, and no path of this machine when the base has a Hub id.
    The weights are those of `checkpoint`, where one is given, to the bit.
    """
    undo_half_published(adapters_folder(run.owner))
    final = place_of(run)
    partial = final.with_name(f"{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write_adapter(partial, final, model, tokenizer, run, base, metrics, weights)
        if checkpoint:
            shutil.copyfile(checkpoint / WEIGHTS, partial / WEIGHTS)
        publish(partial, final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # frees the disk for the last event
        raise
    return final


def publish_model(model, tokenizer, run: Run) -> None:
    """Save a model whose own weights were trained as the run's `model/`: weights (safetensors), config, tokenizer and template.

    No pickle, and no path of this machine.
    """
    partial = run.folder / f"{run.model_folder.name}{UNFINISHED}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        model.save_pretrained(partial, safe_serialization=True)
        tokenizer.save_pretrained(partial)
        publish(partial, run.model_folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # frees the disk for the last event
        raise


def _write_adapter(
    partial: Path, final: Path, model, tokenizer, run: Run, base: Base, metrics: Metrics, weights
) -> None:
    """Write all files of the adapter into `partial`; `final` is the adapter that it replaces, if there is one."""
    model.save_pretrained(partial, safe_serialization=True, state_dict=weights)
    # PEFT's stub; the card is written from the metrics when the adapter is pushed
    (partial / "README.md").unlink(missing_ok=True)
    tokenizer.save_pretrained(partial)
    config = read_object(partial / "adapter_config.json")
    config |= {"base_model_name_or_path": base.model_id, "revision": base.revision, "inference_mode": True}
    write_json(partial / "adapter_config.json", config)
    shutil.copyfile(run.config_file, partial / "training_config.yaml")
    write_json(
        partial / "metrics.json",
        {
            **metrics,
            "title": run.config().name,
            "created": time.time(),
            "versions": versions(),
            "settings": told_settings(),
        },
    )
    state = state_of(run.events_file)
    write_curve(partial, thinned(state.losses, MAX_POINTS), thinned(state.eval_losses, MAX_POINTS))
    # what the library knows of this adapter (notes, where it was pushed), and where the one that it began with came from
    record, origin = read_object(final / RECORD), read_object(run.init_adapter_folder / RECORD).get("origin")
    if title := labels_of(run).title:
        record.setdefault("title", title)
    if origin:
        record["origin"] = {"kind": "trained", "from": "this machine", "init_origin": origin}
    if record:
        write_json(partial / RECORD, record)


def place_of(run: Run) -> Path:
    """Return the folder of the adapter of `run`, which need not exist yet.

    It is named by the run's id, else by the first of `id-2`, `id-3`, ... that no other adapter and no other run has: another
    one may have been given the run's name since.
    """
    for name in chain([run.id], (f"{run.id}-{number}" for number in count(2))):
        adapter = adapters_folder(run.owner) / name
        is_of_a_run = name != run.id and (runs_folder(run.owner) / name).exists()
        if came_out_of(run, adapter) or not (adapter.exists() or is_of_a_run):
            return adapter
    raise AssertionError("one of endless names is free")


def came_out_of(run: Run, adapter: Path) -> bool:
    """Return whether the adapter records exactly the settings of `run`."""
    try:
        return (adapter / "training_config.yaml").read_bytes() == run.config_file.read_bytes()
    except OSError:
        return False


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that the adapter was made with."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
