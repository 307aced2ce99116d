"""All settings of a training run: one dataclass that feeds the command line, the page, `config.yaml` and the docs.

Light: no torch. What is wrong with their values says runs/problems.py.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

import yaml

from common.errors import UserError
from common.files import JSON_ERRORS
from common.language import Sentence, _, english, joined, packed, unpacked
from common.mix import DataShare, data_sets, line_of
from common.paths import MAX_TITLE_CHARACTERS
from data.settings import EXAMPLE, DataSettings
from models.base import AUTO
from models.precision import PRECISIONS, resolve_precision
from models.templates import NAMES as TEMPLATES
from runs.fields import Mark, Problem, convert, label_of, setting, short
from runs.machines.parallel import MODES, RENDEZVOUS
from runs.problems import problems_of
from runs.settings_file import read_text, refuse_unknown, settings_in

SCHEDULERS = ("cosine", "linear", "constant", "constant_with_warmup")
SCHEDULERS += ("cosine_with_restarts", "polynomial", "inverse_sqrt")
TOO_LONG = ("drop", "cut", "split")
KEEPS = ("last", "best")
SYSTEM_TURNS = ("join", "keep")
MARKUP = ("ask", "turns", "strip", "keep")
METHODS = ("lora", "last-n", "full")
TARGETS = ("all-linear", "attention", "mlp")
MAX_DEPTH = 3  # of a file of settings: `data` may be a list, each data set with its share
GROUPS = (
    *(_("Data"), _("Model"), _("Training"), _("LoRA"), _("Memory and speed")),
    *(_("GPUs and machines"), _("Logging and checkpoints")),
)
DATA, MODEL, TRAINING, LORA, MEMORY, PROCESSES, LOGGING = GROUPS  # how the page and the docs order the fields
TOLD, CARD, KEPT, ROWS, SOURCE, READING, SPEED, BATCH, PERSONAL, SERVER, OUTSIDE, LONG, WRITTEN = Mark


@dataclass
class TrainConfig:
    """What a run is made of. The defaults work untouched."""

    name: str = setting(
        "my-adapter", "What the trained adapter is called.", MODEL, KEPT, PERSONAL, high=MAX_TITLE_CHARACTERS
    )
    base: str = setting(
        AUTO,
        "auto (TinyLlama, or the built-in small model when offline), embedded (the built-in model), a Hugging Face "
        "ID, or a local folder.",
        MODEL,
        KEPT,
        SOURCE,
    )
    base_revision: str | None = setting(
        None, "Commit, tag or branch of the base model on Hugging Face.", MODEL, TOLD, READING
    )
    base_reason: str = setting(
        "", "Why this base model was chosen (written by the launcher).", MODEL, KEPT, LONG, WRITTEN
    )
    init_adapter: str | None = setting(
        None,
        "An adapter of yours to continue training; its rank, target modules and layers are kept. Empty: from scratch.",
        MODEL,
        KEPT,
        PERSONAL,
    )
    precision: str = setting(
        "auto",
        "Precision of the base model's weights; auto is 8bit on a GPU and fp32 on a CPU.",
        MODEL,
        TOLD,
        choices=PRECISIONS,
    )
    chat_template: str = setting(
        "auto",
        "How messages are written for the model; auto uses the base model's own template.",
        MODEL,
        TOLD,
        READING,
        choices=("auto", *TEMPLATES),
    )
    data: str = setting(
        EXAMPLE,
        "example (the built-in dataset), a file (table or text) or a Hugging Face dataset ID; or several, separated "
        "by commas, each with its share of the rows: a.jsonl:0.7, owner/name:0.3. Rows are drawn with the seed to "
        "match the shares, none twice; without shares all rows are used.",
        DATA,
        KEPT,
        ROWS,
        SOURCE,
        BATCH,
        LONG,
    )
    data_config: str | None = setting(
        None, "Configuration (subset) of a Hugging Face dataset.", DATA, KEPT, SOURCE, PERSONAL
    )
    data_split: str = setting(
        "train", "Split to train on, of a Hugging Face dataset or of a JSON file with several.", DATA, KEPT, SOURCE
    )
    data_revision: str | None = setting(
        None,
        "Commit, tag or branch of a Hugging Face dataset; with several datasets, write owner/name@revision.",
        DATA,
        KEPT,
        SOURCE,
    )
    header: bool = setting(
        True,
        "The first row of a table holds the column names; without a header they are column 1, column 2, ...",
        DATA,
        TOLD,
        SOURCE,
    )
    sheet: str = setting("", "Sheet of a workbook (.xlsx, .ods). Empty: the first one.", DATA, KEPT, SOURCE)
    keep_null_words: bool = setting(
        False, "Keep nan, None, null and N/A in tables as text; otherwise such cells are empty.", DATA, TOLD, SOURCE
    )
    columns: str = setting(
        "",
        'Which column is what, as JSON: {"prompt": "question", "completion": "answer"}. Empty: detected automatically.',
        DATA,
        KEPT,
        SOURCE,
        LONG,
    )
    system_turns: str = setting(
        "join",
        "System messages after the first message: join adds them to the front, keep leaves them in place.",
        DATA,
        TOLD,
        READING,
        choices=SYSTEM_TURNS,
    )
    max_rows: int = setting(
        0,
        "Use at most this many rows, sampled evenly with the seed; 0: all.",
        DATA,
        TOLD,
        SOURCE,
        low=0,
        high=100_000_000,
    )
    text_data: str | None = setting(
        None,
        "Plain text to train on before the conversations (stage 1): a file or a Hugging Face dataset ID.",
        DATA,
        KEPT,
        ROWS,
        SOURCE,
    )
    text_data_revision: str | None = setting(
        None,
        "Commit, tag or branch of the plain text of stage 1, when it is a Hugging Face dataset.",
        DATA,
        KEPT,
        READING,
    )
    text_epochs: float = setting(1.0, "Passes over the plain text of stage 1.", DATA, TOLD, low=0.01, high=1000.0)
    eval_data: str | None = setting(
        None,
        "Held-out examples for evaluation: a file or a Hugging Face dataset ID. Empty: part of the dataset is held "
        "out.",
        DATA,
        KEPT,
        ROWS,
        SOURCE,
    )
    eval_data_revision: str | None = setting(
        None,
        "Commit, tag or branch of the held-out examples, when they are a Hugging Face dataset.",
        DATA,
        KEPT,
        READING,
    )
    eval_split: str | None = setting(
        None, "Split of the same dataset to hold out, such as validation.", DATA, KEPT, READING
    )
    eval_fraction: float = setting(
        0.1,
        "Fraction of the rows to hold out when no held-out examples are given; 0.1 is one in ten.",
        DATA,
        TOLD,
        READING,
        low=0.0,
        high=0.5,
    )
    skip_bad_rows: bool = setting(
        False, "Leave out rows that cannot be used, instead of stopping.", DATA, TOLD, READING
    )
    drop_duplicates: bool = setting(False, "Leave out rows that repeat an earlier one.", DATA, TOLD, READING)
    markup: str = setting(
        "ask",
        "Rows that already contain chat markup such as ChatML: turns reads it as messages, strip removes it, keep "
        "leaves it as text, ask leaves it and warns.",
        DATA,
        TOLD,
        READING,
        choices=MARKUP,
    )
    too_long: str = setting(
        "drop",
        "Rows longer than the max sequence length: drop leaves them out, cut ends them after a complete message, "
        "split makes several rows of them.",
        DATA,
        TOLD,
        READING,
        choices=TOO_LONG,
    )
    method: str = setting(
        "lora",
        "What is trained: an adapter, or weights of the base itself, the last layers or all. Those make a whole model "
        "instead of an adapter, and need far more memory.",
        TRAINING,
        CARD,
        SPEED,
        choices=METHODS,
    )
    num_train_epochs: float = setting(2.0, "Passes over the training examples.", TRAINING, CARD, low=0.01, high=1000.0)
    max_steps: int = setting(
        0, "Number of training steps; 0: as many as the epochs take.", TRAINING, CARD, low=0, high=10_000_000
    )
    learning_rate: float = setting(
        5e-4,
        "Peak learning rate; 1e-4 to 1e-3 suits LoRA, a tenth of it weights of the base itself.",
        TRAINING,
        CARD,
        low=1e-7,
        high=0.1,
    )
    per_device_train_batch_size: int = setting(
        4, "Examples per step on each device (GPU or CPU process).", TRAINING, CARD, BATCH, low=1, high=1024
    )
    gradient_accumulation_steps: int = setting(
        1,
        "Batches added up for one training step: a larger batch without more memory.",
        TRAINING,
        CARD,
        low=1,
        high=1024,
    )
    lr_scheduler_type: str = setting(
        "cosine", "How the learning rate falls after warm-up.", TRAINING, CARD, choices=SCHEDULERS
    )
    warmup_fraction: float = setting(
        0.05, "Fraction of the steps in which the learning rate rises to its peak.", TRAINING, CARD, low=0.0, high=0.5
    )
    weight_decay: float = setting(0.0, "Weight decay of AdamW; 0: off.", TRAINING, CARD, low=0.0, high=1.0)
    max_grad_norm: float = setting(
        1.0, "Gradients are clipped to this norm; 0: no clipping.", TRAINING, TOLD, low=0.0, high=1000.0
    )
    neftune_noise_alpha: float = setting(
        0.0,
        "NEFTune: noise added to the embeddings in training; 5 is usual, 0: off.",
        TRAINING,
        CARD,
        low=0.0,
        high=100.0,
    )
    seed: int = setting(
        42,
        "Random seed for sampling, the held-out split, the order of the rows and the adapter's first weights.",
        TRAINING,
        CARD,
        SOURCE,
        low=0,
        high=2**31 - 1,
    )
    max_minutes: int = setting(
        0, "Stop after this many minutes and keep what was learned; 0: no limit.", TRAINING, TOLD, low=0, high=100_000
    )
    early_stopping_patience: int = setting(
        0,
        "Stop after this many evaluations without a lower held-out loss; 0: never.",
        TRAINING,
        CARD,
        low=0,
        high=10_000,
    )
    keep: str = setting(
        "last",
        "The step that becomes the adapter: last, or best (lowest held-out loss).",
        TRAINING,
        CARD,
        choices=KEEPS,
    )
    lora_r: int = setting(
        16,
        "Size of the adapter: a higher rank can learn more and needs more memory.",
        LORA,
        CARD,
        SPEED,
        low=1,
        high=256,
    )
    lora_alpha: int = setting(
        32, "Scale of the adapter's effect, usually twice the rank.", LORA, CARD, low=1, high=1024
    )
    lora_dropout: float = setting(
        0.05,
        "Fraction of the adapter's inputs that is dropped at random in training; 0: off.",
        LORA,
        CARD,
        SPEED,
        low=0.0,
        high=0.9,
    )
    target_modules: str = setting(
        "all-linear", "Layers that get LoRA weights; all-linear learns most.", LORA, CARD, SPEED, choices=TARGETS
    )
    last_layers: int = setting(
        0,
        "Train only this many of the last decoder layers: faster, with less memory; 0: all layers.",
        LORA,
        CARD,
        SPEED,
        low=0,
        high=1000,
    )
    lora_plus_ratio: float = setting(
        1.0,
        "LoRA+: how many times higher the learning rate of the B matrices is than that of the A matrices; its paper "
        "uses 16, 1 is plain LoRA.",
        LORA,
        CARD,
        low=1.0,
        high=100.0,
    )
    use_rslora: bool = setting(
        False, "Rank-stabilized LoRA: scales by the square root of the rank; for ranks of 64 and more.", LORA, CARD
    )
    use_dora: bool = setting(
        False,
        "DoRA: trains magnitude and direction separately; slower, sometimes better at low ranks.",
        LORA,
        CARD,
        SPEED,
    )
    max_length: int = setting(
        1024, "Longest row in tokens, prompt and answer together.", MEMORY, CARD, READING, BATCH, low=16, high=131072
    )
    packing: bool = setting(
        False,
        "Pack short rows together up to the max sequence length; they do not see each other.",
        MEMORY,
        CARD,
        SPEED,
    )
    gradient_checkpointing: str = setting(
        "auto",
        "Saves memory and costs about a fifth of the speed; auto: only when the run would not fit otherwise.",
        MEMORY,
        TOLD,
        BATCH,
        choices=("auto", "on", "off"),
    )
    num_processes: int = setting(
        1,
        "GPUs to train on, one process each (without a GPU: CPU processes); the total over all machines.",
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
        1,
        "Machines that train together, each started with these settings.",
        PROCESSES,
        TOLD,
        SERVER,
        OUTSIDE,
        low=1,
        high=512,
    )
    machine_rank: int = setting(
        0, "Number of this machine, counted from 0.", PROCESSES, KEPT, SERVER, OUTSIDE, low=0, high=511
    )
    main_process_ip: str = setting(
        "", "Address of machine 0, to which all machines connect.", PROCESSES, KEPT, SERVER, OUTSIDE
    )
    main_process_port: int = setting(29500, "Port on machine 0.", PROCESSES, KEPT, SERVER, low=1, high=65535)
    rendezvous: str = setting(
        "auto",
        "How processes find each other: static, or c10d, which restarts need; auto chooses.",
        PROCESSES,
        KEPT,
        SERVER,
        OUTSIDE,
        choices=RENDEZVOUS,
    )
    max_restarts: int = setting(
        0,
        "How often all processes restart from the last checkpoint after one has failed.",
        PROCESSES,
        TOLD,
        SERVER,
        low=0,
        high=100,
    )
    ddp_timeout: int = setting(
        600, "Seconds a process waits for the others before the run fails.", PROCESSES, TOLD, SERVER, low=5, high=86400
    )
    accelerate_config: str | None = setting(
        None,
        "A file of your own from `accelerate config`, used as it is; its processes and mode override these settings.",
        PROCESSES,
        KEPT,
        SERVER,
        OUTSIDE,
    )
    logging_steps: int = setting(1, "Steps between two points of the loss curve.", LOGGING, TOLD, low=1, high=10_000)
    eval_steps: int = setting(
        0,
        "Steps between two evaluations on held-out examples; 0: once per epoch.",
        LOGGING,
        TOLD,
        low=0,
        high=10_000_000,
    )
    save_steps: int = setting(50, "Steps between two checkpoints.", LOGGING, TOLD, low=1, high=10_000_000)
    sample_prompts: str = setting(
        "",
        "Up to three prompts, one per line, answered at every evaluation. Empty: the first held-out ones.",
        LOGGING,
        KEPT,
        LONG,
    )
    test_sets: str = setting(
        "general",
        "Test sets whose loss is measured at every evaluation, separated by commas: general (English and Korean text, "
        "which shows what is forgotten), questions, or names of your own. Empty: none.",
        LOGGING,
        KEPT,
    )
    report_to: str = setting(
        "",
        "Trackers that follow the run, separated by commas: tensorboard (event files), wandb (an offline run) or "
        "trackio (a dashboard on this machine). Empty: none.",
        LOGGING,
        KEPT,
        PERSONAL,
        SERVER,
    )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Build from plain values, converting numbers and naming every unknown key. Raises UserError."""
        types = get_type_hints(cls)
        refuse_unknown(values, types)
        if "data" in values:
            values = {**values, "data": line_of(values["data"])}
        config = cls(**{name: convert(name, types[name], value) for name, value in values.items()})
        config.base_reason = _sentence_in(config.base_reason)
        return config

    @classmethod
    def from_yaml(cls, path: Path) -> "TrainConfig":
        """Read a `config.yaml`. Raises UserError when it is not one."""
        return cls.from_text(read_text(path), short(Path(path).name))

    @classmethod
    def from_text(cls, text: str, name: str = "config.yaml") -> "TrainConfig":
        """Read the text of a `config.yaml`. Raises UserError when it is not one."""
        return cls.from_dict(settings_in(text, name, MAX_DEPTH))

    def to_yaml(self) -> str:
        """Write the settings as YAML, each with its line of help as a comment; a sentence as JSON."""
        lines = []
        for item in fields(self):
            value = getattr(self, item.name)
            value = json.dumps(packed(value), ensure_ascii=False) if isinstance(value, Sentence) else value
            line = yaml.safe_dump({item.name: value}, allow_unicode=True, width=10_000).strip()
            lines.append(f"{line}  # {item.metadata['help']}")
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)

    def problems(self) -> list[Problem]:
        """List everything that would make this run fail or mean nothing; [] when it can start."""
        return problems_of(self)

    @property
    def makes_adapter(self) -> bool:
        """Whether an adapter is trained; else weights of the base itself are, and a whole model comes out."""
        return self.method == "lora"

    @property
    def unused(self) -> tuple[str, ...]:
        """Name the settings that mean nothing for the method: LoRA's, where no adapter is trained."""
        used = {"lora": LORA_SETTINGS, "last-n": ("last_layers",)}.get(self.method, ())
        return tuple(name for name in LORA_SETTINGS if name not in used)

    def precision_on(self, has_gpu: bool) -> str:
        """Return the precision with 'auto' decided: weights that are trained themselves are not quantised.

        Raises UserError for one that this hardware cannot compute in.
        """
        if self.precision == "auto" and has_gpu and not self.makes_adapter:
            return "bf16"
        return resolve_precision(self.precision, has_gpu)

    def held_in(self, precision: str) -> str:
        """Return in which precision the base's weights are held: those that are trained themselves in fp32, whatever is computed.

        16 bits would lose small updates.
        """
        return precision if self.makes_adapter else "fp32"

    @property
    def needs_evaluations(self) -> bool:
        """Whether the held-out rows decide which step is kept, or when a stage ends."""
        return self.keep == "best" or self.early_stopping_patience > 0

    def prompts(self) -> list[str]:
        """Return the prompts of `sample_prompts`, one a line."""
        return [line.strip() for line in self.sample_prompts.splitlines() if line.strip()]

    def tested(self) -> list[str]:
        """Return the names of the test sets, each once."""
        return list(dict.fromkeys(name.strip() for name in self.test_sets.split(",") if name.strip()))

    def data_settings(self) -> DataSettings:
        """Return the part that decides what becomes of the rows."""
        return DataSettings(**{item.name: getattr(self, item.name) for item in fields(DataSettings)})

    def check(self) -> None:
        """Raise one UserError that names every problem; return when there is none."""
        found = self.problems()
        if found:
            problems = joined(problem.sentence() for problem in found)
            raise UserError(_("The settings cannot be used. {problems}", problems=problems))

    def changed(self, mark: Mark) -> list[str]:
        """Name the settings with `mark` that are not as they come."""
        defaults = TrainConfig()
        return [name for name in marked(mark) if getattr(self, name) not in (None, "", getattr(defaults, name))]


LORA_SETTINGS = tuple(item.name for item in fields(TrainConfig) if item.metadata["group"] == LORA)


def _sentence_in(text: str) -> str:
    """Return the sentence in a text that `to_yaml` wrote; any other text as it is."""
    if isinstance(text, Sentence) or not text.startswith('{"msgid"'):
        return text
    try:
        found = unpacked(json.loads(text))
    except JSON_ERRORS:
        return text
    return found if isinstance(found, Sentence) else text


def marked(*marks: Mark) -> tuple[str, ...]:
    """Name the settings that have one of these marks, in their order."""
    return tuple(item.name for item in fields(TrainConfig) if {*marks} & {*item.metadata["marks"]})


def named_in(config: TrainConfig, field: str) -> list[DataShare]:
    """Return the data sets that a setting of `ROWS` names: several only in `data`."""
    value = getattr(config, field)
    if field == "data":
        return data_sets(value)
    return [DataShare(value)] if value else []


class ToldSetting(TypedDict):
    """A setting that travels with an adapter, as its metrics.json names it."""

    name: str
    label: str
    on_card: bool


def told_settings() -> list[ToldSetting]:
    """List the settings that travel with an adapter: its values are in training_config.yaml."""
    on_card = marked(CARD)
    return [{"name": name, "label": english(label_of(name)), "on_card": name in on_card} for name in marked(TOLD, CARD)]
