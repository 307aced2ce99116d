"""A child that does not behave costs a bounded amount of memory, and is gone with all that it started."""

import os
import resource
import sys
import threading
import time

import psutil
import pytest

from common.child import MAX_LINE_BYTES, ask_child, run_child
from common.errors import UserError
from common.language import Sentence
from common.paths import REPOSITORY

LEAVES_ONE = "import os, time\nif os.fork() == 0:\n    time.sleep(60)\nprint(os.getpgid(0), flush=True)"


def run(tmp_path, code: str, watch) -> int:
    (tmp_path / "odd_child.py").write_text(code)
    with open(tmp_path / "log", "wb") as log:
        return run_child(["odd_child"], {**os.environ, "PYTHONPATH": str(tmp_path)}, log, watch)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes there")
@pytest.mark.parametrize("words", ["b'x' * 65536", "b'x\\n' * 30000"], ids=["one line", "lines"])
def test_a_child_that_never_ends_to_speak_fills_no_memory(tmp_path, words):
    before, end, lengths = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic() + 1.5, [0]

    def watch(lines: list[str]) -> None:
        lengths.extend(map(len, lines))
        if time.monotonic() > end:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        run(tmp_path, f"import os\nwhile True:\n    os.write(1, {words})", watch)
    assert 0 < max(lengths) <= MAX_LINE_BYTES
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000


def test_what_a_child_leaves_behind_is_ended_with_it(tmp_path):
    said: list[str] = []
    started = time.monotonic()
    assert run(tmp_path, LEAVES_ONE, said.extend) == 0
    assert time.monotonic() - started < 4, "it did not wait for whom the child left"
    time.sleep(0.2)
    living = [one for one in psutil.process_iter(["status"]) if one.info["status"] != psutil.STATUS_ZOMBIE]
    assert int(said[0]) not in [group_of(one.pid) for one in living]


def group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:  # ended meanwhile, or not to be asked
        return -1


ASKED = """
import sys, time
from common.child import answer_parent
from common.errors import UserError
from common.language import _

def work(request, tell):
    print("a word of a library", flush=True)
    tell(_("Half of {all}", all=request), 0.5)
    if request == "refuse":
        raise UserError(_("No {what}.", what=request), "Ask again.")
    if request == "sleep":
        time.sleep(60)
    return {"twice": 2 * request} if request != "crash" else {}["key"]

sys.exit(answer_parent(sys.argv[1:], work))
"""


def asked(tmp_path, request, tell=lambda words, part: None, stop=None, max_minutes=0.0):
    (tmp_path / "asked_child.py").write_text(ASKED)
    variables = {**os.environ, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    return ask_child("asked_child", request, variables, tell, stop, max_minutes)


def test_a_child_answers_says_how_far_it_is_and_refuses_in_words(tmp_path):
    told = []
    assert asked(tmp_path, 4, lambda *said: told.append(said)) == {"twice": 8}
    assert told == [("Half of 4", 0.5)] and isinstance(told[0][0], Sentence)
    with pytest.raises(UserError, match="No refuse") as refused:
        asked(tmp_path, "refuse")
    assert isinstance(refused.value.message, Sentence)
    with pytest.raises(UserError, match="ended with the code 1: KeyError: 'key'"):
        asked(tmp_path, "crash")


def test_a_child_that_is_asked_ends_when_it_is_stopped_or_its_time_is_up(tmp_path):
    stop = threading.Event()
    with pytest.raises(UserError, match="Stopped"):
        asked(tmp_path, "sleep", lambda words, part: stop.set(), stop)
    with pytest.raises(UserError, match="minutes is over"):
        asked(tmp_path, "sleep", max_minutes=0.001)
    assert "asked_child" not in " ".join(" ".join(one.cmdline()) for one in psutil.Process().children(recursive=True))
