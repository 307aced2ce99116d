"""Who writes the rows: a server that speaks OpenAI's interface, Inference Providers of the Hub, or a model in this process.

    teacher = open_teacher(config, Secret(url, key), owner, tell, stop)
    said = teacher.ask(prompt, seed, stop)

Nothing of what a teacher says is trusted: it is text, bounded in length and time. Every failure is a `TeacherFailure` that says
whether, and when, it is worth another try. A key is in memory only: in no file, no environment, no message.
"""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypedDict

from common.errors import UserError
from common.language import _, joined
from common.paths import as_title
from common.words import duration
from making.config import ADAPTER, LOCAL, PROVIDER, SERVER, MakingConfig
from making.made import GO_ON
from making.recipes import MAX_REPLY_CHARACTERS
from models.messages import Message

MAX_COUNTED_TOKENS = 10**9  # of one answer; a server that counts more, or less than none, does not count
SILENT_SECONDS = 120  # without a piece of an answer
MAX_ANSWER_SECONDS = 600
MAX_WAIT_SECONDS = 120.0  # as a server may ask for with Retry-After
PAUSE_SECONDS = 2.0  # after the first failure; twice as long after each further one
MAX_PAUSE_SECONDS = 60.0
MAX_FAILURES = 5  # in a row, of all requests
MAX_REFUSALS = 20  # in a row, for too many requests
LIMITED = (429, 503)
# what the client raises for an answer of another shape
MALFORMED = (ValueError, TypeError, AttributeError, LookupError, RecursionError)
FINAL = {
    401: _("The teacher refuses the key or token (401)."),
    402: _("This account has no credits left for the teacher (402)."),
    403: _("This key or token may not use the teacher (403)."),
    404: _("There is no such model at this teacher (404)."),
}
HINTS = {
    401: _("Enter the key again, or sign in again, and resume."),
    402: _("Buy credits or choose another teacher. The rows so far are kept."),
    403: _("Inference Providers need a sign-in that allows them (inference-api). The rows so far are kept."),
    404: _("Choose one of the models that it has."),
}


class Secret(TypedDict):
    """What the process learns through its standard input: the address of the operator's server, and a key or token."""

    url: str
    key: str


class Stopped(Exception):
    """A person asked for it, or the time is up."""


@dataclass(frozen=True)
class Said:
    """An answer of the teacher, and its tokens: estimated where the teacher does not count them."""

    text: str
    tokens_in: int
    tokens_out: int


class TeacherFailure(UserError):
    """Why there is no answer. `wait`: the seconds that the teacher asks for; `is_final`: no further request makes sense."""

    def __init__(self, message: str, hint: str = "", wait: float | None = None, is_final: bool = False) -> None:
        super().__init__(message, hint)
        self.wait, self.is_final = wait, is_final


class Teacher(Protocol):
    """Whoever answers prompts, from several threads at once."""

    def ask(self, prompt: str, seed: int, stop: threading.Event) -> Said:
        """Return the whole answer. Raises TeacherFailure, and Stopped within a second of `stop`."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


def teacher_name(config: MakingConfig) -> str:
    """Return how rows name their teacher: the model, and where it ran."""
    if config.teacher == SERVER:
        return config.model
    return f"{config.model} ({config.teacher})"


def open_teacher(
    config: MakingConfig, secret: Secret, owner: str, tell: Callable[[str], None], stop: threading.Event
) -> Teacher:
    """Return the teacher that the settings name; a local one is fetched and loaded. Raises UserError."""
    if config.teacher == LOCAL:
        return LocalTeacher(config, owner, tell, stop)
    return RemoteTeacher(config, secret)


class RemoteTeacher:
    """A model behind `huggingface_hub`'s client: on a server with an address, or at one of the Inference Providers."""

    def __init__(self, config: MakingConfig, secret: Secret) -> None:
        self.config = config
        if config.teacher == SERVER:
            self._where: dict[str, Any] = {
                "base_url": config.server or secret["url"],
                "api_key": secret["key"] or "none",
            }
        else:
            self._where = {"provider": config.teacher.removeprefix(PROVIDER), "api_key": secret["key"]}

    def ask(self, prompt: str, seed: int, stop: threading.Event) -> Said:
        """Return the whole answer, read as it is written. Raises TeacherFailure and Stopped."""
        import httpx2
        from huggingface_hub import AsyncInferenceClient
        from huggingface_hub.errors import HfHubHTTPError, TextGenerationError

        from chat.remote import CHARACTERS_A_TOKEN, stream_pieces

        config = self.config
        arguments = {
            "model": config.model,
            "max_tokens": config.max_new_tokens,
            "temperature": config.temperature,
            "seed": seed,
            "stream_options": {"include_usage": True},
        }
        text, is_whole, usage, end = "", False, None, time.monotonic() + MAX_ANSWER_SECONDS
        try:
            client = AsyncInferenceClient(**self._where, timeout=SILENT_SECONDS)
            with closing(stream_pieces(client, [Message(role="user", content=prompt)], arguments)) as pieces:
                for piece, _is_more in pieces:
                    if stop.is_set():
                        raise Stopped
                    if time.monotonic() > end:
                        raise TimeoutError
                    if piece is None:
                        continue
                    usage = piece.usage or usage
                    for choice in piece.choices[:1]:
                        text += choice.delta.content or ""
                        is_whole = is_whole or bool(choice.finish_reason)
                    if len(text) > MAX_REPLY_CHARACTERS:
                        is_whole = True
                        break
        except (HfHubHTTPError, TextGenerationError, httpx2.HTTPError, OSError, *MALFORMED) as error:
            # the operator's server may tell of its address; any may say the key back, and a message is in a file
            is_told = config.teacher != SERVER or config.server
            words = str(getattr(error, "server_message", "") or "") if is_told else ""
            raise failure_of(error, as_title(words.replace(self._where["api_key"], "***"))) from error
        if not is_whole:
            raise TeacherFailure(_("The teacher broke off in the middle of its answer."))
        counted = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
        estimated = [len(one) // CHARACTERS_A_TOKEN for one in (prompt, text)]
        tokens = [
            found if isinstance(found, int) and 0 <= found <= MAX_COUNTED_TOKENS else guess
            for found, guess in zip(counted, estimated, strict=True)
        ]
        return Said(text, *tokens)

    def close(self) -> None:
        """Nothing is held."""


class LocalTeacher:
    """The base or an adapter, in this process: small, so what it writes is worth a look."""

    def __init__(self, config: MakingConfig, owner: str, tell: Callable[[str], None], stop: threading.Event) -> None:
        from adapters.library import find_adapter
        from chat.engine import Engine, Model
        from chat.sampling import Sampling
        from models.base import AUTO, choose_base, fetch_base

        adapter = find_adapter(config.model.removeprefix(ADAPTER), owner) if config.model.startswith(ADAPTER) else None
        base = choose_base(
            adapter.base_choice if adapter else config.model or AUTO, adapter.base_revision if adapter else None
        )
        folder = fetch_base(base, lambda what, fraction: tell(what), stop)
        self._model = Model(folder, "auto", adapter.folder if adapter else None)
        self._engine = Engine()
        self._sampling = Sampling(config.max_new_tokens, config.temperature)

    def ask(self, prompt: str, seed: int, stop: threading.Event) -> Said:
        """Return the whole answer. Raises Stopped, and TeacherFailure for a prompt that does not fit."""
        from dataclasses import replace

        said, asked = Said("", 0, 0), [Message(role="user", content=prompt)]
        try:
            with closing(self._engine.reply(self._model, asked, replace(self._sampling, seed=seed))) as replies:
                for reply in replies:
                    said = Said(reply.text, reply.tokens_used, reply.new_tokens)
                    if stop.is_set():
                        raise Stopped
        except UserError as error:
            raise TeacherFailure(error.message, error.hint) from error
        return said

    def close(self) -> None:
        """Free the model's memory."""
        self._engine.close()


def failure_of(error: Exception, told: str = "") -> TeacherFailure:
    """Return an error of the client in words; `told` is what the server says itself."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    said = _("It said: {words}", words=told) if told else ""
    if status in FINAL:
        return TeacherFailure(FINAL[status], joined([HINTS[status], said]), is_final=True)
    if status in LIMITED:
        wait = retry_after(response.headers.get("Retry-After", "")) if response is not None else None
        if wait is not None and wait > MAX_WAIT_SECONDS:
            words = _("The teacher takes no more requests for {time}.", time=duration(wait))
            return TeacherFailure(words, GO_ON, is_final=True)
        return TeacherFailure(_("The teacher gets too many requests ({status}).", status=status), GO_ON, wait or 0.0)
    if status:
        return TeacherFailure(_("The teacher answered with an error ({status}).", status=status), joined([said, GO_ON]))
    if type(error) is ValueError and "rovider" in str(error):  # the client's own, before anything is sent
        return TeacherFailure(
            _("This provider does not have this model."), _("Choose another of either."), is_final=True
        )
    if isinstance(error, TimeoutError):
        return TeacherFailure(_("The teacher took too long to answer."), GO_ON)
    return TeacherFailure(_("The teacher does not answer, or not as OpenAI's interface has it."), GO_ON)


def retry_after(value: str) -> float | None:
    """Return the seconds in a header Retry-After, which has them or a date (RFC 9110, 10.2.3); None for anything else."""
    if value.strip().isascii() and value.strip().isdigit():
        return float(value.strip()[:9])
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


@dataclass
class Retries:
    """When the teacher may be asked again, and when it has failed too often: one for all threads of a process.

    Requests that were under way together fail together: that counts once.
    """

    stop: threading.Event
    failures: int = 0  # in a row
    refusals: int = 0  # in a row, for too many requests
    _failed_at: float = 0.0
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, ask: Callable[[], Said]) -> Said:
        """Return what `ask` answers, however often it has to be called. Raises the last TeacherFailure, and Stopped."""
        while True:
            while (seconds := self._next - time.monotonic()) > 0 and not self.stop.is_set():
                self.stop.wait(seconds)
            if self.stop.is_set():
                raise Stopped
            began = time.monotonic()
            try:
                said = ask()
            except TeacherFailure as failure:
                self._failed(failure, began)
                continue
            with self._lock:
                self.failures = self.refusals = 0
            return said

    def _failed(self, failure: TeacherFailure, began: float) -> None:
        """Count a failure, after which all wait. Raises it when it is the last one."""
        with self._lock:
            now = time.monotonic()
            if began >= self._failed_at:
                self._failed_at = now
                self.failures += failure.wait is None
                self.refusals += failure.wait is not None
            if failure.is_final or self.failures >= MAX_FAILURES or self.refusals >= MAX_REFUSALS:
                raise failure
            pause = failure.wait or min(MAX_PAUSE_SECONDS, PAUSE_SECONDS * 2 ** (self.failures + self.refusals - 1))
            self._next = max(self._next, now + pause)
