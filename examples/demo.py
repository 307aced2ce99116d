"""The main job without a browser: train on the example data, then compare the adapter with its base.

    python -m examples.demo [--base B] [--precision P] [--max-steps N] ...     (`make demo`)

Prints the training as it goes, a table of held-out prompts with both answers, and the figures; the last line is one JSON
object with the same figures. Every figure is computed from this run.
"""

import argparse
import json
import re
import sys
import textwrap
from dataclasses import dataclass
from typing import Any

from adapters.library import Adapter, find_adapter
from chat.engine import Engine, Model, Reply, Sampling
from common.command_line import exit_code
from common.language import _
from common.words import duration
from data.reading import EXAMPLE_HELD_OUT, read_rows
from models.base import AUTO, DEFAULT_BASE, EMBEDDED, choose_base, fetch_base
from models.hardware import find_gpus
from models.messages import Message
from runs.commands import given_settings
from runs.config import TrainConfig
from runs.follow import follow
from runs.queue import launch
from runs.run import read_state
from trainer.__main__ import add_settings

# The study coach's manner: three lines, with these words in front, and nothing else
MANNER = re.compile(r"In short: [^\n]+\nWhy: [^\n]+\nTry this: [^\n]+")
MAX_ANSWER_TOKENS = 128
SHOWN_ANSWERS = 6


@dataclass(frozen=True)
class Comparison:
    """Both models' answers to the same held-out conversations."""

    conversations: list[list[Message]]
    base: list[Reply]
    tuned: list[Reply]


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run the demonstration, and return the exit code."""

    def work() -> int:
        words = _("Train on the example data, then compare the adapter with its base.")
        parser = argparse.ArgumentParser(prog="python -m examples.demo", description=words)
        add_settings(parser)
        given = given_settings(parser.parse_args(arguments))
        return _demonstrate(TrainConfig.from_dict({"name": "study-coach", **given}))

    return exit_code(work)


def _demonstrate(config: TrainConfig) -> int:
    """Train with `config`, compare the adapter with its base, and print both; return the exit code."""
    if config.base == AUTO and not find_gpus():
        config.base = EMBEDDED
        print(_("No GPU: the built-in model is used; {base} would take hours. Choose with --base.", base=DEFAULT_BASE))
    run = launch(config)
    code = follow(run)
    if code:
        return code
    adapter = find_adapter(read_state(run).adapter)
    print("\n" + _("Asking both models the held-out questions ..."), flush=True)
    comparison = compare(adapter, config.precision)
    _print_table(comparison)
    _print_figures(figures(adapter, comparison))
    return 0


def compare(adapter: Adapter, precision: str) -> Comparison:
    """Let the base and the adapter give the last answer of every held-out conversation."""
    conversations = [row["messages"][:-1] for row in read_rows(str(EXAMPLE_HELD_OUT))]
    base_folder = fetch_base(choose_base(adapter.base_choice, adapter.base_revision))
    engine = Engine()
    sampling = Sampling(max_new_tokens=MAX_ANSWER_TOKENS)
    return Comparison(
        conversations,
        base=list(engine.answers(Model(base_folder, precision), conversations, sampling)),
        tuned=list(engine.answers(Model(base_folder, precision, adapter.folder), conversations, sampling)),
    )


def has_manner(answer: str) -> bool:
    """Return whether the whole answer is the three lines of the study coach."""
    return MANNER.fullmatch(answer.strip()) is not None


def _share(values: list[bool]) -> float:
    """Return the part of `values` that is True, rounded to three digits."""
    return round(sum(values) / len(values), 3)


def figures(adapter: Adapter, comparison: Comparison) -> dict[str, Any]:
    """Return what the last line prints; shares are between 0 and 1."""
    names = (
        "base",
        "precision",
        "loss_before",
        "loss_after",
        "tokens_per_second",
        "peak_memory_bytes",
        "train_seconds",
    )
    return {
        **{name: adapter.metrics[name] for name in names},
        "manner_before": _share([has_manner(reply.text) for reply in comparison.base]),
        "manner_after": _share([has_manner(reply.text) for reply in comparison.tuned]),
        "ended": _share([reply.ended for reply in comparison.tuned]),
        "adapter": str(adapter.folder),
    }


def _print_table(comparison: Comparison) -> None:
    """Print some held-out prompts with both answers."""
    rows = zip(comparison.conversations, comparison.base, comparison.tuned, strict=True)
    for messages, base, tuned in list(rows)[:: max(1, len(comparison.tuned) // SHOWN_ANSWERS)]:
        print(f"\n{'-' * 100}\nQ: {messages[-1]['content']}")
        for name, reply in ((_("base"), base), (_("adapter"), tuned)):
            text = textwrap.shorten(reply.text.replace("\n", " / "), 300, placeholder=" ...")
            print(textwrap.fill(text, 100, initial_indent=f"{name:8}", subsequent_indent=" " * 8))


def _print_figures(found: dict[str, Any]) -> None:
    """Print the figures for a person, and as one line of JSON."""
    change = 1 - found["loss_after"] / found["loss_before"]
    lines = (
        (_("base model"), f"{found['base']}, {found['precision']}"),
        (_("held-out loss"), f"{found['loss_before']:.3f} -> {found['loss_after']:.3f} ({-change:+.0%})"),
        (_("answers in the right form"), f"{found['manner_before']:.0%} -> {found['manner_after']:.0%}"),
        (_("answers that end"), f"{found['ended']:.0%}"),
        (_("training time"), duration(found["train_seconds"])),
        (_("tokens per second"), f"{found['tokens_per_second']:.0f}"),
        (_("peak memory"), f"{found['peak_memory_bytes'] / 2**30:.2f} GiB"),
        (_("adapter"), found["adapter"]),
    )
    print(f"\n{'-' * 100}")
    for label, figure in lines:
        print(f"{label:28}{figure}")
    print(json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())
