"""llama.cpp as a rival: a process of its own with the model in memory, which writes answers on request.

    python benchmarks/llama_cpp.py FILE.gguf THREADS      one JSON request a line in, one answer a line out

`serve` runs in the interpreter that has `xllamacpp`, which may be another one than ours: it imports nothing of ours. It is never
a dependency: `pip install xllamacpp` into any environment, and LLAMA_CPP_PYTHON=that environment's python.
"""

import json
import os
import subprocess
import sys
from pathlib import Path


def find_llama_cpp() -> str | None:
    """Return the interpreter that has xllamacpp: the one that LLAMA_CPP_PYTHON names, or ours; None when neither has."""
    python = os.environ.get("LLAMA_CPP_PYTHON", sys.executable)
    has_it = subprocess.run([python, "-c", "import xllamacpp"], capture_output=True, check=False).returncode == 0
    return python if has_it else None


class LlamaCpp:
    """A running llama.cpp with the model of one GGUF file, on as many threads as torch uses here."""

    def __init__(self, python: str, file: Path) -> None:
        import torch

        command = [python, str(Path(__file__).resolve()), str(file), str(torch.get_num_threads())]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, **pipes, text=True)

    def __enter__(self) -> "LlamaCpp":
        return self

    def __exit__(self, *details) -> None:
        self.process.stdin.close()
        self.process.wait(60)

    def write(self, prompt: str, tokens: int) -> str:
        """Write exactly `tokens` tokens after `prompt`, greedily, nothing kept from before. Raises RuntimeError."""
        print(json.dumps({"prompt": prompt, "tokens": tokens}), file=self.process.stdin, flush=True)
        for line in self.process.stdout:  # it may say other things on its way
            if line.startswith('{"written": '):
                answer = json.loads(line)
                if answer["written"] != tokens:
                    raise RuntimeError(f"llama.cpp wrote {answer['written']} tokens, not {tokens}")
                return answer["text"]
        raise RuntimeError(f"llama.cpp ended with {self.process.wait()}")


def serve(file: str, threads: int) -> None:
    """Answer requests from standard input until it ends."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.n_parallel = file, 2048, 1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(settings)
    for line in sys.stdin:
        asked = json.loads(line)
        request = {"prompt": asked["prompt"], "n_predict": asked["tokens"], "temperature": 0}
        found = server.handle_completions({**request, "ignore_eos": True, "cache_prompt": False})
        answer = {"written": found["usage"]["completion_tokens"], "text": found["choices"][0]["text"]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
