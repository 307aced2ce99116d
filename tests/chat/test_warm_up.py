"""What the first answer needs is imported when the Chat tab is opened, once, and no earlier."""

import subprocess
import sys
import threading
import time

from chat import warm_up
from chat.engine import Engine, Model
from common.paths import REPOSITORY
from tests.chat.test_engine import HELLO, SHORT

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


def test_an_answer_waits_for_the_imports_instead_of_meeting_half_made_modules(tiny_base, monkeypatch):
    """Both began at once now and then, and one of them found a module of accelerate half made."""
    imports = threading.Thread(target=time.sleep, args=(1.5,))
    imports.start()
    monkeypatch.setattr(warm_up, "_thread", imports)
    next(reply for reply in Engine().reply(Model(tiny_base), HELLO, SHORT) if reply.new_tokens)
    assert not imports.is_alive()
