"""TRL's trainer as this app runs it: the loss on a CPU, the held-out loss per token, whole checkpoints, one stage after another.

How it is set up is in `trainer/process/recipe.py`.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from trl import SFTTrainer

from trainer.data.dataset import IGNORED
from trainer.process.checkpoints import discard_writing, publish_checkpoint, writing_folder
from trainer.process.watchdog import LossWatch
from trainer.progress import EvaluationStopped, ProgressCallback


class StudioTrainer(SFTTrainer):
    """SFTTrainer that scores only trained positions on a CPU, reports the held-out loss per token, and never leaves half a
    checkpoint.
    """

    progress: ProgressCallback | None = None
    loss_watch: LossWatch | None = None
    has_new_adapter = False  # it adds nothing yet: with it switched off, the model is that of step 0, at any step
    first_look: Callable[[], object] | None = None  # what is still to be seen of step 0
    _eval_sums: torch.Tensor | None = None  # (sum of losses, number of tokens) of the evaluation under way

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
