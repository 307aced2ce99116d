"""The chat template of an adapter: the base's, a known family's, or, by its owner's choice, its own.

An adapter contains a text. A known text stands for a family, and the app's own file of it is rendered. Any other text is not used
until the adapter's owner chooses: `"template"` in studio.json is the name of a family, "base", or "own:<SHA-256>" for exactly the
text at that time.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from common.errors import UserError
from common.files import read_json
from common.language import _, joined, said
from common.visitors import has_visitors, is_visitor
from models.messages import Message
from models.templates import LABELS, NAMES, read_template, without_marks
from models.templates.foreign import render_foreign
from models.templates.known import fingerprint, recognise

FILE, CONFIG, RECORD = "chat_template.jinja", "tokenizer_config.json", "studio.json"
MAX_TEMPLATE_BYTES = 100_000
MAX_CONFIG_BYTES = 2_000_000
MAX_RECORD_BYTES = 1_000_000
MAX_TOKEN_CHARACTERS = 100
BASE, OWN = "base", "own"
CUT = "\ufdd2"  # behind the last message of a text that goes on; Unicode keeps it for internal use
WHERE = _("Choose the template it was trained with in the Adapters tab, or with `python -m adapters template`.")


class OwnToken(NamedTuple):
    """A token that an adapter trained and its base's tokenizer lacks. Text that people type is never read as a control token."""

    content: str
    number: int
    is_control: bool

    @classmethod
    def read_all(cls, entries: object) -> "list[OwnToken]":
        """Read entries as in a tokenizer.json; those of wrong types, and a number's second one, are passed over."""
        found = {}
        for entry in entries if isinstance(entries, list) else []:
            content, number = (entry.get(name) for name in ("content", "id")) if isinstance(entry, dict) else ("", 0)
            is_text = isinstance(content, str) and 0 < len(content) <= MAX_TOKEN_CHARACTERS and content.isprintable()
            if is_text and type(number) is int and number >= 0:
                found.setdefault(number, cls(content, number, entry.get("special") is True))
        return list(found.values())

    def to_json(self) -> dict[str, str | int | bool]:
        """Return the entry that `read_all` reads."""
        return {"content": self.content, "id": self.number, "special": self.is_control}


@dataclass(frozen=True)
class Template:
    """A chat template. A foreign one is rendered in a process of its own and nowhere else.

    `tokens` are added to the base's tokenizer for it.
    """

    name: str
    text: str
    is_foreign: bool = False
    tokens: tuple[OwnToken, ...] = ()

    def render(self, tokenizer, messages: list[Message], continuing: bool = False) -> str:
        """Return the text of `messages`, opened for an answer; with `continuing`, it ends within the last one."""
        if not self.is_foreign:
            return tokenizer.apply_chat_template(
                messages,
                chat_template=self.text,
                add_generation_prompt=not continuing,
                continue_final_message=continuing,
                tokenize=False,
            )
        variables = {"tools": None, "documents": None, **tokenizer.special_tokens_map}
        if not continuing:
            return render_foreign(self.text, {**variables, "messages": messages, "add_generation_prompt": True})
        marked = [*messages[:-1], {**messages[-1], "content": messages[-1]["content"] + CUT}]
        text = render_foreign(self.text, {**variables, "messages": marked, "add_generation_prompt": False})
        if CUT not in text:
            raise UserError(_("The adapter's own chat template leaves out the last answer."), WHERE)
        return text[: text.rindex(CUT)]


def template_of(base_folder: Path, adapter_folder: Path | None = None) -> Template:
    """Return the template of a base, or of an adapter on it. Raises UserError for one that must not be used."""
    if adapter_folder is None:
        return _of_base(own_text(base_folder))
    record = read_json(adapter_folder / RECORD, None, MAX_RECORD_BYTES)
    tokens = OwnToken.read_all(record.get("tokens")) if isinstance(record, dict) else []
    return replace(_of_adapter(own_text(base_folder), adapter_folder), tokens=tuple(tokens))


def _of_adapter(base: str | None, adapter_folder: Path) -> Template:
    """Return the template of an adapter, `base` being its base's own. Raises UserError for one that must not be used."""
    text, choice = own_text(adapter_folder), chosen(adapter_folder)
    if choice in NAMES:
        return Template(choice, without_marks(read_template(choice)))
    name = BASE if choice == BASE else recognise_for(text, base)
    if name == BASE:
        return _of_base(base)
    if name and name in NAMES:
        return Template(name, without_marks(read_template(name)))
    if name and text:
        return Template(name, text)
    if text and choice == own_choice(text) and not has_visitors():
        return Template(OWN, text, is_foreign=True)
    words = _("The adapter '{name}' has a chat template that is not known here.", name=adapter_folder.name)
    raise UserError(words, WHERE)


def _of_base(text: str | None) -> Template:
    """Return the base's own template, TinyLlama's without one. Where visitors name bases it must be known."""
    if text is None:
        return Template("zephyr", without_marks(read_template("zephyr")))
    if not text:
        raise UserError(_("The chat template of this base is far too long."), _("Choose another base."))
    if has_visitors() and recognise(text) is None:
        raise UserError(
            _("This base has a chat template that is not known here."),
            _("Known ones are: {names}.", names=joined(LABELS.values(), ", ")),
        )
    return Template(BASE, text)


def recognise_for(text: str | None, base_text: str | None) -> str | None:
    """Return the name of an adapter's template: "base" for its base's or none, a known one's name, else None."""
    if text is None or (base_text and fingerprint(text) == fingerprint(base_text)):
        return BASE
    return recognise(text)


def own_text(folder: Path) -> str | None:
    """Return the template in `folder`, "" for one that is far too long, None without one.

    Of a list of named templates the default one, as in transformers. Nothing else in the tokenizer's files is read.
    """
    if (folder / FILE).is_file():
        with open(folder / FILE, "rb") as file:
            content = file.read(MAX_TEMPLATE_BYTES + 1)
        return content.decode("utf-8", "replace") if len(content) <= MAX_TEMPLATE_BYTES else ""
    config = read_json(folder / CONFIG, None, MAX_CONFIG_BYTES)
    found = config.get("chat_template") if isinstance(config, dict) else None
    if isinstance(found, list):
        named = [one for one in found if isinstance(one, dict) and one.get("name") == "default"]
        found = named[0].get("template") if named else None
    if not isinstance(found, str) or not found:
        return None
    return found if len(found) <= MAX_TEMPLATE_BYTES else ""


def chosen(adapter_folder: Path) -> str:
    """Return the choice of the adapter's owner, "" without one."""
    record = read_json(adapter_folder / RECORD, None, MAX_RECORD_BYTES)
    choice = record.get("template") if isinstance(record, dict) else None
    return choice if isinstance(choice, str) else ""


def own_choice(text: str | None) -> str:
    """Return the choice of exactly this text as studio.json keeps it; "" for a text that cannot be chosen."""
    return f"{OWN}:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}" if text else ""


def template_choices() -> list[tuple[str, str]]:
    """Return (label, value) of the templates that an owner may choose; not the adapter's own on a Space, which never runs it."""
    found = [(said(label), name) for name, label in LABELS.items()] + [(_("The base's own"), BASE)]
    if not is_visitor():
        found.append((_("The adapter's own (runs in a separate process)"), OWN))
    return found
