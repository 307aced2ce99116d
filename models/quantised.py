"""A base whose weights are quantised already: by which method, from its config.json, and the 16-bit model that it was made from.

Those of bitsandbytes (4 and 8 bits) are trained and answer as they are. Other methods need kernels that are not here: their bases
are refused by name. Light: no torch.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import plain_value, read_object
from common.language import _, joined

BITSANDBYTES = "bitsandbytes"
MAX_CONFIG_BYTES = 1_000_000
MAX_CARD_BYTES = 1_000_000
FLOATS = {"F64", "F32", "F16", "BF16"}
# the names that people know the methods of `quant_method` by; the others are shown as they are written
METHODS = {
    "gptq": "GPTQ",
    "awq": "AWQ",
    "fp8": "FP8",
    "fbgemm_fp8": "FP8",
    "mxfp4": "MXFP4",
    "hqq": "HQQ",
    "mlx": "MLX",
}
# what such a model's name ends in: -bnb-4bit, -unsloth-bnb-4bit, -GPTQ-Int4, -AWQ, -FP8-dynamic, -quantized.w4a16, -4bit-128g
_ENDING = re.compile(
    r"(?:[-_.](?:unsloth|dynamic|quantized|quanto|bnb|gptq|awq|mlx|hqq|eetq|aqlm|exl[23]|torchao|autoround"
    r"|[2-8]-?bits?|[\d.]+bpw|int[2-8]|fp[48]|nf4|mxfp[48]|nvfp4|w\d{1,2}a\d{1,2}|g\d{2,3}|\d{2,3}g))+$",
    re.IGNORECASE,
)
_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


@dataclass(frozen=True)
class Quantised:
    """How weights are stored. `precision` is '4bit' or '8bit' where they are taken as they are, None where they cannot be.

    `twin` is the model in 16 bits that they were made from, "" when it is not known: an id, or of a folder a name.
    """

    method: str
    bits: int | None
    twin: str = ""

    @property
    def precision(self) -> str | None:
        """Return the precision in which such weights are trained and answer."""
        return f"{self.bits}bit" if self.method == BITSANDBYTES and self.bits in (4, 8) else None

    def reason(self) -> str:
        """Return what happens to such a base, as a sentence behind the reason why it was chosen."""
        return _(
            "Its weights are {bits}-bit already, by {method}, and are used in {precision}.",
            bits=self.bits,
            method=self.method,
            precision=self.precision,
        )

    def refusal(self, name: str) -> UserError:
        """Return the error for a base `name` whose weights nothing here can compute."""
        kind = joined([self.method, f"{self.bits}-bit" if self.bits else ""], ", ")
        words = _(
            "{model} is quantised already ({kind}), which this app can neither train nor run.", model=name, kind=kind
        )
        return UserError(words, _("Choose the 16-bit model that it was made from{twin}.", twin=self.named_twin()))

    def named_twin(self) -> str:
        """Return ': TWIN' for the end of a sentence about the model in 16 bits, "" when it is not known."""
        return f": {self.twin}" if self.twin else ""


def quantised_of(config: Mapping[str, Any], name: str = "", made_from: str = "") -> Quantised | None:
    """Return how the weights of a base are stored, by its config.json; None in 16 or 32 bits.

    `name` is the base's id or folder, and `made_from` what its card names as its base_model; of either the twin is read.
    """
    found = config.get("quantization_config") or config.get("compression_config") or config.get("quantization")
    if not found:
        return None
    found = found if isinstance(found, Mapping) else {}
    by_bitsandbytes = {bits for bits in (4, 8) if found.get(f"load_in_{bits}bit") is True}
    kind = str(found.get("quant_method") or ("mlx" if "quantization" in config else ""))[:40].lower()
    if by_bitsandbytes or kind.startswith(BITSANDBYTES):
        return Quantised(BITSANDBYTES, min(by_bitsandbytes, default=None), twin_of(name, made_from, by_name_first=True))
    bits = found.get("bits")
    method = METHODS.get(kind, kind) or _("unnamed method")
    return Quantised(method, bits if type(bits) is int and 0 < bits < 17 else None, twin_of(name, made_from))


def quantised_in(folder: Path, name: str = "") -> Quantised | None:
    """Return how the weights of the base in `folder` are stored, None in 16 or 32 bits, which the files themselves decide.

    `name` is what people know it by. Raises UserError for weights that nothing here can compute, and for a config.json that is
    not theirs.
    """
    name, card = name or folder.name, folder / "README.md"
    text = card.read_bytes() if card.is_file() and card.stat().st_size <= MAX_CARD_BYTES else b""
    said = quantised_of(
        read_object(folder / "config.json", MAX_CONFIG_BYTES), name, plain_value(text, "base_model") or ""
    )
    found = _precision_of_files(folder)
    if found == "floats":  # what a config.json says of weights that were made floats since
        return None
    if said and said.precision is None:
        raise said.refusal(f"'{name}'")
    if found and found != (said and said.precision):
        raise strange_weights(name)
    return said


def _precision_of_files(folder: Path) -> str:
    """Return '4bit' or '8bit' for linear layers of bitsandbytes, 'floats', else 'other'; "" for files that cannot be read.

    Only the headers are read, of the files that transformers loads.
    """
    from safetensors import SafetensorError, safe_open

    kinds = set()
    try:
        for path in folder.glob("model*.safetensors"):
            with safe_open(path, framework="numpy") as file:
                for key in filter(lambda key: "_proj." in key, file.keys()):
                    is_float = file.get_slice(key).get_dtype() in FLOATS
                    kind = "floats" if is_float else "other"
                    kinds.add(
                        "4bit" if ".quant_state.bitsandbytes__" in key else "8bit" if key.endswith(".SCB") else kind
                    )
    except (SafetensorError, OSError):
        return ""
    return next((kind for kind in ("4bit", "8bit", "other", "floats") if kind in kinds), "")


def strange_weights(name: str) -> UserError:
    """Return the error for weights of other names, shapes or kinds than their config.json describes."""
    return UserError(
        _("The weights of '{name}' do not match its config.json.", name=name),
        _("They may be quantised in a way that it does not name. Choose the 16-bit model."),
    )


def check_precision(precision: str, stored: Quantised | None, name: str) -> None:
    """Raise UserError when weights that are quantised already are asked for in another `precision` than theirs."""
    if stored and precision not in ("auto", stored.precision):
        words = _(
            "precision: the weights of {model} are {bits}-bit already; they cannot be used in {precision}.",
            model=name,
            bits=stored.bits,
            precision=precision,
        )
        values = {"precision": stored.precision, "twin": stored.named_twin()}
        raise UserError(words, _("Choose auto or {precision}, or the 16-bit model{twin}.", **values))


def twin_of(name: str, made_from: str = "", by_name_first: bool = False) -> str:
    """Return the 16-bit model that `name` was made from: what its card says, else its name without the ending; "" for neither.

    With `by_name_first` the other way round: who makes bitsandbytes' files has the 16-bit model beside them, and the card may
    name one that is gated.
    """
    name = name.replace("\\", "/").rstrip("/")
    name = name.rsplit("/", 1)[-1] if not _ID.fullmatch(name) else name
    stem = _ENDING.sub("", name)
    by_name = stem if stem != name and not stem.endswith("/") else ""
    by_card = made_from if _ID.fullmatch(made_from) and made_from != name else ""
    return (by_name or by_card) if by_name_first else (by_card or by_name)
