"""Each deviation of the recipe, with a test that fails without it."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from common.files import read_object
from models.family import shape_of
from models.precision import load_base_model
from runs.config import SCHEDULERS, TrainConfig
from trainer.patches import lean_int8
from trainer.recipe import training_arguments

pytestmark = pytest.mark.usefixtures("bitsandbytes_as_it_was")


def test_one_step_is_trained_in_8bit_on_a_cpu(make_trainer):
    import bitsandbytes

    trainer = make_trainer("8bit")
    quantised = [module for module in trainer.model.modules() if isinstance(module, bitsandbytes.nn.Linear8bitLt)]
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters() if "lora_B" in n}
    trainer.train()
    now = dict(trainer.model.named_parameters())
    moved = [name for name, value in before.items() if (now[name] != value).any()]
    assert (
        bitsandbytes.matmul.is_lean
        and len(quantised) == 14
        and {module.weight.dtype for module in quantised} == {torch.int8}
    )
    assert len(moved) == len(before) == 14


def test_last_layers_trains_exactly_their_modules(make_trainer, tiny_base, tmp_path):
    trainer = make_trainer(last_layers=1, target_modules="attention", lora_r=4)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    moved = {name for name, weight in trainer.model.named_parameters() if (before[name] != weight).any()}
    place = "base_model.model.model.layers.1.self_attn"
    modules = ("q_proj", "k_proj", "v_proj", "o_proj")
    assert {name for name in moved if "lora_B" in name} == {f"{place}.{name}.lora_B.default.weight" for name in modules}
    trained = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    expected = shape_of(tiny_base).adapter_parameters(4, "attention", last_layers=1)
    assert sum(weight.numel() for weight in trained) == expected
    trainer.model.save_pretrained(tmp_path)
    config = read_object(tmp_path / "adapter_config.json")
    assert (config["layers_to_transform"], config["layers_pattern"]) == ([1], "layers"), "so that PEFT loads it"


def test_weights_of_the_base_itself_take_small_updates_although_bf16_is_computed(make_trainer):
    """At this rate none would move in bf16, whose numbers near 0.02 lie 1e-4 apart."""
    trainer = make_trainer("bf16", method="full", learning_rate=1e-6)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    now = dict(trainer.model.named_parameters())
    assert trainer.args.bf16 and {weight.dtype for weight in now.values()} == {torch.float32}
    layers = [name for name in now if ".layers." in name and name.endswith("proj.weight")]
    shares = [(now[name] != before[name]).float().mean().item() for name in layers]
    assert len(shares) == 14 and min(shares) > 0.9


def test_lora_plus_lets_the_b_matrices_learn_faster(make_trainer):
    trainer = make_trainer(lora_plus_ratio=8.0, learning_rate=1e-3, weight_decay=0.1, max_steps=2)
    trainer.train()
    names = {id(weight): name for name, weight in trainer.model.named_parameters()}
    rates = {}
    for group in trainer.optimizer.param_groups:
        for weight in group["params"]:
            rates.setdefault("B" if "lora_B" in names[id(weight)] else "A", set()).add(group["initial_lr"])
            assert group["weight_decay"] == 0.1
    assert rates == {"A": {1e-3}, "B": {8e-3}}
    assert trainer.optimizer.param_groups[0]["lr"] == trainer._get_learning_rate(), "the curve shows that of A"


@pytest.mark.parametrize("precision", ["8bit", "4bit"])
def test_adapters_of_a_quantised_base_are_trained_in_fp32(make_trainer, precision):
    """C: TRL makes them bf16, and small updates vanish. D: fp16's scaler crashes on bf16 gradients."""
    trainable = [p for p in make_trainer(precision).model.parameters() if p.requires_grad]
    assert trainable and {parameter.dtype for parameter in trainable} == {torch.float32}


@pytest.mark.parametrize("precision", ["8bit", "4bit"])
def test_a_card_without_bf16_computes_in_fp16_by_a_scaler_and_its_adapters_stay_in_fp32(
    make_trainer, run, monkeypatch, precision
):
    """A T4, as Colab and Kaggle lend it: the base in fp16, as it would be there, and what the trainer is told."""
    with monkeypatch.context() as there:
        there.setattr("models.precision.compute_dtype", lambda precision: torch.float16)
        model = make_trainer(precision).model
    found = {name: weight.dtype for name, weight in model.named_parameters() if weight.is_floating_point()}
    adapters = {dtype for name, dtype in found.items() if "lora_" in name}
    assert adapters == {torch.float32} and torch.float16 in found.values() and torch.bfloat16 not in found.values()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *device: (7, 5))
    monkeypatch.setattr("trainer.recipe.SFTConfig", SimpleNamespace)  # the real one asks the card
    arguments = training_arguments(TrainConfig(precision=precision), run, precision, has_eval=True)
    assert arguments.fp16 and not arguments.bf16 and not arguments.use_cpu


@pytest.mark.parametrize("bias", [None, 1.5])
def test_int8_inputs_are_not_kept_and_gradients_are_bit_equal(tiny_base, bias):
    """E: bitsandbytes keeps the input of every int8 layer alive until backward."""
    kept, gradients = [], []
    for install in (lambda: None, lean_int8.install):
        install()
        layer = load_base_model(tiny_base, "8bit").model.layers[0].mlp.down_proj.train()
        layer.bias = torch.nn.Parameter(torch.full((64,), bias), requires_grad=False) if bias else None
        x = torch.randn(3, 5, 128, generator=torch.Generator().manual_seed(1), requires_grad=True)
        out = layer(x)
        node = next(n for n in _nodes(out.grad_fn) if hasattr(n, "state"))
        kept.append(getattr(node, "A", None) is not None)
        out.square().sum().backward()
        gradients.append(x.grad.clone())
    assert kept == [True, False], "either bitsandbytes frees them by itself now, or we do not"
    assert torch.equal(*gradients)


def test_gradients_go_through_4bit_layers_after_an_evaluation_too(make_trainer):
    """On a CPU with AVX512-BF16 bitsandbytes packs weights in an evaluation, for a kernel without a backward pass."""
    model, ids, found = make_trainer("4bit", lora_dropout=0.0).model, torch.arange(3, 40)[None], []
    for _ in range(2):
        model.train()(input_ids=ids, labels=ids).loss.backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        model.zero_grad()
        with torch.no_grad():
            model.eval()(input_ids=ids)
    first, second = found
    assert first and all(torch.equal(first[name], second[name]) for name in first)


def _nodes(node):
    """All backward nodes behind `node`."""
    if node is None:
        return
    yield node
    for parent, _ in node.next_functions:
        yield from _nodes(parent)


def test_a_cpu_trains_in_fp32_and_ddp_does_not_look_for_unused_parameters(run):
    """H: SFTConfig's default is bf16, which wins over the accelerate config. F: a PeftModel gets True by default, and reentrant
    checkpointing then dies under DDP.
    """
    arguments = training_arguments(TrainConfig(), run, "fp32", has_eval=False)
    assert arguments.use_cpu and not arguments.bf16 and not arguments.fp16
    assert arguments.ddp_find_unused_parameters is False


def test_zero_3_gets_reentrant_checkpointing(make_trainer, monkeypatch):
    """K: TRL 1.16's own switch to it does nothing. Looks at the function that the layers really call."""
    for stage, wanted in (("3", True), ("2", False)):
        monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", stage)
        trainer = make_trainer(gradient_checkpointing="on")
        trainer.train()
        layer = trainer.model.get_base_model().model.layers[0]
        assert layer._gradient_checkpointing_func.keywords["use_reentrant"] is wanted


@pytest.mark.parametrize("precision", ["fp32", "8bit"])
def test_checkpointing_changes_no_gradient(make_trainer, precision):
    gradients = []
    for setting in ("off", "on"):
        trainer = make_trainer(precision, gradient_checkpointing=setting, learning_rate=1e-3)
        trainer.train()
        gradients.append({n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad})
    assert all(torch.allclose(gradients[0][name], gradients[1][name], atol=1e-6) for name in gradients[0])


@pytest.mark.parametrize("target_modules", ["attention", "mlp", "all-linear"])
def test_the_chosen_layers_get_an_adapter(make_trainer, target_modules):
    attention, mlp = {"q_proj", "k_proj", "v_proj", "o_proj"}, {"gate_proj", "up_proj", "down_proj"}
    names = {name for name, weight in make_trainer(target_modules=target_modules).model.named_parameters()}
    found = {name.split(".lora_A")[0].rsplit(".", 1)[1] for name in names if "lora_A" in name}
    assert found == {"attention": attention, "mlp": mlp, "all-linear": attention | mlp}[target_modules]


def test_rank_stabilised_lora_scales_by_the_root_of_the_rank(make_trainer):
    layers = [
        make_trainer(**settings).model.base_model.model.model.layers[0] for settings in ({}, {"use_rslora": True})
    ]
    scales = [layer.mlp.up_proj.scaling["default"] for layer in layers]
    assert scales == [32 / 16, 32 / 4]


@pytest.mark.parametrize("precision", ["fp32", "4bit"])
def test_dora_learns_sizes_too(make_trainer, precision):
    trainer = make_trainer(precision, use_dora=True, gradient_checkpointing="on")
    sizes = {n: w.detach().clone() for n, w in trainer.model.named_parameters() if "lora_magnitude_vector" in n}
    trainer.train()
    now = dict(trainer.model.named_parameters())
    assert len(sizes) == 14 and all((now[name] != size).any() for name, size in sizes.items())
    assert {weight.dtype for weight in now.values() if weight.requires_grad} == {torch.float32}


def test_neftune_adds_noise_while_training_and_takes_its_hook_away(make_trainer):
    """Padded, not end to end: its noise is scaled by the length of what it is added to."""
    trainer = make_trainer(neftune_noise_alpha=5.0)
    assert not trainer.padding_free and make_trainer().padding_free
    plain, noisy = [], []
    embedding = trainer.model.get_base_model().get_input_embeddings()
    # the first hook sees what goes in, NEFTune's is the next, and this one comes after it
    embedding.register_forward_hook(lambda layer, given, out: plain.append(out.detach().clone()))
    layer = trainer.model.get_base_model().model.layers[0]
    layer.register_forward_pre_hook(lambda module, given: noisy.append(given[0].detach().clone()))
    trainer.train()
    noise = (noisy[0] - plain[0]).abs().max().item()
    bound = 5.0 / (plain[0].shape[1] * plain[0].shape[2]) ** 0.5
    assert 0.5 * bound < noise <= bound * 1.001
    trainer.model.train()
    trainer.model(**{"input_ids": torch.tensor([[1, 2, 3]])})
    assert torch.equal(noisy[-1], plain[-1]), "after the training there is none"


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_makes_a_schedule(make_trainer, scheduler):
    trainer = make_trainer(lr_scheduler_type=scheduler)
    trainer.create_optimizer()
    schedule = trainer.create_scheduler(20)
    rates = []
    for _ in range(20):
        rates.append(schedule.get_last_lr()[0])
        trainer.optimizer.step()
        schedule.step()
    falls = [later < earlier for earlier, later in pairwise(rates)]
    rises = sum(later > earlier for earlier, later in pairwise(rates[1:]))
    assert any(falls) != scheduler.startswith("constant")
    assert rises == (1 if scheduler == "cosine_with_restarts" else 0), "a schedule with restarts restarts"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["8bit", "4bit", "bf16", "fp16"])
def test_a_gpu_trains_in_every_precision(make_trainer, precision):
    trainer = make_trainer(precision)
    trainer.train()
    assert trainer.state.global_step == 1
