"""What a run will take, before it starts: steps, memory, time and (on a Space) money, for this config on this hardware.

Light: no torch. Steps are `plan.py`'s, memory `memory.py`'s, the way out of "does not fit" `fitting.py`'s; time comes from a
measurement (`speed.py`) or from earlier runs on this machine; only the presets' cards guess (`presets.py`).

    resolved = resolve(config)
    found = estimate(resolved.config, shape_for(resolved.base), data_facts, resolved.hardware, speed)
    record_estimate(run.folder, found)
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from common.files import read_json, write_json
from common.language import Sentence, _, joined, n_
from common.words import count_in_words, duration
from models.family import ModelShape
from models.hardware import Hardware
from models.prices import space_dollars_per_hour
from runs.config import TrainConfig
from runs.forecast.fitting import Change, make_it_fit
from runs.forecast.memory import Memory, checkpointing_words, estimate_memory, trained_parameters
from runs.forecast.plan import (
    FORWARD_SHARE,
    DataFacts,
    Plan,
    evaluated_rows,
    packed_rows,
    plan_steps,
    tokens_a_test_set,
)
from runs.forecast.speed import Speed

ESTIMATE_FILE = "estimate.json"
# the example data with TinyLlama's tokenizer and template, default settings (a test counts it again)
EXAMPLE_FACTS: DataFacts = {
    "train_rows": 220,
    "held_out_rows": 23,
    "tokens": 22739,
    "trained_tokens": 15164,
    "longest": 294,
    "mean_length": 103.4,
}


@dataclass(frozen=True)
class Cost:
    """What a run costs on this Space, in US dollars."""

    flavor: str
    dollars_per_hour: float
    dollars: float

    def sentence(self) -> Sentence:
        """Return the cost in words."""
        price = self.dollars_per_hour
        return _(
            "${cost:.2f} on this Space ({flavor}, ${price:.2f} per hour)",
            cost=self.dollars,
            flavor=self.flavor,
            price=price,
        )


@dataclass(frozen=True)
class Weights:
    """How many weights are trained, the adapter's or the base's own, and how many there are in all."""

    trained: int
    total: int

    def words(self) -> Sentence:
        """Return '12.6 M of 1,112.7 M weights, 1.13%'."""
        trained, total = count_in_words(self.trained), count_in_words(self.total)
        share = self.trained / self.total
        return _("{trained} of {total} weights, {share:.2%}", trained=trained, total=total, share=share)


def count_weights(config: TrainConfig, shape: ModelShape) -> Weights:
    """Count the weights of a run."""
    trained = trained_parameters(config, shape)
    return Weights(trained, shape.parameters + trained * config.makes_adapter)


@dataclass(frozen=True)
class Estimate:
    """What a run will take. `plan` is of the conversations, `text_plan` of the text of stage 1, everything else of both.

    `seconds`, its source and `cost` are None without a measurement. `make_it_fit` holds the settings that bring a run which
    is too large into memory; None when it fits or nothing helps.
    """

    plan: Plan
    text_plan: Plan | None
    memory: Memory
    checkpointing: Sentence
    seconds: float | None
    seconds_source: str | None
    cost: Cost | None
    make_it_fit: Change | None
    on_gpu: bool
    weights: Weights

    def sentence(self) -> Sentence:
        """Return the estimate in words, in one line."""
        plan = self.plan
        rows = n_("{count:,} example", "{count:,} examples", plan.effective_batch)
        steps = _("{plan}, {examples} per step.", plan=plan.sentence(), examples=rows)
        parts: list[str] = [steps, memory_words(self.memory, self.on_gpu)]
        if self.seconds is not None:
            parts.append(_("Training takes about {time}.", time=duration(self.seconds)))
        if self.cost:
            parts.append(_("It costs about {cost}.", cost=self.cost.sentence()))
        parts.append(_("Gradient checkpointing is {state}.", state=self.checkpointing))
        return joined([*parts, _("Trained: {weights}.", weights=self.weights.words())])

    def to_json(self) -> dict[str, object]:
        """Return the estimate as the JSON that `trainer estimate` prints and a run keeps."""
        values = asdict(self)
        del values["on_gpu"]
        return {**values, "memory": {**values["memory"], "fits": self.memory.fits}, "sentence": self.sentence()}


def memory_words(memory: Memory, on_gpu: bool) -> Sentence:
    """Return what a run needs and what is free, and whether that is too little."""
    words = {"size": memory.total / 1e9, "free": memory.available / 1e9}
    if on_gpu:
        needs = _("It needs about {size:.1f} GB of GPU memory; {free:.1f} GB are free.", **words)
    else:
        needs = _("It needs about {size:.1f} GB of RAM; {free:.1f} GB are free.", **words)
    return needs if memory.fits else joined([needs, _("That is too little.")])


def estimate(
    config: TrainConfig, shape: ModelShape, data_facts: DataFacts, hardware: Hardware, speed: Speed | None = None
) -> Estimate:
    """Predict a run of `config` on `hardware`.

    `speed` is what was measured, or None: then there is no time and no cost.
    """
    *before, plan = [_plan_of(*stage) for stage in _stages_of(config, data_facts)]
    memory = peak_memory(config, shape, data_facts, hardware, speed)
    seconds = estimate_time(config, data_facts, speed)

    def fits(changed: TrainConfig) -> bool:
        is_possible = changed.precision == config.precision or not shape.stored_in
        return is_possible and peak_memory(changed, shape, data_facts, hardware, speed).fits

    fits_with = make_it_fit(config, fits, hardware.has_gpu, data_facts.get("lengths"))
    return Estimate(
        plan=plan,
        text_plan=before[0] if before else None,
        memory=memory,
        checkpointing=checkpointing_words(config, memory),
        seconds=seconds,
        seconds_source=speed.source if speed else None,
        cost=estimate_cost(seconds, hardware),
        make_it_fit=fits_with or None,
        on_gpu=hardware.has_gpu,
        weights=count_weights(config, shape),
    )


def peak_memory(
    config: TrainConfig, shape: ModelShape, data_facts: DataFacts, hardware: Hardware, speed: Speed | None
) -> Memory:
    """Predict the memory of the stage that needs most."""
    import_bytes = speed.framework_bytes if speed else None
    stages = _stages_of(config, data_facts)
    needs = [estimate_memory(stage, shape, facts, hardware, import_bytes) for stage, facts in stages]
    return max(needs, key=lambda memory: memory.total)


def _stages_of(config: TrainConfig, data_facts: DataFacts) -> list[tuple[TrainConfig, DataFacts]]:
    """Return (config, facts of its rows) for each stage of a run: text first, when there is some and it was looked at."""
    text = data_facts.get("text") if config.text_data else None
    if not text or not text["train_rows"]:
        return [(config, data_facts)]
    # the rows are full already
    passes = replace(config, num_train_epochs=config.text_epochs, max_steps=0, packing=False)
    share = 1 - config.eval_fraction
    tokens = round(text["tokens"] * share)
    facts: DataFacts = {
        "train_rows": text["train_rows"],
        "held_out_rows": round(text["train_rows"] / share) - text["train_rows"],
        "tokens": tokens,
        "trained_tokens": tokens,
        "longest": config.max_length,
        "mean_length": tokens / text["train_rows"],
    }
    return [(passes, facts), (config, data_facts)]


def _plan_of(config: TrainConfig, data_facts: DataFacts) -> Plan:
    """Plan the steps for the rows that the trainer gets, packed when the config packs."""
    rows = data_facts["train_rows"]
    if config.packing:
        rows = packed_rows(data_facts["tokens"], config.max_length)
    return plan_steps(config, rows, bool(data_facts.get("held_out_rows")))


def estimate_time(config: TrainConfig, data_facts: DataFacts, speed: Speed | None) -> float | None:
    """Return the seconds of training and of evaluating the held-out rows and the test sets; None without a measurement."""
    if speed is None:
        return None
    seconds = sum(_stage_time(*stage, speed) for stage in _stages_of(config, data_facts))
    return min(seconds, 60.0 * config.max_minutes) if config.max_minutes else seconds


def _stage_time(config: TrainConfig, data_facts: DataFacts, speed: Speed) -> float:
    plan = _plan_of(config, data_facts)
    tokens_a_step = min(1.0, plan.effective_batch / max(1, data_facts["train_rows"])) * data_facts["tokens"]
    if config.packing:
        tokens_a_step = min(plan.effective_batch * config.max_length, data_facts["tokens"])
    trained = plan.total_steps * tokens_a_step
    held_out = evaluated_rows(config, data_facts["train_rows"], data_facts.get("held_out_rows", 0))
    test_sets = len(config.tested())
    tested = test_sets * tokens_a_test_set(test_sets, trained, plan.evaluations)
    evaluated = plan.evaluations * (held_out * data_facts["mean_length"] + tested)
    return (trained + FORWARD_SHARE * evaluated) / config.num_processes * speed.seconds_per_token


def estimate_cost(seconds: float | None, hardware: Hardware) -> Cost | None:
    """Return the cost on a Space whose flavour has a known price, else None."""
    flavor = hardware.space_flavor or ""
    price = space_dollars_per_hour(flavor)
    if price is None or seconds is None:
        return None
    return Cost(flavor, price, round(price * seconds / 3600, 4))


def record_estimate(run_folder: Path, found: Estimate) -> None:
    """Keep what was predicted in the run; what was measured is in the metrics of its last event."""
    write_json(run_folder / ESTIMATE_FILE, found.to_json())


def predicted_memory(run_folder: Path) -> int | None:
    """Return the bytes that were predicted for the run, None where no prediction was kept."""
    found = read_json(run_folder / ESTIMATE_FILE)
    memory = found.get("memory") if isinstance(found, dict) else None
    total = memory.get("total") if isinstance(memory, dict) else None
    return total if isinstance(total, int) else None
