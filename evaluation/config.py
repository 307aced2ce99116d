"""What an evaluation asks and of whom: the settings in its config.yaml, for the page, the command line and scripts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from common.language import _
from common.paths import MAX_TITLE_CHARACTERS, is_name
from models.precision import PRECISIONS
from runs.fields import MAX_LONG_TEXT_CHARACTERS, Mark, setting, short
from runs.settings_file import as_yaml, converted, read_text, refuse_if, settings_in, value_problems

BASE, FEW_SHOT, ADAPTER, RUN = "base", "few-shot", "adapter:", "run:"
MAX_CANDIDATES, MAX_TEST_SETS = 8, 16
GROUP = _("Evaluation")


@dataclass(frozen=True)
class EvaluationConfig:
    """What an evaluation is made of. The first candidate is the one that the others are compared with.

    Candidates: 'base'; 'few-shot', the base that sees `shots` examples first; 'adapter:NAME'. Test sets: ids of kept ones,
    'general', 'questions', and 'run:ID', the held-out rows of that run.
    """

    title: str = setting("", "What the evaluation is called.", GROUP, Mark.KEPT, high=MAX_TITLE_CHARACTERS)
    candidates: list[str] = field(default_factory=lambda: [BASE])
    test_sets: list[str] = field(default_factory=list)
    scores: list[str] = field(default_factory=list)  # all that fit a test set, when empty
    shots: int = setting(
        3, "Examples that the few-shot prompt shows, taken from the test set and not asked.", GROUP, low=1, high=16
    )
    max_new_tokens: int = setting(64, "The longest answer, in tokens.", GROUP, low=1, high=1024)
    max_items: int = setting(
        0, "Questions of each test set, drawn with the seed; 0 asks all.", GROUP, low=0, high=1_000_000
    )
    max_minutes: int = setting(
        0, "After so many minutes it stops and keeps the results so far; 0: no limit.", GROUP, low=0, high=100_000
    )
    format_rule: str = setting(
        "",
        "What an answer must look like: a regular expression, or a JSON schema.",
        GROUP,
        Mark.LONG,
        high=MAX_LONG_TEXT_CHARACTERS,
    )
    seed: int = setting(0, "Draws the questions, the examples and the intervals.", GROUP, low=0, high=2**32 - 1)
    precision: str = setting(
        "auto",
        "Precision of the base model's weights; auto is 8bit on a GPU and fp32 on a CPU.",
        GROUP,
        choices=PRECISIONS,
    )
    base: str = setting("", "Base model; empty: the one that the adapters were trained on.", GROUP)
    base_revision: str = setting("", "Commit of the base model (written at the start).", GROUP)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "EvaluationConfig":
        """Build from plain values, converting numbers. Raises UserError for an unknown name or a value of another type."""
        return cls(**converted(values, get_type_hints(cls)))

    @classmethod
    def from_yaml(cls, path: Path) -> "EvaluationConfig":
        """Read a `config.yaml`. Raises UserError when it is not one."""
        return cls.from_dict(settings_in(read_text(path), short(path.name), max_depth=2))

    def to_yaml(self) -> str:
        """Write the settings as YAML."""
        return as_yaml(self)

    def adapters(self) -> list[str]:
        """Return the names of the adapters among the candidates."""
        return [one.removeprefix(ADAPTER) for one in self.candidates if one.startswith(ADAPTER)]

    def check(self) -> None:
        """Raise one UserError that names every problem; return when there is none. What exists is not looked up."""
        found = value_problems(self)
        for one in self.candidates[:MAX_CANDIDATES]:
            if one not in (BASE, FEW_SHOT) and not (one.startswith(ADAPTER) and is_name(one.removeprefix(ADAPTER))):
                found.append(_("'{name}' is not a candidate: base, few-shot, or adapter:NAME.", name=short(one)))
        for one in self.test_sets[:MAX_TEST_SETS]:
            if not is_name(one.removeprefix(RUN)):
                found.append(_("'{name}' is not a valid name of a test set.", name=short(one)))
        for most, names, words in (
            (MAX_CANDIDATES, self.candidates, _("Choose 1 to {most} candidates, none twice.", most=MAX_CANDIDATES)),
            (MAX_TEST_SETS, self.test_sets, _("Choose 1 to {most} test sets, none twice.", most=MAX_TEST_SETS)),
        ):
            if not 1 <= len(names) <= most or len({*names}) < len(names):
                found.append(words)
        if len({*self.scores}) < len(self.scores):
            found.append(_("Choose each score once."))
        refuse_if(found)
