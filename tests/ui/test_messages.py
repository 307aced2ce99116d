"""No traceback reaches a person."""

import ast
import errno
from pathlib import Path

import gradio as gr
import pytest

from common.errors import UserError
from ui.messages import shown


def message_of(error: Exception) -> str:
    """What the page shows of an error that a handler raises."""

    @shown
    def handler():
        raise error

    with pytest.raises(gr.Error) as raised:
        handler()
    return raised.value.message


def test_what_a_person_can_fix_is_shown_with_its_hint():
    assert message_of(UserError("It is broken.", "Mend <it>.")) == "It is broken. Mend &lt;it&gt;."


def test_a_bug_is_logged_whole_and_shown_without_its_words(caplog):
    words = message_of(ValueError("/secret/path hf_token"))
    assert "secret" not in words and "hf_token" not in words and "secret" in caplog.text


def test_a_full_disk_is_a_sentence_without_the_servers_paths(caplog):
    words = message_of(OSError(errno.EROFS, "Read-only file system", "/secret/path/file"))
    assert words.startswith("'file' is on a read-only disk.") and "secret" in caplog.text


def test_a_generator_is_covered_too():
    @shown
    def handler():
        yield 1
        raise UserError("Later.")

    stream = handler()
    assert next(stream) == 1
    with pytest.raises(gr.Error, match="Later"):
        next(stream)


def test_markup_in_a_message_is_text():
    """The page shows messages as HTML, and names in them may be anybody's."""
    words = message_of(UserError("The base is named '<img src=//evil.example/x>'.", "It's no <b>id</b> & more."))
    assert "<" not in words and "&lt;img" in words and "It's" in words


def shown_unescaped(node: ast.Call) -> bool:
    """Whether a message of Gradio, which is HTML to the page, holds values that nobody escaped."""
    words = node.args[0]
    if isinstance(words, ast.Call) and ast.unparse(words.func) == "html.escape":
        return False
    has_values = any(isinstance(one, ast.Call) and one.keywords for one in ast.walk(words))
    return has_values or isinstance(words, ast.JoinedStr | ast.Name)


def test_every_value_in_a_message_of_gradio_is_escaped():
    found = []
    for path in sorted((Path(__file__).parents[2] / "ui").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("gr.Info", "gr.Warning"):
                found.append((f"{path}:{node.lineno}", shown_unescaped(node)))
    assert len(found) > 10 and [place for place, is_open in found if is_open] == []
