"""An adapter that is from a private repository stays private: itself, what was trained on it, and every copy of either."""

import shutil

import pytest

from adapters.facts import describe_origin
from adapters.intake import import_adapter
from adapters.library import find_adapter, read_adapter
from adapters.origin import PrivateSource
from adapters.package import PushOptions, export_zip
from adapters.pull import look, pull
from adapters.push import plan_push, push_adapter
from common.errors import UserError
from common.paths import adapters_folder
from models.base import choose_base
from models.hub.client import account_of
from runs.config import TrainConfig
from runs.launcher import copy_adapter
from runs.publish import publish_adapter
from runs.run import Run
from tests.adapters.making import put

WORDS = r"from club/secret, which is not public.*by bob.*Push it as private"


@pytest.fixture
def pulled(hub, made):
    """What bob pulled from a private repository of his club."""
    hub.bob = hub.add_user("bob", orgs=("club",))
    hub.add("club/secret", made, private=True)
    return pull(look("club/secret", hub.bob), hub.bob, name="pulled").adapter


def refused_in_public(hub, adapter, words=WORDS) -> None:
    for work in (plan_push, push_adapter):
        with pytest.raises(UserError, match=words):
            work(adapter, account_of(hub.bob), PushOptions("shown", private=False))
    assert "bob/shown" not in hub.repositories
    assert push_adapter(adapter, account_of(hub.bob), PushOptions("only-mine")).private


def trained_on(adapter, tiny_base, hub) -> object:
    """The adapter that a run published which went on from `adapter`: other weights, the launcher's and trainer's own way."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from models.tokenizer import load_tokenizer

    run = Run(adapters_folder().parents[1] / "runs" / "local" / "further")
    run.folder.mkdir(parents=True)
    base = choose_base("tests/tiny-base")
    copy_adapter(adapter.name, "local", base, run.init_adapter_folder)
    run.config_file.write_text(TrainConfig(name="further", init_adapter=adapter.name).to_yaml())
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), run.init_adapter_folder)
    for name, weight in model.named_parameters():
        if "lora_A" in name:
            weight.data += 0.01
    return read_adapter(publish_adapter(model, load_tokenizer(tiny_base), run, base, {"loss_after": 1.0}))


def test_what_was_pulled_in_private_is_not_pushed_for_everybody(hub, pulled):
    assert pulled.private_sources == [PrivateSource("club/secret", "bob")]
    refused_in_public(hub, pulled)


def test_what_was_trained_on_it_is_not_either(hub, pulled, tiny_base):
    further = trained_on(pulled, tiny_base, hub)
    assert further.private_sources == [PrivateSource("club/secret", "bob")]
    assert describe_origin(further) == "trained here, from club/secret (private)"
    refused_in_public(hub, further, "was trained on, an adapter from club/secret, which is not public")


def test_a_copy_as_a_zip_is_not_either(hub, pulled, tmp_path):
    archive = export_zip(pulled, tmp_path / "out.zip")
    shutil.rmtree(pulled.folder)
    copy = import_adapter(archive).adapter
    refused_in_public(hub, copy, "from club/secret, which is not public")


def test_a_copy_of_the_folder_is_not_either(hub, pulled, tmp_path):
    shutil.copytree(pulled.folder, tmp_path / "copy")
    (tmp_path / "copy" / "metrics.json").unlink()
    copy = import_adapter(tmp_path / "copy").adapter
    assert copy.private_sources == []
    refused_in_public(hub, copy)


def test_a_private_push_of_it_still_says_where_it_is_from(hub, pulled):
    push_adapter(pulled, account_of(hub.bob), PushOptions("kept"))
    assert b"club/secret" in hub.repositories["bob/kept"].content("metrics.json")
    again = pull(look("bob/kept", hub.bob), hub.bob, name="again").adapter
    hub.repositories["bob/kept"].private = False
    refused_in_public(hub, again, "from club/secret, which is not public")


def test_once_its_owner_has_opened_it_everybody_may_have_it(hub, pulled, tiny_base):
    further = trained_on(pulled, tiny_base, hub)
    hub.repositories["club/secret"].private = False
    assert not push_adapter(further, account_of(hub.bob), PushOptions("shown", private=False)).private
    assert b"club/secret" not in hub.repositories["bob/shown"].content("metrics.json")


def test_what_is_public_or_made_here_is_free(hub, made, tiny_base):
    hub.add("alice/open", made)
    pulled = pull(look("alice/open", hub.bob), hub.bob, name="open").adapter
    assert not push_adapter(
        trained_on(pulled, tiny_base, hub), account_of(hub.bob), PushOptions("one", private=False)
    ).private
    put("own", made)
    assert not push_adapter(find_adapter("own"), account_of(hub.bob), PushOptions("two", private=False)).private


def test_a_run_that_publishes_again_keeps_what_the_library_knew(made, tiny_base, hub):
    from adapters.edit import set_notes

    put("own", made)
    first = trained_on(find_adapter("own"), tiny_base, hub)
    set_notes(first.name, "for grandma")
    shutil.rmtree(adapters_folder().parents[1] / "runs")
    (adapters_folder() / "own").joinpath("studio.json").unlink(missing_ok=True)
    assert trained_on(find_adapter("own"), tiny_base, hub).notes == "for grandma"
