"""The numbers of a model card as the Hub reads them: the `model-index` of its front matter, reported by us."""

import math
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from adapters.evaluated import Evaluated, is_stated
from adapters.library import Adapter
from common.language import english

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

MAX_LOSS = 50  # of which a perplexity is told
METRICS = {"exact": "exact_match", "label_accuracy": "accuracy", "choice_accuracy": "accuracy"}  # as the Hub calls them
METRICS |= {"macro_f1": "f1", "token_f1": "f1", "rouge_l": "rouge"}
DATASETS = {
    "bundled": "tinyllama-studio",
    "lm-eval": "lm-eval",
}  # of test sets that are not on the Hub as they are asked


def results_of(adapter: Adapter, datasets: Collection[str], measured: Sequence[Evaluated]) -> "list[EvalResult]":
    """Return the held-out numbers of the training and the scores of evaluations; what others only stated is left out.

    `datasets` are the public ones of the training.
    """
    is_one_public = len(adapter.data_sets()) == len(datasets) == 1
    place = next(iter(datasets)) if is_one_public else "private"
    return [*_of_training(adapter, place), *([] if is_stated(adapter) else _of_evaluations(measured))]


def _of_training(adapter: Adapter, place: str) -> "Iterator[EvalResult]":
    from huggingface_hub import EvalResult

    loss, rows = adapter.loss_after, adapter.metrics.get("held_out_rows")
    if loss is None:
        return
    for kind, value in (("perplexity", math.exp(min(loss, MAX_LOSS))), ("loss", loss)):
        yield EvalResult(
            task_type="text-generation",
            dataset_type=place,
            dataset_name="held-out split",
            dataset_split="validation",
            metric_type=kind,
            metric_value=round(value, 4),
            metric_name=f"Eval {kind}",
            metric_args={"n": rows} if isinstance(rows, int) else None,
        )


def _of_evaluations(measured: Sequence[Evaluated]) -> "Iterator[EvalResult]":
    """Yield each score with its 95 % interval and n, and the commit of its test set, else the SHA-256 of that."""
    from huggingface_hub import EvalResult

    for one in measured:
        for score in one.scores:
            low, high = round(score.adapter.low, 4), round(score.adapter.high, 4)
            yield EvalResult(
                task_type="text-generation",
                dataset_type=one.dataset or DATASETS.get(one.kind, "private"),
                dataset_name=english(one.words()),
                dataset_revision=one.revision or one.fingerprint,
                dataset_args={"sha256": one.fingerprint},
                metric_type=METRICS.get(score.name, score.name),
                metric_value=round(score.adapter.value, 4),
                metric_name=score.title,
                metric_args={"n": score.adapter.n, "low": low, "high": high, "confidence": 0.95},
            )
