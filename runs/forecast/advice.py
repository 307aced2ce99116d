"""Settings that can start and are known to train badly: a sentence for each, with its source. Imports no torch."""

from common.language import Sentence, _, n_
from runs.config import TrainConfig

MAX_EFFECTIVE_BATCH = 32  # rows an optimiser step
LEARNING_RATES = (1e-4, 1e-3)  # what suits LoRA
WHOLE_LEARNING_RATES = (1e-5, 1e-4)  # what suits weights of the base itself
MAX_FACTOR = 2  # below or above them, before it is said
SOURCE = "LoRA Without Regret, huggingface.co/docs/trl/lora_without_regret"


def advice(config: TrainConfig) -> list[Sentence]:
    """Return a sentence for each setting of `config` that is better changed; [] for the defaults."""
    found = []
    rate, (low, high) = config.learning_rate, LEARNING_RATES if config.makes_adapter else WHOLE_LEARNING_RATES
    values = {"rate": rate, "low": low, "high": high, "source": SOURCE}
    is_low, is_high = rate < low / MAX_FACTOR, rate > high * MAX_FACTOR
    if (is_low or is_high) and not config.makes_adapter:
        found.append(
            _(
                "A learning rate of {rate:g} is far from what suits weights of the base itself: {low:g} to {high:g}, a tenth "
                "of LoRA's ({source}).",
                **values,
            )
        )
    elif is_low:
        found.append(
            _(
                "A learning rate of {rate:g} is low for LoRA, which needs about ten times the rate of full fine-tuning: "
                "{low:g} to {high:g} suits it ({source}).",
                **values,
            )
        )
    elif is_high:
        found.append(
            _(
                "A learning rate of {rate:g} is high for LoRA and the loss may diverge: {low:g} to {high:g} suits it "
                "({source}).",
                **values,
            )
        )
    batch = config.per_device_train_batch_size * config.gradient_accumulation_steps * config.num_processes
    if batch > MAX_EFFECTIVE_BATCH and config.makes_adapter:
        found.append(
            _(
                "{batch:,} examples per step: above {limit}, LoRA learns less from the same examples than full "
                "fine-tuning does ({source}). Lower the batch size or the gradient accumulation.",
                batch=batch,
                limit=MAX_EFFECTIVE_BATCH,
                source=SOURCE,
            )
        )
    if config.early_stopping_patience and config.keep == "last":
        found.append(
            n_(
                "The run would end {count} evaluation after its best step and keep the last step: keep the best one.",
                "The run would end {count} evaluations after its best step and keep the last step: keep the best one.",
                config.early_stopping_patience,
            )
        )
    return found
