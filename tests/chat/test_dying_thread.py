"""Whatever is raised in the chat's thread, or never ends in a preparation, everybody is answered, and so is the next message."""

import itertools
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chat import engine as engine_module
from chat import preparation, resident, scheduler
from chat.engine import RUNNING, WAITING, Caller, Engine, Model, Sampling
from chat.preparation import MAX_LOST_THREADS
from common.errors import UserError
from common.paths import GUEST_PREFIX
from models.prompt import PromptFormat
from tests.chat.asking import HELLO, SHORT, question, say, started

LONG = Sampling(max_new_tokens=150)
SOON = 5  # seconds; without an answer they would be for ever
BAD = "<bad>"
BAD_MESSAGES = [{"role": "user", "content": BAD}]


class PanicException(BaseException):
    """What pyo3 raises for a panic in Rust: no Exception."""


def breaks(monkeypatch, owner, name: str, error, after: int = 0) -> None:
    """Let `owner.name` raise `error` once, in its call number `after`."""
    real, calls = getattr(owner, name), itertools.count()

    def fake(*args, **kwargs):
        if next(calls) == after:
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, fake)


@pytest.fixture
def bad(monkeypatch):
    """A function that lets its argument be called before a conversation with BAD in it is measured."""

    def prepare(work) -> None:
        measure = PromptFormat.measure

        def fake(self, messages, continuing=False):
            if BAD in messages[-1]["content"]:
                work()
            return measure(self, messages, continuing)

        monkeypatch.setattr(PromptFormat, "measure", fake)

    return prepare


@pytest.fixture
def let_go(bad):
    """Preparations of a conversation with BAD in it hang until this event is set."""
    event = threading.Event()
    bad(lambda: event.wait(60))
    yield event
    event.set()


@pytest.fixture
def engine(tiny_base):
    """An engine with the base in memory."""
    engine = Engine()
    say(engine, Model(tiny_base))
    return engine


def end_of(stream) -> tuple[object, float]:
    """(the text or what was raised, seconds)."""
    began = time.monotonic()
    try:
        end = list(stream)[-1].text
    except Exception as error:
        end = error
    return end, time.monotonic() - began


@pytest.fixture(scope="module")
def texts(tiny_base):
    """What the base says to `question(0)` and `question(1)`, alone."""
    return [say(Engine(), Model(tiny_base), question(person), LONG) for person in range(2)]


ERRORS = [PanicException("index out of bounds"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MemoryError()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_a_preparation_is_answered_and_nobody_else_feels_it(tiny_base, texts, bad, error):
    def work():
        raise error

    bad(work)
    engine = Engine()
    streams = started(engine, [Model(tiny_base)] * 2, LONG)
    end, seconds = end_of(engine.reply(Model(tiny_base), BAD_MESSAGES, SHORT))
    assert isinstance(end, Exception) and seconds < SOON
    assert "memory" in str(end) if isinstance(error, MemoryError) else type(error).__name__ in str(end)
    assert [list(stream)[-1].text for stream in streams] == texts


@pytest.mark.parametrize("error", ERRORS[:2], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["stop_ids", "read_prompt", "step", "choose"])
def test_an_error_while_a_request_is_taken_in_read_or_written_is_its_own(tiny_base, texts, monkeypatch, place, error):
    """In `step` it is that of both who are written together; whoever is not of that step goes on or is answered next."""
    engine = Engine()
    assert say(engine, Model(tiny_base), question(1), LONG) == texts[1]
    owners = {"read_prompt": scheduler, "step": scheduler.JoinedCaches, "choose": scheduler.Chooser}
    breaks(monkeypatch, owners.get(place, engine.resident), place, error, after=3 if place == "choose" else 0)
    end, seconds = end_of(engine.reply(Model(tiny_base), question(0), LONG))
    assert isinstance(end, RuntimeError) and type(error).__name__ in str(end) and seconds < SOON
    assert say(engine, Model(tiny_base), question(1), LONG) == texts[1]
    assert engine.resident.bases_loaded == 1 and engine._scheduler._active == []


@pytest.mark.parametrize("error", ERRORS[:2], ids=lambda error: type(error).__name__)
def test_a_panic_in_an_adapters_files_is_a_sentence_and_the_others_go_on(
    tiny_base, texts, adapters, monkeypatch, error
):
    import peft

    engine = Engine()
    streams = started(engine, [Model(tiny_base)] * 2, LONG)
    breaks(monkeypatch, peft.PeftModel, "from_pretrained", error)
    with pytest.raises(UserError, match="cannot be read"):
        say(engine, Model(tiny_base, adapter_folder=adapters[0]))
    assert [list(stream)[-1].text for stream in streams] == texts
    assert say(engine, Model(tiny_base, adapter_folder=adapters[0]))


@pytest.mark.parametrize("error", [PanicException("no"), RuntimeError("a bug")], ids=["panic", "bug"])
def test_an_error_of_the_loop_itself_is_told_to_those_in_mid_answer_and_the_rest_is_answered(
    tiny_base, texts, monkeypatch, error
):
    engine = Engine(most_at_once=2)
    streams = started(engine, [Model(tiny_base)] * 2, LONG)
    with ThreadPoolExecutor() as pool:
        behind = [pool.submit(say, engine, Model(tiny_base), question(person), LONG) for person in (0, 1)]
        while len(engine._scheduler._line.requests) < 2:
            time.sleep(0.01)
        breaks(monkeypatch, engine._scheduler._turns, "next_keys", error)
        failed = [end_of(stream) for stream in streams]
        assert all(isinstance(end, RuntimeError) and seconds < SOON for end, seconds in failed)
        assert [one.result(30) for one in behind] == texts
    assert say(engine, Model(tiny_base), question(0), LONG) == texts[0] and engine.resident.bases_loaded == 2


def test_an_error_that_comes_before_anybody_is_taken_in_is_told_to_all_who_wait(engine, tiny_base, texts, monkeypatch):
    breaks(monkeypatch, engine._scheduler._line, "next", PanicException("no"))
    end, seconds = end_of(engine.reply(Model(tiny_base), question(0), LONG))
    assert isinstance(end, RuntimeError) and "PanicException" in str(end) and seconds < SOON
    assert say(engine, Model(tiny_base), question(0), LONG) == texts[0]


def test_a_thread_that_dies_in_spite_of_all_is_followed_by_another(tiny_base, texts, monkeypatch):
    engine = Engine()
    stream = started(engine, [Model(tiny_base)], LONG)[0]
    before = engine._scheduler._thread
    breaks(monkeypatch, engine._scheduler._turns, "next_keys", PanicException("no"))
    breaks(monkeypatch, engine.resident, "unload", PanicException("no memory for it"))
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    end, seconds = end_of(stream)
    assert isinstance(end, RuntimeError) and seconds < SOON
    assert say(engine, Model(tiny_base), question(0), LONG) == texts[0]
    assert engine._scheduler._thread is not before


def test_a_request_that_comes_just_when_the_thread_ends_is_answered(engine, tiny_base, monkeypatch):
    monkeypatch.setattr(scheduler, "IDLE_SECONDS", 0.005)
    for _ in range(50):
        end, _ = end_of(engine.reply(Model(tiny_base), HELLO, Sampling(max_new_tokens=1)))
        assert isinstance(end, str)
        time.sleep(0.001)


def test_no_slot_is_lost_after_two_hundred_requests_that_fail(tiny_base, texts, monkeypatch):
    """Each in another place: prepared, taken in, read, chosen."""
    engine, caller = Engine(most_at_once=2), Caller("user-a")
    assert say(engine, Model(tiny_base), question(0), LONG) == texts[0]
    owners = {"measure": PromptFormat, "read_prompt": scheduler, "choose": scheduler.Chooser}
    for number in range(200):
        with monkeypatch.context() as patch:
            name = ("measure", "stop_ids", "read_prompt", "choose")[number % 4]
            breaks(patch, owners.get(name, engine.resident), name, PanicException(number))
            with pytest.raises(RuntimeError, match="PanicException"):
                list(engine.reply(Model(tiny_base), HELLO, SHORT, caller=caller))
    assert engine._scheduler._active == [] == engine._scheduler._line.requests
    assert started(engine, [Model(tiny_base)] * 2, LONG)


def test_a_preparation_that_overruns_its_time_costs_its_own_request_only(engine, tiny_base, texts, monkeypatch, let_go):
    with ThreadPoolExecutor() as pool:
        stuck = pool.submit(end_of, engine.reply(Model(tiny_base), BAD_MESSAGES, SHORT))
        assert end_of(engine.reply(Model(tiny_base), question(0), LONG))[0] == texts[0]
        assert not stuck.done(), "another waited for it"
        monkeypatch.setattr(preparation, "MAX_PREPARE_SECONDS", 0)
        end, _ = stuck.result(SOON)
    assert isinstance(end, UserError) and "could not be prepared" in str(end)
    monkeypatch.undo()
    assert say(engine, Model(tiny_base), question(1), LONG) == texts[1]


def test_whoever_leaves_many_preparations_behind_is_refused_until_they_end(engine, tiny_base, let_go):
    caller = Caller(f"{GUEST_PREFIX}a", "203.0.113.7")
    for _ in range(MAX_LOST_THREADS):  # whoever closes the page in the middle leaves the thread behind, too
        stream = engine.reply(Model(tiny_base), BAD_MESSAGES, SHORT, caller=caller)
        next(stream)
        stream.close()
    other_key = Caller(f"{GUEST_PREFIX}b", "203.0.113.7")
    with pytest.raises(UserError, match="still being prepared"):
        list(engine.reply(Model(tiny_base), HELLO, SHORT, caller=other_key))
    assert list(engine.reply(Model(tiny_base), HELLO, SHORT, caller=Caller("user-a", "203.0.113.7")))[-1].text
    let_go.set()
    for _, thread in list(engine._preparations._lost):
        thread.join(10)
    assert list(engine.reply(Model(tiny_base), HELLO, SHORT, caller=caller))[-1].text


def test_a_close_in_the_middle_of_a_preparation_is_heard(engine, tiny_base, let_go):
    stream = engine.reply(Model(tiny_base), BAD_MESSAGES, SHORT)
    next(stream)
    began = time.monotonic()
    stream.close()
    assert time.monotonic() - began < SOON


def test_a_close_does_not_wait_for_a_thread_that_is_stuck(engine, tiny_base, monkeypatch, let_go):
    monkeypatch.setattr(scheduler, "MAX_CLOSE_SECONDS", 0.5)
    monkeypatch.setattr(engine.resident, "use", lambda key: let_go.wait(60))
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(end_of, engine.reply(Model(tiny_base), HELLO, SHORT))
        while not engine._scheduler._active:
            time.sleep(0.01)
        began = time.monotonic()
        engine.close()
        assert time.monotonic() - began < 30, "it waited until the thread was let go"
        end, _ = waiting.result(5)
    assert isinstance(end, RuntimeError) and "ended" in str(end)


def test_thirty_requests_of_one_person_let_another_in_after_one(tiny_base, monkeypatch):
    monkeypatch.setattr(engine_module, "WAITING", type(WAITING)(64, owner=40, address=40))
    engine, done = Engine(most_at_once=1), []
    say(engine, Model(tiny_base))

    def ask(name: str) -> None:
        list(engine.reply(Model(tiny_base), HELLO, Sampling(max_new_tokens=2), caller=Caller(name)))
        done.append(name)

    with ThreadPoolExecutor(30) as pool:
        for _ in range(30):
            pool.submit(ask, "user-busy")
        while len(done) < 2:
            time.sleep(0.001)
        before = len(done)
        ask("user-other")
        assert done.index("user-other") - before <= 4, "more than those who ended while it was prepared, and one round"
    assert len(done) == 31


def test_guests_run_in_half_of_the_places_and_whoever_has_an_account_is_answered_meanwhile(engine, tiny_base):
    callers = [Caller(f"{GUEST_PREFIX}{number}", f"198.51.100.{number}") for number in range(12)]
    streams = [engine.reply(Model(tiny_base), HELLO, Sampling(200), caller=caller) for caller in callers]
    most = []
    for stream in streams:
        next(stream)
        most.append(sum(one.caller.is_guest for one in engine._scheduler._active))
    assert list(engine.reply(Model(tiny_base), HELLO, SHORT, caller=Caller("user-a")))[-1].text
    assert max(most) <= RUNNING.total // 2
    for stream in streams:
        stream.close()
    assert list(engine.reply(Model(tiny_base), HELLO, SHORT, caller=callers[0]))[-1].text


def test_a_comparison_of_four_is_answered_for_a_guest_beside_their_other_one(tiny_base, adapters, tmp_path):
    """Eight panes of one owner: four at once, the others when their turn comes."""
    folders = [None, *adapters, shutil.copytree(adapters[0], tmp_path / "copy")]
    engine, guest = Engine(), Caller(f"{GUEST_PREFIX}a", "203.0.113.7")
    models = [Model(tiny_base, adapter_folder=folder) for folder in folders * 2]
    streams = [engine.reply(model, HELLO, SHORT, caller=guest) for model in models]
    for stream in streams:
        next(stream)
    texts = [list(stream)[-1].text for stream in streams]
    assert all(texts) and texts[:4] == texts[4:]


def test_one_person_pushes_out_their_own_caches_not_anothers(tiny_base):
    engine = Engine(most_conversations=4)
    for caller, names in ((Caller("user-a"), "a"), (Caller("user-b"), "bcdefgh")):
        for name in names:
            list(engine.reply(Model(tiny_base), HELLO, SHORT, conversation=name, caller=caller))
    assert list(engine.caches._kept) == ["a", "f", "g", "h"]


def test_the_window_and_the_embeddings_are_read_before_anything_is_loaded(tiny_base, tmp_path):
    engine = Engine()
    with pytest.raises(UserError, match="Shorten it"):
        say(engine, Model(tiny_base), [{"role": "user", "content": "word " * 500}])
    assert engine.resident.network is None, "a base was loaded for a message that does not fit"
    assert resident.base_sizes(tiny_base) == (256, 32000)
    folder = shutil.copytree(tiny_base, tmp_path / "odd")
    (folder / "config.json").write_text("{}")
    with pytest.raises(UserError, match="'odd' cannot be read"):
        say(engine, Model(folder))
