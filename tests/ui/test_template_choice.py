"""The Adapters tab shows the choice of a chat template where there is something to choose, and its owner's choice holds."""

import shutil

import pytest

from adapters.edit import set_template
from adapters.intake import import_adapter
from common.errors import UserError
from models.templates import read_template
from models.templates.choice import template_of
from tests.adapters.conftest import made  # noqa: F401
from ui.adapters import handlers
from ui.adapters.handlers import _details, on_template


def dropdown(name: str):
    """The update of the dropdown, before the two of the question whether to delete."""
    return _details(name, "local")[-3]


@pytest.fixture
def copy(made, tmp_path):  # noqa: F811
    return shutil.copytree(made, tmp_path / "odd")


def test_a_known_template_leaves_nothing_to_choose(copy):
    (copy / "chat_template.jinja").write_text(read_template("alpaca"))
    imported = import_adapter(copy)
    assert not any("template" in note for note in imported.notes) and not dropdown("odd").visible
    assert "Alpaca" in "".join(one for one in _details("odd", "local") if isinstance(one, str))


def test_an_unknown_one_is_chosen_on_the_page_and_stays_to_be_changed(copy, tiny_base, monkeypatch):
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    folder = import_adapter(copy).adapter.folder
    assert dropdown("odd").visible and dropdown("odd").value is None
    for choice in ("vicuna", "own", "base"):
        set_template("odd", choice)
        assert dropdown("odd").visible and dropdown("odd").value == choice
        assert template_of(tiny_base, folder).name == choice
    set_template("odd", "own")
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    assert dropdown("odd").visible and dropdown("odd").value is None
    with pytest.raises(UserError, match="There is no chat template 'own'"):
        set_template("odd", "own")
    with pytest.raises(UserError, match="not known here"):
        template_of(tiny_base, folder)


def test_a_choice_is_told_once_though_the_dropdown_tells_of_it_again_when_it_is_left(copy, monkeypatch):
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    import_adapter(copy)
    told = []
    monkeypatch.setattr(handlers.gr, "Info", told.append)
    for choice in (None, "vicuna", "vicuna", "own", "own"):
        on_template(None, "", "odd", choice)
    assert len(told) == 2 and dropdown("odd").value == "own"
