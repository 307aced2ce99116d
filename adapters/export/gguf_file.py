"""Writes GGUF, the format of llama.cpp and Ollama, with the `gguf` package: an adapter, or a merged model in f16 or q8_0.

A file is read back before it gets its name (`gguf_check.py`). Heavy imports when called.
"""

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.export.gguf_check import compare_models, compare_tensors, compare_tokenizers
from adapters.export.gguf_words import add_tokenizer
from adapters.export.serve import write_modelfile
from adapters.library import Adapter
from adapters.trust.check import CONFIG, WEIGHTS, require_object
from adapters.trust.config import check_config
from adapters.trust.layers import Layers
from common.errors import UserError
from common.files import check_free
from common.language import Sentence, _, joined
from models.family import ModelShape, shape_from, shape_of

NOT_WRITTEN = _("That cannot be written to GGUF here.")
OUTTYPES = ("f16", "q8_0")


@dataclass(frozen=True)
class Written:
    """A GGUF file that was read back: its tensors, and the largest difference found, of a 'probability' or of a 'weight'."""

    path: Path
    tensors: int
    largest_difference: float
    of: str = "probability"

    def sentence(self) -> Sentence:
        """Return the file, its size and the largest difference in words."""
        megabytes = self.path.stat().st_size / 1e6
        values = {"file": self.path.name, "tensors": self.tensors, "size": megabytes}
        words = _("{file}: {tensors} tensors, {size:.1f} MB, read back and compared.", **values)
        if not self.largest_difference:
            return joined([words, _("There is no difference.")])
        largest = {"difference": f"{self.largest_difference:.2g}"}
        if self.of == "weight":
            return joined([words, _("The largest difference of a weight is {difference}.", **largest)])
        return joined([words, _("The largest difference of a probability is {difference}.", **largest)])


def write_models(model_folder: Path, folder: Path, outtypes: tuple[str, ...] = OUTTYPES) -> list[Written]:
    """Write the merged model in `model_folder` to `<name>-<outtype>.gguf` in `folder`, one file for each type.

    Raises UserError for what the format or this writer cannot hold, and when a reader finds a difference.
    """
    unknown = [outtype for outtype in outtypes if outtype not in OUTTYPES]
    if unknown:
        raise UserError(
            _("GGUF cannot be written as '{kind}'.", kind=unknown[0]),
            _("Choose one of these: {names}.", names=", ".join(OUTTYPES)),
        )
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for outtype in outtypes:
        target = folder / f"{model_folder.name}-{outtype}.gguf"
        check_free(target)
        partial = target.with_name(f"{target.name}.partial.gguf")
        try:
            count = _write_model(model_folder, partial, outtype)
            with _reading_back(target.name):
                if not written:
                    compare_tokenizers(model_folder, partial)
                difference = compare_models(model_folder, partial, outtype)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        written.append(Written(target, count, difference))
    return written


def write_all(adapter: Adapter, base_folder: Path, model_folder: Path, folder: Path) -> tuple[list[Path], list[str]]:
    """Write f16, q8_0, the adapter and a Modelfile to `folder`.

    Return the files, and a sentence on each but the Modelfile; for an adapter that GGUF has no words for, why it was left out.
    """
    written = write_models(model_folder, folder)
    modelfile = write_modelfile(model_folder, written[1].path)
    reason = only_merged(require_object(adapter.folder / CONFIG))
    if not reason:
        written.append(write_adapter(adapter, base_folder, folder / f"{adapter.name}-adapter.gguf"))
    left_out = [_("The adapter alone was not written: {reason}.", reason=reason)] if reason else []
    return [*(one.path for one in written), modelfile], [*(one.sentence() for one in written), *left_out]


def only_merged(config: Mapping[str, Any]) -> str:
    """Return why a LoRA can be written to GGUF merged into its base only; "" when it can be written alone."""
    if config.get("use_dora"):
        return _("it is a DoRA adapter, which GGUF does not support")
    has_embeddings = config.get("modules_to_save") or config.get("trainable_token_indices")
    return _("it has embeddings of its own, which a GGUF adapter cannot hold") if has_embeddings else ""


def check_model(folder: Path) -> None:
    """Raise UserError for a base that cannot be written to GGUF, before it is merged for that."""
    from gguf import GGUFWriter

    config = require_object(folder / "config.json")
    shape = shape_from(config, folder.name)
    writer = GGUFWriter(None, shape.model_type)
    _add_facts(writer, config, shape, folder.name)
    if (folder / "tokenizer.json").is_file():  # a merge makes one of other files
        add_tokenizer(writer, folder, shape.vocab_size)


@contextmanager
def _reading_back(name: str) -> Generator[None]:
    """Raise UserError for a file that is cut off: numpy's `tofile` does not report a full disk for its last bytes."""
    try:
        yield
    except (ValueError, IndexError, KeyError) as error:
        hint = _("The disk may be full. Free some space, then try again.")
        raise UserError(_("{file} was not written completely: it cannot be read back.", file=name), hint) from error


def _write_model(model_folder: Path, path: Path, outtype: str) -> int:
    """Write one file; returns the number of its tensors."""
    from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType

    config = require_object(model_folder / "config.json")
    shape = shape_from(config, model_folder.name)
    writer = GGUFWriter(path, shape.model_type)
    writer.add_file_type(LlamaFileType.MOSTLY_F16 if outtype == "f16" else LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(2)
    _add_facts(writer, config, shape, model_folder.name)
    add_tokenizer(writer, model_folder, shape.vocab_size)
    names = _names(shape)
    quantised = GGMLQuantizationType.Q8_0 if outtype == "q8_0" else GGMLQuantizationType.F16
    count = 0
    for name, values in _tensors(sorted(model_folder.glob("*.safetensors"))):
        _add_tensor(writer, names(name), _permuted(name, values, shape), quantised)
        count += 1
    _close(writer)
    return count


def _add_facts(writer, config: dict[str, Any], shape: ModelShape, name: str) -> None:
    """Write the sizes and settings of the model. Raises UserError for those that GGUF or its readers do not support."""
    rope = config.get("rope_parameters") or {}
    if config.get("rope_scaling") or rope.get("rope_type", "default") != "default":
        raise UserError(_("The base uses rope scaling."), NOT_WRITTEN)
    if config.get("hidden_act", "silu") != "silu" or set(shape.biased) != set(shape.family.biased):
        raise UserError(_("The base has biases or an activation that its architecture lacks in GGUF."), NOT_WRITTEN)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_context_length(shape.max_position_embeddings)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(float(config.get("rope_theta") or rope.get("rope_theta") or 10000.0))
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_vocab_size(shape.vocab_size)


def _names(shape: ModelShape):
    """Return the function from transformers' name of a tensor to GGUF's. It raises UserError for an unknown one."""
    from gguf import MODEL_ARCH, get_tensor_name_map

    known = get_tensor_name_map(MODEL_ARCH[shape.model_type.upper()], shape.num_hidden_layers)

    def name_of(name: str) -> str:
        found = known.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            label = shape.family.label
            raise UserError(
                _("'{tensor}' has no name in GGUF: the base is not a plain {family}.", tensor=name, family=label)
            )
        return found

    return name_of


def _tensors(paths: list[Path]):
    """Yield (name, float32 array) of every tensor in safetensors files."""
    import torch
    from safetensors import safe_open

    for path in paths:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                yield name, file.get_tensor(name).to(torch.float32).numpy()


def _permuted(name: str, values, shape: ModelShape):
    """Return `values` with the rows of q and k in llama.cpp's order (LlamaModel.permute in its convert_hf_to_gguf.py)."""
    heads = {"q_proj": shape.num_attention_heads, "k_proj": shape.num_key_value_heads}.get(name.split(".")[-2])
    if not heads or not shape.family.has_paired_gguf:
        return values
    pairs = (heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return values.reshape(pairs).swapaxes(1, 2).reshape(values.shape)


def _add_tensor(writer, name: str, values, quantised) -> None:
    """Add a tensor: vectors in float32, matrices quantised; f16 where a row is no multiple of 32 for q8_0."""
    import numpy
    from gguf import GGMLQuantizationType, quants

    if values.ndim == 1:
        writer.add_tensor(name, values)
    elif quantised == GGMLQuantizationType.Q8_0 and values.shape[-1] % 32 == 0:
        writer.add_tensor(name, quants.quantize(values, quantised), raw_dtype=quantised)
    else:
        writer.add_tensor(name, values.astype(numpy.float16))


def _close(writer) -> None:
    """Write header, metadata and tensors, and close the file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_adapter(adapter: Adapter, base_folder: Path, target: Path) -> Written:
    """Write the adapter alone, for a GGUF of its base: `llama-server -m base.gguf --lora FILE`. Raises UserError."""
    from gguf import GGUFWriter

    config, shape = require_object(adapter.folder / CONFIG), shape_of(base_folder)
    if reason := only_merged(config):
        words = _("The adapter alone cannot be written: {reason}.", reason=reason)
        raise UserError(words, _("Export the merged model instead."))
    layers = Layers(check_config(config))
    alpha = float(config["lora_alpha"]) * (math.sqrt(config["r"]) if config.get("use_rslora") else 1.0)
    check_free(target)
    partial = target.with_name(f"{target.name}.partial")
    names, tensors = _names(shape), {}
    for name, values in _tensors([adapter.folder / WEIGHTS]):
        plain, part = name.removeprefix("base_model.model.").rsplit(".lora_", 1)
        part = part.removesuffix(".weight").lower()
        if part == "b":  # llama.cpp multiplies by one alpha / rank: what a layer has of its own goes into its numbers
            own = layers.scaling(plain) * values.shape[1] / alpha
            values = _permuted(f"{plain}.weight", values if own == 1 else values * own, shape)
        tensors[f"{names(f'{plain}.weight')}.lora_{part}"] = values
    try:
        writer = GGUFWriter(partial, shape.model_type)
        writer.add_type("adapter")
        writer.add_name(adapter.name)
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha)
        for name, values in tensors.items():
            writer.add_tensor(name, values)
        _close(writer)
        with _reading_back(target.name):
            difference = compare_tensors(partial, tensors)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return Written(target, len(tensors), difference, "weight")
