"""The parts of libraries that `patches/` replaces or reads are where they were; a failure says which library moved what.

Whether a patch computes the right numbers is tested beside its folder. Here only what it relies on is.
"""

import inspect
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]
PATCHES = sorted(file for file in REPOSITORY.glob("*/patches/*.py") if file.name != "__init__.py")
PINNED = re.compile(r"\b([a-z]+)==(\d+\.\d+\.\d+)")


def parameters(function) -> list[str]:
    """Return the names of a function's parameters."""
    return list(inspect.signature(function).parameters)


def sources(library: str) -> str:
    """Return the words in which a failure names a library and its installed version."""
    return f"{library} {version(library)} has moved it: read the head of the patch"


@pytest.mark.parametrize("file", PATCHES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_the_head_of_a_patch_names_the_version_that_is_installed(file):
    head = file.read_text(encoding="utf-8").split('"""')[1]
    named = dict(PINNED.findall(head))
    assert named, "no LIBRARY==VERSION in the head"
    for library, wanted in named.items():
        assert version(library).split("+")[0] == wanted, f"look through {file.name}, then write the new version there"
    assert all(word in head for word in ("Why: ", "Gain", "Refuses: ", "To drop it: "))


def test_bitsandbytes_matmul_chooses_between_the_two_functions_that_lean_int8_derives_from():
    """trainer/patches/lean_int8.py."""
    from bitsandbytes.autograd import _functions

    assert parameters(_functions.matmul) == ["A", "B", "out", "state", "threshold", "bias"], sources("bitsandbytes")
    choice = inspect.getsource(_functions.matmul)
    assert 'A.device.type in ("cpu", "xpu")' in choice and "if state.is_training:" in choice, sources("bitsandbytes")
    for function in (_functions.MatMul8bitLt, _functions.MatMul8bitFp):
        assert parameters(function.forward) == ["ctx", "A", "B", "out", "bias", "state"], sources("bitsandbytes")


def test_bitsandbytes_keeps_the_input_of_int8_layers_in_the_attributes_that_lean_int8_clears():
    """trainer/patches/lean_int8.py: without them the patch is superfluous, or does nothing."""
    from bitsandbytes.autograd._functions import MatMul8bitFp, MatMul8bitLt

    forward, backward = inspect.getsource(MatMul8bitLt.forward), inspect.getsource(MatMul8bitLt.backward)
    assert "ctx.tensors = (CAt, subA, A)" in forward and "ctx.tensor_states = (" in forward, sources("bitsandbytes")
    assert "ctx.is_empty" in forward and "ctx.tensors" in backward, sources("bitsandbytes")
    assert "ctx.A = A" in inspect.getsource(MatMul8bitFp.forward), sources("bitsandbytes")
    assert inspect.getsource(MatMul8bitFp.backward).count("A.t()") == 1, sources("bitsandbytes")


def test_bitsandbytes_layers_call_the_matmul_of_its_package():
    """trainer/patches/lean_int8.py replaces `bitsandbytes.matmul`, which the layers must look up at each call."""
    from bitsandbytes.nn import Linear8bitLt

    assert "bnb.matmul(" in inspect.getsource(Linear8bitLt.forward), sources("bitsandbytes")


def test_bitsandbytes_packs_4bit_weights_on_a_cpu_where_plain_4bit_switches_it_off():
    """trainer/patches/plain_4bit.py: without it no gradient goes through packed weights."""
    from bitsandbytes.autograd import _functions
    from bitsandbytes.nn import Linear4bit

    forward = inspect.getsource(Linear4bit.forward)
    assert "and self.support_avx512bf16_for_cpu" in forward and "not self.training" in forward, sources("bitsandbytes")
    assert "packing_format_for_cpu" in inspect.getsource(_functions.matmul_4bit), sources("bitsandbytes")


def test_trl_scores_positions_by_the_tiles_that_loss_head_calls():
    """trainer/patches/loss_head.py."""
    from trl.kernels import ChunkedLogProbFunction
    from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE

    known = ["ctx", "hidden", "weight", "bias", "targets", "temperature", "chunk_size", "final_logit_softcapping"]
    assert parameters(ChunkedLogProbFunction.forward) == [*known, "logit_scale", "outputs"], sources("trl")
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(5, 8, generator=generator), torch.randn(11, 8, generator=generator)
    targets = torch.tensor([0, 3, 10, 7, 1])
    settings = (1.0, _CHUNKED_LOGPROB_CHUNK_SIZE, None, 1.0, ("log_probs",))
    found, *_ = ChunkedLogProbFunction.apply(hidden, weight, None, targets, *settings)
    wanted = torch.log_softmax(hidden @ weight.T, dim=-1).gather(1, targets[:, None])[:, 0]
    assert torch.allclose(found, wanted, atol=1e-5), sources("trl")


def test_transformers_models_have_a_body_and_a_head_as_loss_head_calls_them():
    """trainer/patches/loss_head.py."""
    from transformers import LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM

    for model in (LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM):
        assert {"input_ids", "use_cache", "kwargs"} <= {*parameters(model.forward)}, sources("transformers")
        assert callable(model.get_output_embeddings) and model.base_model_prefix == "model", sources("transformers")


def test_accelerate_wraps_no_model_with_the_mark_that_prepared_takes_away():
    """trainer/patches/prepared.py."""
    from accelerate import Accelerator

    assert '"_is_accelerate_prepared"' in inspect.getsource(Accelerator.prepare_model), sources("accelerate")
    assert "model._is_accelerate_prepared = True" in inspect.getsource(Accelerator), sources("accelerate")


def test_the_trainer_of_transformers_has_the_private_methods_that_are_called_or_overridden():
    """trainer/patches/prepared.py calls the first; trainer/studio_trainer.py overrides the others."""
    from transformers import Trainer

    known = {
        "_load_from_checkpoint": ["resume_from_checkpoint", "model"],
        "_get_train_sampler": ["train_dataset"],
        "_get_grad_norm": ["model", "grad_norm"],
        "_save_checkpoint": ["model", "trial"],
    }
    for name, wanted in known.items():
        assert parameters(getattr(Trainer, name))[1:] == wanted, f"{name}: {sources('transformers')}"
    source = inspect.getsource(Trainer)
    for name in known:
        assert f"self.{name}" in source, f"{name} is never called: {sources('transformers')}"
    for name in ("model_wrapped", "lr_scheduler", "optimizer", "is_in_train", "accelerator"):
        assert f"self.{name}" in source, f"{name}: {sources('transformers')}"


def test_transformers_takes_attention_functions_by_name():
    """trainer/patches/row_attention.py and chat/patches/attention.py."""
    from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    known = ["module", "query", "key", "value", "attention_mask"]
    assert parameters(sdpa_attention_forward)[:5] == known, sources("transformers")
    assert {"scaling", "is_causal", "kwargs"} <= {*parameters(sdpa_attention_forward)}, sources("transformers")
    assert callable(sdpa_mask) and callable(PreTrainedModel.set_attn_implementation), sources("transformers")
    AttentionInterface.register("studio_contract", sdpa_attention_forward)
    AttentionMaskInterface.register("studio_contract", sdpa_mask)


def test_transformers_passes_the_bounds_of_rows_and_makes_no_mask_for_an_unknown_name():
    """trainer/patches/row_attention.py writes `_attn_implementation`; chat/patches/attention.py gets masks of four axes."""
    from transformers import AttentionInterface, AttentionMaskInterface, LlamaConfig, LlamaModel
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    seen = []

    def attention(module, query, key, value, attention_mask, **kwargs):
        seen.append((attention_mask, kwargs.get("cu_seq_lens_q"), kwargs.get("max_length_q"), kwargs.get("scaling")))
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)

    AttentionInterface.register("studio_contract_bounds", attention)
    AttentionInterface.register("studio_contract_masks", attention)
    AttentionMaskInterface.register("studio_contract_masks", sdpa_mask)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaModel(LlamaConfig(vocab_size=9, **sizes)).eval()
    model.set_attn_implementation("studio_contract_masks")
    ids, padded = torch.ones(2, 4, dtype=torch.long), torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1]])
    model(input_ids=ids, attention_mask=padded)
    assert seen[0][0].shape == (2, 1, 4, 4), sources("transformers")
    model.config._attn_implementation = "studio_contract_bounds"
    bounds = torch.tensor([0, 2, 4], dtype=torch.int32)
    model(input_ids=ids[:1], cu_seq_lens_q=bounds, cu_seq_lens_k=bounds, max_length_q=2, max_length_k=2)
    mask, found, longest, scale = seen[1]
    assert mask is None and found is bounds and longest == 2 and scale == 0.5, sources("transformers")


def test_torch_has_the_attention_of_rows_of_various_lengths():
    """trainer/patches/row_attention.py, on a GPU."""
    from torch.nn.attention.varlen import varlen_attn

    known = ["query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"]
    assert parameters(varlen_attn)[:7] == known, sources("torch")
    assert {"scale", "window_size", "enable_gqa"} <= {*parameters(varlen_attn)}, sources("torch")


def test_torch_shows_a_mode_the_products_of_linear_layers():
    """models/patches/few_rows.py."""
    from torch.overrides import TorchFunctionMode

    seen = []

    class Seeing(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append((func, len(args), kwargs or {}))
            return func(*args, **(kwargs or {}))

    with Seeing():
        torch.nn.Linear(4, 3)(torch.ones(2, 4))
    assert (torch.nn.functional.linear, 3, {}) in seen, sources("torch")


def test_torch_multiplies_by_int8_weights_with_a_scale_a_row():
    """chat/patches/int8.py."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, 64, generator=generator).bfloat16()
    weight = torch.randint(-127, 128, (32, 64), generator=generator, dtype=torch.int8)
    scales = torch.rand(32, generator=generator).bfloat16() / 127
    found = torch._weight_int8pack_mm(inputs, weight, scales)
    wanted = inputs.float() @ (weight.float() * scales.float()[:, None]).T
    assert found.dtype == torch.bfloat16 and found.shape == (3, 32), sources("torch")
    assert (found.float() - wanted).norm() < 0.01 * wanted.norm(), sources("torch")


def test_transformers_layers_have_the_parts_that_the_short_step_calls_and_no_others():
    """chat/patches/step.py."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    attention, norms = {"q_proj", "k_proj", "v_proj", "o_proj"}, {"input_layernorm", "post_attention_layernorm"}
    for kind in ("llama", "qwen2", "qwen3"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, vocab_size=9, **sizes)).model
        assert {name for name, _ in model.named_children()} == {"embed_tokens", "layers", "norm", "rotary_emb"}
        layer = model.layers[0]
        of_heads = {"q_norm", "k_norm"} if kind == "qwen3" else set()
        assert {name for name, _ in layer.named_children()} == norms | {"self_attn", "mlp"}, sources("transformers")
        assert {name for name, _ in layer.self_attn.named_children()} == attention | of_heads, sources("transformers")
        parts = {"gate_proj", "up_proj", "down_proj", "act_fn"}
        assert {name for name, _ in layer.mlp.named_children()} == parts, sources("transformers")
        assert model.norm.variance_epsilon > 0 and layer.self_attn.scaling > 0, sources("transformers")


def test_peft_keeps_a_layers_adapters_where_lora_reads_them():
    """chat/patches/lora.py and trainer/patches/lean_evaluation.py, which compute base(x) + scaling * B(A(x)) by themselves."""
    from peft import LoraConfig, get_peft_model
    from peft.tuners import lora
    from peft.tuners.lora import LoraLayer

    from chat.patches.lora import PLAIN

    model = get_peft_model(
        torch.nn.Sequential(torch.nn.Linear(8, 6)),
        LoraConfig(r=2, lora_alpha=6, target_modules=["0"], init_lora_weights=False),
    ).eval()
    (layer,) = [module for module in model.modules() if isinstance(module, LoraLayer)]
    assert type(layer).__name__ in PLAIN and all(hasattr(lora, name) for name in PLAIN), sources("peft")
    assert isinstance(layer.base_layer, torch.nn.Linear) and not layer.lora_embedding_A, sources("peft")
    assert not layer.lora_variant and not layer.lora_bias["default"], sources("peft")
    inputs = torch.ones(1, 8)
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight * layer.scaling["default"]
    assert torch.allclose(model(inputs), layer.base_layer(inputs) + inputs @ down.T @ up.T, atol=1e-5), sources("peft")


def test_peft_marks_what_is_no_plain_lora():
    """chat/patches/lora.py and trainer/patches/lean_evaluation.py leave these layers to PEFT."""
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import LoraLayer

    for settings, attribute in (({"use_dora": True}, "lora_variant"), ({"lora_bias": True}, "lora_bias")):
        network = torch.nn.Sequential(torch.nn.Linear(8, 6))
        model = get_peft_model(network, LoraConfig(target_modules=["0"], **settings))
        (layer,) = [module for module in model.modules() if isinstance(module, LoraLayer)]
        assert getattr(layer, attribute).get("default"), f"{attribute}: {sources('peft')}"


def test_peft_keeps_own_tokens_where_tokens_reads_them():
    import torch
    from peft.utils.other import TrainableTokensWrapper

    wrapper = TrainableTokensWrapper(torch.nn.Embedding(10, 4), "mine", [3])
    layer = wrapper.token_adapter
    assert layer.active_adapters == ["mine"] and not layer.disable_adapters, sources("peft")
    assert layer.token_indices == {"mine": [3]} and layer.trainable_tokens_delta["mine"].shape == (1, 4), sources(
        "peft"
    )
    assert wrapper._get_available_adapters() == {"mine"}, sources("peft")
    assert wrapper.adapter_state_dict_load_map("other"), "PEFT asks no other adapter for tokens now: _load_map can go"


def test_gradio_imports_the_session_state_that_lean_sessions_replaces_where_it_is_replaced():
    """ui/patches/lean_sessions.py."""
    import gradio
    from gradio import blocks, route_utils, state_holder

    folder = Path(gradio.__file__).parent
    users = {file.stem for file in folder.glob("*.py") if "SessionState(" in file.read_text(encoding="utf-8")}
    assert users <= {"blocks", "route_utils", "state_holder", "mcp"}, sources("gradio")
    for module in (blocks, route_utils, state_holder):
        assert isinstance(module.SessionState, type), f"{module.__name__}: {sources('gradio')}"


def test_gradio_session_state_has_the_parts_that_a_lean_session_overrides():
    """ui/patches/lean_sessions.py."""
    from ui.patches.lean_sessions import LeanSession

    known = LeanSession.__mro__[1]
    for name in ("__init__", "__setitem__", "_update_config", "_update_value_in_config"):
        wanted, ours = len(parameters(getattr(known, name))), len(parameters(getattr(LeanSession, name)))
        assert name in vars(known) and wanted == ours, f"SessionState.{name}: {sources('gradio')}"
    attributes = {*re.findall(r"self\.(\w+)(?:: [^=\n]+)? = ", inspect.getsource(known.__init__))}
    assert attributes == {*re.findall(r"self\.(\w+) = ", inspect.getsource(LeanSession.__init__))}, sources("gradio")


def test_gradio_counts_wrong_where_lists_within_a_list_become_shorter():
    """ui/patches/whole_value.py: when this fails, Gradio has mended it, and `whole` can go."""
    from gradio.utils import diff
    from gradio_client.utils import apply_diff

    def sent(before: list, after: list) -> list:
        """What the page has after the differences."""
        return apply_diff(before, diff(before, after))

    assert sent([1, 2, 3], [1]) == [1] and sent([[1]], [[1, 2]]) == [[1, 2]], sources("gradio")
    assert sent([[1, 2, 3]], [[1]]) == [[3]], "Gradio counts right now: drop ui/patches/whole_value.py"


def test_gradio_holds_what_it_knows_of_sessions_in_the_tables_that_are_read():
    """ui/patches/gradio_queue.py."""
    import gradio
    from gradio.queueing import Event
    from gradio.routes import App, file_upload_statuses

    with gradio.Blocks() as page:
        gradio.Textbox()
    app = App.create_app(page)
    queue = app.get_blocks()._queue
    tables = ("pending_messages_per_session", "pending_event_ids_session", "active_jobs", "event_ids_to_events")
    for name in (*tables, "clean_events"):
        assert hasattr(queue, name), f"Queue.{name}: {sources('gradio')}"
    for name in ("pending_streams", "pending_diff_streams", "fns", "default_config"):
        assert hasattr(app.get_blocks(), name), f"Blocks.{name}: {sources('gradio')}"
    for name in ("session_data", "time_last_used"):
        assert hasattr(app.state_holder, name), f"StateHolder.{name}: {sources('gradio')}"
    assert "session_hash" in parameters(queue.clean_events), sources("gradio")
    assert {"session_hash", "request"} <= {*parameters(Event.__init__)}, f"Event: {sources('gradio')}"
    file_upload_statuses.stop_tracking("unknown")


def test_gradio_queue_waits_as_long_as_it_is_told():
    """ui/patches/calm_queue.py."""
    from gradio.queueing import Queue

    assert "asyncio.sleep(self.sleep_when_free)" in inspect.getsource(Queue.start_processing), sources("gradio")
    source = inspect.getsource(Queue.start_progress_updates)
    assert "asyncio.sleep(self.progress_update_sleep_when_free)" in source, sources("gradio")
    assert "0.001" in inspect.getsource(Queue.__init__), "Gradio waits longer now: drop ui/patches/calm_queue.py"


def test_gradios_scripts_have_what_is_mended_on_their_way():
    """ui/patches/ended_loader.py, ui/patches/roles.py: when this fails, look whether Gradio has mended it."""
    import gradio

    from ui.patches.ended_loader import with_a_clock_that_ends
    from ui.patches.roles import with_roles

    scripts = [file.read_bytes() for file in (Path(gradio.__file__).parent / "templates/frontend/assets").glob("*.js")]
    ended = [(script, mended) for script in scripts if (mended := with_a_clock_that_ends(script)) != script]
    assert [mended.count(b"?.isConnected&&") for _script, mended in ended] == [1], sources("gradio")
    assert sum(with_roles(script) != script for script in scripts) == 4, sources("gradio")


def test_gradios_page_has_the_tags_of_a_links_preview():
    """ui/patches/link_preview.py: when this fails, look whether Gradio takes them from the app."""
    import gradio

    from ui.patches.link_preview import with_own_preview

    page = (Path(gradio.__file__).parent / "templates/frontend/index.html").read_bytes()
    assert b'content="Gradio"' in page and b"githubusercontent" in page, sources("gradio")
    own = with_own_preview(page, "Name", "About")
    assert b'content="Gradio"' not in own and b"githubusercontent" not in own, sources("gradio")


def test_gradio_numbers_components_from_where_it_is_told():
    """ui/patches/texts.py."""
    import gradio as gr
    from gradio.context import Context

    next_id, Context.id = Context.id, 10**6
    try:
        with gr.Blocks() as page:
            box = gr.Textbox()
    finally:
        Context.id = next_id
    assert (page._id, box._id) == (10**6, 10**6 + 1), sources("gradio")


def test_gradio_reads_and_answers_calls_by_the_methods_that_the_page_overrides():
    """ui/page.py."""
    from gradio.blocks import Blocks

    assert "self.config = self.get_config_file()" in inspect.getsource(Blocks.launch), sources("gradio")
    assert "await self.preprocess_data(" in inspect.getsource(Blocks.process_api), sources("gradio")
    assert "request" in parameters(Blocks.process_api), sources("gradio")
    assert parameters(Blocks.preprocess_data)[:3] == ["self", "block_fn", "inputs"], sources("gradio")


def test_transformers_caches_keep_keys_and_values_a_layer():
    """chat/batch.py joins and splits them."""
    from transformers import DynamicCache

    cache = DynamicCache()
    cache.update(torch.ones(1, 2, 3, 4), torch.zeros(1, 2, 3, 4), 0)
    layer = cache.layers[0]
    assert layer.keys.shape == layer.values.shape == (1, 2, 3, 4), sources("transformers")
    layer.keys, layer.values = layer.keys[:, :, 1:], layer.values[:, :, 1:]
    assert cache.get_seq_length() == 2, sources("transformers")


def test_transformers_caches_take_layers_of_another_class():
    """chat/patches/room.py."""
    from transformers import DynamicCache, LlamaConfig
    from transformers.cache_utils import DynamicLayer

    cache = DynamicCache(config=LlamaConfig(num_hidden_layers=2))
    assert [type(layer) for layer in cache.layers] == [DynamicLayer, DynamicLayer], sources("transformers")
    assert parameters(DynamicLayer.update)[:3] == ["self", "key_states", "value_states"], sources("transformers")
    assert parameters(DynamicLayer.lazy_initialization) == ["self", "key_states", "value_states"], sources(
        "transformers"
    )


def test_transformers_sampler_of_alike_lengths_draws_from_its_generator():
    """trainer/row_order.py sets `generator` before each epoch."""
    from transformers.trainer_pt_utils import LengthGroupedSampler

    sampler = LengthGroupedSampler(2, lengths=list(range(100)))
    orders = []
    for seed in (1, 1, 2):
        sampler.generator = torch.Generator().manual_seed(seed)
        orders.append(list(sampler))
    assert orders[0] == orders[1] != orders[2], sources("transformers")


def test_transformers_renders_templates_with_the_spans_of_the_assistants_words():
    """models/prompt.py, which tokenises what is rendered by itself."""
    from transformers.utils.chat_template_utils import render_jinja_template

    template = "{% for m in messages %}<{% generation %}{{ m['content'] }}{% endgeneration %}>{% endfor %}"
    conversations = [[{"role": "assistant", "content": "yes"}]]
    found = render_jinja_template(
        conversations=conversations, chat_template=template, return_assistant_tokens_mask=True
    )
    assert found[0] == ["<yes>"], sources("transformers")
    assert [tuple(span) for span in found[1][0]] == [(1, 4)], sources("transformers")


def test_transformers_writes_bytes_as_the_characters_of_byte_level_tokenizers():
    """models/prompt.py shows tokens as the bytes that they are."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    found = bytes_to_unicode()
    assert len(found) == len({*found.values()}) == 256 and found[32] == "Ġ", sources("transformers")


def test_the_hub_client_names_its_folders_and_finds_yaml_as_before():
    """models/base.py and models/hub/fetch.py read the cache; data/hub_data.py looks through a card before `datasets` does."""
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.repocard import REGEX_YAML_BLOCK
    from huggingface_hub.utils import filter_repo_objects

    assert repo_folder_name(repo_id="a/b", repo_type="model") == "models--a--b", sources("huggingface_hub")
    block = REGEX_YAML_BLOCK.search("---\na: 1\n---\nwords")
    assert block and block[2].strip() == "a: 1", sources("huggingface_hub")
    assert [*filter_repo_objects(["a.json", "a.bin"], allow_patterns=["*.json"])] == ["a.json"], sources(
        "huggingface_hub"
    )


def test_tokenizers_decode_on_from_ids_that_are_given():
    """chat/decoding.py begins a stream behind tokens that were shown."""
    from tokenizers import Tokenizer
    from tokenizers.decoders import DecodeStream
    from tokenizers.models import WordLevel

    tokenizer = Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a"))
    stream = DecodeStream(ids=[0], skip_special_tokens=True)
    assert stream.step(tokenizer, 1) == " b", sources("tokenizers")


def test_transformers_reads_a_gguf_as_the_conversion_of_the_embedded_base_does():
    """models/embedded.py."""
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
    from transformers.integrations.gguf import dequant, reader

    assert parameters(reader.read_gguf_metadata) == ["gguf_path", "string_arrays"], sources("transformers")
    assert parameters(reader.load_gguf_state_dict) == ["header"], sources("transformers")
    assert parameters(dequant.dequantize)[:2] == ["data", "ggml_type"], sources("transformers")
    assert GGUF_CONFIG_MAPPING["llama"]["block_count"] == "num_hidden_layers", sources("transformers")
