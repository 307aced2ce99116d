"""The answers of one turn: the models of all panes asked at once, their text written into the conversation as it comes."""

import copy
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from chat.conversation import Conversation, Said, prompt_messages
from chat.engine import CALLS, HEARTBEAT_SECONDS, Engine, Model, Reply
from chat.line import Places
from chat.remote import RemoteEngine, RemoteModel
from chat.sampling import Sampling
from chat.summary import summarise
from ui.background import with_progress
from ui.chat.models import Picked, pick, short_name
from ui.chat.view import STOPPED, note_of
from ui.owner import Visitor

RETRY_TEMPERATURE = 0.7  # at temperature 0 another seed changes nothing
SHOW_SECONDS = 0.1  # from one look at what came to the next: drawing every word would take longer than writing it


@dataclass(frozen=True)
class Engines:
    """The engines of the chat: this machine's, a server's if one is named, and the limit of calls to both."""

    local: Engine
    remote: RemoteEngine | None
    calls: Places = field(default_factory=lambda: Places(CALLS))

    def of(self, picked: Picked) -> Any:
        """Return the Engine or RemoteEngine for the picked model."""
        return self.remote if isinstance(picked.model, RemoteModel) else self.local


@dataclass
class Answer:
    """The answer of one pane in progress."""

    pane: int
    picked: Picked
    stream: Iterator[Reply]
    seed: str
    reply: Reply
    is_done: bool = False


def _pick_panes(engines: Engines, conversation: Conversation, visitor: Visitor, *progress) -> list[Picked]:
    """Return the models of all panes. Raises UserError for one that the owner does not have."""
    models = [pane["model"] for pane in conversation["panes"]]
    return [pick(model, models[0], visitor, engines.remote, *progress) for model in models]


def answer(
    engines: Engines,
    conversation: Conversation,
    visitor: Visitor,
    sampling: Sampling,
    panes: list[int],
    continuing: bool = False,
) -> Iterator[list[Answer]]:
    """Stream the last answer of each of `panes`, ten times a second; [] while a base is fetched.

    When it is closed before its end, the text so far is kept. Raises UserError when the visitor has too many answers in
    progress.
    """
    with engines.calls.taken_by(visitor.as_caller()):  # before the models are looked up: the Hub may take its time
        stop = threading.Event()
        picked = []
        work = with_progress(
            lambda say, stop: _pick_panes(engines, conversation, visitor, say, stop), HEARTBEAT_SECONDS
        )
        for kind, value in work:
            if kind == "says":
                _say(conversation, panes, value or "Looking for the model ...")
                yield []
            else:
                picked = value
        answers = []
        for pane in panes:
            own, seed = _with_luck(sampling, _last(conversation, pane).get("tries", 0))
            messages = prompt_messages(conversation, pane, None if continuing else -1)
            key = f"{visitor.owner}/{conversation['id']}/{pane}"
            engine, caller = engines.of(picked[pane]), visitor.as_caller()
            stream = engine.reply(picked[pane].model, messages, own, stop, key, continuing, caller)
            answers.append(Answer(pane, picked[pane], stream, seed, Reply()))
            _last(conversation, pane)["by"] = conversation["panes"][pane]["model"]
            conversation["panes"][pane]["who"] = _who_words(picked[pane])
        try:
            while not all(one.is_done for one in answers):
                began = time.monotonic()
                for one in answers:
                    if not one.is_done:
                        _advance(conversation, one)
                yield answers
                if any(one.reply.new_tokens for one in answers):  # a first word is shown when it comes
                    time.sleep(max(0.0, began + SHOW_SECONDS - time.monotonic()))
        finally:
            stop.set()
            end_early(conversation)


def _advance(conversation: Conversation, one: Answer) -> None:
    """Write the next state of one pane's answer into the conversation."""
    reply = next(one.stream, None)
    message, pane = _last(conversation, one.pane), conversation["panes"][one.pane]
    if reply is None:
        one.is_done = True
        message.pop("doing", None)
        message["note"] = note_of(one.reply, one.seed)
        pane["template"] = pane["template"] or one.reply.template
        return
    one.reply = reply
    if not reply.window and isinstance(one.picked.model, Model):
        _say(
            conversation,
            [one.pane],
            f"Loading {short_name(one.picked.base)}, or waiting for those who asked before ...",
        )
    if reply.window:
        message |= {"content": reply.text, "note": note_of(reply, one.seed, is_going_on=True), "doing": "Reading ..."}
        pane |= {"left_out": reply.left_out, "used": reply.tokens_used + reply.new_tokens, "window": reply.window}
        pane["read_as"] = reply.template


def is_answering(conversation: Conversation) -> bool:
    """Return whether an answer of the conversation is in progress."""
    return any("doing" in message for pane in conversation["panes"] for message in pane["messages"][-1:])


def end_early(conversation: Conversation) -> Conversation:
    """Mark each answer in progress as stopped; return the conversation."""
    for message in [message for pane in conversation["panes"] for message in pane["messages"]]:
        if message.pop("doing", None) is not None:
            message["note"] = " · ".join(filter(None, [message.get("note"), STOPPED]))
    return conversation


def as_draft(conversation: Conversation) -> Conversation:
    """Return a copy with the answers marked as stopped, to be kept in case the page is left before they end."""
    return {**end_early(copy.deepcopy(conversation)), "changed": time.time()}


def _who_words(picked: Picked) -> str:
    """Return the model that answers, its base, and why that base was chosen, in words."""
    if isinstance(picked.model, RemoteModel):
        return f"{picked.name}, {picked.base}"
    name, _, reason = picked.base.partition(" (")
    reason = f" ({reason}" if reason else ""
    is_base = picked.name in (name, picked.base)
    return f"{short_name(name)}{reason}" if is_base else f"{picked.name}, on {short_name(name)}{reason}"


def _say(conversation: Conversation, panes: list[int], sentence: str) -> None:
    """Show `sentence` in the place of the answers while there is no text yet."""
    for pane in panes:
        _last(conversation, pane)["doing"] = sentence


def _last(conversation: Conversation, pane: int) -> Said:
    """Return the last message of a pane."""
    return conversation["panes"][pane]["messages"][-1]


def _with_luck(sampling: Sampling, tries: int) -> tuple[Sampling, str]:
    """Return (the settings of the `tries`th retry, with another seed; words about seed and temperature)."""
    if not tries:
        return sampling, f"seed {sampling.seed}" if sampling.temperature else ""
    temperature = sampling.temperature or RETRY_TEMPERATURE
    luck = replace(sampling, seed=sampling.seed + tries, temperature=temperature)
    return luck, f"seed {luck.seed}, temperature {luck.temperature:g}"


def update_summary(engines: Engines, conversation: Conversation, visitor: Visitor) -> Iterator[Reply]:
    """Write a summary of the newly left-out turns into the conversation, with the first pane's model; stream it."""
    pane = conversation["panes"][0]
    if pane["left_out"] <= conversation["summarised"]:
        return
    with engines.calls.taken_by(visitor.as_caller()):
        picked = _pick_panes(engines, conversation, visitor)[0]
        messages, before = pane["messages"], conversation["summary"]
        left_out, done = pane["left_out"], conversation["summarised"]
        is_whole = False
        try:
            for reply in summarise(
                engines.of(picked), picked.model, before, messages, left_out, done, visitor.as_caller()
            ):
                conversation["summary"] = reply.text or before
                yield reply
            is_whole = True
        finally:  # half a summary, when it fails or is stopped, would take the place of a whole one
            if is_whole:
                conversation["summarised"] = left_out
            else:
                conversation["summary"] = before
