"""The peak memory of a run before it starts, part by part, as `progress.peak_memory_bytes` will measure it.

What is kept for the backward pass is counted tensor by tensor for a decoder layer with PEFT's LoRA (a test compares the count
with torch's saved tensors). On a CPU the peak is the resident size of the process; the constants marked "measured" were
fitted to real runs, see `benchmarks/results/`. On a GPU it is torch's allocator, and nothing there was measured: weights,
adapters and activations are the same count in 16 bits, the loss head is TRL's tile, the rest is derived from the sources
of bitsandbytes and TRL (lean_int8 frees 518 kB a token; layer boundaries of TinyLlama are 90 kB a token).
"""

import math
from dataclasses import dataclass, replace

from common.language import Sentence, _
from models.family import ModelShape
from models.hardware import Hardware
from models.precision import QUANTISED
from runs.config import TrainConfig
from runs.forecast.plan import DataFacts, plan_steps
from runs.machines.parallel import ENGINES, SPLIT_WEIGHTS, local_processes

MiB = 2**20
WEIGHT_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "8bit": 1.0, "4bit": 0.5}
INT8_ROW_BYTES = 4.0  # LLM.int8: one fp32 scale an output row
NF4_BLOCK_BYTES = 4.0 / 64  # NF4: one fp32 scale a block of 64 weights
TRAINED_BYTES = 4  # fp32 in every precision, an adapter's too (recipe: keep_adapters_in_fp32)
OPTIMISER_BYTES = 8  # AdamW: two fp32 moments
CPU_IMPORT_BYTES = 555_000_000  # measured: Python, torch, transformers, TRL and bitsandbytes, before a model is loaded
CPU_TRAINING_BYTES = 100_000_000  # measured: what comes on top until the second step (tokenizer, data, thread buffers)
CPU_LOGIT_COPIES = 8.5  # measured: scores, log-softmax and their gradients are 4; the heap keeps freed ones
CPU_HOLES_BYTES = 0.4  # measured: a quantised weight leaves so much of its float copy in the heap
GPU_TILE = (4096, 32768)  # trl/trainer/utils.py: tokens x vocabulary that the loss head scores at a time
# cuBLAS workspaces, bitsandbytes buffers, fragmentation inside the allocator: not measured
GPU_FRAMEWORK_BYTES = 200 * MiB
ZERO3_LIVE_WEIGHTS = 10**9
SAFETY = 0.95  # of what is available; the rest is for what an estimate misses
ROOMY = 0.8  # of what is available: a run that fits into this without checkpointing goes without it


@dataclass(frozen=True)
class Memory:
    """Bytes. `parts` add up to `total`; `available` is what one training process may take. `checkpointing` is what "auto" comes
    to, or what was set.
    """

    parts: dict[str, int]
    total: int
    available: int
    checkpointing: bool = False

    @property
    def fits(self) -> bool:
        """Whether it fits, with a little left for what an estimate misses."""
        return self.total <= SAFETY * self.available


@dataclass(frozen=True)
class Batch:
    """The largest batch: its tokens with padding, those that are trained, whether its rows lie end to end, and the length of a
    row under a mask (0 without: only an engine's batches have one).
    """

    tokens: float
    trained_tokens: float
    is_joined: bool
    masked_length: float = 0.0


def estimate_memory(
    config: TrainConfig, shape: ModelShape, data_facts: DataFacts, hardware: Hardware, import_bytes: int | None = None
) -> Memory:
    """Predict the peak of the run; DoRA's working copies are counted.

    gradient_checkpointing "auto" is off where the run has room without it, else on. `import_bytes` is what a process with the
    libraries alone holds in RAM here, where that was measured.
    """
    if config.gradient_checkpointing == "auto":
        off, on = (replace(config, gradient_checkpointing=value) for value in ("off", "on"))
        plain = estimate_memory(off, shape, data_facts, hardware, import_bytes)
        is_roomy = plain.total <= ROOMY * plain.available
        return plain if is_roomy else estimate_memory(on, shape, data_facts, hardware, import_bytes)
    on_gpu = hardware.has_gpu
    precision = config.precision_on(on_gpu)
    batch = largest_batch(config, data_facts, on_gpu)
    trained = trained_parameters(config, shape)
    compute = 4 if precision == "fp32" or (not on_gpu and precision != "bf16") else 2
    config = replace(config, precision=config.held_in(precision))
    kept, working = _activations(config, shape, batch, compute, on_gpu)
    head = _loss_head(shape, batch, on_gpu)
    dequantised = _dequantised(shape, config, compute)
    held = compute if config.makes_adapter else TRAINED_BYTES
    weights = _weights(shape, config.precision, held)
    file, kept_file = (0.0, 0.0) if on_gpu else _mapped_file(shape, config.precision, held)
    imports = import_bytes or CPU_IMPORT_BYTES
    copies = 0 if compute == held else compute * trained  # autocast keeps one of each weight until the backward pass
    parts = {
        "weights": weights + kept_file + copies,
        "adapters": TRAINED_BYTES * trained if config.makes_adapter else 0.0,
        "gradients": TRAINED_BYTES * trained * (2 if config.num_processes > 1 else 1),  # DDP's buckets hold a copy
        "optimiser": OPTIMISER_BYTES * trained,
        "activations": kept + max(0.0, working + dequantised - head),
        "loss_head": head,
        "framework": GPU_FRAMEWORK_BYTES if on_gpu else imports + CPU_TRAINING_BYTES,
    }
    parts |= _split(parts, shape, config, compute)
    if not on_gpu:
        parts["loading"] = max(0.0, imports + weights + file - sum(parts.values()))
    whole = {name: round(value) for name, value in parts.items()}
    available = hardware.available_bytes if on_gpu else hardware.available_bytes // local_processes(config)
    return Memory(whole, sum(whole.values()), available, config.gradient_checkpointing == "on")


def trained_parameters(config: TrainConfig, shape: ModelShape) -> int:
    """Count the weights that are trained; a continued adapter is taken to have `lora_r`."""
    if config.method == "full":
        return shape.parameters
    if config.method == "last-n":
        return len(shape.last_layers(config.last_layers)) * shape.layer_parameters
    return shape.adapter_parameters(config.lora_r, config.target_modules, config.use_dora, config.last_layers)


def _split(parts: dict[str, float], shape: ModelShape, config: TrainConfig, compute: int) -> dict[str, float]:
    """Divide the parts that an engine splits over the processes; of split weights each gathers some for a while."""
    if config.parallel not in ENGINES:
        return {}
    splits = ("gradients", "optimiser", *(("weights", "adapters") if config.parallel in SPLIT_WEIGHTS else ()))
    found = {name: parts[name] / config.num_processes for name in splits}
    if "weights" in found:
        found["weights"] += _gathered(_weights(shape, config.precision, compute), shape, config, compute)
    return found


def _gathered(whole: float, shape: ModelShape, config: TrainConfig, compute: int) -> float:
    """Return the bytes of split weights that are whole at once, at most.

    FSDP2 as accelerate wraps it: the head or a layer (the head alone was measured over gloo), and the layer that is on its
    way meanwhile. DeepSpeed lets go of none below 1e9 weights (its stage3_max_live_parameters).
    """
    if config.parallel == "zero3":
        return whole * min(1.0, ZERO3_LIVE_WEIGHTS / shape.parameters)
    layer = (whole - compute * shape.other_parameters) / shape.num_hidden_layers
    return max(compute * (shape.vocab_size + 1) * shape.hidden_size, layer) + layer


def largest_batch(config: TrainConfig, data_facts: DataFacts, on_gpu: bool) -> Batch:
    """Return the largest batch of a run.

    On a GPU rows of a length come together and are padded: the longest ones fill a batch. On a CPU rows are laid end to
    end as they come (not with NEFTune): the largest of all batches is so many deviations over the mean.
    """
    rows = config.per_device_train_batch_size
    longest = min(data_facts["longest"], config.max_length)
    mean = min(data_facts["mean_length"], longest)
    trained = data_facts["trained_tokens"] / max(1, data_facts["tokens"])
    is_engine = config.parallel in ENGINES
    if config.packing:
        tokens = rows * min(config.max_length, data_facts["tokens"])
        return Batch(tokens, tokens * trained, True, tokens * is_engine)
    if on_gpu or config.neftune_noise_alpha:
        padded = rows * longest
        return Batch(padded, padded * trained, False, longest * (is_engine and rows > 1))
    tokens = _largest_sum(rows, mean, longest, config, data_facts["train_rows"])
    return Batch(tokens, tokens * trained, rows > 1)


def _largest_sum(rows: int, mean: float, longest: float, config: TrainConfig, train_rows: int) -> float:
    """Return the expected largest sum of `rows` lengths over all batches, were lengths normal: mean + deviation sqrt(2 ln n)."""
    deviation = (longest - mean) / math.sqrt(2 * math.log(max(train_rows, 3)))
    plan = plan_steps(config, max(1, train_rows))
    batches = max(2, plan.total_steps * config.gradient_accumulation_steps)
    return min(rows * longest, rows * mean + deviation * math.sqrt(rows * 2 * math.log(batches)))


def decided(config: TrainConfig, shape: ModelShape, data_facts: DataFacts, hardware: Hardware) -> TrainConfig:
    """Return `config` with gradient_checkpointing "auto" decided for this hardware, as it is now."""
    if config.gradient_checkpointing != "auto":
        return config
    has_it = estimate_memory(config, shape, data_facts, hardware).checkpointing
    return replace(config, gradient_checkpointing="on" if has_it else "off")


def checkpointing_words(config: TrainConfig, memory: Memory) -> Sentence:
    """Return what gradient checkpointing will be, and why: 'off: there is enough memory without it'."""
    if config.gradient_checkpointing != "auto":
        return _("on, as set") if memory.checkpointing else _("off, as set")
    if memory.checkpointing:
        return _("on: there is too little memory without it")
    return _("off: there is enough memory without it")


def _weights(shape: ModelShape, precision: str, compute: int) -> float:
    linear = shape.linear_parameters * WEIGHT_BYTES[precision]
    if precision == "8bit":
        linear += INT8_ROW_BYTES * shape.num_hidden_layers * sum(outputs for _, outputs in shape.linears())
    if precision == "4bit":
        linear += NF4_BLOCK_BYTES * shape.linear_parameters
    return linear + compute * shape.other_parameters


def _mapped_file(shape: ModelShape, precision: str, compute: int) -> tuple[float, float]:
    """Return (bytes of the safetensors file in RAM while the base is loaded, those that stay), beside the weights.

    The file is mapped, and every page that was read counts. Weights of the file's dtype are the mapping; others are copies.
    A quantised base whose embeddings have the file's dtype holds on to the mapping, read whole. Weights that are quantised
    in the file already are read as they are.
    """
    if shape.stored_in:
        return _weights(shape, shape.stored_in, shape.stored_bytes), 0.0
    file = float(shape.stored_bytes * shape.parameters)
    if shape.stored_bytes != compute:
        if precision in QUANTISED:  # weights become floats one by one before they are quantised
            file += compute * shape.vocab_size * shape.hidden_size + CPU_HOLES_BYTES * shape.linear_parameters
        return file, 0.0
    quantised = shape.stored_bytes * shape.linear_parameters if precision in QUANTISED else 0.0
    return quantised, quantised


def layer_bytes_a_token(config: TrainConfig, shape: ModelShape, batch: Batch, compute: int, on_gpu: bool) -> float:
    """Count the bytes that one layer keeps for its backward pass, a token of the batch; `config` has a resolved precision.

    Two norms' inputs, and those of the norms of queries and keys where a family has them; queries, keys, values and the result
    of attention; gate, its SiLU, up; and for each adapted linear layer its input: with dropout a copy and the noise, without
    it the tensor itself, which layers with the same input share (after attention row by row it is no longer its result).
    With a mask, keys and values are repeated for every head, and it is kept as floats, once a layer. Where the layer's own
    weights are trained, the inputs of all linear layers, and of the norms' weights what they scale.
    """
    hidden, query, inner = shape.hidden_size, shape.query_size, shape.intermediate_size
    key_value = query if batch.masked_length else shape.key_value_size
    elements = 2 * hidden + 2 * query + 2 * key_value + 3 * inner + shape.num_attention_heads + 2
    normed_heads = (shape.num_attention_heads + shape.num_key_value_heads) * shape.family.has_head_norms
    elements += normed_heads * (shape.head_dim + 1)
    inputs = [size for size, _ in shape.linears(config.target_modules)]
    elements += config.lora_r * len(inputs) if config.makes_adapter else 0
    noise = 0.0
    if not config.makes_adapter:
        elements += 4 * hidden + query * batch.is_joined + inner + normed_heads * shape.head_dim
    elif config.lora_dropout:
        elements += sum(inputs)
        noise = sum(inputs) * (1 if on_gpu else compute)  # fused on a GPU: a byte; on a CPU a float
    elif compute == 2 and config.precision not in QUANTISED:
        elements += sum(inputs)  # PEFT makes them fp32, autocast 16-bit again: nothing is shared
    else:
        has_attention, has_mlp = config.target_modules != "mlp", config.target_modules != "attention"
        elements += has_attention * (hidden + query * batch.is_joined) + has_mlp * (hidden + inner)
    if config.use_dora:  # each layer's output before scaling, and the base's
        elements += 2 * sum(outputs for _, outputs in shape.linears(config.target_modules))
    upcast = 4 * (2 * hidden + normed_heads * shape.head_dim) if compute == 2 else 0  # the norms compute in fp32
    return compute * elements + noise + upcast + compute * batch.masked_length


def _activations(
    config: TrainConfig, shape: ModelShape, batch: Batch, compute: int, on_gpu: bool
) -> tuple[float, float]:
    """Return the bytes (kept until the backward pass, needed at work on one layer): the second recomputes the layer.

    The layers below the first trained one keep nothing; with checkpointing their inputs, too, since PEFT's need gradients then.
    """
    layer = layer_bytes_a_token(config, shape, batch, compute, on_gpu) * batch.tokens
    gradients = compute * 3 * shape.intermediate_size * batch.tokens  # of gate, up and their product
    if config.gradient_checkpointing == "on":
        boundaries = compute * shape.hidden_size * shape.num_hidden_layers * batch.tokens
        return boundaries, layer + gradients
    return len(shape.last_layers(config.last_layers)) * layer, gradients


def _loss_head(shape: ModelShape, batch: Batch, on_gpu: bool) -> float:
    """Return the bytes of the logits and their gradients: all trained positions at once on a CPU, in tiles on a GPU."""
    if on_gpu:
        return 2 * 4.0 * min(batch.tokens, GPU_TILE[0]) * min(shape.vocab_size, GPU_TILE[1])
    return CPU_LOGIT_COPIES * 4.0 * batch.trained_tokens * shape.vocab_size


def _dequantised(shape: ModelShape, config: TrainConfig, compute: int) -> float:
    """Return the bytes of the largest weight, for a moment: floats where it is quantised, and DoRA's sum with its adapter."""
    largest = compute * max(inputs * outputs for inputs, outputs in shape.linears())
    return largest * ((config.precision in QUANTISED) + 2 * config.use_dora)
