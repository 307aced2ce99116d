"""No traceback reaches a person."""

import errno

import gradio as gr
import pytest

from common.errors import UserError
from ui.messages import shown


def raises(error):
    @shown
    def handler():
        raise error

    return handler


def test_what_a_person_can_fix_is_shown_with_its_hint():
    with pytest.raises(gr.Error) as error:
        raises(UserError("It is broken.", "Mend <it>."))()
    assert error.value.message == "It is broken. Mend &lt;it&gt;."


def test_a_bug_is_logged_whole_and_shown_without_its_words(caplog):
    with pytest.raises(gr.Error) as error:
        raises(ValueError("/secret/path hf_token"))()
    assert "secret" not in error.value.message and "hf_token" not in error.value.message
    assert "secret" in caplog.text


def test_a_full_disk_is_a_sentence_without_the_servers_paths(caplog):
    with pytest.raises(gr.Error) as error:
        raises(OSError(errno.EROFS, "Read-only file system", "/secret/path/file"))()
    assert error.value.message.startswith("'file' is on a disk that can only be read.") and "secret" in caplog.text


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
    with pytest.raises(gr.Error) as error:
        raises(UserError("The base is named '<img src=//evil.example/x>'.", "It's no <b>id</b> & more."))()
    assert "<" not in error.value.message and "&lt;img" in error.value.message and "It's" in error.value.message
