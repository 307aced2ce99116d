"""The chat's benchmark in small: both sides do the same, and every row can be kept and compared."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import chat_adapters, chat_gpu, chat_loss, chat_people, chat_speed, chat_turns, llama_cpp
from benchmarks.chat_bases import take_turns
from benchmarks.check import compare
from benchmarks.sides import Side
from chat import batch
from chat.engine import Model

REPOSITORY = Path(__file__).resolve().parents[1]
TALK = [{"role": "user", "content": "Why is the sky blue?"}, {"role": "assistant", "content": "Because of the air."}]


@pytest.mark.slow
def test_the_chats_benchmark_runs_in_small_and_its_rows_can_be_compared(tiny_base, tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps({"messages": TALK}) + "\n")
    adapter = chat_adapters.random_adapter(tiny_base, tmp_path / "adapter")
    rows = chat_speed.token_rows(tiny_base, "tiny", 6, 1)  # raises where our tokens are not the pipeline's
    rows += chat_turns.turn_rows(tiny_base, (1, 3), 1)
    rows += chat_people.people_rows(Model(tiny_base, "fp32"), (1, 2), 4, 1)
    rows += chat_adapters.switch_rows(tiny_base, "8bit", [adapter])
    rows += chat_adapters.speed_rows(tiny_base, "8bit", [adapter] * 3, 4, 1)
    rows += chat_loss.loss_rows(tiny_base, str(data))
    assert all(row.ours > 0 and row.ratio > 0 for row in rows) and len({row.name for row in rows}) == len(rows) == 18
    assert all(0.98 < row.ratio < 1.02 for row in rows if "loss" in row.name)
    assert compare({"chat_speed": {"rows": rows}}, {"chat_speed": rows}) == ([], [])


@pytest.mark.slow
def test_the_gpu_benchmark_runs_in_small_on_a_cpu(tiny_base, monkeypatch):
    """In fp32, whose tokens are generate()'s to the last one; the compiled step with torch's own tracer."""
    options = {"1": {"backend": "eager"}}
    monkeypatch.setattr(batch, "compile_options", lambda network: options.get(os.environ.get("CHAT_COMPILE")))
    rows = chat_gpu.measure_all(tiny_base, 6, 1, ("fp32",))
    assert [row.ratio > 0 for row in rows] == [True] * 3 and rows[-1].aim == 2.0
    assert "aten::" in chat_gpu.profile(tiny_base, "fp32", 2)


def test_another_text_than_the_pipelines_is_no_result(tiny_base):
    pipeline = chat_speed.TextPipeline(tiny_base)
    write = pipeline.write
    pipeline.write = lambda tokens: [*write(tokens)[:-1], 500]
    with pytest.raises(RuntimeError, match="another answer"):
        chat_speed.check_same_text(pipeline, tiny_base, 6)


def _make_adding(number: int):
    return lambda other: number + other


def test_a_side_is_a_process_of_its_own_and_what_it_raises_is_raised_here():
    with Side(_make_adding, 3) as side:
        assert side(4) == 7
        with pytest.raises(RuntimeError, match="TypeError"):
            side("word")
        assert side(1) == 4, "it goes on"
    assert not side._process.is_alive()


def test_sides_take_turns_and_the_first_round_does_not_count():
    order, seconds = [], iter([99.0, 99.0, 1.0, 4.0, 2.0, 5.0, 30.0, 6.0])

    def run(name: str):
        return lambda: (order.append(name), next(seconds))[1]

    assert take_turns({"a": run("a"), "b": run("b")}, 3) == {"a": 2.0, "b": 5.0}
    assert order == ["a", "b"] * 4


@pytest.fixture
def fake_llama(tmp_path, monkeypatch) -> Path:
    """An `xllamacpp` for the child process: says who asked, and as many tokens as it is told to."""
    (tmp_path / "xllamacpp.py").write_text(
        "from types import SimpleNamespace as Any\n"
        "def CommonParams(): return Any(model=Any(), cpuparams=Any(), cpuparams_batch=Any())\n"
        "class Server:\n"
        "    def __init__(self, settings): self.settings = settings; print('loading')\n"
        "    def handle_completions(self, asked):\n"
        "        assert asked['ignore_eos'] and not asked['cache_prompt'] and asked['temperature'] == 0\n"
        "        text = f\"{self.settings.model.path} {self.settings.cpuparams.n_threads} {asked['prompt']}\"\n"
        "        return {'usage': {'completion_tokens': min(asked['n_predict'], 9)}, 'choices': [{'text': text}]}\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(REPOSITORY)]))
    return tmp_path


def test_llama_cpp_is_asked_in_a_process_of_its_own(fake_llama):
    import torch

    python = llama_cpp.find_llama_cpp()
    assert python == sys.executable
    with llama_cpp.LlamaCpp(python, Path("base.gguf")) as llama:
        assert llama.write("Hi", 5) == f"base.gguf {torch.get_num_threads()} Hi"
        with pytest.raises(RuntimeError, match="wrote 9 tokens, not 20"):
            llama.write("Hi", 20)
    assert llama.process.returncode == 0


def test_without_llama_cpp_there_are_no_rows_of_it(tiny_base, monkeypatch):
    monkeypatch.setenv("LLAMA_CPP_PYTHON", "/usr/bin/false")
    assert chat_speed.llama_rows(tiny_base, "tiny", 4, 1) == []


@pytest.mark.parametrize(
    "group", ["chat_speed", "chat_turns", "chat_people", "chat_adapters", "chat_loss", "chat_gpu", "llama_cpp"]
)
def test_a_chat_benchmark_can_be_imported_without_torch(group):
    code = f"import sys, benchmarks.{group}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0
