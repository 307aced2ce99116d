"""Which chat template an adapter is read in: what is known by its hash, what its owner chose, and never anything else."""

import json

import pytest

from common.errors import UserError
from common.files import write_json
from models.templates import NAMES, read_template, without_marks
from models.templates.choice import MAX_TEMPLATE_BYTES, own_choice, own_text, template_choices, template_of

FOREIGN = "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}[assistant]"
BASE = "{% for message in messages %}{{ message.content }}{% endfor %}"


@pytest.fixture
def folders(tmp_path):
    """(a base with a template that is known nowhere else, an adapter without any)."""
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    base.mkdir()
    adapter.mkdir()
    (base / "chat_template.jinja").write_text(BASE)
    return base, adapter


def choose(adapter, choice: str) -> None:
    write_json(adapter / "studio.json", {"template": choice})


def test_without_a_template_of_its_own_the_bases_is_used(folders):
    assert template_of(*folders).text == template_of(folders[0]).text == BASE
    (folders[1] / "chat_template.jinja").write_text(f"{BASE}\n")
    assert template_of(*folders).text == BASE, "the base's own, brought again, is the base's own"


@pytest.mark.parametrize("name", NAMES)
def test_a_known_one_is_rendered_from_our_file(folders, name):
    (folders[1] / "tokenizer_config.json").write_text(json.dumps({"chat_template": f"\n{read_template(name)}"}))
    found = template_of(*folders)
    assert (found.name, found.text, found.is_foreign) == (name, without_marks(read_template(name)), False)


def test_one_that_is_not_known_is_refused_until_its_owner_chooses(folders):
    (folders[1] / "chat_template.jinja").write_text(FOREIGN)
    with pytest.raises(
        UserError, match=r"not known here\. Choose the template it was trained with in the Adapters tab"
    ):
        template_of(*folders)
    choose(folders[1], "chatml")
    assert template_of(*folders).name == "chatml"
    choose(folders[1], "base")
    assert template_of(*folders).text == BASE
    for odd in ("", "own", "own:", "nonsense", f"own:{'0' * 64}"):
        choose(folders[1], odd)
        with pytest.raises(UserError, match="not known here"):
            template_of(*folders)
    write_json(folders[1] / "studio.json", {"template": ["chatml"]})
    with pytest.raises(UserError, match="not known here"):
        template_of(*folders)


def test_its_own_is_the_very_text_that_was_there_and_never_one_that_came_later(folders):
    (folders[1] / "chat_template.jinja").write_text(FOREIGN)
    choose(folders[1], own_choice(FOREIGN))
    assert (template_of(*folders).text, template_of(*folders).is_foreign) == (FOREIGN, True)
    (folders[1] / "chat_template.jinja").write_text(f"{FOREIGN} ")
    with pytest.raises(UserError, match="not known here"):
        template_of(*folders)


def test_a_space_runs_nobodys_template(folders, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    (folders[0] / "chat_template.jinja").write_text(read_template("zephyr"))
    (folders[1] / "chat_template.jinja").write_text(FOREIGN)
    choose(folders[1], own_choice(FOREIGN))
    with pytest.raises(UserError, match="not known here"):
        template_of(*folders)
    assert "own" not in [value for _, value in template_choices()]
    choose(folders[1], "vicuna")
    assert template_of(*folders).name == "vicuna"


def test_a_base_that_visitors_of_a_space_name_has_a_known_template(folders, monkeypatch):
    assert template_of(folders[0]).text == BASE, "on a laptop its owner trusts it"
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    with pytest.raises(UserError, match=r"base has a chat template that is not known here.*Zephyr.*Llama 3"):
        template_of(folders[0])


@pytest.mark.parametrize(
    "content", ["[]", "{", "5", "[" * 100_000, '{"chat_template": 5}', '{"chat_template": [1, {}]}']
)
def test_a_damaged_tokenizer_config_is_none_at_all(folders, content):
    (folders[1] / "tokenizer_config.json").write_text(content)
    assert own_text(folders[1]) is None and template_of(*folders).text == BASE


def test_of_several_templates_the_default_one_counts(folders):
    named = [{"name": "tool_use", "template": FOREIGN}, {"name": "default", "template": read_template("llama2")}]
    (folders[1] / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert template_of(*folders).name == "llama2"


def test_one_that_is_far_too_long_is_neither_read_nor_chosen(folders):
    for file, content in [
        ("tokenizer_config.json", json.dumps({"chat_template": "x" * (MAX_TEMPLATE_BYTES + 1)})),
        ("chat_template.jinja", "x" * (MAX_TEMPLATE_BYTES + 1)),
    ]:
        (folders[1] / file).write_text(content)
        assert own_text(folders[1]) == "" == own_choice("")
        for choice in ("", "own:"):
            choose(folders[1], choice)
            with pytest.raises(UserError, match="not known here"):
                template_of(*folders)
    (folders[0] / "chat_template.jinja").write_text("x" * (MAX_TEMPLATE_BYTES + 1))
    with pytest.raises(UserError, match="not known here"):
        template_of(*folders)
    with pytest.raises(UserError, match="of this base is far too long"):
        template_of(folders[0])
