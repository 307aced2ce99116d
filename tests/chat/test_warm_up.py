"""What the first answer needs is imported when the Chat tab is opened, once, and no earlier."""

import subprocess
import sys

import pytest

from common.paths import REPOSITORY

SCRIPT = """
import sys, threading
import ui.page
from chat import warm_up
assert "torch" not in sys.modules, "the page imports torch"
{before}
threads = {{warm_up.start_importing() for _ in range(3)}}
assert len(threads) == 1
threads.pop().join(120)
import gc
assert gc.isenabled()
{after}
"""


def run(before="", after=""):
    code = SCRIPT.format(before=before, after=after)
    return subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=180)


def test_it_imports_torch_transformers_and_peft():
    done = run(after="assert {'torch', 'peft', 'transformers.models.llama.modeling_llama'} <= set(sys.modules)")
    assert done.returncode == 0, done.stderr


def test_packages_that_are_missing_are_a_line_in_the_log():
    done = run(before="sys.modules['peft'] = None")
    assert done.returncode == 0 and "cannot be imported" in done.stderr, done.stderr


def test_threads_that_import_at_once_meet_no_half_made_module():
    """Without the lock about every second start of these three had one that failed."""
    code = """
import threading, time
from chat import warm_up
from chat.fitting import read_rank
from common.errors import UserError
from models.tokenizer import load_tokenizer
from pathlib import Path

def look_at_adapter():
    try:
        read_rank(Path("no such folder"))
    except UserError:
        pass

def work(begin):
    try:
        begin()
    except BaseException as error:
        errors.append(error)

errors = []
begins = warm_up.import_packages, lambda: load_tokenizer("tests/data/tinyllama-tokenizer"), look_at_adapter
threads = [threading.Thread(target=work, args=(begin,)) for begin in begins]
for thread in threads:
    thread.start()
    time.sleep(0.1)
for thread in threads:
    thread.join()
assert not errors, errors
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0 and "cannot be imported" not in done.stderr, done.stderr


@pytest.mark.parametrize("missing", ["torch", "transformers", "peft"])
def test_an_answer_without_its_packages_is_a_sentence_and_the_next_one_too(tiny_base, missing):
    code = f"""
import sys
sys.modules[{missing!r}] = None
from chat.engine import Engine, Model
from chat.sampling import Sampling
from common.errors import UserError
engine = Engine()
for _ in range(2):
    try:
        list(engine.reply(Model({str(tiny_base)!r}), [{{"role": "user", "content": "Hi"}}], Sampling()))
    except UserError as error:
        assert "cannot be imported" in str(error) and {missing!r} in str(error), error
    else:
        sys.exit("no error")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
