"""The answers of one turn: the models of all panes asked at once, their text written into the conversation as it comes."""

import copy
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from chat.conversation import LENGTH, REPEATED, STOPPED, Conversation, Said, Took, prompt_messages
from chat.engine import CALLS, HEARTBEAT_SECONDS, Engine, Model, Reply
from chat.line import Places
from chat.remote import RemoteEngine, RemoteModel
from chat.sampling import BALANCED, Sampling
from chat.summary import summarise
from chat.zero_gpu import ZeroEngine
from common.language import _
from ui.background import with_progress
from ui.chat.models import PickedModel, pick
from ui.owner import Visitor

SHOW_SECONDS = 0.1  # from one look at what came to the next: drawing every word would take longer than writing it


@dataclass(frozen=True)
class Engines:
    """The engines of the chat: this machine's, a server's if one is named, and the limit of calls to both."""

    local: Engine | ZeroEngine
    remote: RemoteEngine | None
    calls: Places = field(default_factory=lambda: Places(CALLS))

    def of(self, picked: PickedModel) -> Any:
        """Return the Engine or RemoteEngine for the picked model."""
        return self.remote if isinstance(picked.model, RemoteModel) else self.local


@dataclass
class Answer:
    """The answer of one pane in progress."""

    pane: int
    picked: PickedModel
    stream: Generator[Reply]
    sampling: Sampling
    reply: Reply
    is_done: bool = False


def _pick_panes(engines: Engines, conversation: Conversation, visitor: Visitor, *progress) -> list[PickedModel]:
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
        picked = []
        work = with_progress(
            lambda say, stop: _pick_panes(engines, conversation, visitor, say, stop), HEARTBEAT_SECONDS
        )
        for kind, value in work:
            if kind == "says":
                _say(conversation, panes, str(value or _("Looking for the model ...")))
                yield []
            else:
                picked = value
        answers = []
        for pane in panes:
            own = _of_try(sampling, _last(conversation, pane).get("tries", 0))
            messages = prompt_messages(conversation, pane, None if continuing else -1)
            key = f"{visitor.owner}/{conversation['id']}/{pane}"
            engine, caller = engines.of(picked[pane]), visitor.as_caller()
            stream = engine.reply(
                picked[pane].model, messages, own, conversation=key, continuing=continuing, caller=caller
            )
            answers.append(Answer(pane, picked[pane], stream, own, Reply()))
            _last(conversation, pane)["by"] = conversation["panes"][pane]["who"] = picked[pane].name
            _last(conversation, pane).pop("end", None)
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
            for one in answers:  # each its own: a pane that is done must not end the others
                one.stream.close()
            end_early(conversation)


def _advance(conversation: Conversation, one: Answer) -> None:
    """Write the next state of one pane's answer into the conversation."""
    reply = next(one.stream, None)
    message, pane = _last(conversation, one.pane), conversation["panes"][one.pane]
    if reply is None:
        one.is_done = True
        message.pop("doing", None)
        if not one.reply.ended:
            message["end"] = REPEATED if one.reply.is_repeating else LENGTH
        pane["template"] = pane["template"] or one.reply.template
        return
    one.reply = reply
    if not reply.window and isinstance(one.picked.model, Model):
        _say(conversation, [one.pane], str(_("Loading the model ...")))
    if reply.window:
        is_sampled = one.sampling.temperature > 0
        message |= {"content": reply.text, "doing": str(_("Reading the conversation ..."))}
        message["took"] = Took(
            tokens=reply.new_tokens,
            tokens_per_second=reply.tokens_per_second,
            seconds_to_first=reply.seconds_to_first,
            seed=one.sampling.seed if is_sampled else None,
            temperature=one.sampling.temperature,
        )
        pane |= {"left_out": reply.left_out, "used": reply.tokens_used + reply.new_tokens, "window": reply.window}
        pane["read_as"] = reply.template


def is_answering(conversation: Conversation) -> bool:
    """Return whether an answer of the conversation is in progress."""
    return any("doing" in message for pane in conversation["panes"] for message in pane["messages"][-1:])


def end_early(conversation: Conversation) -> Conversation:
    """Mark each answer in progress as stopped; return the conversation."""
    for message in [message for pane in conversation["panes"] for message in pane["messages"]]:
        if message.pop("doing", None) is not None:
            message["end"] = STOPPED
    return conversation


def as_draft(conversation: Conversation) -> Conversation:
    """Return a copy with the answers marked as stopped, to be kept in case the page is left before they end."""
    return {**end_early(copy.deepcopy(conversation)), "changed": time.time()}


def _say(conversation: Conversation, panes: list[int], sentence: str) -> None:
    """Show `sentence` in the place of the answers while there is no text yet."""
    for pane in panes:
        _last(conversation, pane)["doing"] = sentence


def _last(conversation: Conversation, pane: int) -> Said:
    """Return the last message of a pane."""
    return conversation["panes"][pane]["messages"][-1]


def _of_try(sampling: Sampling, tries: int) -> Sampling:
    """Return the settings of the `tries`th retry: the next seed, and no greedy choice, which a seed does not change."""
    if not tries:
        return sampling
    return replace(sampling, seed=sampling.seed + tries, temperature=sampling.temperature or BALANCED.temperature)


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
