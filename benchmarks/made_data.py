"""From a document to an adapter: rows that a teacher makes, what the checks find in them, and what a model learns from them.

    python -m benchmarks.made_data [--steps 60]

Four pages of this project's own, 200 rows by the scripted teacher on loopback (`tests/teacher.py`), of which one in five is bad
on purpose; then a training on what the checks let pass, and an evaluation on questions about the first page that a person wrote
(made_questions.jsonl), beside the base that never saw it. Everything on the command line. Writes results/made_data.md.
"""

import argparse
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks.inputs import embedded_base, home_of_its_own
from benchmarks.rows import machine, where
from common.files import read_json_lines
from common.words import duration
from data.feedback import find_dataset
from evaluation.run import list_evaluations
from making.made import MadeSet, list_made, read_rows
from making.review import read_review
from tests.teacher import MODEL, teacher

DOCUMENTS = ("docs/adapters.md", "docs/training.md", "docs/chat.md", "docs/evaluation.md")
QUESTIONS = Path(__file__).with_name("made_questions.jsonl")
RESULTS = Path(__file__).parent / "results" / "made_data.md"
ROWS, BAD_EVERY = 200, 5
BAD = ("ungrounded", "refused", "boilerplate", "truncated", "injected", "personal", "duplicated", "leaked")


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, make, train, evaluate and write the result; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="how many steps are trained")
    options = parser.parse_args(arguments)
    embedded_base()
    with home_of_its_own():
        parts = [f"# From a document to an adapter\n\n{where(machine())}. Repeat it: `python -m benchmarks.made_data`."]
        parts += [made_part(), learned_part(options.steps)]
    RESULTS.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return 0


def made_part() -> str:
    """Make the rows, keep those that pass, and return what was found in which, as Markdown."""
    began = time.monotonic()
    with teacher(script) as (server, url):
        run("data", "make", *DOCUMENTS, "--rows", ROWS, "--model", MODEL, "--server", url, "--licence", "apache-2.0")
    took = duration(time.monotonic() - began)
    (made,) = list_made()
    kinds = kinds_of(made, server)
    found: dict[str, Counter[str]] = {kind: Counter() for kind in ("good", *BAD)}
    for row in read_review(made):
        found[kinds[row.key]].update([", ".join(row.findings) or "nothing"])
    run("data", "keep", made.id, "from-docs", "--accept-rest")
    counts = Counter(kinds.values())
    lines = []
    for kind, said in found.items():
        what = "; ".join(f"{count} {name}" for name, count in said.most_common())
        lines.append(f"| {kind} | {counts[kind]} | {counts[kind] - said['nothing']} | {what} |")
    kept = find_dataset("from-docs")
    bad_kept = sum(kinds[row["key"]] != "good" for row in read_json_lines(kept.path))
    return "\n".join(
        [
            f"## {sum(counts.values())} rows of {', '.join(DOCUMENTS)}\n",
            f"Made in {took}; {kept.rows} kept without a look at them, of which {bad_kept} bad.\n",
            "| the teacher's answer | rows | in which something was found | what |",
            "|---|---|---|---|",
            *lines,
        ]
    )


def script(asked: dict, number: int) -> str:
    """Return which answer the teacher gives: one in `BAD_EVERY` is bad, each kind in its turn."""
    return BAD[number // BAD_EVERY % len(BAD)] if number % BAD_EVERY == BAD_EVERY - 1 else "good"


def kinds_of(made: MadeSet, server) -> dict[str, str]:
    """Return how the teacher answered, by the keys of the rows: told by the prompts, which no two rows share."""
    said = {asked["messages"][-1]["content"]: kind for asked, kind in zip(server.asked, server.said, strict=True)}
    prompts = {line["key"]: line["prompt"] for line in read_json_lines(made.prompts_file)}
    return {row["key"]: said[prompts[row["key"]]] for row in read_rows(made)}


def learned_part(steps: int) -> str:
    """Train on the rows that were kept, evaluate beside the base, and return the table as Markdown."""
    data = find_dataset("from-docs").path
    run("trainer", "train", "--base", "embedded", "--data", data, "--name", "from-docs", "--max-steps", steps)
    run("evaluation", "run", "--adapter", "from-docs", "--test-set", QUESTIONS, "--test-set", "general")
    (evaluation,) = list_evaluations()
    shown = run("evaluation", "show", evaluation.id).partition("\n\n")[2]
    answers = run("evaluation", "show", evaluation.id, "--rows", "token_f1", "--count", 6)
    return "\n\n".join([f"## What {steps} steps on them taught", f"```text\n{shown}```", f"```text\n{answers}```"])


def run(module: str, *arguments: object) -> str:
    """Run a command of this app as a person does, and return what it printed. Raises CalledProcessError."""
    print("$ python -m", module, *arguments, flush=True)
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
    print(done.stdout, flush=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
