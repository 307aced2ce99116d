"""`python -m ui.words`: extract the sentences of the code into each LANGUAGE.po, check the translations, compile LANGUAGE.mo."""

import ast
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from common.language import ENGLISH, FOLDER, LANGUAGES, NAMES

ROOT = FOLDER.parents[1]
# which arguments are msgids, where they are texts; a setting has a line of help
KEYWORDS = {"_": (0,), "n_": (0, 1), "setting": (1, 3)}
NOT_SHOWN = ("tests/", "benchmarks/", "docs/")
_FIELD = re.compile(r"\{\{|\}\}|\{\w+(?::[^{}]*)?\}")


def extracted(language: str) -> Catalog:
    """Return the sentences of all code that git knows or would take, without translations, as a catalogue of a language.

    Babel's own extractor sees no call inside an f-string, so the syntax tree is walked.
    """
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    found = Catalog(locale=language, fuzzy=False)
    for name in sorted(set(subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split())):
        if name.startswith(NOT_SHOWN) or not (ROOT / name).exists():
            continue
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEYWORDS:
                places = [node.args[place] for place in KEYWORDS[node.func.id] if place < len(node.args)]
                texts = [one.value for one in places if isinstance(one, ast.Constant) and isinstance(one.value, str)]
                # a singular alone and with its plural are one msgid to gettext
                known = found.get(texts[0]) if texts and texts[0] else None
                if texts and texts[0] and (known is None or isinstance(known.id, str)):
                    found.add(tuple(texts) if len(texts) == 2 else texts[0], locations=[(name, 0)])
    return found


def translated(language: str) -> Catalog:
    """Return the catalogue of a language as it stands; an empty one of a new language."""
    po = FOLDER / f"{language}.po"
    if not po.exists():
        return Catalog(locale=language, fuzzy=False)
    with po.open("rb") as file:
        return read_po(file, locale=language)


def problems(catalogue: Catalog) -> list[str]:
    """Return what is wrong with the translations: one that is missing, or other placeholders than its msgid's."""
    found = []
    for message in catalogue:
        if not message.id:
            continue
        originals = [message.id] if isinstance(message.id, str) else list(message.id)
        translations = [message.string] if isinstance(message.string, str) else list(message.string or [""])
        fields = {field for original in originals for field in _FIELD.findall(original)}
        for translation in translations:
            if not translation:
                found.append(f"no {NAMES[str(catalogue.locale)]}: {originals[0]!r}")
            elif not set(_FIELD.findall(originals[-1])) <= set(_FIELD.findall(translation)) <= fields:
                found.append(f"other placeholders: {originals[0]!r} and {translation!r}")
    return found


def write(catalogue: Catalog, folder: Path = FOLDER) -> None:
    """Write both files of a language, the same bytes for the same sentences."""
    catalogue.revision_date = catalogue.creation_date = datetime(2026, 1, 1, tzinfo=UTC)
    catalogue.project, catalogue.version, catalogue.last_translator = "TinyLlama Studio", "1", ""
    catalogue.language_team = catalogue.msgid_bugs_address = ""
    with (folder / f"{catalogue.locale}.po").open("wb") as file:
        write_po(
            file, catalogue, width=0, omit_header=False, sort_by_file=True, include_lineno=False, ignore_obsolete=True
        )
    with (folder / f"{catalogue.locale}.mo").open("wb") as file:
        write_mo(file, catalogue)


def main() -> int:
    """Bring all files up to date with the code; return 1 where a translation is missing or wrong."""
    found = []
    for language in LANGUAGES:
        if language == ENGLISH:
            continue
        catalogue = translated(language)
        catalogue.update(extracted(language), no_fuzzy_matching=True)
        write(catalogue)
        found += (wrong := problems(catalogue))
        print("\n".join(wrong) or f"{len(catalogue)} sentences, all of them in {NAMES[language]}.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
