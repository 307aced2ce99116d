"""Merged and unmerged answer alike; GGUF is read back by real readers; what cannot be served is said."""

import shlex
import shutil

import pytest

from adapters.__main__ import main
from adapters.export.gguf_file import _write_model, write_adapter, write_all, write_models
from adapters.export.merge import merge_adapter
from adapters.export.serve import SMOLLM2_SYSTEM, vllm_line, write_modelfile
from adapters.library import read_adapter
from common.errors import UserError
from common.files import read_json, write_json
from models.templates import read_template
from models.templates.choice import own_choice
from models.templates.known import recognise
from tests.adapters.hostile import change
from tests.adapters.making import put
from tests.tiny import make_tiny_qwen


@pytest.fixture(scope="module")
def merged(made, tiny_base, tmp_path_factory):
    return merge_adapter(read_adapter(made), tiny_base, tmp_path_factory.mktemp("merged") / "merged", "bf16")


@pytest.fixture(scope="module")
def few_words(tmp_path_factory):
    """A whole model with a thousand words, which is written and read back in a moment."""
    return make_tiny_qwen(tmp_path_factory.mktemp("qwen") / "qwen", "qwen2")


def test_merged_answers_like_base_and_adapter_not_like_the_base_and_says_how_far_it_is(merged, tiny_base):
    from safetensors.torch import load_file

    assert merged.agreement >= 0.9 and 0 < merged.largest_difference < 0.05
    assert "largest difference" in merged.sentence()
    assert read_json(merged.folder / "config.json")["dtype"] == "bfloat16"
    base, after = (
        load_file(folder / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"].float()
        for folder in (tiny_base, merged.folder)
    )
    assert (base - after).abs().max() > 0.01


def test_a_merge_in_fp32_is_exact(made, tiny_base, tmp_path):
    exact = merge_adapter(read_adapter(made), tiny_base, tmp_path / "exact", "fp32")
    assert exact.agreement == 1.0 and exact.largest_difference < 1e-4


def test_an_adapter_with_no_numbers_is_not_merged(copy, tiny_base, tmp_path):
    from safetensors.torch import load_file, save_file

    file = copy / "adapter_model.safetensors"
    save_file({name: value * float("nan") for name, value in load_file(file).items()}, file)
    with pytest.raises(UserError, match="cannot be merged"):
        merge_adapter(read_adapter(copy), tiny_base, tmp_path / "out", "fp32")
    assert not list(tmp_path.glob("out*"))


def test_what_is_at_the_target_is_never_overwritten(made, tiny_base, tmp_path):
    for name in ("out", "out.old", "out.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious.txt").write_text("mine")
    with pytest.raises(UserError, match="already exists"):
        merge_adapter(read_adapter(made), tiny_base, tmp_path / "out", "fp32")
    (tmp_path / "out" / "precious.txt").unlink()
    (tmp_path / "out").rmdir()
    merged = merge_adapter(read_adapter(made), tiny_base, tmp_path / "out", "fp32")
    assert (tmp_path / "out.old" / "precious.txt").exists() and (tmp_path / "out.partial" / "precious.txt").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out.old", "out.partial"}
    write_models(merged.folder, tmp_path / "gguf", ("f16",))
    with pytest.raises(UserError, match="already exists"):
        write_models(merged.folder, tmp_path / "gguf", ("f16",))


def test_an_adapter_is_never_merged_into_a_quantised_base(made, tiny_base, tmp_path):
    with pytest.raises(UserError, match="cannot be merged in '8bit'"):
        merge_adapter(read_adapter(made), tiny_base, tmp_path / "out", "8bit")


def test_the_gguf_of_a_merged_model_is_read_by_transformers_and_answers_alike(merged, tmp_path):
    f16, q8_0 = write_models(merged.folder, tmp_path)
    assert f16.largest_difference < 0.001 and q8_0.largest_difference < 0.05
    assert q8_0.path.stat().st_size < 0.7 * f16.path.stat().st_size and f16.tensors == 21
    assert {path.name for path in tmp_path.iterdir()} == {"merged-f16.gguf", "merged-q8_0.gguf"}
    modelfile = write_modelfile(merged.folder, q8_0.path).read_text()
    assert "FROM ./merged-q8_0.gguf" in modelfile and "<|{{ .Role }}|>" in modelfile and 'stop "</s>"' in modelfile


@pytest.mark.parametrize("outtype", ["f16", "q8_0"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda name, values: values * 1.05 if "layers.1.mlp.up_proj" in name else values,
        lambda name, values: values[::-1].copy() if "layers.0.self_attn.k_proj" in name else values,
        lambda name, values: values * float("nan") if "layers.0.self_attn.v_proj" in name else values,
    ],
)
def test_a_gguf_with_one_damaged_weight_is_not_kept(few_words, tmp_path, monkeypatch, outtype, damage):
    from adapters.export import gguf_file

    real = gguf_file._tensors
    damaged = lambda paths: ((name, damage(name, values)) for name, values in real(paths))  # noqa: E731
    monkeypatch.setattr(gguf_file, "_tensors", damaged)
    with pytest.raises(UserError, match="differs by"):
        write_models(few_words, tmp_path, (outtype,))
    assert not list(tmp_path.iterdir())


def test_logits_and_next_tokens_are_judged_too(few_words, tmp_path, monkeypatch):
    from dataclasses import replace

    from adapters.export import gguf_check

    tight = gguf_check.LIMITS["q8_0"]
    for limit, words in [
        (replace(tight, logits=1e-9), "logits differs"),
        (replace(tight, agreement=1.1), "agrees on only"),
    ]:
        monkeypatch.setitem(gguf_check.LIMITS, "q8_0", limit)
        with pytest.raises(UserError, match=words):
            write_models(few_words, tmp_path, ("q8_0",))
    assert not list(tmp_path.iterdir())


def test_a_base_without_one_chat_template_is_written_too(merged, tmp_path, monkeypatch):
    from adapters.export import gguf_file
    from models.tokenizer import load_tokenizer

    def bare(folder):
        tokenizer = load_tokenizer(folder)
        tokenizer.chat_template = None
        return tokenizer

    monkeypatch.setattr("models.tokenizer.load_tokenizer", bare)
    assert gguf_file._write_model(merged.folder, tmp_path / "bare.gguf", "f16") == 21


def test_a_gguf_of_an_adapter_that_fails_leaves_nothing(made, tiny_base, tmp_path, monkeypatch):
    from adapters.export import gguf_file

    real = gguf_file._tensors
    damaged = lambda paths: ((name, values * float("nan")) for name, values in real(paths))  # noqa: E731
    monkeypatch.setattr(gguf_file, "_tensors", damaged)
    with pytest.raises(UserError, match="does not hold"):
        write_adapter(read_adapter(made), tiny_base, tmp_path / "adapter.gguf")
    assert not list(tmp_path.iterdir())


def test_what_gguf_cannot_hold_alone_is_said_and_the_merged_model_is_written(merged, copy, tiny_base, tmp_path):
    change(copy, "adapter_config.json", use_dora=True)
    files, sentences = write_all(read_adapter(copy), tiny_base, merged.folder, tmp_path / "gguf")
    assert [path.name for path in files] == ["merged-f16.gguf", "merged-q8_0.gguf", "Modelfile"]
    assert sentences[-1] == "The adapter alone was not written: it is a DoRA adapter, which GGUF does not support."
    with pytest.raises(UserError, match="Export the merged model instead"):
        write_adapter(read_adapter(copy), tiny_base, tmp_path / "adapter.gguf")


def test_a_merge_with_gguf_is_whole_or_leaves_nothing(made, tiny_base, tmp_path, monkeypatch, capsys):
    def fails(*given):
        raise UserError("No more words.", "")

    change(put("mine", made), "adapter_config.json", base_model_name_or_path=str(tiny_base))
    monkeypatch.setattr("adapters.export.gguf_file.write_adapter", fails)
    assert main(["merge", "mine", "--to", str(tmp_path / "out" / "merged"), "--gguf"]) == 1
    assert "No more words" in capsys.readouterr().err and not list((tmp_path / "out").iterdir())
    monkeypatch.setattr("adapters.export.gguf_words._kind", fails)
    monkeypatch.setattr("adapters.export.merge.merge_adapter", None)  # what cannot be written is said before the merge
    assert main(["merge", "mine", "--to", str(tmp_path / "out" / "merged"), "--gguf"]) == 1
    assert "No more words" in capsys.readouterr().err


def test_the_gguf_of_an_adapter_holds_both_halves_of_every_layer(made, tiny_base, tmp_path):
    from gguf import GGUFReader

    written = write_adapter(read_adapter(made), tiny_base, tmp_path / "adapter.gguf")
    assert (written.tensors, written.largest_difference) == (28, 0.0)
    reader = GGUFReader(written.path)
    shapes = {tensor.name: tuple(tensor.shape) for tensor in reader.tensors}
    assert shapes["blk.1.ffn_down.weight.lora_a"] == (128, 4) and shapes["blk.1.ffn_down.weight.lora_b"] == (4, 64)
    said = {name: reader.fields[name].contents() for name in ("adapter.lora.alpha", "general.type")}
    assert said == {"adapter.lora.alpha": 8.0, "general.type": "adapter"}


def test_llama_cpp_itself_says_what_the_merged_model_says(merged, made, tiny_base, tmp_path):
    """Merged as f16, and the plain base with the adapter's own GGUF laid over it: both speak like transformers does."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="llama.cpp is not installed")
    from models.precision import load_base_model
    from models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(merged.folder)
    prompt = "<|user|>\nGrüße, 3.14 \n\tЖ 日本 🙂"
    ids = tokenizer(prompt, return_tensors="pt")
    answer = load_base_model(merged.folder, "fp32").generate(**ids, max_new_tokens=6, do_sample=False)[0]
    expected = tokenizer.decode(answer[ids["input_ids"].shape[1] :], skip_special_tokens=True)
    _write_model(merged.folder, tmp_path / "merged.gguf", "f16")
    _write_model(tiny_base, tmp_path / "base.gguf", "f16")
    lora = write_adapter(read_adapter(made), tiny_base, tmp_path / "adapter.gguf").path

    def said(path, *adapters) -> tuple[str, int]:
        params = xllamacpp.CommonParams()
        params.model.path, params.n_ctx, params.n_parallel, params.cpuparams.n_threads = str(path), 256, 1, 1
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0) for adapter in adapters]
        asked = {"prompt": prompt, "n_predict": 6, "temperature": 0.0, "top_k": 1}
        answer = xllamacpp.Server(params).handle_completions(asked)
        return answer["choices"][0]["text"], answer["usage"]["prompt_tokens"]

    assert said(tmp_path / "merged.gguf") == (expected, ids["input_ids"].shape[1])
    assert said(tmp_path / "base.gguf", lora)[0] == expected != said(tmp_path / "base.gguf")[0]


def test_vllm_is_told_the_rank_and_what_it_would_refuse(made, copy):
    assert "--chat-template" not in vllm_line(read_adapter(made), "alice/mine").command, "it brings none"
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    line = vllm_line(read_adapter(copy), "alice/mine")
    assert line.command.startswith("vllm serve tests/tiny-base --enable-lora --lora-modules copy=alice/mine")
    assert '--chat-template "$(hf download -q alice/mine chat_template.jinja)"' in line.command
    assert "--max-lora-rank" not in line.command and line.refusals == []
    assert vllm_line(read_adapter(copy), "./x").command.endswith("--chat-template ./x/chat_template.jinja")
    change(copy, "adapter_config.json", r=48, use_dora=True)
    line = vllm_line(read_adapter(copy))
    assert line.command.endswith("--max-lora-rank 64") and line.refusals == ["it is a DoRA adapter"]
    change(copy, "adapter_config.json", use_dora=False, modules_to_save=["lm_head"], alpha_pattern={"q_proj": 2})
    assert len(vllm_line(read_adapter(copy)).refusals) == 2


def test_a_path_in_the_line_for_vllm_is_one_word_of_the_shell(copy, tmp_path):
    folder = copy.rename(tmp_path / "my $(touch owned) folder")
    (folder / "chat_template.jinja").write_text("x")
    change(folder, "adapter_config.json", base_model_name_or_path="/my bases; ls")
    words = shlex.split(vllm_line(read_adapter(folder)).command)
    assert words[2] == "/my bases; ls" and words[5].endswith(str(folder))
    assert words[7] == f"{folder}/chat_template.jinja"


def test_a_template_from_elsewhere_writes_no_line_of_a_modelfile(tiny_base, tmp_path):
    shutil.copytree(tiny_base, tmp_path / "merged")
    template = (
        '{% if messages[0].role != \'system\' %}<|im_start|>system\nBe kind."""\nFROM evil<|im_end|>\n{% endif %}'
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    (tmp_path / "merged" / "chat_template.jinja").write_text(template)
    text = write_modelfile(tmp_path / "merged", tmp_path / "merged.gguf").read_text()
    assert text.splitlines()[0] == "FROM ./merged.gguf" and "evil" not in text and "TEMPLATE" not in text
    (tmp_path / "merged" / "chat_template.jinja").write_text(read_template("smollm2"))
    text = write_modelfile(tmp_path / "merged", tmp_path / "merged.gguf").read_text()
    assert 'SYSTEM """You are a helpful AI assistant named SmolLM, trained by Hugging Face"""' in text
    assert f"<|im_start|>system\\n{SMOLLM2_SYSTEM}<|im_end|>" in read_template("smollm2")


def test_an_adapter_that_is_read_in_another_template_is_not_served_with_its_own(copy):
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    write_json(copy / "studio.json", {"template": "chatml"})
    assert vllm_line(read_adapter(copy)).refusals == ["it is used with another chat template than its own"]
    write_json(copy / "studio.json", {"template": "base"})
    assert "--chat-template" not in vllm_line(read_adapter(copy)).command


def test_a_merge_takes_the_bases_tokenizer_and_the_template_that_was_chosen(copy, tiny_base, tmp_path):
    (copy / "tokenizer.json").write_bytes(b"\x80\x04\x95cut")
    (copy / "chat_template.jinja").write_text("{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}")
    with pytest.raises(UserError, match="not known here"):
        merge_adapter(read_adapter(copy), tiny_base, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    write_json(copy / "studio.json", {"template": "chatml"})
    merged = merge_adapter(read_adapter(copy), tiny_base, tmp_path / "merged", "fp32").folder
    assert recognise((merged / "chat_template.jinja").read_text()) == "chatml"
    own = own_choice((copy / "chat_template.jinja").read_text())
    write_json(copy / "studio.json", {"template": own})
    merged = merge_adapter(read_adapter(copy), tiny_base, tmp_path / "own", "fp32").folder
    assert (merged / "chat_template.jinja").read_text() == (copy / "chat_template.jinja").read_text()
