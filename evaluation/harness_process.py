"""The process of lm-eval's harness: python -m evaluation.harness_process REQUEST.json ANSWER.json, see `common.child.ask_child`.

Base and adapter are loaded as the chat loads them (safetensors, no remote code) and given to lm-eval's HFLM. Tasks that run
code are refused by lm-eval itself.
"""

import hashlib
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from numbers import Real
from pathlib import Path
from time import time
from typing import Any

from adapters.evaluated import Evaluated, keep_evaluated
from adapters.library import Adapter, read_adapter
from chat.resident import Model, Resident
from common.child import Tell, answer_parent, with_time_left
from common.errors import UserError
from common.files import write_json
from common.language import Sentence, _
from evaluation.adapter_scores import measured
from evaluation.config import BASE
from evaluation.harness import FILE, PREFIX, Asked
from evaluation.scores import SCORES, Score
from evaluation.table import PartsOfAll, compute_lines
from models.base import choose_base, fetch_base
from runs.publish import versions
from runs.queue import accelerator

ROWS = 16  # of a batch
MAX_TASKS = 12  # whose scores stand with the adapter
OWN = "adapter"
KEPT = ("results", "groups", "group_subtasks", "versions", "n-shot", "n-samples", "higher_is_better", "lm_eval_version")

Found = dict[str, Any]  # what lm-eval's simple_evaluate returns: its EvalResults


def main(arguments: list[str]) -> int:
    """Answer the request of `evaluation.harness.measure`: keep what lm-eval found in the adapter's folder."""
    return answer_parent(arguments, _work)


def _work(request: dict[str, Any], tell: Tell) -> None:
    adapter = read_adapter(Path(request.pop("adapter")))
    waiting = _("Waiting for the end of another training or evaluation on this machine")
    with accelerator(lambda: tell(waiting, None)):
        measure_tasks(adapter, Asked(**request), tell)


def measure_tasks(adapter: Adapter, asked: Asked, tell: Tell) -> None:
    """Ask base and adapter, and keep scores and lm-eval.json in the adapter's folder. Raises UserError."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from lm_eval.utils import handle_non_serializable

    tell(_("Reading the list of lm-eval's tasks"), None)
    tasks = TaskManager(include_path=asked.task_folder or None)
    for name in asked.tasks:
        if not tasks.match_tasks([name]):
            raise UserError(_("lm-eval has no task '{name}'.", name=name[:100]), _("`lm-eval ls tasks` lists them."))
    base_folder = fetch_base(choose_base(adapter.base_choice, adapter.base_revision), tell)
    resident, found, tell = Resident(most_adapters=1), {}, with_time_left(tell)
    for candidate, title, folder in ((BASE, _("the base"), None), (OWN, adapter.title, adapter.folder)):
        tell(_("lm-eval asks {candidate}", candidate=title), len(found) / 2)
        model = Model(base_folder, asked.precision, folder)
        resident.load(model)
        harness = HFLM(
            pretrained=resident.network,
            backend="causal",
            tokenizer=resident.format_of(model).tokenizer,
            batch_size=ROWS,
            add_bos_token=False if asked.is_chat else None,  # the template writes its own
        )
        try:
            results = simple_evaluate(
                harness,
                tasks=asked.tasks,
                task_manager=tasks,
                num_fewshot=asked.shots,
                limit=asked.limit or None,
                apply_chat_template=asked.is_chat,
                bootstrap_iters=0,
                log_samples=True,
                confirm_run_unsafe_code=False,
            )
        except Exception as error:  # tasks raise whatever they like, and lm-eval a ValueError for one that runs code
            reason = f"{type(error).__name__}: {error}"[:300]
            words = _("lm-eval cannot ask this: {reason}", reason=reason)
            raise UserError(words, _("Tasks that run code are refused here; data sets come from the Hub.")) from error
        found[candidate] = json.loads(json.dumps(results, default=handle_non_serializable))
    write_json(
        adapter.folder / FILE, {"asked": asdict(asked), "found": {name: _kept(one) for name, one in found.items()}}
    )
    evaluated = [evaluated_of(task, found, asked) for task in top_tasks(found[BASE])[:MAX_TASKS]]
    keep_evaluated(adapter, [one for one in evaluated if one.scores])


def _kept(found: Found) -> Found:
    """Return what is kept of lm-eval's results: its numbers, and of each question what it measured, no texts."""
    samples = {
        task: [{name: one[name] for name in ("doc_id", "doc_hash", "filter", *one["metrics"])} for one in asked]
        for task, asked in found["samples"].items()
    }
    return {name: found[name] for name in KEPT if name in found} | {"samples": samples}


def top_tasks(found: Found) -> list[str]:
    """Return the tasks and groups that are part of no group."""
    groups = found["group_subtasks"]
    parts = {part for names in groups.values() for part in names}
    return [name for name in dict.fromkeys([*groups, *found["samples"]]) if name not in parts]


def evaluated_of(task: str, found: dict[str, Found], asked: Asked) -> Evaluated:
    """Return the scores of a task or group, in which base and adapter are paired question by question.

    Of lm-eval's metrics those that are shares: from 0 to 1 for each question, their mean lm-eval's own number.
    """
    base, name = found[BASE], f"{PREFIX}{task}"
    scores: list[Score] = []
    parts: dict[str, PartsOfAll] = {}
    for key in _results(base, task):
        metric, _comma, filter = key.partition(",")
        values = {candidate: _shares(one, task, key) for candidate, one in found.items()}
        if not all(values.values()):
            continue
        title = metric if filter == "none" else f"{metric} ({filter})"
        higher = base["higher_is_better"].get(task, {}).get(metric)
        scores.append(replace(SCORES["exact"], name=title, title=Sentence(title), higher_is_better=higher))
        parts[title] = {one: {place: (value, 1.0) for place, value in enumerate(own)} for one, own in values.items()}
    lines = {(line.score, line.candidate): line for line in compute_lines(name, scores, parts, 0, {})}
    of_both = (measured(score, lines[score.name, OWN], lines[score.name, BASE]) for score in scores)
    how = ["lm-eval", *([f"{base['n-shot'][task]}-shot"] if task in base["n-shot"] else [])]
    how += ["chat template"] if asked.is_chat else []
    hashes = [one["doc_hash"] + one["target_hash"] for one in _samples(base, task)]
    made_with = {"lm-eval": str(base["lm_eval_version"]), task: str(base["versions"].get(task, ""))}
    return Evaluated(
        kind="own" if asked.task_folder else "lm-eval",
        name=name,
        title=f"{task} ({', '.join(how)})",
        fingerprint=hashlib.sha256("".join(hashes).encode()).hexdigest(),
        time=time(),
        versions=made_with | versions(),
        scores=tuple(one for one in of_both if one),
    )


def _results(found: Found, task: str) -> dict[str, Any]:
    """Return lm-eval's numbers of a task or group, by 'metric,filter'."""
    return found["results"].get(task) or found.get("groups", {}).get(task, {})


def _samples(found: Found, task: str) -> Iterator[Found]:
    """Yield what lm-eval kept of each question of a task, or of all tasks of a group."""
    yield from found["samples"].get(task, [])
    for part in found["group_subtasks"].get(task, []):
        yield from _samples(found, part)


def _shares(found: Found, task: str, key: str) -> list[float]:
    """Return a metric of each question; [] where these are not all from 0 to 1, or their mean is not lm-eval's own number."""
    metric, _comma, filter = key.partition(",")
    values = [one[metric] for one in _samples(found, task) if one["filter"] == filter and metric in one]
    if not values or not all(isinstance(value, Real) and 0 <= value <= 1 for value in values):
        return []
    return values if math.isclose(sum(values) / len(values), _results(found, task)[key], abs_tol=1e-6) else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
