"""A mix is what PEFT makes of the same adapters, without their base; nothing is half made, and none loses its privacy."""

import threading

import pytest

from adapters.__main__ import main
from adapters.card import CardFacts, write_card
from adapters.facts import describe_origin
from adapters.history import History
from adapters.library import adapter_names, find_adapter, update_record
from adapters.mix import KINDS, Mix, mix, write_mix
from adapters.origin import Origin, PrivateSource
from common.errors import UserError
from common.files import read_json, write_json
from common.paths import home
from models.templates.choice import chosen
from tests.adapters.making import change_of, differences, make_adapter, put


@pytest.fixture(scope="module")
def other_made(tiny_base, tmp_path_factory):
    """An adapter of the same base, of another rank, for attention alone, with other numbers."""
    from safetensors.torch import load_file, save_file

    folder = make_adapter(tmp_path_factory.mktemp("other") / "made", tiny_base, base="tests/tiny-base")
    config = read_json(folder / "adapter_config.json")
    write_json(folder / "adapter_config.json", {**config, "r": 3, "target_modules": ["q_proj", "v_proj"]})
    weights = load_file(folder / "adapter_model.safetensors")
    kept = {name: value for name, value in weights.items() if "q_proj" in name or "v_proj" in name}
    cut = {name: (value[:3] if "lora_A" in name else -value[:, 1:]).contiguous() for name, value in kept.items()}
    save_file(cut, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture
def pair(made, other_made):
    put("one", made)
    put("other", other_made)
    return [find_adapter("one"), find_adapter("other")]


def by_peft(pair, tiny_base, folder, kind, weights):
    """{layer: change} of PEFT's own mix."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_base), pair[0].folder, adapter_name="a0"
    )
    model.load_adapter(pair[1].folder, adapter_name="a1")
    torch.manual_seed(0)
    model.add_weighted_adapter(["a0", "a1"], weights, "mixed", kind, density=0.5)
    model.save_pretrained(folder, selected_adapters=["mixed"])
    return change_of(folder / "mixed")


@pytest.mark.parametrize("kind", ["cat", "svd", "ties_svd"])
def test_a_mix_is_what_peft_makes_of_the_same(pair, tiny_base, tmp_path, kind):
    write_mix(pair, Mix(kind, [0.7, -0.4]), tmp_path)
    ours, theirs = change_of(tmp_path), by_peft(pair, tiny_base, tmp_path / "peft", kind, [0.7, -0.4])
    assert ours.keys() == theirs.keys()
    assert max(differences(ours, theirs)) < 1e-5 and max(differences(ours, change_of(pair[0].folder))) > 0.01


@pytest.mark.parametrize("kind", ["cat", "svd", "dare_linear_svd"])
def test_two_halves_of_an_adapter_are_that_adapter(pair, tmp_path, kind):
    write_mix([pair[0], pair[0]], Mix(kind, [0.5, 0.5], density=1), tmp_path)
    assert max(differences(change_of(tmp_path), change_of(pair[0].folder))) < 1e-5
    assert read_json(tmp_path / "adapter_config.json")["r"] == (8 if kind == "cat" else 4)


def test_the_mix_is_an_adapter_that_says_what_it_was_made_of_and_is_as_private(pair):
    update_record(pair[1].folder, origin=Origin("pulled", "club/x", "club/x", by="bob").to_json())
    update_record(pair[0].folder, template="chatml")
    assert main(["mix", "one", "other", "--kind", "svd", "--weights", "0.7", "0.3", "--name", "Both"]) == 0
    both = find_adapter("Both")
    assert describe_origin(both) == "mixed from one × 0.7 + other × 0.3 (svd), from club/x (private)"
    assert both.private_sources == [PrivateSource("club/x", "bob")] and chosen(both.folder) == "chatml"
    card = write_card(both, History(), CardFacts("bob/both", "apache-2.0"))
    assert "mixed without a training: one × 0.7 + other × 0.3 (svd)" in card and "How it was trained" not in card


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (Mix("linear", [0.5, 0.5]), "cannot be mixed by 'linear'"),
        (Mix("svd", [0.5]), "Each adapter needs a weight"),
        (Mix("svd", [0.5, 0]), "Each adapter needs a weight"),
        (Mix("svd", [0.5, float("nan")]), "Each adapter needs a weight"),
        (Mix("ties_svd", [0.5, 0.5], density=0), "part of the values"),
    ],
)
def test_a_mix_that_makes_no_sense_is_refused(pair, how, words):
    with pytest.raises(UserError, match=words):
        mix(pair, how)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base_model_name_or_path": "tests/other-base"}, "'one' is an adapter of tests/tiny-base, 'other' of"),
        ({"use_dora": True}, "more than a plain LoRA"),
        ({"modules_to_save": ["lm_head"]}, "lm_head"),
    ],
)
def test_adapters_that_do_not_go_together_are_refused_and_leave_nothing(pair, change, words):
    write_json(pair[1].folder / "adapter_config.json", {**pair[1].config, **change})
    with pytest.raises(UserError, match=words):
        mix([pair[0], find_adapter("other")], Mix("svd", [0.5, 0.5]))
    assert {*adapter_names()} == {"one", "other"}


def test_layers_of_other_sizes_are_refused(pair):
    from safetensors.torch import load_file, save_file

    file = pair[1].folder / "adapter_model.safetensors"
    weights = load_file(file)
    save_file(
        {name: value[:, :32].contiguous() if "lora_A" in name else value for name, value in weights.items()}, file
    )
    with pytest.raises(UserError, match="do not fit each other"):
        mix(pair, Mix("svd", [0.5, 0.5]))


def test_a_mix_that_is_stopped_or_dies_leaves_nothing(pair, monkeypatch):
    stop = threading.Event()
    stop.set()
    with pytest.raises(UserError, match="Stopped"):
        mix(pair, Mix("svd", [0.5, 0.5]), stop=stop)
    monkeypatch.setattr("adapters.mix.child_environment", lambda: {"PATH": "/nowhere", "PYTHONHOME": "/nowhere"})
    with pytest.raises(UserError, match="The process ended with the code 1"):
        mix(pair, Mix("svd", [0.5, 0.5]))
    assert {*adapter_names()} == {"one", "other"} and [path.name for path in home().iterdir()] == ["adapters"]


def test_every_kind_that_is_offered_mixes_all_layers(pair, tmp_path):
    for kind in KINDS:
        write_mix(pair, Mix(kind, [0.5, 0.5]), tmp_path)
        assert len(change_of(tmp_path)) == 14
