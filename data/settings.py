"""The settings that decide what becomes of the rows of a run."""

import json
from dataclasses import dataclass

EXAMPLE = "example"


@dataclass(frozen=True)
class TableSettings:
    """How tables are read: CSV, TSV, and one sheet of a workbook: "" for the first, None where there is no choosing."""

    header: bool = True
    keep_null_words: bool = False
    sheet: str | None = ""


@dataclass(frozen=True)
class DataSettings:
    """The part of a run's settings that `data` reads; `TrainConfig` has the same fields, with their help and limits."""

    data: str = EXAMPLE
    data_config: str | None = None
    data_split: str = "train"
    data_revision: str | None = None
    header: bool = True
    sheet: str = ""
    keep_null_words: bool = False
    columns: str = ""
    system_turns: str = "join"
    max_rows: int = 0
    text_data: str | None = None
    text_data_revision: str | None = None
    eval_data: str | None = None
    eval_data_revision: str | None = None
    eval_split: str | None = None
    eval_fraction: float = 0.1
    seed: int = 42
    skip_bad_rows: bool = False
    drop_duplicates: bool = False
    markup: str = "ask"
    too_long: str = "drop"
    max_length: int = 1024
    base: str = "auto"
    base_revision: str | None = None
    chat_template: str = "auto"

    def mapping(self) -> dict[str, str]:
        """Return `columns` as {what it is: the column's name}; {} when columns are recognised by themselves."""
        return json.loads(self.columns) if self.columns.strip() else {}

    def table(self, sheet: str | None = None) -> TableSettings:
        """Return how a table is read: `data` with the `sheet` of the settings, held-out rows and open text without."""
        return TableSettings(self.header, self.keep_null_words, sheet)
