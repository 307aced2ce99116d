"""The stages of a run: text first when there is some, then the conversations; and how far each has come.

Stage 1 of two takes `text_epochs` passes over the text; `num_train_epochs` and `max_steps` belong to the conversations. Each
stage has its own checkpoints, learning-rate schedule and step count; the adapter is the same.
"""

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import read_object
from common.language import _
from data.intake import Data, load_data, load_text
from runs.checkpoints import MAX_KEPT, clean, discard_after, last_checkpoint, step_of, whole_steps
from runs.config import TrainConfig
from runs.evaluations import STATE, Evaluations, evaluations_of, is_patience_over
from runs.events import Answer, TestLoss
from runs.failures import Failure, explain
from runs.forecast.plan import evaluated_rows, packed_rows, plan_steps
from runs.run import CONVERSATIONS, TEXT, Run
from runs.state import state_of
from trainer.pace import StageWork
from trainer.ranks import common, wait_for_everyone, world_size


@dataclass
class Stage:
    """One training: its place among the stages (from 1), its data, its settings, and where its checkpoints lie."""

    number: int
    stages: int
    name: str
    data: Data
    config: TrainConfig
    folder: Path
    held_out_total: int = 0  # rows held out, of which the evaluations of a short run use some

    @property
    def is_last(self) -> bool:
        """Whether the run ends with this stage."""
        return self.number == self.stages

    def checkpoint(self) -> Path | None:
        """Return the newest whole checkpoint, None without one."""
        return last_checkpoint(self.folder)

    def step(self) -> int:
        """Return the step of the newest checkpoint; 0 without one."""
        checkpoint = self.checkpoint()
        return step_of(checkpoint) if checkpoint else 0

    @property
    def needs_evaluations(self) -> bool:
        """Whether the held-out rows decide which step is kept, or when the stage ends."""
        return self.config.needs_evaluations and len(self.data.held_out.rows) > 0

    def is_finished(self, owed: Evaluations | None = None) -> bool:
        """Return whether the newest checkpoint is of the last step, or of an evaluation at which the patience was over.

        `owed`: an evaluation that the checkpoint does not know of.
        """
        checkpoint = self.checkpoint()
        state = read_object(checkpoint / STATE) if checkpoint else {}
        if not checkpoint or not state:
            return False
        evaluations = evaluations_of(checkpoint) | (owed or {})
        is_over = is_patience_over(evaluations, self.config.early_stopping_patience)
        return is_over or state["global_step"] >= state["max_steps"]


def plan(config: TrainConfig, run: Run, tokenizer) -> list[Stage]:
    """Return the stages of a run with their encoded rows. Raises Failure when rows cannot be used."""
    try:
        text = load_text(config.data_settings(), run.folder, tokenizer) if config.text_data else None
        conversations = load_data(config.data_settings(), run.folder, tokenizer)
    except UserError as error:
        known = explain(error)
        raise Failure("data_format" if known.code == "settings" else known.code, error.message, error.hint) from error
    last = Stage(1, 1, CONVERSATIONS, conversations, config, run.checkpoints_folder)
    if config.needs_evaluations and not last.needs_evaluations:
        words = _("keep: best and early_stopping_patience need held-out examples, and none of these rows is held out.")
        raise Failure("settings", words, _("Give more rows, a larger eval_fraction, or a file as eval_data."))
    stages = [last]
    if text is not None:
        passes = replace(config, num_train_epochs=config.text_epochs, max_steps=0)
        first = Stage(1, 2, TEXT, text, passes, run.checkpoints_folder / TEXT)
        stages = [first, replace(last, number=2, stages=2)]
    for stage in stages:
        _thin(stage)
    return stages


def _thin(stage: Stage) -> None:
    """Leave as many held-out rows, drawn by the seed, as each evaluation of this stage uses, and say so.

    All evaluations of a stage, those of a resume too, use the same ones: their losses are comparable.
    """
    held_out, config = stage.data.held_out, replace(stage.config, num_processes=world_size())
    count, used = len(held_out.rows), evaluated_rows(config, len(stage.data.train.rows), len(held_out.rows))
    stage.held_out_total = count
    if used == count:
        return
    rows: Any = held_out.rows  # a datasets.Dataset
    chosen = rows.select(sorted(random.Random(config.seed).sample(range(count), used)))
    stage.data.held_out = replace(held_out, rows=chosen, count=used, tokens=sum(map(len, chosen["input_ids"])))
    words = _(
        "This run is short: each evaluation uses the same {used} of the {count} held-out examples.",
        used=used,
        count=count,
    )
    stage.data.notes.append(words)


def work_of(stage: Stage, has_answers: bool, test_tokens: int = 0) -> StageWork:
    """Return how much work a stage is; `has_answers` says that prompts are answered, `test_tokens` are of all test sets."""
    config, train, held_out = replace(stage.config, num_processes=world_size()), stage.data.train, stage.data.held_out
    rows = packed_rows(train.tokens, config.max_length) if config.packing else len(train.rows)
    steps = plan_steps(config, rows)
    return StageWork(
        steps=steps.total_steps,
        step_tokens=train.tokens / steps.steps_per_epoch,
        looks_every=config.eval_steps or steps.steps_per_epoch,
        held_out_rows=len(held_out.rows),
        held_out_tokens=held_out.tokens,
        has_answers=has_answers,
        saves_every=config.save_steps,
        test_tokens=test_tokens,
    )


def stages_finished(stages: list[Stage]) -> int:
    """Count the stages that need no more training: finished, or followed by one that has a checkpoint."""
    count = 0
    while count < len(stages) - 1 and (stages[count].is_finished() or stages[count + 1].checkpoint()):
        count += 1
    return count


def clean_up(stages: list[Stage], writes: bool) -> None:
    """Remove what a killed process left half-written in any stage, and what only some machines have; all ranks must call it.

    A connection that breaks while a checkpoint is published leaves it on one machine only: all go on from the one before it.
    """
    for stage in stages:
        if writes:
            clean(stage.folder)
        wait_for_everyone()
        shared = common(whole_steps(stage.folder), MAX_KEPT)
        wait_for_everyone()
        if writes:
            discard_after(stage.folder, shared[0] if shared else -1)
    wait_for_everyone()


@dataclass
class History:
    """The values in the events of one stage, by step, without the steps that are trained again."""

    has_begun: bool
    eval_losses: dict[int, float]
    tested: dict[int, dict[str, TestLoss]]
    samples: dict[int, list[Answer]]


def history(run: Run, number: int) -> History:
    """Return the history of stage `number` (from 1)."""
    series = state_of(run.events_file).series_of(number)
    curves = [dict(series[name]) for name in ("eval_losses", "tested", "samples")]
    return History(any(series.values()), *curves)
