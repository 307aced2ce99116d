"""The loss on the test sets of a run while it learns: what it forgets, on general text.

They change nothing: no random number is drawn, and the model is put back as it was. All processes take part, so that it is right
where the weights are split, too.
"""

from contextlib import nullcontext
from operator import itemgetter
from typing import cast

from datasets import Dataset
from peft import PeftModel

from common.language import n_
from data.conversations import Conversation
from data.dataset import Encoder, TokenRow, in_pieces, is_trained
from data.test_sets import Item
from models.messages import check_messages
from models.prompt import encode_text
from models.templates import training_template
from runs.config import TrainConfig
from runs.events import TestLoss
from runs.forecast.plan import MAX_TEST_TOKENS, tokens_a_test_set
from runs.run import EventLog, Run
from runs.test_sets import read_sample
from trainer.progress import AtEvaluations, EvaluationStopped, ProgressCallback
from trainer.ranks import max_over_ranks, world_size
from trainer.row_order import filled_up
from trainer.stages import Stage, work_of
from trainer.studio_trainer import StudioTrainer

PIECE_TOKENS, MIN_PIECES = 256, 8  # of a text: many pieces of many texts say more than a few long ones


def load_test_sets(
    run: Run, config: TrainConfig, tokenizer, stages: list[Stage], events: EventLog
) -> dict[str, Dataset]:
    """Return the rows of each test set that the run has a sample of; a note says where a short run uses fewer tokens of them."""
    sizes = [work_of(stage, has_answers=False) for stage in stages]
    trained = sum(size.steps * size.step_tokens for size in sizes)
    most = tokens_a_test_set(len(config.tested()), trained, sum(size.looks + 1 for size in sizes))
    found = {}
    for name in config.tested():
        items = read_sample(run.data_folder, name)
        if rows := token_rows(items, tokenizer, config.max_length, most):
            found[name] = Dataset.from_list([dict(row) for row in rows])
    if found and most < MAX_TEST_TOKENS:
        words = n_(
            "This run is short: each evaluation uses {tokens:,} tokens of its test set.",
            "This run is short: each evaluation uses {tokens:,} tokens of each of its {count} test sets.",
            len(found),
            tokens=most,
        )
        events.write("note", message=words)
    return found


def token_rows(items: list[Item], tokenizer, max_length: int, most: int) -> list[TokenRow]:
    """Return items of a test set as rows of tokens, at most `most` tokens together.

    Texts are cut into pieces, and the first pieces of all texts come first. Of a conversation the answer alone counts; one of
    more than `max_length` tokens is left out.
    """
    piece_tokens = min(PIECE_TOKENS, max_length, most // MIN_PIECES)
    rows: list[tuple[int, TokenRow]] = []
    for item in items:
        if "text" in item:
            pieces = in_pieces(encode_text(item["text"], tokenizer), piece_tokens)
        else:
            asked = [{**message, "trained": False} for message in check_messages(item["messages"])]
            said = {"messages": [*asked, {"role": "assistant", "content": item["answer"]}]}
            pieces = Encoder(tokenizer, training_template(tokenizer), max_length).encode(cast(Conversation, said))
        rows += [
            (place, row) for place, row in enumerate(pieces) if len(row["input_ids"]) <= max_length and is_trained(row)
        ]
    found, tokens = [], 0
    for __, row in sorted(rows, key=itemgetter(0)):
        if tokens + len(row["input_ids"]) <= most:
            found.append(row)
            tokens += len(row["input_ids"])
    return found


class TestLosses(AtEvaluations):
    """Writes a `tested` event after every evaluation: the loss per token on each test set; at step 0 that of the base.

    One for all stages of a run; `begin_stage` starts the next.
    """

    __test__ = False  # to pytest

    def __init__(self, samples: dict[str, Dataset], progress: ProgressCallback, eval_steps: int) -> None:
        super().__init__(progress, eval_steps)
        self.samples = samples
        self.tokens = sum(len(ids) for rows in samples.values() for ids in rows["input_ids"])
        self.trainer: StudioTrainer | None = None
        self.is_first_stage = True

    def begin_stage(self, trainer: StudioTrainer, is_first: bool) -> None:
        """Measure with this trainer from now on."""
        self.trainer, self.is_first_stage = trainer, is_first
        batch = world_size() * trainer.args.per_device_eval_batch_size
        if world_size() > 1:
            self.samples = {name: filled_up(rows, batch) for name, rows in self.samples.items()}
        trainer.add_callback(self)

    def look(self, model, step: int) -> None:
        """Write a `tested` event for the model as it is now, unless a stop leaves no time for it.

        It is the last look at a step. A later stage begins with what the one before has learned, which is measured.
        """
        progress = self.progress
        (is_late,) = max_over_ranks(not progress.has_time_to_evaluate(self.tokens))
        if self.samples and not is_late and (step > 0 or self.is_first_stage):
            progress.begin_tests(sum(map(len, self.samples.values())))
            tested = self._measure(model, step)
            progress.end_tests(is_whole=bool(tested))
            if tested:
                progress.events.write("tested", step=step, tested=tested)
        progress.looked(step)

    def _measure(self, model, step: int) -> dict[str, TestLoss]:
        """Return the losses; {} when a stop cut them short.

        At step 0 a new adapter changes nothing, or is off already (`StudioTrainer.evaluate_step_0`); one that is continued is
        switched off. Weights of the base itself are still the base's.
        """
        assert self.trainer
        is_off = step == 0 and isinstance(model, PeftModel) and not self.trainer.has_new_adapter
        try:
            with model.disable_adapter() if is_off else nullcontext():
                return {name: self.trainer.loss_on(rows) for name, rows in self.samples.items()}
        except EvaluationStopped:
            return {}
