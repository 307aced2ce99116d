"""One thread owns the model: it computes prompts in pieces and generates one token for each conversation in turn.

`chat.line` chooses the next request. Conversations with one base are answered in one batch, with any adapters; `chat.turns` says
which cannot be. Every request gets an end in its `out`. An error of one request goes to that one; an error of the loop itself
goes to all answers in progress.
"""

import logging
import threading
import time
from functools import partial

from chat.batch import JoinedCaches, read_logits, read_prompt
from chat.cache import Cache, Caches
from chat.line import Line
from chat.logprobs import scores_of
from chat.preparation import as_exception
from chat.repetition import repeats_itself
from chat.request import Request, Score, closed
from chat.resident import Model, Resident
from chat.sampling import Chooser
from chat.threads import Threads, threads
from chat.turns import Turns
from chat.warm_up import import_packages
from common.errors import UserError
from common.language import _
from models.prompt import PromptFormat

PIECE_TOKENS = 256  # tokens of a prompt that are read while others wait for their next token
IDLE_SECONDS = 20  # then the thread ends; the next request starts another
MAX_CLOSE_SECONDS = 20  # that `close` waits for the step that is being computed

log = logging.getLogger(__name__)


class Scheduler:
    """Answers requests; safe from any thread."""

    def __init__(self, resident: Resident, caches: Caches, line: Line, most_at_once: int) -> None:
        self.resident, self.caches, self.most_at_once = resident, caches, most_at_once
        self._line = line
        self._active: list[Request] = []
        self._changed = threading.Condition()  # guards the line, and `_active` where requests come in
        self._thread: threading.Thread | None = None
        self._joined_caches: JoinedCaches | None = None
        self._turns = Turns()
        self._threads: dict[tuple, Threads] = {}  # of a base and a number of conversations at once
        self._is_closed = False

    def close(self) -> None:
        """End the thread and all answers in progress; abandon a thread that does not end within MAX_CLOSE_SECONDS."""
        with self._changed:
            self._is_closed, thread = True, self._thread
            self._changed.notify()
        if thread and thread is not threading.current_thread():
            thread.join(timeout=MAX_CLOSE_SECONDS)
        self._end_all(closed())
        self._joined_caches = None

    def submit(self, request: Request, is_limited: bool = True) -> None:
        """Put `request` into the line; it is answered once it is `prepared`. Raises UserError when the line is full."""
        with self._changed:
            if self._is_closed:
                raise closed()
            self._line.add(request, is_limited)

    def prepared(self, request: Request, format: PromptFormat, ids: list[int], room: int) -> None:
        """Set the prompt `ids` of `request`, its format, and `room`, the most tokens of its answer."""
        request.format, request.ids, request.prompt_tokens, request.room = format, ids, len(ids), room
        with self._changed:
            if self._is_closed:
                raise closed()
            request.is_prepared = True
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True, name="chat")
                self._thread.start()
            self._changed.notify()

    def withdraw(self, request: Request) -> None:
        """Take `request` out of the line, or end its answer with the next token."""
        request.stop.set()
        with self._changed:
            self._line.remove(request)

    def _run(self) -> None:
        """Work until there is nothing to do. After an error of the loop itself, fail the answers in progress and go on."""
        try:
            while True:
                try:
                    return self._work()
                except BaseException as error:  # a panic in Rust and SystemExit are no Exceptions
                    self._recover(error)
        finally:
            with self._changed:
                is_mine = self._thread is threading.current_thread()
                self._thread = None if is_mine else self._thread
            if is_mine:  # it did not end because there was nothing to do
                self._end_all(closed())

    def _work(self) -> None:
        """Import torch and generate until `_wait_for_work` returns False."""
        import_packages()
        import torch

        with torch.inference_mode():
            while self._wait_for_work():
                self._drop_stopped()
                self._admit()
                if self._active:
                    self._read_one_piece()
                    self._write_one_token()

    def _recover(self, error: BaseException) -> None:
        """Fail the answers in progress with `error`, and free the memory for the requests that wait.

        Without an answer in progress all waiting requests fail, too: the next one would fail in the same way.
        """
        log.error("The chat's thread failed; it begins anew.", exc_info=error)
        self._end_all(as_exception(error), only_active=bool(self._active))
        self._joined_caches, self._turns = None, Turns()
        self.caches.clear()
        self.resident.unload()

    def _end_all(self, why: Exception, only_active: bool = False) -> None:
        """Put `why` into the `out` of all answers in progress and, unless `only_active`, of all requests that wait."""
        with self._changed:
            failed, self._active = self._active, []
            if not only_active:
                waiting = [request for request in self._line.requests if request.is_prepared or self._is_closed]
                failed = failed + [request for request in waiting if self._line.remove(request)]
        for request in failed:
            request.out.put(why)

    def _wait_for_work(self) -> bool:
        """Wait for a request; return False when none came for a while, or the scheduler was closed."""
        with self._changed:

            def is_wanted() -> bool:
                return self._is_closed or bool(self._active) or any(one.is_prepared for one in self._line.requests)

            if not self._changed.wait_for(is_wanted, IDLE_SECONDS):
                self._thread = None  # in the same breath: the next request starts another
                return False
            return not self._is_closed

    def _admit(self) -> None:
        """Move the requests that can be answered now from the line to the active ones."""
        while len(self._active) < self.most_at_once:
            with self._changed:
                request = self._line.next(self._active)
                if request is None:
                    return
                self._active.append(request)  # first of all: whatever happens from here on, it gets an answer
            self._guarded([request], partial(self._begin, request))

    def _begin(self, request: Request) -> None:
        """Load the request's model, and take what the conversation's cache already holds."""
        assert request.format  # `prepared` gave it
        request.key = self._load(request.model)
        self.resident.use(request.key)
        request.stop_ids = self.resident.stop_ids(request.format)
        request.chooser = Chooser(request.sampling, self.resident.network.device)
        kept = self.caches.take(request.conversation, request.key, request.ids)
        request.cache = kept or Cache(request.key, person=request.caller.person)
        request.todo = request.ids[len(request.cache.ids) :]
        if request.has_scored_prompt:
            request.scores.append(Score(request.ids[0]))

    def _drop_stopped(self) -> None:
        """End the requests whose `stop` was set, in the line and among the active ones."""
        with self._changed:
            stopped = [one for one in self._line.requests if one.stop.is_set() and self._line.remove(one)]
        for request in stopped:
            request.out.put(False)
        for request in [request for request in self._active if request.stop.is_set()]:
            self._guarded([request], partial(self._finish, request, False))

    def _read_one_piece(self) -> None:
        """Compute PIECE_TOKENS more of the first prompt that is not computed yet, and move it behind the others."""
        request = next((request for request in self._active if _is_reading(request)), None)
        if request is None:
            return

        def read() -> None:
            self._attach(request)
            self.resident.switch([request.key])
            if request.like and not request.cache.ids:
                request.cache = request.like.cache.beginning(request.key, request.ids) or request.cache
                request.todo = request.ids[len(request.cache.ids) :]
            piece, request.todo = request.todo[:PIECE_TOKENS], request.todo[PIECE_TOKENS:]
            if request.has_scored_prompt:
                logits = read_logits(self.resident.network, request.cache, piece)
                known = request.ids[
                    len(request.scores) : len(request.scores) + len(piece)
                ]  # one less at the prompt's end
                request.scores += scores_of(logits[: len(known)], known, request.top or 0)
                last = logits[-1]
            else:
                last = read_prompt(self.resident.network, request.cache, piece)
            if not request.todo:
                self._take(request, last)

        if self._guarded([request], read) and request in self._active:
            self._active.remove(request)  # to the end of the line: prompts are read in turn
            self._active.append(request)

    def _write_one_token(self) -> None:
        """Generate one token for each conversation of the models whose turn it is."""
        ready = [request for request in self._active if not _is_reading(request)]
        if not ready:
            return
        keys = self._turns.next_keys([request.key for request in ready], self.resident.is_mixable)
        groups = [sorted((request for request in ready if request.key == key), key=id) for key in keys]
        if not all(self._guarded(group, partial(self._attach, group[0])) for group in groups):
            return  # nothing is written with what a failure left behind; those who can go on do so in the next step
        group = [request for together in groups for request in together]
        rows: list[tuple] = []

        def write() -> None:
            if self._joined_caches is None or self._joined_caches.network is not self.resident.network:
                self._joined_caches = JoinedCaches(self.resident.network)  # also after others loaded another base
            tokens = [request.todo[0] for request in group]
            logits = self._joined_caches.step([request.cache for request in group], tokens)
            rows.extend(zip(group, logits, strict=True))

        if not self._guarded(group, lambda: self.resident.switch([request.key for request in group])):
            return
        choice, began = self._choice_of_threads(len(group)), time.perf_counter()
        with threads(choice.number() if choice else None):
            self._guarded(group, write)
            for request, row in rows:
                self._guarded([request], partial(self._take, request, row))
        if choice and rows:
            choice.took(time.perf_counter() - began)

    def _choice_of_threads(self, rows: int) -> Threads | None:
        """Return the choice of threads for a step of `rows` rows; None but for int8, whose sums are rounded anyway."""
        import torch

        loaded = self.resident.loaded
        if loaded is None or loaded[1] != "int8":
            return None
        kind = (loaded, rows)
        if kind not in self._threads:
            self._threads = {known: one for known, one in self._threads.items() if known[0] == loaded}
            self._threads[kind] = Threads(torch.get_num_threads())
        return self._threads[kind]

    def _attach(self, request: Request) -> None:
        """Load the request's model again if it was dropped; its key must still be the one that the answer began with."""
        if self._load(request.model) != request.key:
            raise UserError(_("The adapter changed during its answer."), _("Ask again."))

    def _load(self, model: Model) -> tuple:
        """Load `model` and return its key. The joined caches are split first, because the network may be replaced."""
        base = self.resident.loaded
        if not self.resident.holds(model):
            if self._joined_caches:
                self._joined_caches.split()
            self._joined_caches = None
        key = self.resident.attach(model)
        if self.resident.loaded != base:
            self.caches.clear()  # what was read with another base is of no use now
        return key

    def _take(self, request: Request, logits) -> None:
        """Choose the next token, put it into `out`, and finish where the answer ends."""
        assert request.chooser and request.format  # `_begin` and `prepared` gave them
        if request.room <= 0:  # the prompt alone was to be read
            return self._finish(request, False)
        token = request.chooser.choose(logits, request.ids[request.prompt_tokens :])
        request.todo = []
        if request.top is not None:
            request.scores += scores_of(logits[None], [token], request.top)
        if token in request.stop_ids:
            return self._finish(request, True)
        request.ids = [*request.ids, token]
        request.todo = [token]
        request.room -= 1
        request.out.put(token)
        if request.sampling.stop_repetition:
            answer = request.ids[request.prompt_tokens :]
            request.is_repeating = repeats_itself(answer, request.format.tokenizer.decode)
        if request.room <= 0 or request.is_repeating:
            self._finish(request, False)

    def _finish(self, request: Request, ended: bool) -> None:
        """End the request, and keep its cache for the next turn."""
        if self._joined_caches:
            self._joined_caches.leave(request.cache)
        self._active = [other for other in self._active if other is not request]
        self.caches.put(request.conversation, request.cache)
        request.out.put(ended)

    def _guarded(self, requests: list[Request], work) -> bool:
        """Run `work`; put what it raises into the `out` of `requests` alone. Return True when nothing was raised."""
        try:
            work()
        except BaseException as error:  # Rust's panics too; handed to the threads that wait, nobody sees it otherwise
            why = self._in_words(error)
            self._active = [other for other in self._active if not any(other is request for request in requests)]
            joined = self._joined_caches.caches if self._joined_caches else []
            lost = [cache for cache in joined if any(cache is request.cache for request in requests)]
            if len(lost) == len(joined):
                self._joined_caches = None  # the batch failed as a whole: what it holds may be half a step
            elif self._joined_caches and lost:
                self._joined_caches.split()
            for request in requests:  # last: who has been told finds the place free
                request.out.put(why)
            return False
        return True

    def _in_words(self, error: BaseException) -> Exception:
        """Return a full memory as UserError, after freeing the caches; any other error as `as_exception` does."""
        if isinstance(error, MemoryError):
            self.caches.clear()
        if type(error).__name__ != "OutOfMemoryError":
            return as_exception(error)
        self.caches.clear()
        return UserError(_("The GPU is out of memory."), _("Try again, with a shorter answer if it happens again."))


def _is_reading(request: Request) -> bool:
    """Return whether its prompt is still to be read: all but the last token; and the only one, as no cache is there to join."""
    return len(request.todo) > 1 or not request.cache.ids
