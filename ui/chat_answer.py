"""The answers of one turn: every pane's model asked at once, their words written into the conversation as they come."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

from chat.conversation import prompt_messages
from chat.engine import HEARTBEAT_SECONDS, Engine, Model, Reply
from chat.remote import RemoteEngine, RemoteModel
from chat.sampling import Sampling
from chat.summary import summarise
from ui.background import with_progress
from ui.chat_models import Picked, pick, short_name
from ui.chat_view import note_of
from ui.owner import Visitor

RETRY_TEMPERATURE = 0.7  # at temperature 0 another seed changes nothing


@dataclass(frozen=True)
class Engines:
    """What can answer: this machine, and a server if one is named."""

    local: Engine
    remote: RemoteEngine | None

    def of(self, picked: Picked) -> Engine | RemoteEngine:
        return self.remote if isinstance(picked.model, RemoteModel) else self.local


@dataclass
class Answer:
    """The answer of one pane on its way."""

    pane: int
    picked: Picked
    stream: Iterator[Reply]
    seed: str
    reply: Reply
    is_done: bool = False


def pick_panes(engines: Engines, conversation: dict, visitor: Visitor, *progress) -> list[Picked]:
    """The models of all panes. Raises UserError for one that the owner does not have (any more)."""
    models = [pane["model"] for pane in conversation["panes"]]
    return [pick(model, models[0], visitor, engines.remote, *progress) for model in models]


def answer(
    engines: Engines,
    conversation: dict,
    visitor: Visitor,
    sampling: Sampling,
    panes: list[int],
    continuing: bool = False,
) -> Iterator[list[Answer]]:
    """Stream the last answer of each of `panes`; [] while a base is fetched. A stop in between keeps what came until then."""
    stop = threading.Event()
    picked = []
    for kind, value in with_progress(lambda say, _: pick_panes(engines, conversation, visitor, say), HEARTBEAT_SECONDS):
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
        stream = engines.of(picked[pane]).reply(picked[pane].model, messages, own, stop, key, continuing)
        answers.append(Answer(pane, picked[pane], stream, seed, Reply()))
    try:
        while not all(one.is_done for one in answers):
            for one in answers:
                if not one.is_done:
                    _advance(conversation, one)
            yield answers
    finally:
        stop.set()
        for one in answers:
            _last(conversation, one.pane).pop("doing", None)
            if not one.is_done:
                _last(conversation, one.pane)["note"] = note_of(one.reply, one.seed, stopped=True)


def _advance(conversation: dict, one: Answer) -> None:
    """Take what came for one pane."""
    reply = next(one.stream, None)
    message, pane = _last(conversation, one.pane), conversation["panes"][one.pane]
    if reply is None:
        one.is_done = True
        message["note"] = note_of(one.reply, one.seed, stopped=False)
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
        message["content"], pane["left_out"] = reply.text, reply.left_out


def _say(conversation: dict, panes: list[int], sentence: str) -> None:
    """What happens before the first word, in the answer's place."""
    for pane in panes:
        _last(conversation, pane)["doing"] = sentence


def _last(conversation: dict, pane: int) -> dict:
    return conversation["panes"][pane]["messages"][-1]


def _with_luck(sampling: Sampling, tries: int) -> tuple[Sampling, str]:
    """The settings of the answer that is tried again for the `tries`th time: another seed; and a word about it."""
    if not tries:
        return sampling, f"seed {sampling.seed}" if sampling.temperature else ""
    temperature = sampling.temperature or RETRY_TEMPERATURE
    luck = replace(sampling, seed=sampling.seed + tries, temperature=temperature)
    return luck, f"seed {luck.seed}, temperature {luck.temperature:g}"


def warnings_of(conversation: dict, one: Answer) -> list[str]:
    """What a person should know about this pane."""
    template = conversation["panes"][one.pane]["template"]
    if template and one.reply.template and template != one.reply.template:
        return [
            f"This conversation began under another chat template ({template}); it is read under {one.reply.template} now."
        ]
    return []


def update_summary(engines: Engines, conversation: dict, visitor: Visitor) -> Iterator[Reply]:
    """Write down what was left out since the last summary, with the first pane's model, into the conversation."""
    pane = conversation["panes"][0]
    if pane["left_out"] <= conversation["summarised"]:
        return
    picked = pick_panes(engines, conversation, visitor)[0]
    messages, before = pane["messages"], conversation["summary"]
    left_out, done = pane["left_out"], conversation["summarised"]
    is_whole = False
    try:
        for reply in summarise(engines.of(picked), picked.model, before, messages, left_out, done):
            conversation["summary"] = reply.text or before
            yield reply
        is_whole = True
    finally:  # half a summary, when it fails or is stopped, would take the place of a whole one
        if is_whole:
            conversation["summarised"] = left_out
        else:
            conversation["summary"] = before
