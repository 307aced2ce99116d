"""An experiment as it lies on the disk, made without a model, for the tests of the page."""

from dataclasses import asdict

from common.files import write_json, write_text
from common.language import Sentence, _, packed
from common.paths import LOCAL_OWNER, experiments_folder
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.table import ArmComparison, Entry, Table
from evaluation.results import Difference, Verdict
from evaluation.run import Progress, Status

ARMS = {"base": "Base", "lora": "LoRA", "full-tuning": "Full tuning"}


def entry(arm: str, mean: float, score: str = "loss", is_best: bool = False) -> Entry:
    """A score of an arm on the held-out rows, of three seeds."""
    values = [mean - 0.1, mean, mean + 0.1]
    return Entry(arm, "held-out", score, mean, mean - 0.2, mean + 0.2, 3, 40, is_best, arm == "base", values)


def beside(arm: str, other: str, value: float, verdict: Verdict, score: str = "loss") -> ArmComparison:
    """What was decided of two arms."""
    p = 0.5 if verdict == "undecided" else 0.001
    difference = Difference(value, value - 0.1, value + 0.1, 40, p, verdict)
    return ArmComparison(arm, other, "held-out", score, difference, p, verdict)


ENTRIES = [entry("base", 2.5), entry("lora", 1.5, is_best=True), entry("full-tuning", 1.75)]
COMPARISONS = [
    beside("lora", "base", -1.0, "better"),
    beside("full-tuning", "base", -0.75, "better"),
    beside("full-tuning", "lora", 0.25, "worse"),
]
NOTES: list[Sentence] = [
    _("With {seeds} seeds an interval is wide: what is not decided may differ all the same.", seeds=3)
]
TABLE = Table(ARMS, {"held-out": "Held-out rows"}, ENTRIES, COMPARISONS, NOTES)


def put_experiment(
    name: str = "first",
    owner: str = LOCAL_OWNER,
    status: Status = "done",
    title: str = "First",
    table: Table | None = TABLE,
    **changes,
) -> Experiment:
    """An experiment of three arms with three seeds, and its table."""
    experiment = Experiment(experiments_folder(owner) / name)
    experiment.results_folder.mkdir(parents=True)
    config = ExperimentConfig(title, {"base": "embedded"}, {"method": ["none", "lora", "full"]}, **changes)
    write_text(experiment.config_file, config.to_yaml())
    experiment.write_progress(Progress(status, "", 3, 7))
    if table:
        write_json(experiment.results_folder / "table.json", packed(asdict(table)))
        write_text(experiment.results_folder / "table.tex", f"\\begin{{table}} {title}")
        write_text(experiment.results_folder / "methods.md", f"Methods of {title}.")
    return experiment
