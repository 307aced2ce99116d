"""What the first answer needs is imported when the Chat tab is opened, once, and no earlier."""

import subprocess
import sys

import pytest

from common.paths import REPOSITORY

OPENED = """
import sys
{before}
import ui.page
from chat import warm_up
assert "torch" not in sys.modules, "the page imports torch"
threads = {{warm_up.start_importing() for _ in range(3)}}
assert len(threads) == 1
threads.pop().join(120)
import gc
assert gc.isenabled()
{after}
"""
AT_ONCE = """
import threading, time
from pathlib import Path
from chat import warm_up
from models.adapter_fit import read_rank
from models.tokenizer import load_tokenizer

def work(begin):
    try:
        begin()
    except BaseException as error:
        errors.append(str(error))

errors = []
begins = warm_up.import_packages, lambda: load_tokenizer("tests/data/tinyllama-tokenizer"), lambda: read_rank(Path("no"), "it")
threads = [threading.Thread(target=work, args=(begin,)) for begin in begins]
for thread in threads:
    thread.start()
    time.sleep(0.1)
for thread in threads:
    thread.join()
assert len(errors) == 1 and "'it' cannot be read" in errors[0], errors
"""
ANSWER = """
import sys
sys.modules[{missing!r}] = None
from chat.engine import Engine, Model
from chat.sampling import Sampling
from common.errors import UserError
engine = Engine()
for _ in range(2):
    try:
        list(engine.reply(Model({base!r}), [{{"role": "user", "content": "Hi"}}], Sampling()))
    except UserError as error:
        assert "cannot be imported" in str(error) and {missing!r} in str(error), error
    else:
        sys.exit("no error")
"""


def run(code: str) -> str:
    """What a process writes to stderr that runs `code` and ends well."""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_it_imports_torch_transformers_and_peft():
    wanted = {"torch", "peft", "transformers.models.llama.modeling_llama"}
    run(OPENED.format(before="", after=f"assert {wanted} <= set(sys.modules)"))


def test_packages_that_are_missing_are_a_line_in_the_log():
    assert "cannot be imported" in run(OPENED.format(before="sys.modules['peft'] = None", after=""))


def test_threads_that_import_at_once_meet_no_half_made_module():
    """Without the lock about every second start of these three had one that failed."""
    assert "cannot be imported" not in run(AT_ONCE)


@pytest.mark.parametrize("missing", ["torch", "transformers", "peft"])
def test_an_answer_without_its_packages_is_a_sentence_and_the_next_one_too(tiny_base, missing):
    run(ANSWER.format(missing=missing, base=str(tiny_base)))
