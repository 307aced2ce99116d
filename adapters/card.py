"""Writes the model card of an adapter when it is pushed, from its files alone.

Rows of the data appear only when their owner asked for it (`package.py` decides), else only their number. Text from people and
machines (answers, names of hardware) is escaped: others open the card as a page.
"""

import html
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from textwrap import wrap

from adapters.evaluated import HEADS, STATED, Evaluated, is_stated
from adapters.facts import steps_of, training_time
from adapters.forgotten import GENERAL, forgotten_in
from adapters.history import History, kept_step
from adapters.library import Adapter
from adapters.model_index import MAX_LOSS, results_of
from common.language import english
from common.made_by import MadeBy, read_made_by
from models import embedded
from models.base import DEFAULT_BASE

LICENSES = {DEFAULT_BASE: "apache-2.0", embedded.HUB_ID: "apache-2.0"}
TAGS = ("lora", "sft", "trl", "transformers", "peft", "tinyllama-studio")
SYNTHETIC = "synthetic"  # what the Hub calls data that a model wrote
OWNERS = "data of its owner"
MAX_ANSWER_CHARACTERS = 1500
COLUMNS = 90
FOUR_BIT_BASE = "The base's weights came from a 4-bit file, so that numbers differ slightly from those on the Hub's. "
UNSEEN_BASE = (
    "It was trained on its maker's copy of the base: config and shapes are those of the one on the Hub, the numbers themselves "
    "were not compared. "
)
READING = (
    "In brackets 95 % intervals, n the number of rows. Where there is a difference the base answered the same rows: it is the "
    "adapter minus the base, pair by pair."
)
LIMITATIONS = (
    "## Limitations\n\nA small model with a small adapter: it can be wrong, repeat itself, and invent facts. It keeps the "
    "biases of its base and of what it was trained on. Nobody has tested it for safety; do not rely on it where an error "
    "does harm. {base}The numbers above were measured by its maker on {rows}; they say nothing about other tasks."
)
SNIPPET = """\
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained("{base}"{revision})
model = PeftModel.from_pretrained(base, "{repo_id}")
tokenizer = AutoTokenizer.from_pretrained("{tokenizer}"{tokenizer_revision})

messages = [{{"role": "user", "content": "Hello!"}}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
answer = model.generate(**inputs, max_new_tokens=200, do_sample=False)
print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
"""


@dataclass(frozen=True)
class CardFacts:
    """Facts that the adapter's files do not hold: repository, licence, language, and the public data sets with their licences."""

    repo_id: str
    license: str
    language: str = ""
    datasets: dict[str, str] = field(default_factory=dict)
    measured: Sequence[Evaluated] = ()
    with_picture: bool = False
    with_answers: bool = False
    has_unseen_base: bool = False  # a folder of its maker's, of which only config and shapes were compared

    @property
    def name(self) -> str:
        """Return the repository's name without its owner."""
        return self.repo_id.split("/")[1]


def write_card(adapter: Adapter, history: History, facts: CardFacts) -> str:
    """Return the whole README.md: front matter and body."""
    is_embedded = adapter.base_choice == "embedded"
    revision = f', revision="{adapter.base_revision}"' if adapter.base_revision and not is_embedded else ""
    has_tokenizer = any((adapter.folder / file).is_file() for file in ("tokenizer.json", "tokenizer.model"))
    snippet = SNIPPET.format(
        base=adapter.base,
        revision=revision,
        repo_id=facts.repo_id,
        tokenizer=facts.repo_id if has_tokenizer else adapter.base,
        tokenizer_revision="" if has_tokenizer else revision,
    )
    parts = [
        f"# {cell(adapter.title)}",
        f"A LoRA adapter for [{adapter.base}](https://huggingface.co/{adapter.base}), {_made_words(adapter, facts)}.",
        made_rows(read_made_by(adapter.metrics.get("made"))),
        f"## Use it\n\n```python\n{snippet}```\n\nIt needs `pip install peft transformers`; it loads the base by itself.",
        _results(adapter, facts),
        _measured(adapter, facts.measured),
        _answers(history) if facts.with_answers else "",
        "" if _is_computed(adapter) else f"## How it was trained\n\n{_settings_table(adapter)}\n\n{_machine(adapter)}",
        LIMITATIONS.format(
            base=FOUR_BIT_BASE if is_embedded else UNSEEN_BASE if facts.has_unseen_base else "",
            rows="these test sets" if facts.measured else "rows held out from the same data",
        ),
        f"Made with {made_with()}.",
    ]
    return f"---\n{_front_matter(adapter, facts)}\n---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def made_with() -> str:
    """Return the name of this app as Markdown, on a Space with its address."""
    space = os.environ.get("SPACE_ID", "")
    is_space = re.fullmatch(r"[\w.-]+/[\w.-]+", space)
    return f"[TinyLlama Studio](https://huggingface.co/spaces/{space})" if is_space else "TinyLlama Studio"


def _front_matter(adapter: Adapter, facts: CardFacts) -> str:
    """Return the YAML that the Hub reads: base and relation, licence, tags, and the numbers that we report."""
    from huggingface_hub import ModelCardData

    results = results_of(adapter, facts.datasets, facts.measured)
    made = [SYNTHETIC] if read_made_by(adapter.metrics.get("made")) else []
    return ModelCardData(
        library_name="peft",
        base_model=adapter.base,
        base_model_relation="adapter",
        pipeline_tag="text-generation",
        license=facts.license,
        language=[facts.language] if facts.language else None,
        datasets=[*facts.datasets] or None,
        tags=[f"base_model:adapter:{adapter.base}", *TAGS, *made],
        model_name=facts.name if results else None,
        eval_results=results or None,
    ).to_yaml()


def _is_computed(adapter: Adapter) -> bool:
    """Return whether the adapter was computed from others, without a training of its own."""
    return adapter.origin.kind in ("mixed", "repaired")


def _made_words(adapter: Adapter, facts: CardFacts) -> str:
    """Return how the adapter was made, by a training or from other adapters, as Markdown."""
    if _is_computed(adapter):
        return f"{adapter.origin.kind} without a training: {cell(adapter.origin.source)}"
    return f"fine-tuned on {_training_words(adapter, facts)}"


def _training_words(adapter: Adapter, facts: CardFacts) -> str:
    """Return what the adapter was trained on, with the numbers of rows and trained tokens, as Markdown."""
    rows, tokens = adapter.metrics.get("rows"), adapter.metrics.get("trained_tokens")
    counts = [f"{rows:,} rows"] if isinstance(rows, int) else []
    counts += [f"{tokens:,} trained tokens"] if isinstance(tokens, int) else []
    sets = adapter.data_sets()
    whole = sum(one.share or 0 for one in sets)
    parts = [(one.share or 0, _data_words(one.place, facts)) for one in sets] or [(0, OWNERS)]
    named = ", ".join(f"{100 * share / whole:.3g}% {words}" if whole else words for share, words in parts)
    return f"{named} ({', '.join(counts)})" if counts else named


def made_rows(made: Iterable[MadeBy]) -> str:
    """Return by whom how many rows were made, and under which licence, as a Markdown list; "" where none was."""
    lines = []
    for one in made:
        recipe = f" by the recipe {cell(one['recipe'])} {cell(one['version'])}".rstrip() if one["recipe"] else ""
        changed = f", {one['edited']:,} of them changed by a person" if one["edited"] else ""
        licence = cell(one["licence"]) or "not stated"
        lines.append(
            f"- {one['rows']:,} by {cell(one['teacher'])}{recipe}{changed}; licence of its output, as stated by who asked it: "
            f"{licence}"
        )
    return "\n".join(["Rows that a model wrote, not a person:\n", *lines]) if lines else ""


def _data_words(place: str, facts: CardFacts) -> str:
    """Return a data set as Markdown: by name and licence when it is public."""
    if place in facts.datasets:
        license_words = f" ({cell(facts.datasets[place])})" if facts.datasets[place] else ""
        return f"[{place}](https://huggingface.co/datasets/{place}){license_words}"
    return "the study coach example of TinyLlama Studio" if place == "example" else OWNERS


def _results(adapter: Adapter, facts: CardFacts) -> str:
    """Return the section with the held-out loss before and after, and the curves; "" when neither is known."""
    lines = ["## What it learned"]
    if adapter.loss_after is not None:
        held_out = adapter.metrics.get("held_out_rows")
        lines.append(
            f"Measured by the training on {held_out if isinstance(held_out, int) else 'the'} held-out rows, per trained token, "
            "without intervals:\n\n"
            "| | loss | perplexity |\n|---|---|---|\n"
            f"| base, before | {_loss_cells(adapter.loss_before)} |\n| with this adapter | {_loss_cells(adapter.loss_after)} |"
        )
    kept, last = kept_step(adapter.metrics), adapter.metric("loss_last")
    if kept and adapter.loss_after is not None and last is not None:
        words = f"Step {kept} is kept, where the held-out loss was lowest: {adapter.loss_after:.4f}"
        lines.append(f"{words}; the last step, {adapter.metrics['step']}, had {last:.4f}.")
    lines += [english(one.words()) for one in forgotten_in(adapter.metrics) if one.test_set == GENERAL]
    if facts.with_picture:
        lines.append("![The result: training and held-out loss over the steps](loss.png)")
    return "\n\n".join(lines) if len(lines) > 1 else ""


def _loss_cells(loss: float | None) -> str:
    """Return a loss and its perplexity as two cells of a table."""
    return f"{loss:.4f} | {math.exp(min(loss, MAX_LOSS)):.2f}" if loss is not None else "- | -"


def _measured(adapter: Adapter, measured: Sequence[Evaluated]) -> str:
    """Return the section with a table for each test set that an evaluation asked; "" where none did."""
    parts = []
    for one in measured:
        heads = [cell(english(head)) for head in HEADS]
        lines = [heads, ["---"] * len(heads), *([cell(english(word)) for word in score.row()] for score in one.scores)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        versions = [f"{cell(name)} {cell(version)}" for name, version in one.versions.items()]
        commit = (
            f"[{one.dataset}](https://huggingface.co/datasets/{one.dataset}) at {one.revision}" if one.dataset else ""
        )
        made = [commit, f"SHA-256 of its rows {one.fingerprint}" if one.fingerprint else "", one.day, *versions]
        parts.append(f"### {cell(english(one.words()))}\n\n{table}\n\n{', '.join(part for part in made if part)}.")
    if not parts:
        return ""
    stated = f"{english(STATED)} " if is_stated(adapter) else ""
    return "\n\n".join([f"## Evaluated\n\n{stated}{READING}", *parts])


def _answers(history: History) -> str:
    """Return the section with the sample prompts and their answers, as text that cannot be markup."""
    before = {one["prompt"]: one["answer"] for one in history.answers_before}
    parts = []
    for one in history.answers_after:
        prompt = one["prompt"]
        parts.append(f"**Prompt**\n\n{fenced(prompt)}")
        if prompt in before:
            parts.append(f"Base\n\n{fenced(before[prompt])}")
        parts.append(f"With this adapter\n\n{fenced(one['answer'])}")
    return "\n\n".join(["## Before and after", *parts]) if parts else ""


def fenced(text: str) -> str:
    """Return the text in a code block, in lines of COLUMNS, whose fence is longer than any inside it."""
    text = text[:MAX_ANSWER_CHARACTERS].strip()
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = [part for line in text.splitlines() for part in wrap(line, COLUMNS, break_on_hyphens=False) or [""]]
    return "\n".join([f"{fence}text", *lines, fence])


def _settings_table(adapter: Adapter) -> str:
    """Return the settings of the training as a Markdown table."""
    known: dict[str, object] = {one.name: one.value for one in adapter.told_settings() if one.on_card}
    known |= {"lora_r": adapter.lora_r, "precision of the base": adapter.metrics.get("precision", "not known")}
    if isinstance(adapter.metrics.get("step"), int):
        known["optimiser steps"] = english(steps_of(adapter.metrics))
    return "| setting | value |\n|---|---|\n" + "\n".join(
        f"| {cell(name)} | {cell(value)} |" for name, value in known.items()
    )


def cell(value: object) -> str:
    """Return a value as one cell of a table: no markup, no end of the cell."""
    text = html.escape(" ".join(str(value).split()))[:200]
    return re.sub(r"([|`*_\[\]\\])", r"\\\1", text)


def _machine(adapter: Adapter) -> str:
    """Return the sentences on hardware, time and versions."""
    metrics = adapter.metrics
    parts = [f"Hardware: {cell(metrics['hardware'])}."] if metrics.get("hardware") else []
    time = training_time(adapter)
    parts += [f"Time: {english(time)}."] if time else []
    versions = metrics.get("versions")
    if isinstance(versions, dict):
        parts.append(
            "Versions: " + ", ".join(f"{cell(name)} {cell(version)}" for name, version in versions.items()) + "."
        )
    return " ".join(parts)
