"""Asks the teacher for rows, several at a time, and keeps each as it comes: the row, what was asked for it, what it cost.

Only the thread that iterates writes files. Threads that still wait for an answer when it ends are left to themselves.
"""

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from hashlib import sha256

from common.files import append_json_line, write_json
from common.language import packed
from data.made import Origin
from making.checks import check_row
from making.config import MakingConfig
from making.made import MAX_PASSAGE_CHARACTERS, MadeRow, MadeSet, read_rows, read_summary
from making.recipes import fill, find_recipe, read_row, read_supported, support_recipe
from making.sources import Prompts, Request, question_of
from making.teacher import Retries, Said, Stopped, Teacher, teacher_name
from models.messages import Message
from runs.disk import check_room_on_disk

POLL_SECONDS = 0.2
WRITE_SECONDS = 2.0
MAX_RETRIES = 2  # of a request whose answer cannot be read
MAX_KEPT_CHARACTERS = 10_000  # of an answer
UNSUPPORTED = "unsupported"  # the finding of a teacher that checks its own answers


@dataclass
class Outcome:
    """What came of one request: `messages` when an answer could be read; every prompt with its answer, the last one last."""

    request: Request
    messages: list[Message] | None = None
    is_supported: bool = True
    said: list[tuple[str, Said]] = field(default_factory=list)
    unreadable: int = 0


class Asking:
    """One teacher that is asked for the rows of one made set."""

    def __init__(self, made: MadeSet, config: MakingConfig, teacher: Teacher, stop: threading.Event) -> None:
        self.made, self.config, self.teacher, self.stop = made, config, teacher, stop
        self.halt = threading.Event()  # for the threads: a stop, or a failure of one of them
        self.recipe, self.prompts, self.retries = find_recipe(config), Prompts(made, config), Retries(self.halt)
        self.summary = read_summary(made)
        self.summary["lost"] = 0  # they are asked for again
        self._lock = threading.Lock()
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # by what is asked about

    def keep(self, requests: Iterator[Request]) -> Iterator[Outcome]:
        """Yield what came of each request that has no row yet, its row written; what has come is kept whatever happens.

        Raises Stopped, and UserError when the teacher fails for good.
        """
        came: queue.SimpleQueue[Outcome | Exception] = queue.SimpleQueue()
        missing = self._missing(requests)
        threads = [
            threading.Thread(target=self._ask_for, args=(missing, came), daemon=True)
            for _ in range(self.config.parallel)
        ]
        for thread in threads:
            thread.start()
        at, written_at, before = time.monotonic(), 0.0, self.summary["seconds"]
        try:
            while any(thread.is_alive() for thread in threads) or not came.empty():
                with suppress(queue.Empty):
                    outcome = came.get(timeout=POLL_SECONDS)
                    if isinstance(outcome, Exception):
                        raise outcome
                    self._write(outcome)
                    yield outcome
                if self.stop.is_set():
                    raise Stopped
                self.summary["seconds"] = before + time.monotonic() - at
                if time.monotonic() - written_at > WRITE_SECONDS:
                    check_room_on_disk(self.made.owner)  # a teacher writes as much as it likes
                    write_json(self.made.summary_file, packed(self.summary))
                    written_at = time.monotonic()
        finally:
            self.halt.set()
            while not came.empty():
                outcome = came.get()
                if isinstance(outcome, Outcome):
                    self._write(outcome)
            write_json(self.made.summary_file, packed(self.summary))

    def _missing(self, requests: Iterator[Request]) -> Iterator[Request]:
        """Yield the requests that have no row yet; what the others have asked is remembered."""
        there = {row["key"]: question_of(row["messages"]) for row in read_rows(self.made)}
        for request in requests:
            if request.key in there:
                self.prompts.add(request.unit, there[request.key])
            else:
                yield request

    def _ask_for(self, requests: Iterator[Request], came: "queue.SimpleQueue[Outcome | Exception]") -> None:
        """Put what comes of one request after the other into `came`, until there is none: the target of a thread."""
        try:
            while not self.halt.is_set():
                with self._lock:
                    request = next(requests, None)
                if request is None:
                    return
                # what is asked of a passage is to be known to the next request about it
                with self._turns[request.unit] if request.unit else nullcontext():
                    came.put(self._outcome(request))
        except Exception as error:  # for the thread that waits; nobody sees it otherwise
            came.put(error)

    def _outcome(self, request: Request) -> Outcome:
        """Ask until an answer can be read, at most 1 + MAX_RETRIES times. Raises Stopped and TeacherFailure."""
        outcome = Outcome(request)
        while outcome.messages is None and outcome.unreadable <= MAX_RETRIES:
            prompt = self.prompts.of(request)
            said = self._ask(outcome, prompt, self.config.seed + outcome.unreadable)
            outcome.messages = read_row(self.recipe, said.text, request.messages, self.config)
            outcome.unreadable += outcome.messages is None
        if outcome.messages:  # here, not where it is written: this thread asks for the next row at once
            self.prompts.add(request.unit, question_of(outcome.messages))
        if outcome.messages and self.config.check_answers and request.document:
            claim = "\n".join(one["content"] for one in outcome.messages)
            for first, second in ((request.passage, claim), (claim, request.passage)):  # an order may decide by itself
                prompt = fill(support_recipe(), {"first": first, "second": second})
                said = self._ask(outcome, prompt, self.config.seed)
                outcome.is_supported = outcome.is_supported and read_supported(said.text) is not False
        return outcome

    def _ask(self, outcome: Outcome, prompt: str, seed: int) -> Said:
        said = self.retries.answer(lambda: self.teacher.ask(prompt, seed, self.halt))
        outcome.said.append((prompt, said))
        return said

    def _write(self, outcome: Outcome) -> None:
        """Append the row, where there is one, and what was asked for it; count it."""
        request, summary = outcome.request, self.summary
        for prompt, said in outcome.said:
            line = {"key": request.key, "prompt": prompt, "answer": said.text[:MAX_KEPT_CHARACTERS]}
            append_json_line(self.made.prompts_file, line)
            summary["tokens_in"] += said.tokens_in
            summary["tokens_out"] += said.tokens_out
        summary["answers"] += len(outcome.said)
        summary["unreadable"] += outcome.unreadable
        summary["lost"] += outcome.messages is None
        if outcome.messages is None:
            return
        prompt, _said = outcome.said[outcome.unreadable]
        origin = Origin(
            teacher=teacher_name(self.config),
            recipe=self.recipe.name,
            version=self.recipe.version,
            prompt=sha256(prompt.encode()).hexdigest()[:16],
            document=request.document,
            start=request.start,
            end=request.end,
            time=round(time.time(), 1),
            licence=self.config.licence,
        )
        row = MadeRow(
            key=request.key,
            messages=outcome.messages,
            made=origin,
            passage=(request.passage or request.topic)[:MAX_PASSAGE_CHARACTERS],
            findings=[],
        )
        passage = request.passage if request.document else ""  # a seed row supports nothing
        row["findings"] = check_row(row, passage, self.config) + [UNSUPPORTED] * (not outcome.is_supported)
        append_json_line(self.made.rows_file, row)
