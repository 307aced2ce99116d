"""The same chat with a model on a server that speaks OpenAI's interface: vLLM, TGI, an Inference Endpoint, llama.cpp.

For models that are too large for one machine: `CHAT_SERVER_URL` (and `CHAT_SERVER_TOKEN`) in the app's environment name the
server; visitors cannot name one, because the app would call any address for them. Adapters are model names there
(`vllm --enable-lora`); those that the app puts there have their owner in their name (see ui/served.py), and are nobody else's to
use. The history is fitted with the same rules; tokens are estimated, because the tokenizer is on the server.
"""

import asyncio
import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chat.engine import CALLS, Reply, Seen
from chat.from_thread import items_from
from chat.history import fit_history
from chat.line import LOCAL, Caller, Places
from chat.repetition import repeats_itself
from chat.sampling import Sampling
from common.errors import UserError
from common.files import JSON_ERRORS, parse_json
from common.language import _
from models.messages import Message, check_messages

log = logging.getLogger(__name__)

CHARACTERS_A_TOKEN = 3  # rather too few than too many: English has about four
TOKENS_A_MESSAGE = 8  # role tags and the like
USUAL_WINDOW = 2048
LIST_SECONDS = 30  # the server is asked for its models again after this long
MAX_LIST_BYTES, MAX_MODELS = 2_000_000, 1_000
LOAD_SECONDS = 60  # in which the server reads an adapter
ADAPTER = "studio:"  # before OWNER:NAME of an adapter of this app; no id of the Hub has a colon
WAIT_SECONDS = 120


@dataclass(frozen=True)
class RemoteModel:
    """A model of the server, by its name there."""

    name: str


@dataclass(frozen=True)
class Served:
    """A model as the server lists it: its window in tokens, where it is from, and an adapter's base, "" for a base."""

    name: str
    window: int
    root: str = ""
    parent: str = ""


class RemoteEngine:
    """Streams replies from a server. Same calls as chat.engine.Engine."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._listed: tuple[float, dict[str, int]] = (0.0, {})
        self._lock = threading.Lock()
        self._places = Places(CALLS)

    def models(self) -> dict[str, int]:
        """Return the server's models with their windows in tokens; {} while it does not answer."""
        import httpx2

        with self._lock:
            asked, found = self._listed
            if time.monotonic() - asked < LIST_SECONDS and asked:
                return found
            try:
                found = {model.name: model.window for model in self.list_models()}
            except (httpx2.HTTPError, ValueError):
                found = {}
            self._listed = (time.monotonic(), found)
            return found

    def list_models(self) -> list[Served]:
        """Ask the server for its models. An adapter has its base's window. Raises what httpx2 does, and ValueError."""
        try:
            listed = parse_json(_bounded_get(f"{self.url}/models", self._headers()))["data"][:MAX_MODELS]
            windows = {str(one["id"]): one.get("max_model_len") for one in listed}
            return [
                Served(
                    str(one["id"])[:300],
                    int(one.get("max_model_len") or windows.get(str(one.get("parent"))) or USUAL_WINDOW),
                    str(one.get("root") or ""),
                    str(one.get("parent") or ""),
                )
                for one in listed
            ]
        except (*JSON_ERRORS, LookupError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError("What the server sends is no list of models.") from error

    def load_adapter(self, name: str, path: str) -> None:
        """Let the server (vLLM) load the adapter at `path`, as it sees it. Raises httpx2.HTTPStatusError when it refuses."""
        self._post("load_lora_adapter", lora_name=name, lora_path=path)

    def unload_adapter(self, name: str) -> None:
        """Let the server forget an adapter. Raises httpx2.HTTPStatusError when it refuses."""
        self._post("unload_lora_adapter", lora_name=name)

    def _post(self, call: str, **body: str) -> None:
        import httpx2

        url, headers = f"{self.url}/{call}", self._headers()
        with httpx2.stream("POST", url, headers=headers, json=body, timeout=LOAD_SECONDS) as answer:
            answer.raise_for_status()  # its words are not read

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def reply(
        self,
        model: RemoteModel,
        messages: Sequence[Message],
        sampling: Sampling,
        conversation: str | None = None,
        continuing: bool = False,
        caller: Caller = LOCAL,
    ) -> Generator[Reply]:
        """Stream the reply, like `chat.engine.Engine.reply`. Raises UserError when the server fails, or has too many requests."""
        sampling.check()
        messages = check_messages(messages, continuing)
        window = self.models().get(model.name, USUAL_WINDOW)
        sizes = [len(message["content"]) // CHARACTERS_A_TOKEN + TOKENS_A_MESSAGE for message in messages]
        fitted = fit_history(messages, sizes, window - sampling.max_new_tokens)
        kept = dict(zip(map(id, messages), sizes, strict=True))
        seen = [Seen(m["role"], kept.get(id(m), 0), ((m["content"], False),)) for m in fitted.messages]
        reply = Reply(tokens_used=fitted.tokens, window=window, left_out=fitted.left_out, seen=seen)
        with self._places.taken_by(caller):
            yield from self._stream(model, fitted.messages, sampling, continuing, reply)

    def _stream(self, model, messages, sampling, continuing, reply: Reply) -> Iterator[Reply]:
        """Yield `reply` as the server's stream fills it. Raises UserError when the server fails."""
        import httpx2
        from huggingface_hub import AsyncInferenceClient
        from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError

        client = AsyncInferenceClient(base_url=self.url, api_key=self._token or "none", timeout=WAIT_SECONDS)
        reply.text = messages[-1]["content"].rstrip() if continuing else ""
        began, first, is_whole = time.perf_counter(), None, False
        written: list[str] = []
        pieces = stream_pieces(client, messages, _arguments(model, sampling, continuing))
        try:
            for piece, is_more in pieces:
                if piece is None or not piece.choices:
                    yield reply
                    continue
                now, choice = time.perf_counter(), piece.choices[0]
                if choice.delta.content:
                    first = first or now
                    reply.text += choice.delta.content
                    reply.add_token(began, first, now)
                    written.append(choice.delta.content)
                    reply.is_repeating = sampling.stop_repetition and repeats_itself(written, "".join)
                is_whole = bool(choice.finish_reason) or is_whole
                reply.ended = choice.finish_reason == "stop" or reply.ended
                if reply.is_repeating:
                    break
                if not is_more:
                    yield reply
            if not is_whole and not reply.is_repeating:
                raise ConnectionError("the stream ended before the answer did")
        except (HfHubHTTPError, InferenceTimeoutError, httpx2.HTTPError, OSError, ValueError) as error:
            yield reply  # what came before it
            log.warning("The chat server: %s", error)  # its words may hold its address, which is not the visitors'
            status = getattr(getattr(error, "response", None), "status_code", None)
            words = _("The server did not answer.")
            if status:
                words = _("The server answered with an error ({status}).", status=status)
            elif reply.new_tokens:
                words = _("The server broke off in the middle of its answer.")
            raise UserError(words, _("Try again, or pick another model.")) from error
        finally:
            pieces.close()
        yield reply


def _bounded_get(url: str, headers: dict[str, str]) -> bytes:
    """Return what a server answers within LIST_SECONDS, at most MAX_LIST_BYTES. Raises what httpx2 does, and ValueError."""
    import httpx2

    body, end = b"", time.monotonic() + LIST_SECONDS
    with httpx2.stream("GET", url, headers=headers, timeout=5) as answer:
        answer.raise_for_status()
        for part in answer.iter_bytes():
            body += part
            if len(body) > MAX_LIST_BYTES or time.monotonic() > end:
                raise ValueError("The list of models is too long.")
    return body


def stream_pieces(client, messages: list[Message], arguments: dict[str, Any]) -> Generator:
    """Yield (piece of the stream, True when more pieces are waiting); (None, False) at times while the server is silent.

    Closing the generator closes the AsyncInferenceClient and its connection at once. Raises what the client does.
    """
    from huggingface_hub import set_async_client_factory

    from chat.session import bounded_session

    set_async_client_factory(bounded_session)
    came: queue.SimpleQueue = queue.SimpleQueue()
    loop = asyncio.new_event_loop()

    async def read() -> None:
        try:
            async for piece in await client.chat_completion(messages, stream=True, **arguments):
                came.put((piece, None))
            came.put((None, StopIteration()))
        except Exception as error:  # handed to the thread that waits; nobody sees it otherwise
            came.put((None, error))
        finally:
            await client.close()

    task = loop.create_task(read())
    threading.Thread(target=_run, args=(loop, task), daemon=True, name="chat server").start()
    try:
        for piece in items_from(came):
            yield piece, not came.empty()
    finally:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it had ended by itself
            loop.call_soon_threadsafe(task.cancel)


def _run(loop: asyncio.AbstractEventLoop, task: asyncio.Task) -> None:
    """Run `task` to its end in `loop` and close the loop: the target of a stream's thread."""
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _arguments(model: RemoteModel, sampling: Sampling, continuing: bool) -> dict[str, Any]:
    """Return the arguments of the server's call; those that only some servers know are in `extra_body`."""
    extra: dict[str, Any] = {"top_k": sampling.top_k} if sampling.top_k else {}
    if sampling.repetition_penalty != 1:
        extra["repetition_penalty"] = sampling.repetition_penalty
    if continuing:
        extra |= {"continue_final_message": True, "add_generation_prompt": False}
    return {
        "model": model.name,
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "extra_body": extra or None,
    }


def served_name(owner: str, name: str) -> str:
    """Return what an adapter of `owner` is called on the server."""
    return f"{ADAPTER}{owner}:{name}"


def adapter_behind(model: str) -> tuple[str, str] | None:
    """Return (owner, name) of the adapter of this app that a model of the server is; None for the operator's own models."""
    if not model.startswith(ADAPTER):
        return None
    owner, _colon, name = model.removeprefix(ADAPTER).partition(":")
    return owner, name


def remote_engine() -> RemoteEngine | None:
    """Return an engine for the server that `CHAT_SERVER_URL` names, None without one."""
    url = os.environ.get("CHAT_SERVER_URL", "").strip()
    return RemoteEngine(url, os.environ.get("CHAT_SERVER_TOKEN", "")) if url else None
