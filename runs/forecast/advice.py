"""Settings that can start and are known to train badly: a sentence for each, with its source. Imports no torch."""

from common.words import counted
from runs.config import TrainConfig

MAX_EFFECTIVE_BATCH = 32  # rows an optimiser step
LEARNING_RATES = (1e-4, 1e-3)  # what suits LoRA
MAX_FACTOR = 2  # below or above them, before it is said
SOURCE = "LoRA Without Regret, huggingface.co/docs/trl/lora_without_regret"


def advice(config: TrainConfig) -> list[str]:
    """Return a sentence for each setting of `config` that is better changed; [] for the defaults."""
    found = []
    rate, (low, high) = config.learning_rate, LEARNING_RATES
    if not low / MAX_FACTOR <= rate <= high * MAX_FACTOR:
        is_low = rate < low
        why = "LoRA wants about ten times the rate of full tuning" if is_low else "the loss may run away"
        found.append(
            f"learning_rate {rate:g} is {'low' if is_low else 'high'} for LoRA: {why}; "
            f"{low:g} to {high:g} suits it ({SOURCE})."
        )
    batch = config.per_device_train_batch_size * config.gradient_accumulation_steps * config.num_processes
    if batch > MAX_EFFECTIVE_BATCH:
        found.append(
            f"{batch:,} rows make a step: above {MAX_EFFECTIVE_BATCH} LoRA learns less from the same rows than full tuning "
            f"does ({SOURCE}). Lower gradient_accumulation_steps or per_device_train_batch_size."
        )
    if config.early_stopping_patience and config.keep == "last":
        late = counted(config.early_stopping_patience, "evaluation")
        found.append(f"The run would end {late} after its best step and keep the last one: set keep to best.")
    return found
