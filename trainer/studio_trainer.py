"""TRL's trainer as this app runs it: a lean loss, the held-out loss per token, whole checkpoints, one stage after another.

`trainer/recipe.py` sets it up.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft.optimizers import create_loraplus_optimizer
from trl import SFTTrainer

from runs.checkpoints import KEPT, discard_writing, publish_checkpoint, writing_folder
from runs.evaluations import best_step, evaluations_in
from runs.events import TestLoss
from trainer.patches import row_attention
from trainer.patches.loss_head import COUNTED
from trainer.patches.prepared import forget_preparation
from trainer.progress import EvaluationStopped, ProgressCallback
from trainer.row_order import LengthGroups
from trainer.watchdog import LossWatch


class StudioTrainer(SFTTrainer):
    """SFTTrainer that waits for no GPU within a step, reports the held-out loss per token, and leaves no half checkpoint."""

    model: Any  # transformers' or PEFT's, with adapters
    train_dataset: Any  # a datasets.Dataset
    progress: ProgressCallback | None = None
    loss_watch: LossWatch | None = None
    lora_plus_ratio = 1.0
    keeps_best = False  # the checkpoint of the best evaluation is not removed
    checkpoints_kept = KEPT
    has_new_adapter = False  # with it switched off the model is that of step 0, at any step
    first_evaluation: Callable[[], object] | None = None  # of step 0, where it is still to come
    _eval_sums: torch.Tensor | None = None  # (sum of losses, number of tokens) of the evaluation under way

    def _get_train_sampler(self, train_dataset: Any = None):
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGroups(self.train_dataset if train_dataset is None else train_dataset, batch, self.args.seed)

    def create_optimizer(self, model=None):
        """Create transformers' optimizer, or PEFT's for LoRA+ (arXiv 2402.12354), whose B matrices learn faster."""
        if self.lora_plus_ratio > 1 and self.optimizer is None:
            kind, settings = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            settings |= {"loraplus_lr_ratio": self.lora_plus_ratio, "loraplus_weight_decay": self.args.weight_decay}
            self.optimizer = create_loraplus_optimizer(self.model, kind, **settings)
        return super().create_optimizer(model)

    def training_step(self, *args, **kwargs):
        """Train on one batch as TRL does, and hand its loss to the watchdog."""
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
        """Compute TRL's loss without waiting for the GPU (see `loss_head`), or as TRL does where an engine splits weights."""
        token_count, places, targets = (inputs.pop(name) for name in COUNTED)
        if self.model.training and self.progress:
            self.progress.count_tokens(token_count)
        if return_outputs or self.is_deepspeed_enabled or self.is_fsdp_enabled:
            loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        else:
            # padding is on the right, where no real token looks: causal attention alone is exact, and needs no mask
            arguments = {name: value for name, value in inputs.items() if name not in ("labels", "attention_mask")}
            with row_attention.without_masks(self.model):
                total = model(**arguments, places=places, targets=targets)
            count = len(targets) if num_items_in_batch is None else num_items_in_batch
            loss = total / torch.as_tensor(count).clamp(min=1)
            if self.model.training and self.args.average_tokens_across_devices:
                loss = loss * self.accelerator.num_processes  # `count` is of all ranks, and DDP averages over them
        if not self.model.training and not return_outputs:
            count = len(targets)  # 0 in rows that only fill up the batch of a process
            total = loss.detach().double() * count if count else torch.zeros_like(loss, dtype=torch.double)
            sums = torch.stack([total, torch.full_like(total, count)])
            self._eval_sums = sums if self._eval_sums is None else self._eval_sums + sums
        return loss

    def evaluate(self, *args, **kwargs):
        """Return the held-out loss; {} when a stop cut it short. Leaves the random state of the training as it was."""
        self._eval_sums = None
        if self.progress:
            self.progress.begin_evaluation()
        with self._aside():
            try:
                metrics = super().evaluate(*args, **kwargs)
            except EvaluationStopped:
                metrics = {}
        if self.progress:
            self.progress.looked(self.state.global_step)
            self.progress.events.write("training")
        return metrics

    def loss_on(self, rows: Any) -> TestLoss:
        """Return the loss on a data set of other rows than the held-out ones; a stop raises EvaluationStopped.

        Leaves the random state of the training as it was. All ranks must call it.
        """
        self._eval_sums = None
        with self._aside():
            self.evaluation_loop(self.get_eval_dataloader(rows), "test set", prediction_loss_only=True)
        total, tokens = self._evaluated()
        return {"loss": total / max(tokens, 1), "tokens": round(tokens)}

    @contextmanager
    def _aside(self) -> Generator[None]:
        """Evaluate in here: the random state stays that of the training, and the model may be trained afterwards."""
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices):
            yield
        if not self.is_in_train:
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            forget_preparation(self.model)

    def _evaluated(self) -> tuple[float, float]:
        """Return (sum of losses, number of tokens) of the last evaluation, over all ranks."""
        assert self._eval_sums is not None
        total, tokens = self.accelerator.reduce(self._eval_sums.to(self.accelerator.device), "sum").tolist()
        return total, tokens

    def create_model_card(self, *args, **kwargs) -> None:
        """Do nothing: the card is made from the metrics when an adapter is pushed."""

    def _save_checkpoint(self, model, trial) -> None:
        """Write a checkpoint aside, then publish it whole. A write that fails leaves the older checkpoints as they are."""
        assert self.args.output_dir  # `recipe` sets it
        folder = Path(self.args.output_dir)
        if self.progress:
            self.progress.begin_save()
        self.args.output_dir = str(writing_folder(folder))
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()  # each rank writes its own random state
            if self.args.should_save:  # rank 0; without a shared disk the first process of each machine
                best = best_step(evaluations_in(self.state.log_history)) if self.keeps_best else None
                publish_checkpoint(folder, self.state.global_step, best, self.checkpoints_kept)
        except BaseException:
            if self.args.should_save:  # the others' writer may be in the middle of it
                discard_writing(folder)  # frees the disk for the last event
            raise
        finally:
            self.args.output_dir = str(folder)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the mean over all held-out tokens in place of the mean of batches, which weighs short rows more."""
        if "eval_loss" in logs and self._eval_sums is not None:
            total, tokens = self._evaluated()
            logs["eval_loss"] = total / max(tokens, 1)
        super().log(logs, start_time)
        if "loss" in logs and not (self.progress and self.progress.was_stopped):
            self.evaluate_step_0()

    def evaluate_step_0(self) -> None:
        """Run the pending evaluation of step 0 with the new adapter switched off, so that the first loss need not wait for it."""
        evaluation, self.first_evaluation = self.first_evaluation, None
        if evaluation is None:
            return
        step, self.state.global_step = self.state.global_step, 0
        is_last = self.control.should_training_stop
        is_due = self.control.should_evaluate  # an evaluation at this step, too, which transformers takes for done then
        try:
            with self.model.disable_adapter():
                evaluation()
        finally:
            self.state.global_step = step
        if self.progress:
            self.progress.stop_if_asked(self.state, self.control, self.model)
        self.control.should_evaluate = is_due and (is_last or not self.control.should_training_stop)


def release(trainer: StudioTrainer):
    """Free the trained model of its trainer, and return it for the trainer of the next stage."""
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_fp32_wrapper=False)
    trainer.model_wrapped = trainer.optimizer = trainer.lr_scheduler = None
    trainer.accelerator.free_memory()
    forget_preparation(model)
    return model
