"""Settle the notes: claims about tuning as students hear them, what is known of each, and an experiment that measures it here.

    note = find_note("forgets-less")
    start(note.config({"base": "embedded"}), owner)     its ready experiment; None where a script measures it

What an experiment says of a claim is in verdicts.py; docs/claims.md tells the same with tables.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from common.errors import UserError
from common.language import Sentence, _, english
from common.paths import LOCAL_OWNER, REPOSITORY
from evaluation.experiments.arms import Arm
from evaluation.experiments.config import HELD_OUT, ExperimentConfig, Scalar
from evaluation.start import keep_file
from runs.config import LORA_SETTINGS
from runs.presets import PRESETS, QUICK

Says = Literal["better", "worse", "different", "as good"]
Needs = Literal["", "gpu", "gpus"]

LOSS, RECALL = "loss", "label_accuracy"  # the scores that decide
RATES = [3e-5, 1e-4, 3e-4, 1e-3, 3e-3]  # LoRA's best one is about ten times full tuning's: both lie within
SMALL_RATE = 2e-5  # at which weights in bf16 lose half of their updates (benchmarks/results/precision.md)
FEW_ROWS, LAST_LAYERS = 100, 4
EXAMPLE_TEXT = REPOSITORY / "examples" / "everyday_science.txt"
WITH_HISTORY, WITHOUT_HISTORY = "with-history", "without-history"  # test sets, by the names of their files in examples/
# what each method has of its own: arms of two methods are compared whatever it is
BY_METHOD = frozenset({*LORA_SETTINGS, "learning_rate"})

LEARNS_LESS = "Biderman et al. 2024, LoRA Learns Less and Forgets Less, https://arxiv.org/abs/2405.09673"
PEFT = "PEFT, method_comparison, July 2026, https://github.com/huggingface/peft/tree/main/method_comparison"
REGRET = "Schulman et al. 2025, LoRA Without Regret, https://thinkingmachines.ai/blog/lora/"
INTRUDERS = "Shuttleworth et al. 2024, LoRA vs Full Fine-tuning, https://arxiv.org/abs/2410.21228"
PREFIX = "Li and Liang 2021, Prefix-Tuning, https://arxiv.org/abs/2101.00190"
INT8 = "Dettmers et al. 2022, LLM.int8(), https://arxiv.org/abs/2208.07339"
PRECISION = "benchmarks/results/precision.md"
ZERO = "Rajbhandari et al. 2020, ZeRO, https://arxiv.org/abs/1910.02054"
REPORTS = "LLaMA-Factory#2483, DeepSpeed#3979, OpenTau#181"
PARALLEL = "torch.nn.DataParallel, https://docs.pytorch.org/docs/stable/generated/torch.nn.DataParallel.html"
PRETRAINING = "Gururangan et al. 2020, Don't Stop Pretraining, https://arxiv.org/abs/2004.10964"
ELSA = "Lee, Tang and Lin 2019, What Would Elsa Do?, https://arxiv.org/abs/1911.03090"
SURGICAL = "Lee et al. 2022, Surgical Fine-Tuning, https://arxiv.org/abs/2210.11466"
MIDDLE = "Liu et al. 2023, Lost in the Middle, https://arxiv.org/abs/2307.03172"


@dataclass(frozen=True)
class Note:
    """A claim: arms of the kind `one` are better, worse, different or as good on a test set, beside those of the kind `other`.

    Two arms that are compared may differ in the settings `apart` and in no other. `needs` is what a machine must have: nothing
    in particular, a GPU, or several. `command` is a script that measures it too, or alone where nothing is varied.
    """

    id: str
    claim: Sentence
    known: Sentence
    measured: Sentence
    sources: tuple[str, ...]
    says: Says = "better"
    one: Callable[[Arm], bool] = lambda arm: False
    other: Callable[[Arm], bool] = lambda arm: False
    apart: frozenset[str] = BY_METHOD
    test_set: str = HELD_OUT
    vary: Mapping[str, list[Scalar]] = field(default_factory=dict)
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    is_searched: bool = False  # a learning rate for each arm: what suits a method suits no other
    needs: Needs = ""
    command: str = ""

    def config(self, settings: Mapping[str, Scalar] | None = None, owner: str = LOCAL_OWNER) -> ExperimentConfig | None:
        """Return its ready experiment with the settings that a person chose (base, data, ...); None where a script measures it.

        Each training is a Quick try. The questions on history become test sets of `owner`. Raises UserError.
        """
        if not self.vary:
            return None
        common = {**PRESETS[QUICK], **(settings or {}), **self.settings}
        vary = {name: [*values] for name, values in self.vary.items()}
        if "text_data" in vary:
            vary["text_data"] = ["", common.get("text_data") or str(EXAMPLE_TEXT)]
        config = ExperimentConfig(
            title=english(self.claim).rstrip("."),
            settings={name: value for name, value in common.items() if name not in vary},
            vary=vary,
            rates=RATES if self.is_searched else [],
            scores=[LOSS],
        )
        if self.test_set != WITH_HISTORY:
            return config
        files = [REPOSITORY / "examples" / f"{name}.jsonl" for name in (WITH_HISTORY, WITHOUT_HISTORY)]
        return replace(config, test_sets=[keep_file(str(file), owner) for file in files], scores=[RECALL])


def find_note(id: str) -> Note:
    """Return the note with this id. Raises UserError when there is none."""
    for note in NOTES:
        if note.id == id:
            return note
    known = ", ".join(note.id for note in NOTES)
    raise UserError(_("There is no claim '{name}'.", name=id[:80]), _("Choose among these: {names}.", names=known))


def _is_lora(arm: Arm) -> bool:
    return arm.method == "lora" and not arm.settings.get("last_layers")


def _is_full(arm: Arm) -> bool:
    return arm.method == "full"


def _has_few_rows(arm: Arm) -> bool:
    return 0 < int(arm.settings.get("max_rows") or 0) <= FEW_ROWS


def _has(name: str, *values: Scalar) -> Callable[[Arm], bool]:
    """Return what tells the trained arms that have one of these values of a setting; None is none at all."""
    return lambda arm: arm.is_trained and (arm.settings.get(name) or None) in values


NOTES = [
    Note(
        "as-good",
        _("LoRA is as good as full tuning."),
        _(
            "True within its capacity, each at its own best learning rate: LoRA's is about ten times full tuning's. Not of "
            "learning much that is new: trained further on code, LoRA fell behind."
        ),
        _(
            "LoRA and full tuning on the same rows, each at the best of five rates. As good means: its gain on the held-out rows "
            "is, beyond doubt, at most a tenth below that of full tuning."
        ),
        (PEFT, LEARNS_LESS, REGRET),
        "as good",
        _is_lora,
        _is_full,
        vary={"method": ["none", "lora", "full"]},
        is_searched=True,
    ),
    Note(
        "forgets-less",
        _("LoRA forgets less than full tuning."),
        _(
            "Contested. After training on code it forgot less; in PEFT's own benchmark the loss on Wikipedia rose more with "
            "LoRA of rank 32 (0.050 nats) than with full tuning (0.030). It depends on rank, rate and how much is learned."
        ),
        _("The loss of both on general text in English and Korean that has nothing to do with the rows."),
        (LEARNS_LESS, PEFT, INTRUDERS),
        "better",
        _is_lora,
        _is_full,
        test_set="general",
        vary={"method": ["none", "lora", "full"]},
        is_searched=True,
    ),
    Note(
        "little-data",
        _("LoRA is better than full tuning with little data."),
        _("Shown for prefix tuning in 2021, which is another method; never for LoRA with a model of this kind."),
        _("Both with 10, 30 and 100 rows, as many steps with each, on the same held-out rows."),
        (PREFIX,),
        "better",
        lambda arm: _is_lora(arm) and _has_few_rows(arm),
        lambda arm: _is_full(arm) and _has_few_rows(arm),
        vary={"method": ["none", "lora", "full"], "max_rows": [10, 30, FEW_ROWS]},
        is_searched=True,
    ),
    Note(
        "out-of-domain",
        _("LoRA generalises better out of domain than full tuning."),
        _(
            "Shown for prefix tuning in 2021, never for a model of this kind; LoRA was found less robust than full tuning "
            "when several tasks are learned one after the other."
        ),
        _("The loss of both on the answers to 50 questions of general knowledge, of which no row is trained."),
        (PREFIX, INTRUDERS),
        "better",
        _is_lora,
        _is_full,
        test_set="questions",
        vary={"method": ["none", "lora", "full"]},
        is_searched=True,
    ),
    Note(
        "eight-bits",
        _("8 bits cost nothing."),
        _(
            "Nearly true of quality: the base is rounded, what is trained stays in fp32 here. Not of time: on a CPU an 8-bit "
            "layer takes 1.1 to 1.4 times as long as one in fp32. And two QLoRA runs differ by their seeds alone."
        ),
        _(
            "LoRA on a base in fp32 and in 8 bits at the same rate. Nothing means: the gain on the held-out rows is, "
            "beyond doubt, at most a tenth smaller."
        ),
        (INT8, PRECISION),
        "as good",
        _has("precision", "8bit"),
        _has("precision", "fp32"),
        frozenset({"precision"}),
        vary={"method": ["none", "lora"], "precision": ["fp32", "8bit"]},
    ),
    Note(
        "bf16-updates",
        _("bf16 loses small updates."),
        _(
            "True of weights that are themselves in bf16: at a rate of 2e-5, 47 % of the updates vanished, in fp32 none. Wrong "
            "as “bf16 turns numbers near 0 into 0”: it reaches as far down as fp32. Here all that is trained stays in fp32."
        ),
        _(
            "LoRA on a base in bf16 and in fp32 at that small rate: is it worse on the held-out rows, though adapters are in "
            "fp32? The script counts the updates themselves, on any machine."
        ),
        (PRECISION,),
        "worse",
        _has("precision", "bf16"),
        _has("precision", "fp32"),
        frozenset({"precision"}),
        vary={"method": ["none", "lora"], "precision": ["fp32", "bf16"]},
        settings={"learning_rate": SMALL_RATE},
        needs="gpu",
        command="python -m benchmarks.precision",
    ),
    Note(
        "fp16-underflow",
        _("fp16 underflows."),
        _(
            "True: its smallest normal number is 6e-5, and a training in fp16 throughout ended in NaN at step 2. With a "
            "loss scaler and adapters in fp32, as here, it lost nothing that was measurable."
        ),
        _("LoRA on a base in fp16 and in fp32 at the same rate: is it worse on the held-out rows?"),
        (PRECISION,),
        "worse",
        _has("precision", "fp16"),
        _has("precision", "fp32"),
        frozenset({"precision"}),
        vary={"method": ["none", "lora"], "precision": ["fp32", "fp16"]},
        needs="gpu",
        command="python -m benchmarks.precision",
    ),
    Note(
        "zero-quality",
        _("DeepSpeed (ZeRO) changes the quality."),
        _(
            "Wrong of the method: ZeRO is the same mathematics on weights that are split. Reports go both ways; what differed "
            "in them is which copy of the weights is in fp32."
        ),
        _("LoRA on two GPUs by DDP, ZeRO-2 and ZeRO-3, with all else the same: do they differ on the held-out rows?"),
        (ZERO, REPORTS),
        "different",
        _has("parallel", "zero2", "zero3"),
        _has("parallel", "ddp"),
        frozenset({"parallel"}),
        vary={"method": ["none", "lora"], "parallel": ["ddp", "zero2", "zero3"]},
        settings={"num_processes": 2, "precision": "bf16"},
        needs="gpus",
    ),
    Note(
        "ddp-faster",
        _("DDP is faster than DP."),
        _(
            "True: DP (nn.DataParallel) is one process, in which GPU 0 gathers all and computes the loss. “GPU 0 at 100 %, the "
            "others at 60 %” is DP's shape and not that of DDP, which accelerate starts."
        ),
        _(
            "The script trains with both on the GPUs that are there and reports tokens per second; there is no DP in this app."
        ),
        (PARALLEL,),
        needs="gpus",
        command="python -m benchmarks.parallel",
    ),
    Note(
        "stage-1",
        _("Reading plain text first (stage 1) helps."),
        _(
            "Known of much text of the same field and of whole models. LoRA learned less from such text than full tuning "
            "did, and nobody has shown it for a few pages and a model of this size."
        ),
        _(
            "LoRA with and without plain text before the conversations, at the same rate, on the held-out rows: your text, "
            "or the example's pages on everyday science."
        ),
        (PRETRAINING, LEARNS_LESS),
        "better",
        lambda arm: arm.is_trained and bool(arm.settings.get("text_data")),
        _has("text_data", None),
        frozenset({"text_data"}),
        vary={"method": ["none", "lora"], "text_data": [""]},
        settings={"text_epochs": 4.0},
    ),
    Note(
        "end-is-enough",
        _("Tuning only the end of the model is enough."),
        _(
            "It depends. The last quarter of the layers kept 90 % of the quality of BERT; for other kinds of new data the "
            "first layers or those in the middle were the ones to train."
        ),
        _(
            "The last 4 layers whole and full tuning, each at the best of five rates. Enough means: the gain on the held-out "
            "rows is, beyond doubt, at most a tenth smaller than that of full tuning."
        ),
        (ELSA, SURGICAL),
        "as good",
        lambda arm: arm.method == "last-n",
        _is_full,
        vary={"method": ["none", "last-n", "full"], "last_layers": [LAST_LAYERS]},
        is_searched=True,
    ),
    Note(
        "history",
        _("History in the prompt helps recall."),
        _(
            "True, and there is no other memory: of a conversation a model knows only what is in its prompt. In long prompts "
            "what is in the middle is recalled worst."
        ),
        _(
            "The base and a LoRA on it are asked 40 questions on what was said before, with these turns in the prompt and "
            "without them; chance is one in ten."
        ),
        (MIDDLE,),
        test_set=WITH_HISTORY,
        vary={"method": ["none", "lora"]},
    ),
]
