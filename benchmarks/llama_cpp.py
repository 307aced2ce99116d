"""llama.cpp as a rival: a process of its own with the model in memory, which writes answers on request.

    python benchmarks/llama_cpp.py FILE.gguf THREADS PEOPLE      prints its address, and answers until standard input ends

`serve` runs in the interpreter that has `xllamacpp`, which may be another one than ours: it imports nothing of ours. It is never
a dependency: `pip install xllamacpp` into any environment, and LLAMA_CPP_PYTHON=that environment's python.
"""

import json
import os
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def find_llama_cpp() -> str | None:
    """Return the interpreter that has xllamacpp: the one that LLAMA_CPP_PYTHON names, or ours; None when neither has."""
    python = os.environ.get("LLAMA_CPP_PYTHON", sys.executable)
    has_it = subprocess.run([python, "-c", "import xllamacpp"], capture_output=True, check=False).returncode == 0
    return python if has_it else None


class LlamaCpp:
    """A running llama.cpp with the model of one GGUF file, on as many threads as torch uses here, for `people` at once."""

    def __init__(self, python: str, file: Path, people: int = 1) -> None:
        import torch

        command = [python, str(Path(__file__).resolve()), str(file), str(torch.get_num_threads()), str(people)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, **pipes, text=True)
        said = (line.strip() for line in self.process.stdout)  # it may say other things on its way
        self.address = next((line for line in said if line.startswith("http://")), None)
        if self.address is None:
            raise RuntimeError(f"llama.cpp ended with {self.process.wait()}")

    def __enter__(self) -> "LlamaCpp":
        return self

    def __exit__(self, *details) -> None:
        self.process.stdin.close()
        self.process.wait(60)

    def write(self, prompt: str, tokens: int, keeps: bool = False) -> str:
        """Write exactly `tokens` tokens after `prompt`, greedily. Raises RuntimeError.

        With `keeps` it reads only what it has not read before, as its server does unless told otherwise.
        """
        asked = {"prompt": prompt, "n_predict": tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": keeps}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}/completion", json.dumps(asked).encode(), headers)
        with urllib.request.urlopen(request, timeout=600) as answer:
            found = json.load(answer)
        if found["tokens_predicted"] != tokens:
            raise RuntimeError(f"llama.cpp wrote {found['tokens_predicted']} tokens, not {tokens}")
        return found["content"]

    def write_together(self, prompts: list[str], tokens: int) -> None:
        """Write after all prompts at the same moment."""
        with ThreadPoolExecutor(len(prompts)) as pool:
            list(pool.map(lambda prompt: self.write(prompt, tokens), prompts))


def serve(file: str, threads: int, people: int) -> None:
    """Answer requests at the address that is printed, until standard input ends."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.n_parallel = file, 2048 * people, people
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.port = 0
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
