"""TRL's trainer as this app runs it: a lean loss, the held-out loss per token, whole checkpoints, one stage after another.

How it is set up is in `trainer/process/recipe.py`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from trl import SFTTrainer

from trainer.process import row_attention
from trainer.process.checkpoints import discard_writing, publish_checkpoint, writing_folder
from trainer.process.loss_head import COUNTED
from trainer.process.row_order import LengthGroups
from trainer.process.watchdog import LossWatch
from trainer.progress import EvaluationStopped, ProgressCallback


class StudioTrainer(SFTTrainer):
    """SFTTrainer that waits for no GPU within a step, reports the held-out loss per token, and never leaves half a
    checkpoint.
    """

    model: Any  # transformers' or PEFT's, with adapters
    train_dataset: Any  # a datasets.Dataset
    progress: ProgressCallback | None = None
    loss_watch: LossWatch | None = None
    has_new_adapter = False  # it adds nothing yet: with it switched off, the model is that of step 0, at any step
    first_look: Callable[[], object] | None = None  # what is still to be seen of step 0
    _eval_sums: torch.Tensor | None = None  # (sum of losses, number of tokens) of the evaluation under way

    def _get_train_sampler(self, train_dataset: Any = None):
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGroups(self.train_dataset if train_dataset is None else train_dataset, batch, self.args.seed)

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        if self.loss_watch:
            self.loss_watch.add(loss)
        return loss

    def _get_grad_norm(self, model, grad_norm=None):
        grad_norm = super()._get_grad_norm(model, grad_norm)
        if self.loss_watch:
            self.loss_watch.grad_norm = grad_norm
        return grad_norm

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """TRL's loss without waiting for the GPU (see `loss_head`); engines that split the head's weight take TRL's own way."""
        token_count, places, targets = (inputs.pop(name) for name in COUNTED)
        if self.model.training and self.progress:
            self.progress.count_tokens(token_count)
        if return_outputs or self.is_deepspeed_enabled or self.is_fsdp_enabled:
            loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        else:
            loss = self._lean_loss(model, inputs, places, targets, num_items_in_batch)
        if not self.model.training and not return_outputs:
            count = len(targets)  # 0 in rows that only fill up the batch of a process
            total = loss.detach().double() * count if count else torch.zeros_like(loss, dtype=torch.double)
            sums = torch.stack([total, torch.full_like(total, count)])
            self._eval_sums = sums if self._eval_sums is None else self._eval_sums + sums
        return loss

    def _lean_loss(self, model, inputs, places, targets, count):
        """Padding is on the right, where no real token looks: causal attention alone is exact, and needs no mask."""
        arguments = {name: value for name, value in inputs.items() if name not in ("labels", "attention_mask")}
        with row_attention.without_masks(self.model):
            total = model(**arguments, places=places, targets=targets)
        loss = total / torch.as_tensor(len(targets) if count is None else count).clamp(min=1)
        if self.model.training and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # `count` is of all ranks, and DDP averages over them
        return loss

    def evaluate(self, *args, **kwargs):
        """The held-out loss; {} when a stop cut it short. Draws no random number: a training goes on as if nobody had looked."""
        self._eval_sums = None
        if self.progress:
            self.progress.events.write("evaluating")
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices):
            try:
                metrics = super().evaluate(*args, **kwargs)
            except EvaluationStopped:
                metrics = {}
        if not self.is_in_train:
            self._forget_preparation()
        if self.progress:
            self.progress.events.write("training")
        return metrics

    def _forget_preparation(self) -> None:
        """accelerate marks a model that was evaluated as prepared, and `train` would then not wrap it for several processes:
        each would train for itself.
        """
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        self.model._is_accelerate_prepared = False

    def create_model_card(self, *args, **kwargs) -> None:
        """No draft of a card in every checkpoint: the card is written from the metrics when an adapter is pushed."""

    def _save_checkpoint(self, model, trial) -> None:
        """Written aside, then published whole. A write that fails (a full disk) leaves the older checkpoints as they are."""
        assert self.args.output_dir  # `recipe` sets it
        folder = Path(self.args.output_dir)
        if self.progress:
            self.progress.events.write("saving", message="Writing a checkpoint")
        self.args.output_dir = str(writing_folder(folder))
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()  # each rank writes its own random state
            if self.args.should_save:  # rank 0; without a shared disk the first process of each machine
                publish_checkpoint(folder, self.state.global_step)
        except BaseException:
            if self.args.should_save:  # the others' writer may be in the middle of it
                discard_writing(folder)  # frees the disk for the last event
            raise
        finally:
            self.args.output_dir = str(folder)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Put the mean over all held-out tokens in place of the mean of batches, which weighs short rows more."""
        if "eval_loss" in logs and self._eval_sums is not None:
            total, tokens = self.accelerator.reduce(self._eval_sums.to(self.accelerator.device), "sum").tolist()
            logs["eval_loss"] = total / max(tokens, 1)
        super().log(logs, start_time)
        if "loss" in logs and not (self.progress and self.progress.was_stopped):
            self.look_back()

    def look_back(self) -> None:
        """The look at step 0 that is still to come, as if it were taken then. The first loss need not wait for it."""
        first_look, self.first_look = self.first_look, None
        if first_look is None:
            return
        step, self.state.global_step = self.state.global_step, 0
        try:
            with self.model.disable_adapter():
                first_look()
        finally:
            self.state.global_step = step


def release(trainer: StudioTrainer):
    """The trained model, freed of its trainer, so that the next stage's trainer can take it."""
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_fp32_wrapper=False)
    trainer.model_wrapped = trainer.optimizer = trainer.lr_scheduler = None
    trainer.accelerator.free_memory()
    model._is_accelerate_prepared = False
    return model
