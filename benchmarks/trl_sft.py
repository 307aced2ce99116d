"""TRL's own script, `python -m trl.scripts.sft`, untouched; then one line more: the most memory that it held.

python -m benchmarks.trl_sft FLAGS OF TRL ...
"""

import runpy
import sys


def main() -> None:
    sys.argv[0] = "sft.py"
    runpy.run_module("trl.scripts.sft", run_name="__main__")
    from trainer.progress import peak_memory_bytes

    print({"peak_bytes": peak_memory_bytes()}, flush=True)


if __name__ == "__main__":
    main()
