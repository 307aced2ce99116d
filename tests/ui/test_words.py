"""Every sentence that a person reads is marked, extracted and translated."""

import ast
import subprocess
from pathlib import Path

import pytest

from common.language import KOREAN
from ui.words import __main__ as words

ROOT = Path(__file__).parents[2]
ROOMS = (
    "app.py",
    "studio",
    "examples",
    "common",
    "models",
    "adapters",
    "data",
    "runs",
    "trainer",
    "jobs",
    "chat",
    "evaluation",
    "making",
    "serving",
    "ui",
)
# a call's name: which of its arguments a person reads; None is every positional one
READ = {
    "UserError": (None, "message", "hint"),
    "hint_html": (0,),
    "Finding": (None,),
    "finding": (2, "message"),
    "cure": (0,),
    "Cure": (0,),
    "print": (None,),
    "say": (None,),
    "add_argument": ("help",),
    "add_parser": ("help", "description"),
    "ArgumentParser": ("description", "epilog"),
    "Error": (0, "title"),
    "Warning": (0, "title"),
    "Info": (0, "title"),
}
COMPONENTS = ("Button", "Markdown", "HTML", "Accordion", "Tab", "DownloadButton", "UploadButton")
CHOOSERS = ("Dropdown", "Radio", "CheckboxGroup")
SHOWN = ("label", "info", "placeholder", "title", "value", "x_title", "y_title")


def _is_words(node: ast.expr) -> bool:
    """Return whether an expression is a text with words in it that nobody marked."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.Constant) and _is_words(part) for part in node.values)
    if isinstance(node, ast.BinOp | ast.IfExp | ast.BoolOp):
        return any(_is_words(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))
    if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        return False
    text, inside = "", False
    for character in node.value:  # what stands between tags
        inside = character == "<" or (inside and character != ">")
        text += " " if inside or character == ">" else character
    return any(len(word.strip(".,:;!?()")) > 1 and word.strip(".,:;!?()").isalpha() for word in text.split())


def unmarked(file: Path) -> list[str]:
    """Return the places of a file where a person reads a text that is not marked."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        is_gradio = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "gr"
        read = READ.get(name, ())
        if is_gradio:
            read = (*read, *SHOWN, *((0,) if name in COMPONENTS else ()))
        for place, argument in enumerate(node.args):
            if (None in read or place in read) and _is_words(argument):
                found.append(f"{file.relative_to(ROOT)}:{argument.lineno} {ast.unparse(argument)[:80]}")
        for keyword in node.keywords:
            is_choice = name in CHOOSERS and keyword.arg == "value"  # the value of a choice, not its label
            if keyword.arg in read and not is_choice and _is_words(keyword.value):
                found.append(f"{file.relative_to(ROOT)}:{keyword.value.lineno} {ast.unparse(keyword.value)[:80]}")
    return found


def _files(room: str) -> list[Path]:
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", room], capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split() if name.endswith(".py") and name != "ui/words/__main__.py"]


@pytest.mark.parametrize("room", ROOMS)
def test_a_text_that_a_person_reads_is_marked(room):
    assert [place for file in _files(room) for place in unmarked(file)] == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_msgid_is_a_literal_and_nothing_hides_its_name(room):
    wrong = []
    for file in _files(room):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == "_"]
                is_called = any(isinstance(name.ctx, ast.Load) for name in names)
                if is_called and any(isinstance(name.ctx, ast.Store) for name in names):
                    wrong.append(f"{file.name}:{function.lineno} {function.name} binds _ and calls it")
            if isinstance(function, ast.Call) and getattr(function.func, "id", "") in ("_", "n_"):
                texts = function.args[: 1 if function.func.id == "_" else 2]
                if not all(isinstance(text, ast.Constant) and isinstance(text.value, str) for text in texts):
                    wrong.append(f"{file.name}:{function.lineno} a msgid that is no literal")
    assert wrong == []


def test_every_sentence_has_its_korean_with_the_same_placeholders():
    assert words.problems(words.translated(KOREAN)) == []


def test_the_catalogue_is_what_the_code_says(tmp_path):
    catalogue = words.translated(KOREAN)
    catalogue.update(words.extracted(KOREAN), no_fuzzy_matching=True)
    words.write(catalogue, tmp_path)
    for name in ("ko.po", "ko.mo"):
        assert (tmp_path / name).read_bytes() == (words.FOLDER / name).read_bytes(), "run `python -m ui.words`"


if __name__ == "__main__":  # what is left to mark, by room
    for one in ROOMS:
        places = [place for file in _files(one) for place in unmarked(file)]
        print(f"{one}: {len(places)}")
        print("\n".join(places))
