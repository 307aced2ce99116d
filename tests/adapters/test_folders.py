"""A zip and a folder of a training's output behave alike: the topmost adapter comes in, else the choices are told by name."""

import shutil
import zipfile

import pytest

from adapters.__main__ import main
from adapters.intake import import_adapter
from adapters.library import find_adapter
from adapters.trust.folders import SeveralAdapters, choose_folder
from adapters.trust.plain import make_plain
from common.errors import UserError
from common.files import read_json, write_json

OUTPUT = ["", "checkpoint-9", "checkpoint-10"]
CHECKPOINTS = ["checkpoint-9", "checkpoint-10"]


@pytest.fixture(params=["folder", "zip"])
def packed(request, made, tmp_path):
    """Return a folder, or a zip of it, with a copy of an adapter in each of the named places; r tells them apart."""

    def pack(places, extra=()):
        root = tmp_path / "out"
        for number, place in enumerate(places):
            shutil.copytree(made, root / place, dirs_exist_ok=True)
            write_json(root / place / "metrics.json", {"step": number})
        for file in extra:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(b"x")
        if request.param == "folder":
            return root
        with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
            for path in sorted(root.rglob("*")):
                archive.write(path, path.relative_to(root))
        return tmp_path / "out.zip"

    return pack


def taken(source, **options) -> int:
    """Return which of the copies came in."""
    return read_json(import_adapter(source, "mine", **options).adapter.folder / "metrics.json")["step"]


@pytest.mark.parametrize("odd", ["²", "9" * 5000, "x" * 60_000], ids=["a raised 2", "5,000 digits", "60,000 letters"])
def test_folders_of_odd_names_are_choices_like_others(odd):
    files = [
        f"{folder}/{name}"
        for folder in (odd, "10", "9")
        for name in ("adapter_config.json", "adapter_model.safetensors")
    ]
    with pytest.raises(SeveralAdapters) as several:
        choose_folder(files, "", "The zip")
    assert odd in several.value.choices and len(str(several.value)) < 1000
    assert several.value.choices.index("9") < several.value.choices.index("10")
    assert choose_folder(files, odd, "The zip") == odd


@pytest.mark.parametrize(
    ("places", "wanted", "number"),
    [
        (OUTPUT, "", 0),
        (["run", "run/checkpoint-9", "run/checkpoint-10"], "", 0),
        (["run/checkpoint-10"], "", 0),
        (OUTPUT, "checkpoint-10", 2),
        (["run", "run/checkpoint-9"], "checkpoint-9/", 1),
        (["run", "run/checkpoint-9"], "run/checkpoint-9", 1),
        (["one/final", "two/final"], "two/final", 1),
    ],
)
def test_the_topmost_comes_in_or_the_one_that_was_named(packed, places, wanted, number):
    extra = ["__MACOSX/deep/adapter_config.json", ".cache/adapter_config.json", "checkpoint-9/optimizer.pt"]
    assert taken(packed(places, extra), subfolder=wanted) == number


@pytest.mark.parametrize(
    ("places", "choices"),
    [
        (CHECKPOINTS, CHECKPOINTS),
        (["one", "two"], ["one", "two"]),
        (["out/final", "out/checkpoint-9"], ["out/checkpoint-9", "out/final"]),
        (["one", "one/checkpoint-2", "two"], ["one", "one/checkpoint-2", "two"]),
    ],
)
def test_where_none_is_topmost_the_choices_are_told_by_name(packed, places, choices):
    source = packed(places)
    with pytest.raises(SeveralAdapters, match=f"holds {len(choices)} adapters: {', '.join(choices)}") as refusal:
        import_adapter(source)
    assert refusal.value.choices == choices
    with pytest.raises(UserError, match=r"holds no adapter in 'checkpoint-7'\. There are: "):
        import_adapter(source, subfolder="checkpoint-7")


def test_a_folder_without_weights_is_none_while_another_has_them(packed):
    source = packed(["run/checkpoint-9"], ["run/adapter_config.json"])
    assert taken(source) == 0


def test_on_the_command_line_one_is_chosen_by_its_name(packed, capsys):
    source = str(packed(CHECKPOINTS))
    assert main(["import", source]) == 1 and "checkpoint-9, checkpoint-10" in capsys.readouterr().err
    assert main(["import", source, "--subfolder", "checkpoint-10", "--name", "ten"]) == 0
    assert find_adapter("ten").origin.source in ("out", "out.zip")


@pytest.mark.parametrize("start", ["pissa", "olora"])
@pytest.mark.parametrize("places", [("run", "run/pissa_init"), ("run/pissa_ft", "run/pissa_init")])
def test_what_took_a_part_of_its_base_becomes_a_plain_lora_with_its_initial_weights(tiny_base, tmp_path, start, places):
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    settings = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "up_proj"], "task_type": "CAUSAL_LM"}
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_base),
        LoraConfig(**settings, init_lora_weights=start, rank_pattern={"q_proj": 2}, alpha_pattern={"up_proj": 3}),
    )
    model.save_pretrained(tmp_path / places[1])
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data += 0.1 * torch.randn(weight.shape)
    model.save_pretrained(tmp_path / places[0])
    ids = torch.arange(100, 140)[None]
    with torch.no_grad():
        wanted = model.eval()(input_ids=ids).logits
    imported = import_adapter(tmp_path / "run", "plain", subfolder="pissa_ft" if "pissa_ft" in places[0] else "")
    assert imported.notes[-1] == f"It began as {start}; with its initial weights it was converted to a plain LoRA."
    folder = imported.adapter.folder
    assert {path.name for path in folder.iterdir()} >= {"adapter_config.json", "studio.json"}
    assert not (folder / "initial").exists() and imported.adapter.lora_r == 8
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), folder).eval()
    with torch.no_grad():
        assert torch.allclose(plain(input_ids=ids).logits, wanted, atol=1e-4)
    model.save_pretrained(tmp_path / "peft", path_initial_model_for_weight_conversion=str(tmp_path / places[1]))
    ours, theirs = (load_file(place / "adapter_model.safetensors") for place in (folder, tmp_path / "peft"))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_weights_that_would_be_too_large_as_a_plain_lora_are_refused_unread(copy):
    write_json(copy / "adapter_config.json", {**read_json(copy / "adapter_config.json"), "init_lora_weights": "pissa"})
    (copy / "initial").mkdir()
    for folder in (copy, copy / "initial"):
        with open(folder / "adapter_model.safetensors", "wb") as file:
            file.truncate(1_000_000_001)
    with pytest.raises(UserError, match="more than 1 GB"):
        make_plain(copy, None)


def test_without_its_initial_weights_or_with_those_of_another_it_is_refused(copy, made, tmp_path):
    from tests.adapters.hostile import change, refused

    change(copy, "adapter_config.json", init_lora_weights="pissa_niter_4")
    refused(copy, "init_lora_weights to 'pissa_niter_4'.*named pissa_init")
    shutil.copytree(made, copy / "pissa_init")
    change(copy, "adapter_config.json", use_dora=True)
    refused(copy, "other settings that PEFT cannot convert")
    change(copy, "adapter_config.json", use_dora=False)
    (copy / "pissa_init" / "adapter_model.safetensors").write_bytes(b"cut")
    refused(copy, "safetensors")
