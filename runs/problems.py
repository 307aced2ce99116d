"""What is wrong with the settings of a run: everything at once, each with its field. Light: no torch."""

from dataclasses import fields
from typing import TYPE_CHECKING

from common.errors import UserError
from common.mix import data_sets, mix_problem
from common.paths import MAX_TITLE_CHARACTERS, as_title
from data.settings import EXAMPLE
from runs.fields import Problem, is_mapping, value_problem
from runs.machines.parallel import parallel_problems
from runs.machines.user_config import with_user_config

if TYPE_CHECKING:  # it asks this module for its problems
    from runs.config import TrainConfig

MAX_PROMPTS = 3


def problems_of(config: "TrainConfig") -> list[Problem]:
    """List everything that would make a run with `config` fail or mean nothing; [] when it can start."""
    wrong = [(item.name, value_problem(item, getattr(config, item.name))) for item in fields(config)]
    found = [Problem(name, message) for name, message in wrong if message]
    if not as_title(config.name):
        found.append(Problem("name", "give the adapter a name."))
    if len(config.name) > MAX_TITLE_CHARACTERS:
        found.append(Problem("name", f"at most {MAX_TITLE_CHARACTERS} characters."))
    found += _data_problems(config)
    if not config.max_steps and not config.num_train_epochs > 0:
        found.append(Problem("num_train_epochs", "give epochs or max_steps."))
    has_held_out = config.eval_data or config.eval_split or config.eval_fraction > 0 or config.data == EXAMPLE
    if config.needs_evaluations and not has_held_out:
        name = "early_stopping_patience" if config.early_stopping_patience else "keep"
        found.append(Problem(name, "needs held-out rows: give eval_data, or an eval_fraction above 0."))
    if len(config.prompts()) > MAX_PROMPTS:
        found.append(Problem("sample_prompts", f"{len(config.prompts())} prompts; {MAX_PROMPTS} are the most."))
    if not is_mapping(config.columns):
        found.append(Problem("columns", 'is no JSON object like {"prompt": "question", "completion": "answer"}.'))
    try:
        return found + parallel_problems(with_user_config(config))
    except UserError as error:
        return [*found, Problem("accelerate_config", str(error))]


def _data_problems(config: "TrainConfig") -> list[Problem]:
    """List what is wrong with the data sets that are named and with their parts."""
    sets = data_sets(config.data)
    problem = mix_problem(sets)
    found = [Problem("data", problem)] if problem else []
    if len(sets) > 1 and config.data_revision:
        found.append(Problem("data_revision", "of several data sets each has its own: write owner/name@revision."))
    if config.eval_split and (len(sets) > 1 or config.eval_data):
        found.append(Problem("eval_split", "holds out a part of one data set, and nothing beside eval_data."))
    elif config.eval_split == config.data_split:
        found.append(Problem("eval_split", f"'{config.eval_split}' is what is trained on."))
    return found
