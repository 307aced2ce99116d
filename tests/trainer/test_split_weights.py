"""Each process has its own device and, where weights are split, its own part of them: gathered, stored, counted."""

from dataclasses import replace

import pytest

from models.family import TINYLLAMA_SHAPE
from models.hardware import Hardware
from runs.config import TrainConfig
from runs.forecast.estimate import EXAMPLE_FACTS
from runs.forecast.memory import estimate_memory
from runs.launcher import create_run
from tests.running import run_main, write_rows
from tests.runs.test_machines import A100


def memory_parts(mode: str, processes: int, layers: int = 22) -> dict[str, int]:
    """The parts of the memory of TinyLlama in bf16, or of its first layers, on each of some A100."""
    config = TrainConfig(precision="bf16", num_processes=processes, parallel=mode)
    shape = replace(TINYLLAMA_SHAPE, num_hidden_layers=layers)
    return estimate_memory(config, shape, EXAMPLE_FACTS, Hardware(A100, 8, 80 * 2**30, "A100")).parts


def test_split_weights_take_a_part_of_the_memory_of_each_card():
    whole, split = (memory_parts(mode, 4) for mode in ("ddp", "fsdp2"))
    assert split["weights"] < 0.5 * whole["weights"] and sum(split.values()) < sum(whole.values())


def test_a_process_has_its_device_before_the_base_is_loaded_and_the_base_is_never_spread(
    tiny_base, tmp_path, monkeypatch
):
    """bitsandbytes puts a base on the current device: before the processes have met, that is card 0 for all of them."""
    from accelerate.state import AcceleratorState, PartialState

    from trainer import train

    AcceleratorState._reset_state(reset_partial_state=True)
    load, seen = train.load_base_model, []

    def watched(folder, precision, device_map=None):
        seen.append((bool(PartialState._shared_state), device_map))
        return load(folder, precision, device_map)

    monkeypatch.setattr(train, "load_base_model", watched)
    data = write_rows(tmp_path / "rows.jsonl", [{"prompt": f"Q {n}", "completion": f"A {n}"} for n in range(8)])
    run = create_run(TrainConfig(base=str(tiny_base), data=data, max_steps=1, max_length=64))
    assert run_main(run) == 0 and seen == [(True, None)]


def test_what_fsdp2_holds_is_what_two_real_processes_held():
    """Four layers of TinyLlama in bf16 with the default adapters, split into accelerate's units, two processes over gloo."""
    local_weights, local_adapters, local_optimiser, gathered = 307_251_200, 4_587_520, 9_175_040, 131_076_096
    found = memory_parts("fsdp2", 2, layers=4)
    assert (found["adapters"], found["optimiser"]) == (local_adapters, local_optimiser)
    on_its_way = 2 * TINYLLAMA_SHAPE.linear_parameters / TINYLLAMA_SHAPE.num_hidden_layers  # one more layer
    assert found["weights"] == pytest.approx(local_weights + gathered + on_its_way, rel=0.001)


def test_zero3_keeps_a_base_of_less_than_1e9_weights_whole_and_splits_the_rest_as_deepspeed_says():
    """deepspeed 0.19.8, estimate_zero3_model_states_mem_needs: 18 bytes a trained weight over all processes."""
    found = {count: memory_parts("zero3", count) for count in (2, 4)}
    trained = TINYLLAMA_SHAPE.adapter_parameters(16, "all-linear", False)
    for count, parts in found.items():
        ours = parts["adapters"] + parts["gradients"] + parts["optimiser"]
        assert 1.0 <= ours / (18 * trained / count) < 1.15
    assert found[4]["weights"] > 1.8 * 10**9, "nothing is let go of that DeepSpeed would keep"


@pytest.fixture
def mesh(tmp_path):
    """FSDP2 for real, with one process on a CPU."""
    import torch

    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield torch.distributed.init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


def split(model, mesh) -> None:
    from torch.distributed.fsdp import fully_shard

    for layer in model.base_model.model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def test_split_weights_are_gathered_for_the_adapter_and_stay_fp32_beside_a_bf16_base(tiny_base, tmp_path, mesh):
    import torch
    from peft import get_peft_model
    from torch.distributed.tensor import DTensor

    from models.family import shape_of
    from models.precision import load_base_model
    from runs.publish import whole_weights
    from trainer.recipe import lora_config

    model = get_peft_model(load_base_model(tiny_base, "bf16"), lora_config(TrainConfig(), shape_of(tiny_base)))
    for weight in model.parameters():
        weight.data = weight.data.float() if weight.requires_grad else weight.data
    before = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
    assert whole_weights(model) is None, "each process has them whole"
    split(model, mesh)
    assert all(isinstance(weight, DTensor) for weight in model.parameters())
    found = whole_weights(model)
    assert found.keys() == before.keys() and all(torch.equal(found[name], before[name]) for name in before)
    assert {weight.dtype for weight in found.values()} == {torch.float32}
    model.save_pretrained(tmp_path / "saved", state_dict=found)
    assert (tmp_path / "saved" / "adapter_model.safetensors").stat().st_size > 10_000


def test_an_adapter_of_split_weights_is_switched_off_for_the_base_and_learns_afterwards(tiny_base, mesh):
    import torch
    from peft import get_peft_model

    from models.family import shape_of
    from models.precision import load_base_model
    from trainer.recipe import lora_config

    model = get_peft_model(load_base_model(tiny_base, "fp32"), lora_config(TrainConfig(), shape_of(tiny_base)))
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # as of one that is continued
            weight.data.normal_(generator=torch.Generator().manual_seed(0))
    model.eval()
    ids = torch.tensor([[1, 5, 7, 9, 11]])
    with torch.no_grad(), model.disable_adapter():
        base = float(model(ids, labels=ids).loss)
    split(model, mesh)
    with torch.no_grad(), model.disable_adapter():
        assert float(model(ids, labels=ids).loss) == pytest.approx(base, rel=1e-6)
    loss = model(ids, labels=ids).loss
    loss.backward()
    assert abs(loss.item() - base) > 1e-3
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)


def test_4_bit_weights_are_stored_in_the_dtype_of_the_rest_so_that_they_can_be_split():
    import torch

    from models.precision import quantization_config

    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        assert quantization_config("4bit", dtype).bnb_4bit_quant_storage == dtype
