"""The recipe: how TRL's SFTTrainer is set up so that LoRA on an 8-bit base really learns. Each deviation gives its reason.

The letters are the findings in the design's `training-stack.md`, section 0; each has a test that fails without it.
"""

import os
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from trl import SFTConfig, pack_dataset

from models.family import Family, family_of
from models.precision import QUANTISED, compute_dtype
from trainer.config import TrainConfig
from trainer.machines.parallel import ENGINES
from trainer.process import lean_int8, loss_head, row_attention
from trainer.process.ranks import world_size
from trainer.process.row_order import filled_up
from trainer.process.studio_trainer import StudioTrainer
from trainer.process.watchdog import LossWatch
from trainer.run import Run


def lora_config(config: TrainConfig, family: Family) -> LoraConfig:
    """LoRA on the layers of `target_modules`.

    `trainer.process.publish` records the base's Hub id; until then its folder stands there, since PEFT looks the base up at every
    save and would ask the network for an id.
    """
    return LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=list(family.targets(config.target_modules)),
        use_rslora=config.use_rslora,
        use_dora=config.use_dora,
        task_type="CAUSAL_LM",
    )


def training_arguments(config: TrainConfig, run: Run, precision: str, has_eval: bool) -> SFTConfig:
    """TRL's settings for `config`, on the device that this process has."""
    has_cuda = torch.cuda.is_available()
    dtype = compute_dtype(precision)
    has_noise = config.neftune_noise_alpha > 0
    checkpointing = config.gradient_checkpointing == "on"  # "auto" was decided by trainer.process.checkpointing
    return SFTConfig(
        output_dir=str(run.checkpoints_folder),
        # H: SFTConfig's default is bf16, whatever the accelerate config says; on a CPU its backward is 90 times slower
        use_cpu=not has_cuda,
        bf16=has_cuda and dtype == torch.bfloat16,
        fp16=has_cuda and dtype == torch.float16,
        ddp_timeout=config.ddp_timeout,
        # an engine wants its model prepared for training before it can be evaluated: its first look is inside `train`
        eval_on_start=has_eval and config.parallel in ENGINES,
        # F: a PeftModel gets True by default, and then reentrant checkpointing dies under DDP
        ddp_find_unused_parameters=False,
        # batches go to the GPU while it works: torch pins their memory by default, accelerate waits for the copy by default
        accelerator_config={"non_blocking": has_cuda},
        activation_checkpointing=checkpointing,
        activation_checkpointing_kwargs=checkpointing_kwargs() if checkpointing else None,
        # rows come tokenised and masked from trainer.data.dataset, where the preview takes them from too (J)
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        max_length=None,
        packing=config.packing,  # tells TRL's collator about `seq_lengths`; the packing itself is in `_dataset`
        # without a GPU the rows of a batch are laid end to end: padding is work for nothing there. Not with NEFTune, whose
        # noise shrinks with the length of what it is added to
        padding_free=config.packing or (not has_cuda and config.per_device_train_batch_size > 1 and not has_noise),
        neftune_noise_alpha=config.neftune_noise_alpha if has_noise else None,
        train_sampling_strategy="group_by_length" if has_cuda else "random",
        per_device_train_batch_size=config.per_device_train_batch_size,
        per_device_eval_batch_size=config.per_device_train_batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        num_train_epochs=config.num_train_epochs,
        max_steps=config.max_steps or -1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_scheduler_type,
        lr_scheduler_kwargs=scheduler_kwargs(config),
        warmup_steps=config.warmup_fraction,  # a fraction of all steps when it is below 1
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim="adamw_torch_fused" if has_cuda else "adamw_torch",
        eval_strategy=("steps" if config.eval_steps else "epoch") if has_eval else "no",
        eval_steps=config.eval_steps or None,
        prediction_loss_only=True,  # with logits TRL runs every evaluation batch twice
        save_strategy="steps",
        save_steps=config.save_steps,
        save_total_limit=None,  # trainer.process.checkpoints removes the older ones, once the new one is whole
        logging_steps=config.logging_steps,
        logging_first_step=True,  # the look at step 0 waits for it
        logging_nan_inf_filter=False,  # a NaN is shown, not smoothed over
        seed=config.seed,
        report_to="none",
        disable_tqdm=True,
        push_to_hub=False,
    )


def scheduler_kwargs(config: TrainConfig) -> dict | None:
    """The default of cosine_with_restarts is one cycle, which never restarts: one an epoch, two at least."""
    if config.lr_scheduler_type != "cosine_with_restarts":
        return None
    return {"num_cycles": max(2, round(config.num_train_epochs))}


def checkpointing_kwargs() -> dict:
    """K: ZeRO-3 with PEFT needs reentrant checkpointing, and TRL 1.16's own switch to it does nothing on transformers 5.23."""
    return {"use_reentrant": os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3"}


def build_trainer(
    model, tokenizer, config: TrainConfig, run: Run, precision: str, rows, held_out, progress, folder=None
):
    """The SFTTrainer for a loaded base, or for a base with a trainable adapter on it, which then keeps its rank and modules.

    `rows` and `held_out` are lists or data sets of {"input_ids", "labels"}; `folder` is where checkpoints go (the run's, unless
    given).
    """
    if precision == "8bit":
        lean_int8.install()  # E: bitsandbytes keeps every layer's input alive otherwise
    has_adapter = isinstance(model, PeftModel)
    base: Any = model.get_base_model() if has_adapter else model
    family = family_of(base.config.to_dict(), "The base")
    row_attention.install(base)
    loss_head.install(base)
    learned = _trained_weights(model) if has_adapter else {}
    arguments = training_arguments(config, run, precision, bool(held_out))
    arguments.output_dir = str(folder or run.checkpoints_folder)
    trainer = StudioTrainer(
        model=model,
        args=arguments,
        train_dataset=_dataset(rows, config),
        eval_dataset=_held_out(held_out, config) if len(held_out) else None,
        processing_class=tokenizer,
        peft_config=None if has_adapter else lora_config(config, family),
        callbacks=[progress],
    )
    trainer.data_collator = loss_head.CountingCollator(trainer.data_collator)
    trainer.progress = progress
    trainer.has_new_adapter = not has_adapter
    trainer.loss_watch = LossWatch(progress.events)
    trainer.add_callback(trainer.loss_watch)
    if precision in QUANTISED:
        keep_adapters_in_fp32(trainer.model, learned)
    return trainer


def _table(rows) -> Dataset:
    """Rows on disk as they are, those of a list in memory."""
    return rows if isinstance(rows, Dataset) else Dataset.from_list(rows)


def _held_out(rows, config: TrainConfig) -> Dataset:
    """The same number of whole batches for every process."""
    table = _table(rows)
    return filled_up(table, world_size() * config.per_device_train_batch_size) if world_size() > 1 else table


def _dataset(rows, config: TrainConfig) -> Dataset:
    """Rows as TRL's trainer takes them; packed by TRL's best-fit-decreasing, which keeps rows whole, where that is wished."""
    dataset = _table(rows)
    return pack_dataset(dataset, config.max_length, "bfd") if config.packing else dataset


def _trained_weights(model) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}


def keep_adapters_in_fp32(model, learned: dict[str, torch.Tensor]) -> None:
    """C, D: TRL casts the adapters of a quantised base to bf16, in which small updates vanish (at 2e-5 only 8 % of lora_A
    moved) and in which fp16's gradient scaler crashes. Autocast still computes in 16 bits.

    `learned` are the weights of an adapter that is continued, as they were before that cast rounded them.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data = learned.get(name, parameter.data).float().to(parameter.device)
