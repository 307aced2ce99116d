"""The recipe: how TRL's SFTTrainer is set up so that LoRA on an 8-bit base really learns. Each deviation gives its reason.

The letters are the findings in the design's `training-stack.md`, section 0; each has a test that fails without it.
"""

import os

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.nn.functional import cross_entropy
from trl import SFTConfig, SFTTrainer

from models.precision import QUANTISED, compute_dtype
from trainer import lean_int8
from trainer.config import TrainConfig
from trainer.dataset import IGNORED
from trainer.progress import ProgressCallback
from trainer.run import Run


def lora_config(config: TrainConfig) -> LoraConfig:
    """LoRA on all linear layers. `trainer.publish` records the base's Hub id; until then its folder stands there, since PEFT
    looks the base up at every save and would ask the network for an id.
    """
    return LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def training_arguments(config: TrainConfig, run: Run, precision: str, has_eval: bool) -> SFTConfig:
    """TRL's settings for `config`, on the device that this process has."""
    has_cuda = torch.cuda.is_available()
    dtype = compute_dtype(precision)
    checkpointing = {"auto": has_cuda, "on": True, "off": False}[config.gradient_checkpointing]
    return SFTConfig(
        output_dir=str(run.checkpoints_folder),
        # H: SFTConfig's default is bf16, whatever the accelerate config says; on a CPU its backward is 90 times slower
        use_cpu=not has_cuda,
        bf16=has_cuda and dtype == torch.bfloat16,
        fp16=has_cuda and dtype == torch.float16,
        # F: a PeftModel gets True by default, and then reentrant checkpointing dies under DDP
        ddp_find_unused_parameters=False,
        activation_checkpointing=checkpointing,
        activation_checkpointing_kwargs=checkpointing_kwargs() if checkpointing else None,
        # rows come tokenised and masked from trainer.dataset, where the preview takes them from too (J)
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        max_length=None,
        # without a GPU the rows of a batch are laid end to end: padding is work for nothing there
        padding_free=not has_cuda and config.per_device_train_batch_size > 1,
        train_sampling_strategy="group_by_length" if has_cuda else "random",
        per_device_train_batch_size=config.per_device_train_batch_size,
        per_device_eval_batch_size=config.per_device_train_batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        num_train_epochs=config.num_train_epochs,
        max_steps=config.max_steps or -1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_scheduler_type,
        warmup_steps=config.warmup_fraction,  # a fraction of all steps when it is below 1
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim="adamw_torch_fused" if has_cuda else "adamw_torch",
        eval_strategy=("steps" if config.eval_steps else "epoch") if has_eval else "no",
        eval_steps=config.eval_steps or None,
        prediction_loss_only=True,  # with logits TRL runs every evaluation batch twice
        save_strategy="steps",
        save_steps=config.save_steps,
        save_total_limit=2,
        logging_steps=config.logging_steps,
        logging_nan_inf_filter=False,  # a NaN is shown, not smoothed over
        seed=config.seed,
        report_to="none",
        disable_tqdm=True,
        push_to_hub=False,
    )


def checkpointing_kwargs() -> dict:
    """K: ZeRO-3 with PEFT needs reentrant checkpointing, and TRL 1.16's own switch to it does nothing on transformers 5.23."""
    return {"use_reentrant": os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3"}


def build_trainer(model, tokenizer, config: TrainConfig, run: Run, precision: str, rows, held_out, progress):
    """The SFTTrainer for a loaded base. `rows` and `held_out` are lists of {"input_ids", "labels"}."""
    if precision == "8bit":
        lean_int8.install()  # E: bitsandbytes keeps every layer's input alive otherwise
    trainer = StudioTrainer(
        model=model,
        args=training_arguments(config, run, precision, bool(held_out)),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(held_out) if held_out else None,
        processing_class=tokenizer,
        peft_config=lora_config(config),
        callbacks=[progress],
    )
    trainer.progress = progress
    if precision in QUANTISED:
        keep_adapters_in_fp32(trainer.model)
    return trainer


def keep_adapters_in_fp32(model) -> None:
    """C, D: TRL casts the adapters of a quantised base to bf16, in which small updates vanish (at 2e-5 only 8 % of lora_A
    moved) and in which fp16's gradient scaler crashes. Autocast still computes in 16 bits.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


class StudioTrainer(SFTTrainer):
    """SFTTrainer that scores only trained positions on a CPU, and reports the held-out loss per token."""

    progress: ProgressCallback | None = None
    _eval_sums: torch.Tensor | None = None  # (sum of losses, number of tokens) of the evaluation under way

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        tokens = (inputs["labels"][:, 1:] != IGNORED).sum()
        if self.model.training and self.progress:
            self.progress.count_tokens(inputs)
        if self.args.use_cpu and not return_outputs:
            loss = self._loss_on_cpu(model, inputs, tokens if num_items_in_batch is None else num_items_in_batch)
        else:
            loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if not self.model.training and not return_outputs:
            sums = torch.stack([loss.detach() * tokens, tokens]).double()
            self._eval_sums = sums if self._eval_sums is None else self._eval_sums + sums
        return loss

    def _loss_on_cpu(self, model, inputs, count):
        """TRL's loss with one plain matrix product over the positions that are trained.

        TRL scores every position in tiles made for a GPU, which costs a third of a step on a CPU. Same value (tested).
        """
        labels = inputs["labels"][:, 1:]
        positions = (labels != IGNORED).any(0).nonzero().squeeze(1)
        arguments = {name: value for name, value in inputs.items() if name != "labels"}
        logits = model(**arguments, use_cache=False, logits_to_keep=positions).logits
        labels = labels[:, positions]
        total = cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        loss = total / torch.as_tensor(count).clamp(min=1)
        if self.model.training and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # `count` is of all ranks, and DDP averages over them
        return loss

    def evaluate(self, *args, **kwargs):
        self._eval_sums = None
        if self.progress:
            self.progress.events.write("evaluating")
        metrics = super().evaluate(*args, **kwargs)
        if self.progress:
            self.progress.events.write("training")
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Put the mean over all held-out tokens in place of the mean of batches, which weighs short rows more."""
        if "eval_loss" in logs and self._eval_sums is not None:
            total, tokens = self.accelerator.reduce(self._eval_sums.to(self.accelerator.device), "sum").tolist()
            logs["eval_loss"] = total / max(tokens, 1)
        super().log(logs, start_time)
