"""The facts of each model architecture (`Family`), and the shape of one model (`ModelShape`).

Training, chat, the checks of adapters and export read them here. An architecture that is not listed, and a setting of a
config.json that would be computed wrongly, are refused by name. Light: no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import read_object
from common.language import _
from models.quantised import quantised_of

MAX_NUMBER = 2**31 - 1
STORED_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Family:
    """An architecture by its `model_type`, the name that config.json, transformers and GGUF have for it.

    Layer N holds `model.layers.N.self_attn.<attention>` and `model.layers.N.mlp.<mlp>`, all of them nn.Linear. The output head
    is one matrix: no bias, scale or softcap.
    """

    model_type: str
    label: str
    attention: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    mlp: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    biased: tuple[str, ...] = ()  # modules that always have a bias
    bias_settings: tuple[str, ...] = ()  # of "attention_bias" and "mlp_bias", those that its config.json may set
    head_dim: int | None = None  # where config.json has none; None: hidden_size / num_attention_heads
    has_head_norms: bool = False  # q_norm and k_norm: queries and keys are normalised, each head by itself
    has_paired_gguf: bool = False  # llama.cpp rotates neighbouring rows of q and k, transformers the halves of a head

    @property
    def modules(self) -> dict[str, str]:
        """Return {module: the block of a layer that holds it}."""
        return {**dict.fromkeys(self.attention, "self_attn"), **dict.fromkeys(self.mlp, "mlp")}

    def targets(self, target_modules: str) -> tuple[str, ...]:
        """Return the modules that 'attention', 'mlp' or 'all-linear' names."""
        return {"attention": self.attention, "mlp": self.mlp}.get(target_modules, self.attention + self.mlp)


LLAMA = Family("llama", "Llama", bias_settings=("attention_bias", "mlp_bias"), has_paired_gguf=True)
QWEN2 = Family("qwen2", "Qwen2 and Qwen2.5", biased=("q_proj", "k_proj", "v_proj"))
QWEN3 = Family("qwen3", "Qwen3", bias_settings=("attention_bias",), head_dim=128, has_head_norms=True)
FAMILIES = {family.model_type: family for family in (LLAMA, QWEN2, QWEN3)}
LAYERS = "layers"  # the list of decoder layers in the model, in all families
LABELS = "Llama, Qwen2, Qwen2.5, Qwen3"
MODULES = {module: block for family in FAMILIES.values() for module, block in family.modules.items()}


def family_of(config: Mapping[str, Any], name: str) -> Family:
    """Return the family of a config.json. Raises UserError, with `name` for the model, for an unknown one."""
    kind = str(config.get("model_type") or "")[:40]
    if not kind:
        words = _("{model} has no config.json that names its architecture.", model=name)
        raise UserError(words, _("Choose another model."))
    family = FAMILIES.get(kind)
    if family is None:
        words = _("{model} is of the architecture {kind}, which is not supported.", model=name, kind=kind)
        raise UserError(words, _("Choose a model of one of these architectures: {labels}.", labels=LABELS))
    layers = config.get("layer_types") or []
    is_full = isinstance(layers, list) and all(layer == "full_attention" for layer in layers)
    if config.get("use_sliding_window") or not is_full:
        words = _("{model} uses sliding-window attention (sliding_window), which is not supported.", model=name)
        raise UserError(words, _("Choose a model with full attention."))
    return family


@dataclass(frozen=True)
class ModelShape:
    """The sizes on which memory, time and adapters depend.

    `stored_bytes` are the bytes of one weight on disk; `stored_in` is the precision of linear layers that are quantised already,
    "" for floats; `biased` names the linear layers that have a bias.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    tie_word_embeddings: bool
    max_position_embeddings: int
    stored_bytes: int = 2
    model_type: str = LLAMA.model_type
    biased: tuple[str, ...] = ()
    stored_in: str = ""

    @property
    def family(self) -> Family:
        """Return the family of this architecture."""
        return FAMILIES[self.model_type]

    @property
    def query_size(self) -> int:
        """Return the outputs of q_proj: heads x width of a head."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_value_size(self) -> int:
        """Return the outputs of k_proj and of v_proj: key-value heads x width of a head."""
        return self.num_key_value_heads * self.head_dim

    @property
    def modules(self) -> dict[str, tuple[int, int]]:
        """Return {module: (inputs, outputs)} of a layer's linear layers: q, k, v, o, gate, up, down."""
        hidden, inner = self.hidden_size, self.intermediate_size
        query, key_value = self.query_size, self.key_value_size
        sizes = [(hidden, query), (hidden, key_value), (hidden, key_value), (query, hidden)]
        sizes += [(hidden, inner), (hidden, inner), (inner, hidden)]
        return dict(zip(self.family.targets("all-linear"), sizes, strict=True))

    def linears(self, target_modules: str = "all-linear") -> list[tuple[int, int]]:
        """Return (inputs, outputs) of the modules that `target_modules` names."""
        return [self.modules[name] for name in self.family.targets(target_modules)]

    @property
    def linear_parameters(self) -> int:
        """Count the weights of the layers' linear layers: what 8bit and 4bit quantise."""
        return self.num_hidden_layers * sum(inputs * outputs for inputs, outputs in self.linears())

    @property
    def other_parameters(self) -> int:
        """Count embeddings, output head (one matrix when tied), norms and biases: never quantised."""
        matrices = 1 if self.tie_word_embeddings else 2
        layer = self.layer_parameters - sum(inputs * outputs for inputs, outputs in self.linears())
        return self.vocab_size * self.hidden_size * matrices + self.hidden_size + self.num_hidden_layers * layer

    @property
    def layer_parameters(self) -> int:
        """Count the weights of one decoder layer: linear layers with their biases, and norms."""
        norms = 2 * self.hidden_size + 2 * self.head_dim * self.family.has_head_norms
        biases = sum(self.modules[name][1] for name in self.biased)
        return sum(inputs * outputs for inputs, outputs in self.linears()) + norms + biases

    @property
    def parameters(self) -> int:
        """Count all weights."""
        return self.linear_parameters + self.other_parameters

    def last_layers(self, count: int) -> range:
        """Return the numbers of the last `count` decoder layers; of all of them for 0 and for more than there are."""
        return range(max(0, self.num_hidden_layers - count) if count else 0, self.num_hidden_layers)

    def adapter_parameters(
        self, lora_r: int, target_modules: str = "all-linear", use_dora: bool = False, last_layers: int = 0
    ) -> int:
        """Count the trained weights: r x (inputs + outputs) a linear layer; DoRA adds a magnitude for each output."""
        linears = self.linears(target_modules)
        one_layer = sum(lora_r * (inputs + outputs) + use_dora * outputs for inputs, outputs in linears)
        return len(self.last_layers(last_layers)) * one_layer


# huggingface.co/TinyLlama/TinyLlama-1.1B-Chat-v1.0, config.json
TINYLLAMA_SHAPE = ModelShape(2048, 5632, 22, 32, 4, 64, 32000, False, 2048, stored_bytes=2)
# huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct, config.json; models.embedded stores it as float32
EMBEDDED_SHAPE = ModelShape(576, 1536, 30, 9, 3, 64, 49152, True, 8192, stored_bytes=4)


def shape_of(folder: Path | str) -> ModelShape:
    """Read the shape of the base in `folder`. Raises UserError like `shape_from`."""
    return shape_from(read_object(Path(folder) / "config.json"), f"'{folder}'")


def shape_from(config: Mapping[str, Any], name: str) -> ModelShape:
    """Read the shape in a config.json, with transformers' defaults for what it leaves out.

    Raises UserError, with `name` for the model, for an unknown family or a number that is missing or odd.
    """
    family = family_of(config, name)

    def number(key: str, default: int | None = None) -> int:
        found = default if config.get(key) is None else config[key]
        if type(found) is not int or not 0 < found <= MAX_NUMBER:
            words = _("The config.json of {model} is damaged.", model=name)
            raise UserError(words, _("Its {key} is {value}.", key=key, value=str(found)[:40]))
        return found

    hidden, heads = number("hidden_size"), number("num_attention_heads")
    quantised = quantised_of(config)
    biased = {"attention_bias": family.attention, "mlp_bias": family.mlp}
    return ModelShape(
        hidden_size=hidden,
        intermediate_size=number("intermediate_size"),
        num_hidden_layers=number("num_hidden_layers"),
        num_attention_heads=heads,
        num_key_value_heads=number("num_key_value_heads", heads),
        head_dim=number("head_dim", family.head_dim or hidden // heads),
        vocab_size=number("vocab_size"),
        tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
        max_position_embeddings=number("max_position_embeddings", 2048),
        stored_bytes=STORED_BYTES.get(str(config.get("dtype") or config.get("torch_dtype")), 4),
        model_type=family.model_type,
        biased=family.biased + sum((biased[key] for key in family.bias_settings if config.get(key)), ()),
        stored_in=(quantised.precision if quantised else None) or "",
    )
