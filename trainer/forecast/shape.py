"""The shape of a Llama-architecture model, read from its config.json, and the parameter counts that follow. Light: no torch."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.files import read_object
from models.base import DEFAULT_BASE, EMBEDDED, Base

STORED_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class ModelShape:
    """What memory and time depend on. `stored_bytes`: bytes of one weight on disk."""

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

    @property
    def query_size(self) -> int:
        return self.num_attention_heads * self.head_dim

    @property
    def key_value_size(self) -> int:
        return self.num_key_value_heads * self.head_dim

    def linears(self, target_modules: str = "all-linear") -> list[tuple[int, int]]:
        """(inputs, outputs) of a layer's linear layers: q, k, v, o of 'attention', gate, up, down of 'mlp', or all."""
        hidden, query, key_value = self.hidden_size, self.query_size, self.key_value_size
        attention = [(hidden, query), (hidden, key_value), (hidden, key_value), (query, hidden)]
        mlp = [(hidden, self.intermediate_size)] * 2 + [(self.intermediate_size, hidden)]
        return {"attention": attention, "mlp": mlp}.get(target_modules, attention + mlp)

    @property
    def linear_parameters(self) -> int:
        """Weights of the layers' linear layers: what 8bit and 4bit quantise."""
        return self.num_hidden_layers * sum(inputs * outputs for inputs, outputs in self.linears())

    @property
    def other_parameters(self) -> int:
        """Embeddings, output head (one matrix when tied) and norms: never quantised."""
        matrices = 1 if self.tie_word_embeddings else 2
        return self.vocab_size * self.hidden_size * matrices + self.hidden_size * (2 * self.num_hidden_layers + 1)

    @property
    def parameters(self) -> int:
        return self.linear_parameters + self.other_parameters

    def adapter_parameters(self, lora_r: int, target_modules: str = "all-linear", use_dora: bool = False) -> int:
        """LoRA: r x (inputs + outputs) a linear layer; DoRA adds a magnitude for each output."""
        linears = self.linears(target_modules)
        one_layer = sum(lora_r * (inputs + outputs) + use_dora * outputs for inputs, outputs in linears)
        return self.num_hidden_layers * one_layer


# huggingface.co/TinyLlama/TinyLlama-1.1B-Chat-v1.0, config.json
TINYLLAMA_SHAPE = ModelShape(2048, 5632, 22, 32, 4, 64, 32000, False, 2048, stored_bytes=2)
# huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct, config.json; models.embedded stores it as float32
EMBEDDED_SHAPE = ModelShape(576, 1536, 30, 9, 3, 64, 49152, True, 8192, stored_bytes=4)


def shape_of(folder: Path | str) -> ModelShape:
    """The shape of the base in `folder`, with transformers' defaults for what its config.json leaves out.

    Raises UserError when there is none.
    """
    config = read_object(Path(folder) / "config.json")
    try:
        heads = int(config["num_attention_heads"])
        return ModelShape(
            hidden_size=int(config["hidden_size"]),
            intermediate_size=int(config["intermediate_size"]),
            num_hidden_layers=int(config["num_hidden_layers"]),
            num_attention_heads=heads,
            num_key_value_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or int(config["hidden_size"]) // heads),
            vocab_size=int(config["vocab_size"]),
            tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
            max_position_embeddings=int(config.get("max_position_embeddings", 2048)),
            stored_bytes=STORED_BYTES.get(config.get("dtype") or config.get("torch_dtype"), 4),
        )
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"'{folder}' has no config.json of a Llama model.", f"Missing or wrong: {error}.") from error


def shape_for(base: Base) -> ModelShape | None:
    """The shape of a base that `choose_base` decided on, without a download; None when only the Hub knows it."""
    if base.source == EMBEDDED:
        return EMBEDDED_SHAPE
    if base.source == "folder":
        return shape_of(base.model_id)
    if base.model_id == DEFAULT_BASE:
        return TINYLLAMA_SHAPE
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(base.model_id, "config.json", revision=base.revision)
    return shape_of(Path(config).parent) if isinstance(config, str) else None
