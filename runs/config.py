"""All settings of a training run: one dataclass that feeds the command line, the page, `config.yaml` and the docs.

Light: no torch. What is wrong with their values says runs/problems.py.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

import yaml

from common.errors import UserError
from common.mix import DataSet, data_sets, line_of
from data.settings import EXAMPLE, DataSettings
from models.base import AUTO
from models.plain_yaml import NestedYamlError, read_yaml
from models.precision import PRECISIONS
from models.templates import NAMES as TEMPLATES
from runs.fields import Mark, Problem, convert, label_of, setting, short
from runs.machines.parallel import MODES, RENDEZVOUS
from runs.problems import problems_of

SCHEDULERS = ("cosine", "linear", "constant", "constant_with_warmup")
SCHEDULERS += ("cosine_with_restarts", "polynomial", "inverse_sqrt")
TOO_LONG = ("drop", "cut", "split")
KEEPS = ("last", "best")
SYSTEM_TURNS = ("join", "keep")
MARKUP = ("ask", "turns", "strip", "keep")
TARGETS = ("all-linear", "attention", "mlp")
MAX_CHARACTERS = 100_000
MAX_DEPTH = 3  # of a file of settings: `data` may be a list, each data set with its share
GROUPS = ("Data", "Model", "Training", "LoRA", "Memory and speed", "Processes and machines", "Watching")
DATA, MODEL, TRAINING, LORA, MEMORY, PROCESSES, WATCHING = GROUPS  # how the page and the docs order the fields
TOLD, CARD, KEPT, ROWS, SOURCE, READING, SPEED, BATCH, PERSONAL, SERVER, OUTSIDE, LONG, WRITTEN = Mark


@dataclass
class TrainConfig:
    """What a run is made of. The defaults work untouched."""

    name: str = setting("my-adapter", "Name of the adapter that comes out.", MODEL, KEPT, PERSONAL)
    base: str = setting(
        AUTO, "auto (TinyLlama; offline the embedded one), embedded, a Hub id, or a folder.", MODEL, KEPT, SOURCE
    )
    base_revision: str | None = setting(None, "Commit, tag or branch of the base on the Hub.", MODEL, TOLD, READING)
    base_reason: str = setting("", "Why this base was taken (written by the launcher).", MODEL, KEPT, LONG, WRITTEN)
    init_adapter: str | None = setting(
        None, "An adapter of yours to continue from; its rank, modules and layers are kept.", MODEL, KEPT, PERSONAL
    )
    precision: str = setting(
        "auto", "Precision of the base: auto is 8bit on a GPU and fp32 on a CPU.", MODEL, TOLD, choices=PRECISIONS
    )
    chat_template: str = setting(
        "auto", "Chat template: auto takes the base's own.", MODEL, TOLD, READING, choices=("auto", *TEMPLATES)
    )
    data: str = setting(
        EXAMPLE,
        "example, a file (table or text), or a Hub data set id; or several, with commas, each with its share of the rows: "
        "a.jsonl:0.7, owner/name:0.3. As many rows are drawn by the seed as the shares allow, none twice; without shares all "
        "rows are read.",
        DATA,
        KEPT,
        ROWS,
        SOURCE,
        BATCH,
        LONG,
    )
    data_config: str | None = setting(None, "Configuration (subset) of a Hub data set.", DATA, KEPT, SOURCE, PERSONAL)
    data_split: str = setting(
        "train", "Split of a Hub data set, or of a JSON file that has several.", DATA, KEPT, SOURCE
    )
    data_revision: str | None = setting(
        None, "Commit, tag or branch of a Hub data set; of several, write owner/name@revision.", DATA, KEPT, SOURCE
    )
    header: bool = setting(
        True,
        "The first row of a table holds the column names; without one they are column 1, column 2.",
        DATA,
        TOLD,
        SOURCE,
    )
    sheet: str = setting("", "Sheet of a workbook (.xlsx, .ods). Empty: the first.", DATA, KEPT, SOURCE)
    keep_null_words: bool = setting(
        False, "Keep nan, None, null and N/A in tables as words; otherwise such cells are empty.", DATA, TOLD, SOURCE
    )
    columns: str = setting(
        "",
        'Which column is what, as JSON: {"prompt": "question", "completion": "answer"}. Empty: found by itself.',
        DATA,
        KEPT,
        SOURCE,
        LONG,
    )
    system_turns: str = setting(
        "join",
        "System turns that are not the first turn: join them to the front, or keep them in place.",
        DATA,
        TOLD,
        READING,
        choices=SYSTEM_TURNS,
    )
    max_rows: int = setting(
        0,
        "Read at most this many rows, drawn evenly by the seed; 0 reads all.",
        DATA,
        TOLD,
        SOURCE,
        low=0,
        high=100_000_000,
    )
    text_data: str | None = setting(
        None, "Stage 1: text (a file or a Hub data set id), trained before the conversations.", DATA, KEPT, ROWS, SOURCE
    )
    text_data_revision: str | None = setting(
        None, "Commit, tag or branch of the text of stage 1, when it is a Hub data set.", DATA, KEPT, READING
    )
    text_epochs: float = setting(1.0, "Passes over the text of stage 1.", DATA, TOLD, low=0.01, high=1000.0)
    eval_data: str | None = setting(
        None, "File with held-out rows. Without one, a part of the data is held out.", DATA, KEPT, ROWS, SOURCE
    )
    eval_data_revision: str | None = setting(
        None, "Commit, tag or branch of the held-out rows, when they are a Hub data set.", DATA, KEPT, READING
    )
    eval_split: str | None = setting(
        None, "Split of the same data to hold out, such as validation.", DATA, KEPT, READING
    )
    eval_fraction: float = setting(
        0.1, "Part of the rows held out when there is no file for them.", DATA, TOLD, READING, low=0.0, high=0.5
    )
    skip_bad_rows: bool = setting(
        False, "Leave out rows that cannot be used, instead of stopping at them.", DATA, TOLD, READING
    )
    drop_duplicates: bool = setting(False, "Leave out rows that say the same as an earlier one.", DATA, TOLD, READING)
    markup: str = setting(
        "ask",
        "Rows that already hold chat markup such as ChatML: make turns of it, strip it, or keep it as letters; ask keeps it "
        "and warns.",
        DATA,
        TOLD,
        READING,
        choices=MARKUP,
    )
    too_long: str = setting(
        "drop",
        "Rows over max_length: drop them, cut them at the end of a turn, or split them into several rows.",
        DATA,
        TOLD,
        READING,
        choices=TOO_LONG,
    )
    num_train_epochs: float = setting(2.0, "Passes over the data.", TRAINING, CARD, low=0.01, high=1000.0)
    max_steps: int = setting(0, "Optimiser steps; 0 lets the epochs decide.", TRAINING, CARD, low=0, high=10_000_000)
    learning_rate: float = setting(
        5e-4, "Highest learning rate (1e-4 to 1e-3 suits LoRA).", TRAINING, CARD, low=1e-7, high=0.1
    )
    per_device_train_batch_size: int = setting(
        4, "Rows a step on each device.", TRAINING, CARD, BATCH, low=1, high=1024
    )
    gradient_accumulation_steps: int = setting(
        1, "Batches gathered before an optimiser step.", TRAINING, CARD, low=1, high=1024
    )
    lr_scheduler_type: str = setting("cosine", "How the learning rate falls.", TRAINING, CARD, choices=SCHEDULERS)
    warmup_fraction: float = setting(
        0.05, "Part of the steps in which the learning rate rises.", TRAINING, CARD, low=0.0, high=0.5
    )
    weight_decay: float = setting(0.0, "Weight decay of AdamW.", TRAINING, CARD, low=0.0, high=1.0)
    max_grad_norm: float = setting(
        1.0, "Gradients are clipped to this norm; 0 does not clip.", TRAINING, TOLD, low=0.0, high=1000.0
    )
    neftune_noise_alpha: float = setting(
        0.0, "NEFTune: noise on the embeddings, 5 is usual; 0 is off.", TRAINING, CARD, low=0.0, high=100.0
    )
    seed: int = setting(
        42,
        "Seed of the rows, the split, the order and the adapter's start.",
        TRAINING,
        CARD,
        SOURCE,
        low=0,
        high=2**31 - 1,
    )
    max_minutes: int = setting(
        0, "Stop after so many minutes and keep what was learned; 0: no limit.", TRAINING, TOLD, low=0, high=100_000
    )
    early_stopping_patience: int = setting(
        0,
        "Stop early after this many evaluations without a lower held-out loss (see `eval_steps`); 0: never.",
        TRAINING,
        CARD,
        low=0,
        high=10_000,
    )
    keep: str = setting(
        "last",
        "The step that becomes the adapter: the last, or the best by held-out loss.",
        TRAINING,
        CARD,
        choices=KEEPS,
    )
    lora_r: int = setting(16, "LoRA rank: more can learn more and weighs more.", LORA, CARD, SPEED, low=1, high=256)
    lora_alpha: int = setting(32, "LoRA scale, usually twice the rank.", LORA, CARD, low=1, high=1024)
    lora_dropout: float = setting(0.05, "Dropout inside LoRA.", LORA, CARD, SPEED, low=0.0, high=0.9)
    target_modules: str = setting(
        "all-linear", "Layers that get an adapter: all of them learns most.", LORA, CARD, SPEED, choices=TARGETS
    )
    last_layers: int = setting(
        0,
        "LoRA on only this many of the last decoder layers: faster, less memory; 0: on all.",
        LORA,
        CARD,
        SPEED,
        low=0,
        high=1000,
    )
    lora_plus_ratio: float = setting(
        1.0,
        "LoRA+: how many times faster the B matrices learn than the A; its paper has 16, 1 is plain LoRA.",
        LORA,
        CARD,
        low=1.0,
        high=100.0,
    )
    use_rslora: bool = setting(
        False, "Rank-stabilised LoRA: scales by the root of the rank; for ranks of 64 and more.", LORA, CARD
    )
    use_dora: bool = setting(
        False, "DoRA: learns size and direction apart; slower, sometimes better at low ranks.", LORA, CARD, SPEED
    )
    max_length: int = setting(
        1024,
        "Longest row in tokens; see `too_long` for longer ones.",
        MEMORY,
        CARD,
        READING,
        BATCH,
        low=16,
        high=131072,
    )
    packing: bool = setting(
        False, "Lay short rows together up to max_length (best-fit; they do not see each other).", MEMORY, CARD, SPEED
    )
    gradient_checkpointing: str = setting(
        "auto",
        "Trade a fifth of the speed for memory; auto: only where the run would not fit without.",
        MEMORY,
        TOLD,
        BATCH,
        choices=("auto", "on", "off"),
    )
    num_processes: int = setting(
        1,
        "How many GPUs to use, one process each (without a GPU: CPU processes); the total over all machines.",
        PROCESSES,
        TOLD,
        SPEED,
        low=1,
        high=4096,
    )
    parallel: str = setting(
        "auto",
        "How several processes share the work: auto is DDP, a whole model in each; zero2, zero3 and fsdp2 split it.",
        PROCESSES,
        TOLD,
        choices=MODES,
    )
    num_machines: int = setting(
        1, "Machines that train together, each with these settings.", PROCESSES, TOLD, SERVER, OUTSIDE, low=1, high=512
    )
    machine_rank: int = setting(
        0, "Which of the machines this one is, from 0.", PROCESSES, KEPT, SERVER, OUTSIDE, low=0, high=511
    )
    main_process_ip: str = setting("", "Address of machine 0, where all meet.", PROCESSES, KEPT, SERVER, OUTSIDE)
    main_process_port: int = setting(29500, "Port on machine 0.", PROCESSES, KEPT, SERVER, low=1, high=65535)
    rendezvous: str = setting(
        "auto",
        "How processes meet: static, or c10d, which restarts need; auto is what max_restarts needs.",
        PROCESSES,
        KEPT,
        SERVER,
        OUTSIDE,
        choices=RENDEZVOUS,
    )
    max_restarts: int = setting(
        0, "How often all restart from the last checkpoint after one died.", PROCESSES, TOLD, SERVER, low=0, high=100
    )
    ddp_timeout: int = setting(
        600, "Seconds a process waits for the others before the run ends.", PROCESSES, TOLD, SERVER, low=5, high=86400
    )
    accelerate_config: str | None = setting(
        None,
        "A file of your own from `accelerate config`, used as it is; its processes and mode win over these.",
        PROCESSES,
        KEPT,
        SERVER,
        OUTSIDE,
    )
    logging_steps: int = setting(1, "Steps between two points of the curve.", WATCHING, TOLD, low=1, high=10_000)
    eval_steps: int = setting(
        0,
        "Steps between two evaluations on the held-out rows; 0: once an epoch.",
        WATCHING,
        TOLD,
        low=0,
        high=10_000_000,
    )
    save_steps: int = setting(50, "Steps between two checkpoints.", WATCHING, TOLD, low=1, high=10_000_000)
    sample_prompts: str = setting(
        "",
        "Up to three prompts, one a line, answered at every evaluation; empty: the first held-out.",
        WATCHING,
        KEPT,
        LONG,
    )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Build from plain values, converting numbers and naming every unknown key. Raises UserError."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(short(name) for name in set(values) - known)
        if unknown:
            raise UserError(f"Unknown settings: {', '.join(unknown[:10])}.", f"Known are: {', '.join(sorted(known))}.")
        if "data" in values:
            values = {**values, "data": line_of(values["data"])}
        types = get_type_hints(cls)
        return cls(**{name: convert(name, types[name], value) for name, value in values.items()})

    @classmethod
    def from_yaml(cls, path: Path) -> "TrainConfig":
        """Read a `config.yaml`. Raises UserError when it is not one."""
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read(MAX_CHARACTERS + 1)
        except (OSError, ValueError) as error:
            raise UserError(f"'{short(path)}' cannot be read as YAML.", str(error).splitlines()[0]) from error
        return cls.from_text(text, short(Path(path).name))

    @classmethod
    def from_text(cls, text: str, name: str = "config.yaml") -> "TrainConfig":
        """Read the text of a `config.yaml`. Raises UserError when it is not one."""
        if len(text) > MAX_CHARACTERS:
            raise UserError(f"'{name}' is too large for a file of settings.", f"{MAX_CHARACTERS} characters at most.")
        try:
            values = read_yaml(text, MAX_DEPTH)
        except NestedYamlError as error:
            raise UserError(
                f"'{name}' is nested deeply, or holds aliases.", "Write one `name: value` a line."
            ) from error
        except ValueError as error:
            raise UserError(f"'{name}' cannot be read as YAML.", str(error)) from error
        if not isinstance(values, dict):
            raise UserError(f"'{name}' holds no settings.", "Write one `name: value` a line.")
        return cls.from_dict(values)

    def to_yaml(self) -> str:
        """Write the settings as YAML, each with its line of help as a comment."""
        lines = []
        for item in fields(self):
            value = yaml.safe_dump({item.name: getattr(self, item.name)}, allow_unicode=True, width=10_000).strip()
            lines.append(f"{value}  # {item.metadata['help']}")
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)

    def problems(self) -> list[Problem]:
        """List everything that would make this run fail or mean nothing; [] when it can start."""
        return problems_of(self)

    @property
    def needs_evaluations(self) -> bool:
        """Whether the held-out rows decide which step is kept, or when a stage ends."""
        return self.keep == "best" or self.early_stopping_patience > 0

    def prompts(self) -> list[str]:
        """Return the prompts of `sample_prompts`, one a line."""
        return [line.strip() for line in self.sample_prompts.splitlines() if line.strip()]

    def data_settings(self) -> DataSettings:
        """Return the part that decides what becomes of the rows."""
        return DataSettings(**{item.name: getattr(self, item.name) for item in fields(DataSettings)})

    def check(self) -> None:
        """Raise one UserError that names every problem; return when there is none."""
        found = self.problems()
        if found:
            raise UserError("The settings cannot be used. " + " ".join(f"{problem}" for problem in found))

    def changed(self, mark: Mark) -> list[str]:
        """Name the settings with `mark` that are not as they come."""
        defaults = TrainConfig()
        return [name for name in marked(mark) if getattr(self, name) not in (None, "", getattr(defaults, name))]


def marked(*marks: Mark) -> tuple[str, ...]:
    """Name the settings that have one of these marks, in their order."""
    return tuple(item.name for item in fields(TrainConfig) if {*marks} & {*item.metadata["marks"]})


def named_in(config: TrainConfig, field: str) -> list[DataSet]:
    """Return the data sets that a setting of `ROWS` names: several only in `data`."""
    value = getattr(config, field)
    if field == "data":
        return data_sets(value)
    return [DataSet(value)] if value else []


class ToldSetting(TypedDict):
    """A setting that travels with an adapter, as its metrics.json names it."""

    name: str
    label: str
    on_card: bool


def told_settings() -> list[ToldSetting]:
    """List the settings that travel with an adapter: its values are in training_config.yaml."""
    on_card = marked(CARD)
    return [{"name": name, "label": label_of(name), "on_card": name in on_card} for name in marked(TOLD, CARD)]
