"""Chat on this machine's CPU: tokens a second against transformers' pipeline and llama.cpp; then the chat's other measurements.

    python -m benchmarks.chat_speed [--full]

The rivals get the same weights, the same question and the same number of tokens, on the same threads, each side in a process
of its own (`sides.py`). The pipeline is called
as people call it, in fp32; the tokens of our fp32 answer must be its tokens. llama.cpp is measured where it can be had
(`pip install xllamacpp`, into any environment: LLAMA_CPP_PYTHON names its interpreter); its 16-bit file stands against our
bf16, its q8_0 against our int8. --full adds TinyLlama's shape with random weights, which needs 12 GB of memory.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import chat_adapters, chat_loss, chat_people, chat_turns
from benchmarks.chat_bases import QUESTION, embedded_base, endless, random_tinyllama, take_turns
from benchmarks.llama_cpp import LlamaCpp, find_llama_cpp
from benchmarks.rows import Row, faster, table
from benchmarks.sides import Side
from chat.decoding import TextStream
from chat.engine import Engine, Model, Sampling
from common.paths import home

AIM_INT8 = 2.5  # of the pipeline's tokens a second, at TinyLlama's shape
GGUF = {"bf16": "f16", "8bit": "q8_0"}  # the file of llama.cpp with as many bytes a weight
NAMES = {"8bit": "int8"}


def rows(quick: bool) -> list[Row]:
    """Everything about the chat; TinyLlama's shape only with --full."""
    folder, tokens, pairs = embedded_base(), *((32, 3) if quick else (64, 5))
    found = token_rows(folder, "SmolLM2-135M", tokens, pairs)
    found += llama_rows(folder, "SmolLM2-135M", tokens, pairs)
    for group in (chat_turns, chat_people, chat_adapters, chat_loss):
        found += group.rows(quick)
    if not quick:
        with tempfile.TemporaryDirectory() as temporary:
            shape = random_tinyllama(Path(temporary) / "tinyllama")
            found += token_rows(shape, "TinyLlama's shape", 32, 3, AIM_INT8)
            found += llama_rows(shape, "TinyLlama's shape", 32, 3)
    return found


def token_rows(folder: Path, name: str, tokens: int, pairs: int, aim: float | None = None) -> list[Row]:
    """Our fp32 and our int8 against the pipeline in fp32. Raises RuntimeError when fp32 says something else than the pipeline."""
    check_same_text(TextPipeline(folder), folder, tokens)
    with (
        Side(pipeline_run, folder, tokens) as pipeline,
        Side(engine_run, folder, "fp32", tokens) as exact,
        Side(engine_run, folder, "8bit", tokens) as rounded,
    ):
        found = take_turns({"pipeline": pipeline, "fp32": exact, "8bit": rounded}, pairs)
    note = f"{tokens} tokens an answer, {pairs} pairs"
    speeds = {key: tokens / seconds for key, seconds in found.items()}
    return [
        faster(f"chat, fp32, {name}", speeds["fp32"], speeds["pipeline"], "tokens/s", 1.0, f"same tokens; {note}"),
        faster(f"chat, int8 (pipeline: fp32), {name}", speeds["8bit"], speeds["pipeline"], "tokens/s", aim, note),
    ]


def llama_rows(folder: Path, name: str, tokens: int, pairs: int) -> list[Row]:
    """Our bf16 and int8 against llama.cpp on the same weights; [] where it is not installed."""
    python, found = find_llama_cpp(), []
    if python is None:
        return []
    from adapters.gguf_file import write_models

    with tempfile.TemporaryDirectory() as temporary:
        files = write_models(folder, Path(temporary), tuple(GGUF.values()))
        for (precision, outtype), file in zip(GGUF.items(), files, strict=True):
            with LlamaCpp(python, file.path) as llama, Side(engine_run, folder, precision, tokens) as ours:
                prompt = prompt_text(folder)
                theirs = seconds_of(lambda: llama.write(prompt, tokens))  # noqa: B023, used at once
                seconds = take_turns({"ours": ours, "llama.cpp": theirs}, pairs)
            speed, rival = tokens / seconds["ours"], tokens / seconds["llama.cpp"]
            words = f"chat, {NAMES.get(precision, precision)} (llama.cpp: {outtype}), {name}"
            found.append(faster(words, speed, rival, "tokens/s", None, f"{tokens} tokens an answer, {pairs} pairs"))
    return found


class TextPipeline:
    """transformers' own text generation in fp32, as its documentation shows it."""

    def __init__(self, folder: Path) -> None:
        import torch
        import transformers

        self.made = transformers.pipeline("text-generation", model=str(folder), dtype=torch.float32, device="cpu")

    def write(self, tokens: int, messages=QUESTION, **settings) -> list[int]:
        """Write exactly `tokens` tokens, greedily; returns them."""
        settings |= {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
        found = self.made(messages, return_tensors=True, **settings)[0]["generated_token_ids"]
        return list(found)[-tokens:]


def check_same_text(pipeline: TextPipeline, folder: Path, tokens: int) -> None:
    """Raise RuntimeError when our answer in fp32 is not what the pipeline's tokens say."""
    stream = TextStream(pipeline.made.tokenizer, [])
    for token in pipeline.write(tokens):
        stream.add(token)
    ours = list(endless(Engine()).reply(Model(folder, "fp32"), QUESTION, Sampling(max_new_tokens=tokens)))[-1].text
    if ours != stream.finish():
        raise RuntimeError(f"another answer than the pipeline's:\n{ours}\n---\n{stream.text}")


def pipeline_run(folder: Path, tokens: int) -> Callable[[], float]:
    pipeline = TextPipeline(folder)
    return seconds_of(lambda: pipeline.write(tokens))


def engine_run(folder: Path, precision: str, tokens: int) -> Callable[[], float]:
    """Our engine; each run reads its prompt anew, as the rivals do."""
    engine, model = endless(Engine(most_conversations=0)), Model(folder, precision)
    return seconds_of(lambda: list(engine.reply(model, QUESTION, Sampling(max_new_tokens=tokens))))


def seconds_of(work: Callable[[], object]) -> Callable[[], float]:
    """`work` as a run that returns the seconds it took."""

    def run() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return run


def prompt_text(folder: Path) -> str:
    """The question in the base's own template."""
    from models.tokenizer import load_tokenizer

    return load_tokenizer(folder).apply_chat_template(QUESTION, add_generation_prompt=True, tokenize=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="longer answers, more pairs, TinyLlama's shape")
    home().mkdir(parents=True, exist_ok=True)
    print(table(rows(not parser.parse_args().full)))


if __name__ == "__main__":
    main()
