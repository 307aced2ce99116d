"""The recipe: how TRL's SFTTrainer is set up so that LoRA on an 8-bit base really learns. Each deviation gives its reason.

Each has a test in tests/trainer/test_recipe.py that fails without it.
"""

import os
from dataclasses import replace
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from trl import SFTConfig, pack_dataset

from models.family import LAYERS, ModelShape, shape_from
from models.precision import QUANTISED, compute_dtype
from runs.checkpoints import KEPT
from runs.config import TrainConfig
from runs.forecast.plan import plan_steps
from runs.machines.parallel import ENGINES
from runs.run import Run
from trainer.patches import lean_evaluation, lean_int8, loss_head, plain_4bit, row_attention
from trainer.ranks import world_size
from trainer.row_order import filled_up
from trainer.studio_trainer import StudioTrainer
from trainer.watchdog import LossWatch


def lora_config(config: TrainConfig, shape: ModelShape) -> LoraConfig:
    """Build PEFT's configuration: LoRA on the modules of `target_modules` in the last layers, or in all."""
    return LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=list(shape.family.targets(config.target_modules)),
        layers_to_transform=list(shape.last_layers(config.last_layers)) if config.last_layers else None,
        layers_pattern=LAYERS if config.last_layers else None,
        use_rslora=config.use_rslora,
        use_dora=config.use_dora,
        task_type="CAUSAL_LM",
    )


def choose_weights(model, config: TrainConfig, shape: ModelShape) -> None:
    """Let exactly the weights of the base be trained that the method names: all, or those of the last decoder layers."""
    layers = [f".{LAYERS}.{number}." for number in shape.last_layers(config.last_layers)]
    for name, weight in model.named_parameters():
        weight.requires_grad = config.method == "full" or any(layer in name for layer in layers)


def training_arguments(config: TrainConfig, run: Run, precision: str, has_eval: bool) -> SFTConfig:
    """Build TRL's settings for `config`, on the device that this process has."""
    has_cuda = torch.cuda.is_available()
    dtype = compute_dtype(precision)
    has_autocast = has_cuda or not config.makes_adapter  # on a CPU a base in 16 bits computes in them by itself
    has_noise = config.neftune_noise_alpha > 0
    # the default is one cycle, which never restarts: one an epoch, two at least
    restarts = {"num_cycles": max(2, round(config.num_train_epochs))}
    is_zero3 = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3"
    checkpointing = config.gradient_checkpointing == "on"  # "auto" was decided by trainer.gradient_checkpointing
    return SFTConfig(
        output_dir=str(run.checkpoints_folder),
        # SFTConfig's default is bf16, whatever the accelerate config says; on a CPU its backward is 90 times slower
        use_cpu=not has_cuda,
        bf16=has_autocast and dtype == torch.bfloat16,
        fp16=has_cuda and dtype == torch.float16,
        ddp_timeout=config.ddp_timeout,
        # an engine wants its model prepared for training before it can be evaluated: its first evaluation is inside `train`
        eval_on_start=has_eval and config.parallel in ENGINES,
        # a PeftModel gets True by default, and then reentrant checkpointing dies under DDP
        ddp_find_unused_parameters=False,
        # batches go to the GPU while it works: torch pins their memory by default, accelerate waits for the copy by default
        accelerator_config={"non_blocking": has_cuda},
        activation_checkpointing=checkpointing,
        # ZeRO-3 with PEFT needs reentrant checkpointing, and TRL 1.16's own switch to it does nothing on transformers 5.23
        activation_checkpointing_kwargs={"use_reentrant": is_zero3} if checkpointing else None,
        # rows come tokenised and masked from data.dataset, as the preview shows them
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        max_length=None,
        packing=config.packing,  # tells TRL's collator about `seq_lengths`; the packing itself is in `build_trainer`
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
        lr_scheduler_kwargs=restarts if config.lr_scheduler_type == "cosine_with_restarts" else None,
        warmup_steps=config.warmup_fraction,  # a fraction of all steps when it is below 1
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim="adamw_torch_fused" if has_cuda else "adamw_torch",
        # never "epoch": it evaluates after the checkpoint of the step was written, which then would not know the loss
        eval_strategy="steps" if has_eval else "no",
        eval_steps=config.eval_steps or None,  # 0: `build_trainer`, which knows the steps of an epoch
        prediction_loss_only=True,  # with logits TRL runs every evaluation batch twice
        save_strategy="steps",
        save_steps=config.save_steps,
        save_total_limit=None,  # runs.checkpoints removes the older ones, once the new one is whole
        logging_steps=config.logging_steps,
        logging_first_step=True,  # the evaluation of step 0 waits for it
        logging_nan_inf_filter=False,  # a NaN is shown, not smoothed over
        seed=config.seed,
        report_to="none",
        disable_tqdm=True,
        push_to_hub=False,
    )


def build_trainer(
    model, tokenizer, config: TrainConfig, run: Run, precision: str, rows, held_out, progress, folder=None
) -> StudioTrainer:
    """Build the trainer for a loaded base, or for a base with a trainable adapter on it, which keeps its rank and modules.

    A base whose own weights are trained has them in fp32; `precision` is what is computed in.
    `rows` and `held_out` are lists or data sets of {"input_ids", "labels"}; `folder` is where checkpoints go, the run's unless
    given. Raises UserError for a base whose architecture or head is not known.
    """
    if precision == "8bit":
        lean_int8.install()  # bitsandbytes keeps every layer's input alive otherwise
    if precision == "4bit":
        plain_4bit.install(model)
    has_adapter = isinstance(model, PeftModel)
    gets_adapter = config.makes_adapter and not has_adapter
    base: Any = model.get_base_model() if has_adapter else model
    shape = shape_from(base.config.to_dict(), "The base")
    row_attention.install(base)
    if not config.makes_adapter:
        choose_weights(base, config, shape)
    trained = [(name, weight) for name, weight in model.named_parameters() if has_adapter and weight.requires_grad]
    learned = {name: weight.detach().clone() for name, weight in trained}
    arguments = training_arguments(config, run, precision, len(held_out) > 0)
    arguments.output_dir = str(folder or run.checkpoints_folder)
    rows, held_out = (table if isinstance(table, Dataset) else Dataset.from_list(table) for table in (rows, held_out))
    if config.packing:  # by TRL's best-fit-decreasing, which keeps rows whole
        rows = pack_dataset(rows, config.max_length, "bfd")
    epoch = plan_steps(replace(config, num_processes=world_size()), len(rows)).steps_per_epoch
    arguments.eval_steps = config.eval_steps or epoch
    if world_size() > 1 and len(held_out):
        held_out = filled_up(held_out, world_size() * config.per_device_train_batch_size)
    trainer = StudioTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=held_out if len(held_out) else None,
        processing_class=tokenizer,
        peft_config=lora_config(config, shape) if gets_adapter else None,
        callbacks=[progress],
    )
    trainer.data_collator = loss_head.CountingCollator(trainer.data_collator)
    loss_head.install(base)
    if config.parallel not in ENGINES:  # they gather a layer's weights only where its own forward is called
        lean_evaluation.install(trainer.model)
    trainer.progress = progress
    trainer.has_new_adapter = gets_adapter
    trainer.checkpoints_kept = KEPT if config.makes_adapter else 1
    trainer.lora_plus_ratio = config.lora_plus_ratio
    trainer.keeps_best = config.keep == "best"
    trainer.loss_watch = LossWatch(progress.events)
    trainer.add_callback(trainer.loss_watch)
    if precision in QUANTISED:
        keep_adapters_in_fp32(trainer.model, learned)
    return trainer


def keep_adapters_in_fp32(model, learned: dict[str, torch.Tensor]) -> None:
    """Make the adapters of a quantised base fp32 again; `learned` are those of an adapter that is continued.

    C, D: TRL casts them to bf16, in which small updates vanish (at 2e-5 only 8 % of lora_A moved) and in which fp16's gradient
    scaler crashes. Autocast still computes in 16 bits.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data = learned.get(name, parameter.data).float().to(parameter.device)
