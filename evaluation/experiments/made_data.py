"""The ready experiment on made data: real rows, made rows and both, asked the same real rows.

start(made_experiment("my-rows.jsonl", str(find_dataset("made").path), {"base": "embedded"}), owner)
"""

from collections.abc import Mapping

from common.language import _, english
from common.mix import as_text, data_sets
from evaluation.experiments.config import ExperimentConfig, Scalar
from runs.presets import PRESETS, QUICK


def made_experiment(real: str, made: str, settings: Mapping[str, Scalar] | None = None) -> ExperimentConfig:
    """Return the experiment that compares training on `real` data, on `made` data, and on both; as TrainConfig.data names them.

    What is asked is held out of the real rows, and what nearly repeats it is trained on by no arm. All arms take the same number
    of steps, those of a Quick try unless `settings` says otherwise: both together are more rows, not more training. Raises
    UserError for names that cannot stand beside others.
    """
    both = as_text([*data_sets(real), *data_sets(made)])
    return ExperimentConfig(
        title=english(_("Real, made, both")),
        settings={**PRESETS[QUICK], **(settings or {})},
        arms=[
            {"name": "Base", "method": "none"},
            {"name": "Real", "data": real},  # of the first data set that is trained on rows are held out
            {"name": "Made", "data": made},
            {"name": "Both", "data": both},
        ],
    )
