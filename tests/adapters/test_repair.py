"""A repaired adapter is what PEFT makes of it, from one set of SVDs; at its ends it is the adapter itself, and the base."""

import pytest

from adapters.facts import describe_origin
from adapters.library import find_adapter, update_record
from adapters.origin import Origin, PrivateSource
from adapters.repair import INTRUDERS, Repair, find_intruders, keep_repaired, write_repaired
from common.errors import UserError
from common.files import write_json
from tests.adapters.making import change_of, differences, put
from tests.tiny import make_tiny_quantised


@pytest.fixture
def strong(made):
    """An adapter whose changes are as large as its base, so that they intrude."""
    from safetensors.torch import load_file, save_file

    folder = put("strong", made)
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({name: 4 * value for name, value in weights.items()}, folder / "adapter_model.safetensors")
    return find_adapter("strong")


@pytest.mark.parametrize(
    ("repair", "part"), [(Repair("scale", 1), 1), (Repair("scale", 0.25), 0.25), (Repair("reduce", 0), 1)]
)
def test_scaled_alpha_is_that_part_of_the_change_and_nothing_reduced_is_all_of_it(
    strong, tiny_base, tmp_path, repair, part
):
    find_intruders(strong, tiny_base)
    write_repaired(strong, repair, tmp_path)
    before, after = change_of(strong.folder), change_of(tmp_path)
    assert max(differences({name: part * change for name, change in before.items()}, after)) < 1e-6


@pytest.mark.parametrize("strength", [0.25, 1])
def test_reduced_intruders_are_what_peft_makes_of_them(strong, tiny_base, tmp_path, strength):
    from peft import PeftModel
    from peft.tuners.lora.intruders import reduce_intruder_dimension
    from transformers import AutoModelForCausalLM

    said = []
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), strong.folder)
    reduce_intruder_dimension(model, mitigation_lambda=1 - strength, logging_sink=said.append)
    model.save_pretrained(tmp_path / "peft", selected_adapters=["intruder_reduced"])
    counted = sum(int(line.rpartition(" ")[2]) for line in said if "Intruders: " in line)
    assert find_intruders(strong, tiny_base) == counted > 0
    write_repaired(strong, Repair("reduce", strength), tmp_path)
    ours, theirs = change_of(tmp_path), change_of(tmp_path / "peft" / "intruder_reduced")
    assert max(differences(ours, theirs)) < 1e-4
    assert max(differences(ours, change_of(strong.folder))) > 0.01


def test_the_svds_are_taken_once(strong, tiny_base, monkeypatch):
    told = []
    count = find_intruders(strong, tiny_base, lambda words, part: told.append(part))
    assert told[-1] == 1 and len(told) == 14
    monkeypatch.setattr("adapters.repair._base_weights", lambda folder: pytest.fail("read again"))
    assert find_intruders(strong, tiny_base) == count


def test_a_kept_repair_is_an_adapter_of_its_own_and_as_private_as_its_part(strong, tiny_base):
    update_record(strong.folder, origin=Origin("pulled", "club/x", "club/x", by="bob").to_json(), template="chatml")
    strong = find_adapter("strong")
    find_intruders(strong, tiny_base)
    kept = keep_repaired(strong, Repair("reduce", 0.5), notes="0.1 nats less forgotten").adapter
    assert kept.title == "strong (intruders −50%)" and kept.notes == "0.1 nats less forgotten"
    assert describe_origin(kept) == "repaired: strong (intruders −50%), from club/x (private)"
    assert kept.private_sources == [PrivateSource("club/x", "bob")] and kept.record["template"] == "chatml"
    assert kept.base == strong.base and kept.loss_after is None and not (kept.folder / INTRUDERS).exists()


@pytest.mark.parametrize(
    ("kind", "value"), [("scale", 1.5), ("reduce", -0.1), ("reduce", float("nan")), ("other", 0.5)]
)
def test_a_repair_out_of_range_is_refused(strong, tmp_path, kind, value):
    with pytest.raises(UserError, match="no such repair"):
        write_repaired(strong, Repair(kind, value), tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_nothing_but_the_base_is_not_kept(strong):
    with pytest.raises(UserError, match="nothing is left"):
        keep_repaired(strong, Repair("scale", 0))


def test_what_is_no_sum_and_a_base_that_is_quantised_are_refused(strong, tiny_base, tmp_path):
    with pytest.raises(UserError, match="weights of its base are quantised"):
        find_intruders(strong, make_tiny_quantised(tmp_path / "int8", tiny_base, "8bit"))
    write_json(strong.folder / "adapter_config.json", {**strong.config, "trainable_token_indices": [5]})
    with pytest.raises(UserError):
        write_repaired(find_adapter("strong"), Repair("scale", 0.5), tmp_path)
