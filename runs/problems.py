"""What is wrong with the settings of a run: everything at once, each with its field. Light: no torch."""

from dataclasses import fields
from typing import TYPE_CHECKING

from adapters.forgotten import MAX_TEST_SETS
from common.errors import UserError
from common.language import _, joined
from common.mix import data_sets, mix_problem
from common.paths import as_title, is_name
from data.settings import EXAMPLE
from models.precision import QUANTISED
from runs.fields import Problem, is_mapping, short, value_problem
from runs.machines.parallel import parallel_problems
from runs.machines.user_config import with_user_config
from runs.trackers.names import tracker_problem, trackers_in

if TYPE_CHECKING:  # it asks this module for its problems
    from runs.config import TrainConfig

MAX_PROMPTS = 3


def problems_of(config: "TrainConfig") -> list[Problem]:
    """List everything that would make a run with `config` fail or mean nothing; [] when it can start."""
    wrong = [(item.name, value_problem(item, getattr(config, item.name))) for item in fields(config)]
    found = [Problem(name, message) for name, message in wrong if message]
    if not as_title(config.name) and "name" not in [problem.field for problem in found]:
        found.append(Problem("name", _("Enter a name.")))
    found += _data_problems(config)
    found += [] if config.makes_adapter else _whole_weight_problems(config)
    if not config.max_steps and not config.num_train_epochs > 0:
        found.append(Problem("num_train_epochs", _("Set a number of epochs or of steps.")))
    has_held_out = config.eval_data or config.eval_split or config.eval_fraction > 0 or config.data == EXAMPLE
    if config.needs_evaluations and not has_held_out:
        name = "early_stopping_patience" if config.early_stopping_patience else "keep"
        found.append(
            Problem(name, _("This needs held-out examples: choose some, or set the held-out fraction above 0."))
        )
    if len(config.prompts()) > MAX_PROMPTS:
        words = _("{count} prompts; at most {limit} are allowed.", count=len(config.prompts()), limit=MAX_PROMPTS)
        found.append(Problem("sample_prompts", words))
    found += _test_set_problems(config.tested())
    wrong_trackers = [problem for name in trackers_in(config.report_to) if (problem := tracker_problem(name))]
    found += [Problem("report_to", problem) for problem in wrong_trackers[:1]]
    if not is_mapping(config.columns):
        example = '{"prompt": "question", "completion": "answer"}'
        found.append(Problem("columns", _("Write a JSON object such as {example}.", example=example)))
    try:
        return found + parallel_problems(with_user_config(config))
    except UserError as error:
        return [*found, Problem("accelerate_config", joined([error.message, error.hint]))]


def _whole_weight_problems(config: "TrainConfig") -> list[Problem]:
    """List what does not go with training weights of the base itself."""
    found = []
    if config.method == "last-n" and not config.last_layers:
        found.append(Problem("last_layers", _("Set how many layers are trained.")))
    if config.precision in QUANTISED:
        words = _("Only an adapter can be trained on quantised weights; choose auto, bf16 or fp32.")
        found.append(Problem("precision", words))
    if config.init_adapter:
        found.append(Problem("init_adapter", _("Only the method lora continues an adapter.")))
    return found


def _test_set_problems(names: list[str]) -> list[Problem]:
    """Say what is wrong with the names of the test sets."""
    if len(names) > MAX_TEST_SETS:
        words = _("{count} test sets; at most {limit} are allowed.", count=len(names), limit=MAX_TEST_SETS)
        return [Problem("test_sets", words)]
    wrong = next((name for name in names if not is_name(name)), None)
    return [Problem("test_sets", _("'{name}' is not the name of a test set.", name=short(wrong)))] if wrong else []


def _data_problems(config: "TrainConfig") -> list[Problem]:
    """List what is wrong with the data sets that are named and with their parts."""
    sets = data_sets(config.data)
    problem = mix_problem(sets)
    found = [Problem("data", problem)] if problem else []
    if len(sets) > 1 and config.data_revision:
        found.append(Problem("data_revision", _("With several datasets, write owner/name@revision in each.")))
    if config.eval_split and (len(sets) > 1 or config.eval_data):
        found.append(
            Problem("eval_split", _("A held-out split needs a single dataset and no other held-out examples."))
        )
    elif config.eval_split == config.data_split:
        found.append(Problem("eval_split", _("'{split}' is the split to train on.", split=config.eval_split)))
    return found
