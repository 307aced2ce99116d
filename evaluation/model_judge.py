"""A model as a judge: on a server that speaks OpenAI's interface, with judge_prompt.txt, each pair in both orders.

The server is the chat's (`CHAT_SERVER_URL` in the app's environment): nobody names another one. What it sends is not trusted: a
reply without a verdict is counted and asked again the next time, and each verdict is kept before the next question. An answer
that is judged can try to talk to the judge; the prompt marks it off, which makes that harder, not impossible.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from chat.remote import CHARACTERS_A_TOKEN, USUAL_WINDOW, RemoteEngine, RemoteModel, remote_engine
from chat.sampling import Sampling
from common.errors import UserError
from common.language import Sentence, _, joined, n_
from common.paths import as_title
from evaluation.judging import (
    Choice,
    Judgement,
    Pair,
    agreement_of_orders,
    judge_of,
    keep_judgement,
    key_of,
    pairs_of,
    read_judgements,
    win_rate,
    win_sentence,
)
from evaluation.run import Evaluation, candidate_title
from models.messages import Message

PROMPT_FILE = Path(__file__).with_name("judge_prompt.txt")
MAX_NEW_TOKENS = 512
MAX_REPLY_CHARACTERS = 10_000  # a server need not keep to the tokens
MAX_UNREADABLE = 5  # replies one after the other
FEWEST_CHARACTERS = 200  # of the question and of each answer, whatever the window
VERDICT = re.compile(r"\{[^{}]{0,200}\}")
CHOICES: dict[str, Choice] = {"A": "left", "B": "right", "tie": "tie"}


@dataclass(frozen=True)
class Judged:
    """What a judge did: `pairs` that have a verdict in both orders, and replies without one."""

    pairs: int
    unreadable: int


def judge_prompt() -> tuple[str, str]:
    """Return what a judge is asked, and its version: the start of its SHA-256."""
    text = PROMPT_FILE.read_text(encoding="utf-8")
    return text, sha256(text.encode()).hexdigest()[:8]


def find_judge() -> RemoteEngine:
    """Return the server that judges. Raises UserError where its operator named none."""
    engine = remote_engine()
    if engine is None:
        raise UserError(
            _("There is no server that could judge."), _("Set CHAT_SERVER_URL to one that speaks OpenAI's interface.")
        )
    return engine


def judge_pairs(engine: RemoteEngine, model: str, pairs: Sequence[Pair], folder: Path) -> Judged:
    """Let a model of the server judge what it has not judged yet; each verdict is appended to the record in `folder`.

    Raises UserError when the server fails, and after MAX_UNREADABLE replies in a row without a verdict; what was judged until
    then is kept.
    """
    text, version = judge_prompt()
    name = as_title(model)
    known = set(map(key_of, _judgements_of(model, version, folder)))
    judged = unreadable = in_a_row = 0
    for pair in pairs:
        orders = (pair, pair.swapped())
        for shown in orders:
            if shown.key in known:
                continue
            reply = _ask(engine, model, text, shown)
            if choice := read_verdict(reply):
                keep_judgement(folder, shown, choice, name, version)
                known.add(shown.key)
                in_a_row = 0
                continue
            unreadable, in_a_row = unreadable + 1, in_a_row + 1
            if in_a_row == MAX_UNREADABLE:
                raise UserError(
                    _("The judge '{model}' gives no verdict that can be read.", model=name),
                    _("Its last words: {words}", words=reply[-100:] or "-"),
                )
        judged += all(shown.key in known for shown in orders)
    return Judged(judged, unreadable)


def judge_evaluation(evaluation: Evaluation, model: str, count: int = 0) -> Iterator[Sentence]:
    """Let a model judge the first `count` pairs (0: all) of each test set and candidate; yield what came of each candidate.

    Raises UserError when the server fails; the next call goes on.
    """
    engine, version = find_judge(), judge_prompt()[1]
    first, *others = evaluation.config().candidates
    for candidate in others:
        unreadable = 0
        for test_set in evaluation.known()["test_sets"]:
            pairs = pairs_of(evaluation, test_set, candidate)
            unreadable += judge_pairs(engine, model, pairs[: count or None], evaluation.folder).unreadable
        given = _judgements_of(model, version, evaluation.folder)
        own = [one for one in given if {one["left"], one["right"]} == {first, candidate}]
        pairs_seen, same = agreement_of_orders(own, judge_of(own[0])) if own else (0, 0)
        yield joined(
            [
                _("{candidate}:", candidate=candidate_title(candidate, evaluation.owner)),
                win_sentence(win_rate(own, first, candidate)),
                _("In {same:,} of {pairs:,} pairs the order made no difference.", same=same, pairs=pairs_seen),
                n_("{count:,} reply had no verdict.", "{count:,} replies had no verdict.", unreadable)
                if unreadable
                else "",
            ]
        )


def _judgements_of(model: str, version: str, folder: Path) -> list[Judgement]:
    """Return what a model has judged with this version of the prompt."""
    wanted = as_title(model), version
    return [one for one in read_judgements(folder) if (one["judge"], one.get("prompt")) == wanted]


def read_verdict(reply: str) -> Choice | None:
    """Return what the last JSON object in a reply chooses, None where it chooses nothing."""
    for found in reversed(VERDICT.findall(reply)):
        try:
            better = json.loads(found).get("better")
        except ValueError:
            continue
        return CHOICES.get(better) if isinstance(better, str) else None
    return None


def _ask(engine: RemoteEngine, model: str, prompt: str, pair: Pair) -> str:
    """Return the judge's reply to a pair, of which so much is shown as its window holds. Raises UserError."""
    window = engine.models().get(model, USUAL_WINDOW)
    room = (window - MAX_NEW_TOKENS) * CHARACTERS_A_TOKEN - len(prompt) - 100
    most = max(room // 3, FEWEST_CHARACTERS)
    turns = [f"{message['role']}: {message['content']}" for message in pair.messages]
    values = {
        "{question}": "\n\n".join(turns)[-most:],
        "{answer_a}": pair.left_answer[:most],
        "{answer_b}": pair.right_answer[:most],
    }
    filled = re.sub("|".join(map(re.escape, values)), lambda match: values[match[0]], prompt)
    stream = engine.reply(RemoteModel(model), [Message(role="user", content=filled)], Sampling(MAX_NEW_TOKENS))
    text = ""
    for reply in stream:
        text = reply.text
        if len(text) > MAX_REPLY_CHARACTERS:
            stream.close()
            break
    return text[:MAX_REPLY_CHARACTERS]
