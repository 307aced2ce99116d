"""What rows are made from, by which teacher and recipe: the settings in config.yaml, for page, command line and scripts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from common.language import Sentence, _
from common.paths import MAX_TITLE_CHARACTERS, is_name
from runs.fields import MAX_LONG_TEXT_CHARACTERS, Mark, setting, short
from runs.settings_file import as_yaml, converted, read_text, refuse_if, settings_in, value_problems

SERVER, PROVIDER, LOCAL, ADAPTER = "server", "provider:", "local", "adapter:"
DOCUMENTS, SEEDS, TOPICS = "documents", "seed_rows", "topics"  # names of settings: what rows are made from
LANGUAGES = ("", "en", "ko")
MAX_ROWS = 100_000
MAX_DOCUMENT_NAMES, MAX_TOPICS, MAX_LABELS = 1_000, 1_000, 100
MAX_TOPIC_CHARACTERS, MAX_LABEL_CHARACTERS, MAX_PATH_CHARACTERS = 500, 100, 4_096
MAX_MANNER_CHARACTERS = 2_000
GROUP = _("Made data")
_PROVIDER = re.compile(r"provider:[a-z0-9][a-z0-9-]{0,40}")
_HUB_MODEL = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")  # and halves of characters
# no user, no password: what is in the settings is in files
_ADDRESS = re.compile(r"https?://[^\s/@?#]+(/[^\s@?#]*)?")


@dataclass(frozen=True)
class Recipe:
    """What is asked, made of one of `sources` or several; `needs` are further settings without which it makes no sense."""

    name: str
    title: Sentence
    sources: tuple[str, ...]
    needs: tuple[str, ...] = ()
    version: str = ""
    text: str = ""


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("question-answer", _("Questions and answers about documents"), (DOCUMENTS,)),
        Recipe("conversation", _("Conversations about documents or topics"), (DOCUMENTS, TOPICS)),
        Recipe("instruction", _("New instructions like yours, or about topics"), (SEEDS, TOPICS)),
        Recipe("rewrite", _("Your answers in another manner"), (SEEDS,), ("manner",)),
        Recipe("translate", _("Your rows in the other language"), (SEEDS,), ("language",)),
        Recipe("label", _("Labels for texts"), (DOCUMENTS, SEEDS), ("labels",)),
        Recipe("own", _("A recipe of your own"), (DOCUMENTS, SEEDS, TOPICS), ("recipe_text",)),
    )
}


@dataclass(frozen=True)
class MakingConfig:
    """What rows are made from, and how. One request to the teacher makes one row.

    `teacher`: 'server', a server that speaks OpenAI's interface; 'provider:NAME', Inference Providers of the Hub ('provider:auto'
    lets the Hub choose); 'local', a base or 'adapter:NAME' in `model`. `documents` are files, folders or zips.
    """

    title: str = setting("", "What the made set is called.", GROUP, Mark.KEPT, high=MAX_TITLE_CHARACTERS)
    recipe: str = setting("question-answer", "What the teacher is asked for.", GROUP, choices=tuple(RECIPES))
    teacher: str = setting("server", "Who writes the rows: server, provider:NAME, or local.", GROUP, high=60)
    model: str = setting("", "The teacher's name there; of a local one its base, or adapter:NAME.", GROUP, high=300)
    server: str = setting(
        "", "Address of a server of one's own, http://.../v1; empty: the one in CHAT_SERVER_URL.", GROUP, Mark.SERVER
    )
    documents: list[str] = field(default_factory=list)
    seed_rows: str = setting("", "A data set whose rows are examples, or are rewritten, translated, labelled.", GROUP)
    topics: list[str] = field(default_factory=list)
    rows: int = setting(200, "How many rows the teacher is asked for.", GROUP, low=1, high=MAX_ROWS)
    language: str = setting(
        "", "Language of the rows; empty: that of what they are made from.", GROUP, choices=LANGUAGES
    )
    manner: str = setting("", "The manner to write in.", GROUP, Mark.LONG, high=MAX_MANNER_CHARACTERS)
    labels: list[str] = field(default_factory=list)
    recipe_text: str = setting("", "A recipe of one's own.", GROUP, Mark.LONG, high=MAX_LONG_TEXT_CHARACTERS)
    licence: str = setting("", "Licence of what the teacher writes, as you state it.", GROUP, high=200)
    temperature: float = setting(0.7, "How freely the teacher writes.", GROUP, low=0.0, high=2.0)
    max_new_tokens: int = setting(512, "The longest answer of the teacher, in tokens.", GROUP, low=16, high=8192)
    seed: int = setting(0, "Draws passages and examples; the teacher gets it, too.", GROUP, low=0, high=2**31 - 1)
    parallel: int = setting(4, "Requests at a time.", GROUP, low=1, high=32)
    check_answers: bool = setting(False, "Ask the teacher of each answer whether its passage supports it.", GROUP)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "MakingConfig":
        """Build from plain values, converting numbers. Raises UserError for an unknown name or a value of another type."""
        return cls(**converted(values, get_type_hints(cls)))

    @classmethod
    def from_yaml(cls, path: Path) -> "MakingConfig":
        """Read a `config.yaml`. Raises UserError when it is not one."""
        return cls.from_dict(settings_in(read_text(path), short(path.name), max_depth=2))

    def to_yaml(self) -> str:
        """Write the settings as YAML."""
        return as_yaml(self)

    def check(self) -> None:
        """Raise one UserError that names every problem; return when there is none. What exists is not looked up."""
        found = value_problems(self)
        if self.teacher not in (SERVER, LOCAL) and not _PROVIDER.fullmatch(self.teacher):
            found.append(_("'{name}' is not a teacher: server, provider:NAME, or local.", name=short(self.teacher)))
        # huggingface_hub would ask any address that stands in the place of a provider's model
        if self.teacher.startswith(PROVIDER) and self.model and not _HUB_MODEL.fullmatch(self.model):
            found.append(_("'{name}' is not a model ID.", name=short(self.model)))
        if self.model.startswith(ADAPTER) and not is_name(self.model.removeprefix(ADAPTER)):
            found.append(_("'{name}' is not a valid name.", name=short(self.model)))
        if self.server and not _ADDRESS.fullmatch(self.server):
            found.append(
                _("'{name}' is not the address of a server, such as http://127.0.0.1:8000/v1.", name=short(self.server))
            )
        for name, texts, most, longest in (
            ("documents", self.documents, MAX_DOCUMENT_NAMES, MAX_PATH_CHARACTERS),
            ("topics", self.topics, MAX_TOPICS, MAX_TOPIC_CHARACTERS),
            ("labels", self.labels, MAX_LABELS, MAX_LABEL_CHARACTERS),
        ):
            if len(texts) > most or any(len(one) > longest or not one.strip() for one in texts):
                words = _("At most {most:,}, each of 1 to {longest:,} characters.", most=most, longest=longest)
                found.append(_("{setting}: {problem}", setting=name, problem=words))
            if any(map(_CONTROL.search, texts)):
                words = _("Control characters are not allowed.")
                found.append(_("{setting}: {problem}", setting=name, problem=words))
        refuse_if(found)
