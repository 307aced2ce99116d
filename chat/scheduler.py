"""Who is answered when: one thread owns the model, reads prompts in pieces and writes one token for each conversation in turn.

First come, first served: a request for another base waits until those before it are done, and those behind it wait for it.
Conversations with one base are answered in one batch, with whatever adapters; `chat.turns` says who cannot be.
"""

import queue
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from chat.batch import SideBySide, read_prompt
from chat.cache import Cache, Caches
from chat.resident import Model, Resident
from chat.sampling import Chooser, Sampling
from chat.threads import Threads, threads
from chat.turns import Turns
from chat.warm_up import import_packages
from common.errors import UserError

PIECE = 256  # tokens of a prompt that are read while others wait for their next token
IDLE_SECONDS = 20  # then the thread ends; the next request starts another


@dataclass
class Request:
    """One answer that somebody waits for. `prepare` gives its format, prompt and room.

    `out` gets a token for each step, then True (ended by itself), False (stopped or at its longest), or an exception.
    """

    model: Model
    sampling: Sampling
    stop: threading.Event
    prepare: object
    conversation: str | None = None
    out: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)
    key: tuple | None = None
    cache: Cache | None = None
    todo: list[int] = field(default_factory=list)  # tokens that are not in the cache yet
    ids: list[int] = field(default_factory=list)  # prompt and answer
    room: int = 0  # tokens that may still be written
    chooser: Chooser | None = None
    stop_ids: set[int] = field(default_factory=set)

    def base(self) -> tuple:
        return self.model.base_folder, self.model.precision


class Scheduler:
    """Takes requests from any thread."""

    def __init__(self, resident: Resident, caches: Caches, most_at_once: int) -> None:
        self.resident, self.caches, self.most_at_once = resident, caches, most_at_once
        self._waiting: deque[Request] = deque()
        self._active: list[Request] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._side_by_side: SideBySide | None = None
        self._turns = Turns()
        self._threads: dict[tuple, Threads] = {}  # of a base and a number of conversations at once
        self._is_closed = False

    def close(self) -> None:
        """End the thread, and with it whatever it was writing."""
        with self._changed:
            self._is_closed, thread = True, self._thread
            self._changed.notify()
        if thread and thread is not threading.current_thread():
            thread.join(timeout=30)
        self._side_by_side = None

    def submit(self, request: Request) -> None:
        """Put `request` at the end of the line."""
        with self._changed:
            self._waiting.append(request)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="chat")
                self._thread.start()
            self._changed.notify()

    def waiting(self) -> int:
        """How many requests wait for their first step."""
        return len(self._waiting)

    def _run(self) -> None:
        why = RuntimeError("the chat's thread ended")
        try:
            import_packages()
            import torch

            with torch.inference_mode():
                while self._wait_for_work():
                    self._admit()
                    self._drop_stopped()
                    if self._active:
                        self._read_one_piece()
                        self._write_one_token()
        except ImportError as error:
            why = UserError(
                f"A package that the chat needs cannot be imported: {error}.", "Install the app again: `make setup`."
            )
        finally:
            self._let_go(why)

    def _let_go(self, why: Exception) -> None:
        """The thread ends. Nobody is left waiting, should it have ended by an error of our own."""
        with self._changed:
            if self._thread is threading.current_thread():
                self._thread = None
                for request in [*self._active, *self._waiting]:
                    request.out.put(why)
                self._active.clear()
                self._waiting.clear()

    def _wait_for_work(self) -> bool:
        """False when nobody came for a while, or the scheduler was closed: the thread may end."""
        with self._changed:
            if self._is_closed:
                return False
            deadline = time.monotonic() + IDLE_SECONDS
            while not self._waiting and not self._active:
                if not self._changed.wait(deadline - time.monotonic()) or self._is_closed:
                    self._thread = None  # in the same breath: the next request starts another
                    return False
            return True

    def _admit(self) -> None:
        """Take those at the head of the line that can be answered with the base in memory."""
        while self._waiting and len(self._active) < self.most_at_once:
            head = self._waiting[0]
            if self._active and head.base() != self._active[0].base():
                return
            with self._changed:
                self._waiting.popleft()
            if head.stop.is_set():
                head.out.put(False)
            elif self._guarded([head], lambda head=head: self._prepare(head)):
                self._active.append(head)

    def _prepare(self, request: Request) -> None:
        """Load the model, fit the history, and find what the conversation's cache already holds."""
        request.key = self._load(request.model)
        self.resident.use(request.key)
        format, request.ids, request.room = request.prepare(self.resident, request.model)
        request.stop_ids = self.resident.stop_ids(format)
        request.chooser = Chooser(request.sampling, self.resident.network.device)
        kept = self.caches.take(request.conversation, request.key, request.ids)
        request.cache = kept or Cache(request.key)
        request.todo = request.ids[len(request.cache.ids) :]

    def _drop_stopped(self) -> None:
        for request in [request for request in self._active if request.stop.is_set()]:
            self._finish(request, False)

    def _read_one_piece(self) -> None:
        """Of the prompts that are not read yet, the next piece of the first; the others' turn comes with the next steps."""
        request = next((request for request in self._active if len(request.todo) > 1), None)
        if request is None:
            return

        def read() -> None:
            self._become(request)
            piece, request.todo = request.todo[:PIECE], request.todo[PIECE:]
            logits = read_prompt(self.resident.network, request.cache, piece)
            if not request.todo:
                self._take(request, logits)

        if self._guarded([request], read) and request in self._active:
            self._active.remove(request)  # to the end of the line: prompts are read in turn
            self._active.append(request)

    def _write_one_token(self) -> None:
        """One token for every conversation whose turn it is."""
        ready = [request for request in self._active if len(request.todo) == 1]
        if not ready:
            return
        keys = self._turns.next_keys([request.key for request in ready], self.resident.is_mixable)
        groups = [sorted((request for request in ready if request.key == key), key=id) for key in keys]
        if not all(self._guarded(group, lambda group=group: self._attach(group[0])) for group in groups):
            return  # nothing is written with what a failure left behind; those who can go on do so in the next step
        group = [request for together in groups for request in together]
        rows: list[tuple] = []

        def write() -> None:
            self._side_by_side = self._side_by_side or SideBySide(self.resident.network)
            tokens = [request.todo[0] for request in group]
            logits = self._side_by_side.step([request.cache for request in group], tokens)
            rows.extend(zip(group, logits, strict=True))

        if not self._guarded(group, lambda: self.resident.switch([request.key for request in group])):
            return
        choice, began = self._choice_of_threads(len(group)), time.perf_counter()
        with threads(choice and choice.number()):
            self._guarded(group, write)
            for request, row in rows:
                self._guarded([request], lambda request=request, row=row: self._take(request, row))
        if choice and rows:
            choice.took(time.perf_counter() - began)

    def _choice_of_threads(self, rows: int) -> Threads | None:
        """The number of threads for a step of so many rows: chosen in int8, where sums are rounded anyway; else torch's."""
        import torch

        if self.resident.loaded[1] != "int8":
            return None
        kind = (self.resident.loaded, rows)
        if kind not in self._threads:
            self._threads = {known: one for known, one in self._threads.items() if known[0] == self.resident.loaded}
            self._threads[kind] = Threads(torch.get_num_threads())
        return self._threads[kind]

    def _become(self, request: Request) -> None:
        """Make the request's model the one that computes; it must still be the one it began with."""
        self._attach(request)
        self.resident.switch([request.key])

    def _attach(self, request: Request) -> None:
        """Bring the request's model into memory; it must still be the one it began with."""
        if self._load(request.model) != request.key:
            raise UserError("The adapter changed while it answered.", "Ask again.")

    def _load(self, model: Model) -> tuple:
        """The resident's key for `model`. What lies side by side is taken apart before the network may become another one."""
        base = self.resident.loaded
        if not self.resident.holds(model):
            self._take_apart()
        key = self.resident.attach(model)
        if self.resident.loaded != base:
            self.caches.clear()  # what was read with another base is of no use now
        return key

    def _take_apart(self) -> None:
        if self._side_by_side:
            self._side_by_side.split()
        self._side_by_side = None

    def _take(self, request: Request, logits) -> None:
        """Choose the next token, hand it on, and finish where the answer ends."""
        token = request.chooser.choose(logits, request.ids)
        request.todo = []
        if token in request.stop_ids:
            return self._finish(request, True)
        request.ids = [*request.ids, token]
        request.todo = [token]
        request.room -= 1
        request.out.put(token)
        if request.room <= 0:
            self._finish(request, False)

    def _finish(self, request: Request, ended: bool) -> None:
        """The request leaves; its cache waits for the next turn."""
        self._leave(request)
        self.caches.put(request.conversation, request.cache)
        request.out.put(ended)

    def _leave(self, request: Request) -> None:
        if self._side_by_side and any(cache is request.cache for cache in self._side_by_side.caches):
            self._side_by_side.split()
        self._active = [other for other in self._active if other is not request]

    def _guarded(self, requests: list[Request], work) -> bool:
        """Run `work`; what it raises goes to those who wait for it, and only to them. True when nothing was raised."""
        try:
            work()
        except Exception as error:  # handed to the threads that wait; nobody sees it otherwise
            self._active = [other for other in self._active if not any(other is request for request in requests)]
            joined = self._side_by_side.caches if self._side_by_side else []
            lost = [cache for cache in joined if any(cache is request.cache for request in requests)]
            if len(lost) == len(joined):
                self._side_by_side = None  # the batch failed as a whole: what it holds may be half a step
            elif lost:
                self._side_by_side.split()
            for request in requests:
                request.out.put(self._in_words(error))
            return False
        return True

    def _in_words(self, error: Exception) -> Exception:
        """A full memory as a sentence, anything else as it is."""
        if type(error).__name__ != "OutOfMemoryError":
            return error
        self.caches.clear()
        return UserError("The memory of the GPU is full.", "Try again; if it stays full, ask for a shorter answer.")
