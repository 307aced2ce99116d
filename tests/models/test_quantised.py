"""A base that is quantised already: taken in its own precision where bitsandbytes can, refused by name where it cannot."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from chat.__main__ import open_model
from common.errors import UserError
from common.files import read_object, write_json
from data.check import check
from data.settings import DataSettings
from models.base import check_folder, choose_base, shape_for
from models.hardware import Hardware
from models.precision import load_base_model
from models.quantised import quantised_of, twin_of
from runs.config import TrainConfig
from runs.forecast.estimate import EXAMPLE_FACTS, estimate
from runs.forecast.memory import estimate_memory
from runs.resolve import in_own_precision, resolve
from tests.adapters.conftest import hub  # noqa: F401
from tests.tiny import make_tiny_quantised
from ui.train.plan_events import plan_views

BNB_4BIT = {"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False, "bnb_4bit_quant_type": "nf4"}
REFUSED = {
    "GPTQ, 4-bit": {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}},
    "AWQ, 4-bit": {"quantization_config": {"quant_method": "awq", "bits": 4, "version": "gemm"}},
    "compressed-tensors": {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {}}},
    "compressed-tensors ": {"compression_config": {"quant_method": "compressed-tensors"}},
    "FP8": {"quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic"}},
    "MXFP4": {"quantization_config": {"quant_method": "mxfp4"}},
    "MLX, 4-bit": {"quantization": {"group_size": 64, "bits": 4}},
    "unnamed method": {"quantization_config": {"bits": 4}},
    "unnamed method ": {"quantization_config": "yes"},
    "bitsandbytes": {"quantization_config": {"quant_method": "bitsandbytes"}},
}


@pytest.fixture(scope="module", params=["4bit", "8bit"])
def quantised(request, tiny_base, tmp_path_factory):
    """(precision, the folder of a base that bitsandbytes saved in it)."""
    folder = tmp_path_factory.mktemp("quantised") / f"tiny-bnb-{request.param}"
    return request.param, make_tiny_quantised(folder, tiny_base, request.param)


def changed(source, target, **values):
    """A copy of a base whose config.json has other values; None leaves one out."""
    shutil.copytree(source, target)
    config = {**read_object(target / "config.json"), **values}
    write_json(target / "config.json", {name: value for name, value in config.items() if value is not None})
    return target


@pytest.mark.parametrize(
    ("name", "card", "twin"),
    [
        ("unsloth/x-bnb-4bit", "meta/gated-x", "unsloth/x"),
        ("unsloth/x-3.2-1B-Instruct-unsloth-bnb-4bit", "", "unsloth/x-3.2-1B-Instruct"),
        ("someone/mine", "", ""),
        ("/models/x-bnb-4bit", "", "x"),
    ],
)
def test_the_16_bit_twin_of_bitsandbytes_is_the_name_without_its_ending(name, card, twin):
    assert quantised_of({"quantization_config": BNB_4BIT}, name, card).twin == twin


@pytest.mark.parametrize(
    ("name", "card", "twin"),
    [
        (
            "TheBloke/TinyLlama-1.1B-Chat-v1.0-GPTQ",
            "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
            "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        ),
        ("TheBloke/TinyLlama-1.1B-Chat-v1.0-AWQ", "", "TheBloke/TinyLlama-1.1B-Chat-v1.0"),
        ("Qwen/Qwen2.5-0.5B-Instruct-GPTQ-Int4", "not an id", "Qwen/Qwen2.5-0.5B-Instruct"),
        ("a/x-FP8-dynamic", "a/x-FP8-dynamic", "a/x"),
        ("a/x-quantized.w4a16", "", "a/x"),
        ("mlx-community/x-4bit", "", "mlx-community/x"),
        ("a/x-4bit-128g", "", "a/x"),
        ("a/x-4.0bpw-exl2", "", "a/x"),
        ("a/-GPTQ", "", ""),
        ("a/x-v0.3", "", ""),
    ],
)
def test_the_16_bit_twin_of_the_others_is_what_the_card_names_else_the_name_without_its_ending(name, card, twin):
    assert twin_of(name, card) == twin


@pytest.mark.parametrize("words", REFUSED)
def test_what_bitsandbytes_did_not_make_is_refused_by_its_name_when_it_is_chosen(tiny_base, tmp_path, words):
    folder = changed(tiny_base, tmp_path / "TinyLlama-GPTQ", **REFUSED[words])
    weights = {"model.layers.0.mlp.up_proj.qweight": torch.zeros(2, 2, dtype=torch.int32)}
    save_file(weights, folder / "model.safetensors")
    for work in (check_folder, lambda folder: choose_base(str(folder)), lambda folder: load_base_model(folder, "fp32")):
        with pytest.raises(
            UserError, match=rf"TinyLlama-GPTQ' is quantised already .*{words.strip()}.*made from: TinyLlama\."
        ):
            work(folder)


def test_weights_of_bitsandbytes_are_loaded_in_their_own_precision(quantised, tiny_base):
    import bitsandbytes

    precision, folder = quantised
    ids = torch.arange(3, 40)[None]
    model, floats = load_base_model(folder, precision), load_base_model(folder, "fp32")
    layer = model.model.layers[0].self_attn.q_proj
    assert isinstance(layer, getattr(bitsandbytes.nn, {"4bit": "Linear4bit", "8bit": "Linear8bitLt"}[precision]))
    assert {p.dtype for p in model.parameters() if p.is_floating_point()} == {torch.float32}, "it computes in fp32 here"
    own, dequantised = model(input_ids=ids).logits, floats(input_ids=ids).logits
    whole = load_base_model(tiny_base, "fp32")(input_ids=ids).logits
    assert not hasattr(floats.config, "quantization_config"), "a merged model must not claim it"
    for found in (own, dequantised):  # without their scales, numbers of another size
        assert (found - whole).abs().mean() < 0.1 * whole.std()


def test_another_precision_is_refused_wherever_it_is_asked_for(quantised):
    precision, folder = quantised
    other = "4bit" if precision == "8bit" else "8bit"
    words = f"{precision[0]}-bit already; they cannot be used in {other}. Choose auto or {precision}"
    with pytest.raises(UserError, match=words):
        load_base_model(folder, other)
    for asked in (other, "bf16", "fp32"):
        with pytest.raises(UserError, match=f"in {asked}.*16-bit model: tiny"):
            resolve(TrainConfig(base=str(folder), precision=asked))


def test_it_is_said_when_it_is_chosen_and_followed_to_the_estimate(quantised, tiny_base):
    precision, folder = quantised
    found = resolve(TrainConfig(base=str(folder)))
    assert f"{precision[0]}-bit already, by bitsandbytes, and are used in {precision}" in found.base.reason
    assert found.config.precision == precision
    hardware, shape = Hardware((), 2, 10**9, "CPU"), shape_for(found.base)
    whole = shape_for(choose_base(str(tiny_base)))
    need, rounded = (estimate_memory(found.config, one, EXAMPLE_FACTS, hardware) for one in (shape, whole))
    assert need.parts["weights"] < rounded.parts["weights"] or need.total < rounded.total, "the file is smaller"
    cure = estimate(found.config, shape, EXAMPLE_FACTS, Hardware((), 2, 10**8, "CPU")).make_it_fit
    assert "precision" not in (cure or {})


def test_weights_that_processes_would_split_are_refused(quantised):
    _, folder = quantised
    with pytest.raises(UserError, match=r"fsdp2 splits .* already quantised\. Use ddp or zero2"):
        in_own_precision(TrainConfig(parallel="fsdp2"), choose_base(str(folder)))


@pytest.mark.parametrize("precision", ["4bit", "8bit", "fp32"])
def test_a_config_json_that_still_tells_of_4_bits_beside_floats_is_not_believed(tiny_base, tmp_path, precision):
    folder = changed(tiny_base, tmp_path / "merged", quantization_config=BNB_4BIT)
    assert choose_base(str(folder)).quantised is None
    model = load_base_model(folder, precision)
    assert torch.isfinite(model(input_ids=torch.tensor([[1, 2, 3]])).logits).all()


@pytest.mark.parametrize("claim", [None, {"quant_method": "bitsandbytes", "load_in_8bit": True}])
def test_quantised_weights_of_which_config_json_does_not_tell_are_refused(tmp_path, tiny_base, claim):
    made = make_tiny_quantised(tmp_path / "made", tiny_base, "4bit")
    folder = changed(made, tmp_path / "silent", quantization_config=claim)
    for work in (
        check_folder,
        lambda folder: load_base_model(folder, "8bit"),
        lambda folder: load_base_model(folder, "fp32"),
    ):
        with pytest.raises(UserError, match="do not match its config"):
            work(folder)


@pytest.mark.parametrize("rename", [(".weight", ".weights"), ("layers.1.", "layers.7.")])
def test_weights_of_other_names_are_not_filled_up_with_random_numbers(tiny_base, tmp_path, rename):
    folder = changed(tiny_base, tmp_path / "odd")
    weights = {name.replace(*rename): value for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="do not match its config"):
        load_base_model(folder, "fp32")


def test_weights_of_other_shapes_are_a_sentence(tiny_base, tmp_path):
    folder = changed(tiny_base, tmp_path / "narrow", intermediate_size=96)
    with pytest.raises(UserError, match="do not match its config"):
        load_base_model(folder, "fp32")


@pytest.fixture
def on_hub(hub, tiny_base):  # noqa: F811
    """A function that puts a base on the Hub with this config of its quantisation, and a card; it returns the Hub."""

    def add(name: str, how: dict, card: str = ""):
        config = json.dumps({**read_object(tiny_base / "config.json"), "quantization_config": how})
        hub.add(name, {"config.json": config.encode(), "model.safetensors": b"x", "README.md": card.encode()})
        return hub

    return add


def test_on_the_hub_it_is_refused_before_its_weights_are_downloaded_and_its_card_names_the_twin(on_hub):
    hub = on_hub("TheBloke/x-GPTQ", {"quant_method": "gptq", "bits": 4}, "---\nbase_model: anna/x-chat\n---\n")  # noqa: F811
    for work in (
        choose_base,
        lambda base: resolve(TrainConfig(base=base)),
        lambda base: check(DataSettings(base=base)),
    ):
        with pytest.raises(
            UserError, match=r"TheBloke/x-GPTQ is quantised already \(GPTQ, 4-bit\).*made from: anna/x-chat\."
        ):
            work("TheBloke/x-GPTQ")
    with pytest.raises(UserError, match="GPTQ"):
        open_model(None, "TheBloke/x-GPTQ", "auto")
    assert not hub.sent("GET", ".safetensors")


def test_on_the_hub_it_is_said_in_the_plan_and_another_precision_names_the_twin(on_hub):
    on_hub("unsloth/x-bnb-4bit", BNB_4BIT)
    views = plan_views(TrainConfig(base="unsloth/x-bnb-4bit"), None, "local")
    assert "4-bit already" in views[0] and "in 4bit, computed" in views[0]
    with pytest.raises(
        UserError, match=r"cannot be used in 8bit\. Choose auto or 4bit, or the 16-bit model: unsloth/x\."
    ):
        plan_views(TrainConfig(base="unsloth/x-bnb-4bit", precision="8bit"), None, "local")


def test_a_config_json_that_fills_the_disk_is_not_downloaded(hub):  # noqa: F811
    hub.add("evil/base", {"config.json": b" " * 2_000_000, "model.safetensors": b"x"})
    with pytest.raises(UserError, match=r"no config\.json"):
        choose_base("evil/base")
    assert not hub.sent("GET", "resolve")


def test_numbers_beside_the_layers_make_no_base_a_quantised_one(tiny_base, tmp_path):
    folder = changed(tiny_base, tmp_path / "plain")
    weights = load_file(folder / "model.safetensors") | {"model.position_ids": torch.arange(3)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    save_file({"x_proj.weight": torch.arange(3)}, folder / "consolidated.safetensors")
    assert choose_base(str(folder)).quantised is None and load_base_model(folder, "fp32")
