"""Writes the card of a data set when it is pushed: what the Hub reads of it, and where its rows are from.

No row stands on it. Names of teachers and licences are escaped: others open the card as a page.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TypedDict

from adapters.card import SYNTHETIC, cell, made_rows, made_with
from common.made_by import MadeBy
from data.feedback import Row
from data.fingerprint import FileFingerprint
from data.made import COLUMN as MADE
from data.made import made_by, origin_of
from data.published import COLUMNS

SIZES = (("n<1K", 1000), ("1K<n<10K", 10_000), ("10K<n<100K", 100_000), ("100K<n<1M", 1_000_000))
MEANINGS = {
    "messages": "the conversation; its last turn is the answer",
    "rejected": "answers to the same that somebody found worse than that one",
    "label": "`false`: somebody disliked the answer, it is not to be learned",
    "source": "how the row came about",
    "key": "tells answers apart",
    MADE: "of a row that a teacher made: teacher, recipe and its version, the beginning of the SHA-256 of the prompt, "
    "the document with the characters that it was made from, the time in seconds since 1970, the licence of the teacher's "
    "output as its maker stated it, and whether a person has changed the row",
}
USE = """## Use it

```python
from datasets import load_dataset

rows = load_dataset("{repo_id}", split="train")
```

In TinyLlama Studio `{repo_id}` is the ID to train on; while it is private, `python -m data pull {repo_id}` downloads it first."""


class DataFingerprint(TypedDict):
    """What tells whether rows are the same: the files, the rows of each split, and which of them a teacher made."""

    files: list[FileFingerprint]
    rows: dict[str, int]
    made: list[MadeBy]


@dataclass(frozen=True)
class DataFacts:
    """What a card tells: the repository, what the owner stated of the rows, their columns and counts."""

    repo_id: str
    license: str
    language: str
    columns: list[str]
    rows: dict[str, int]  # by split
    made: list[MadeBy]
    sources: dict[str, int]  # rows that nobody made, by how they came about

    @property
    def total(self) -> int:
        """Return the number of all rows."""
        return sum(self.rows.values())


def facts_of(
    repo_id: str, parts: dict[str, list[Row]], columns: list[str], license: str = "", language: str = ""
) -> DataFacts:
    """Return the facts for the card of these rows, by split."""
    rows = [row for part in parts.values() for row in part]
    sources = Counter(str(row.get("source", "")) for row in rows if MADE not in row)
    return DataFacts(
        repo_id=repo_id,
        license=license,
        language=language,
        columns=columns,
        rows={split: len(part) for split, part in parts.items()},
        made=made_by(map(origin_of, rows)),
        sources=dict(sources.most_common()),
    )


def write_data_card(facts: DataFacts) -> str:
    """Return the whole README.md: front matter and body."""
    splits = ", ".join(f"{count:,} rows for {split}" for split, count in facts.rows.items())
    licence = f"Licence: {cell(facts.license)}." if facts.license else "Its owner has stated no licence."
    parts = [
        f"# {facts.repo_id.split('/')[1]}",
        f"Conversations to fine-tune a chat model on: {splits}. {licence}",
        "## Columns\n\n" + "\n".join(f"- `{name}`: {MEANINGS[name]}" for name in facts.columns),
        _origins(facts),
        USE.format(repo_id=facts.repo_id),
        f"Made with {made_with()}. `fingerprint.json` has the SHA-256 of the rows.",
    ]
    return f"---\n{_front_matter(facts)}\n---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(facts: DataFacts) -> str:
    """Return the YAML that the Hub reads: licence, language, size, tags, the files of the splits, the columns' types."""
    from huggingface_hub import DatasetCardData

    return DatasetCardData(
        license=facts.license or None,
        language=[facts.language] if facts.language else None,
        task_categories=["text-generation"],
        size_categories=[next(name for name, most in SIZES if facts.total < most)],
        tags=["tinyllama-studio", *([SYNTHETIC] if facts.made else [])],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"{split}.jsonl"} for split in facts.rows],
            }
        ],
        dataset_info={"features": [{"name": name, **COLUMNS[name]} for name in facts.columns]},
    ).to_yaml()


def _origins(facts: DataFacts) -> str:
    """Return the section that says where the rows are from."""
    lines = [f"- {count:,}: {cell(source) or 'not known'}" for source, count in facts.sources.items()]
    people = "Rows from chats, by what a person did with the answer:\n\n" + "\n".join(lines) if lines else ""
    return "\n\n".join(part for part in ("## Where the rows are from", made_rows(facts.made), people) if part)
