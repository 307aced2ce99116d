"""Answers of the model while it learns: after every evaluation, to up to three prompts.

They change nothing: no random number is drawn, and the model is put back as it was. Greedy, all in one batch, at most NEW_TOKENS,
and bounded in time. Rank 0 answers and the others wait (right for DDP, where every rank holds the whole model).
"""

import time
from collections.abc import Callable
from itertools import islice

import torch
from transformers import StoppingCriteria

from common.language import Sentence, _
from data.conversations import Conversation
from models.messages import Message
from models.prompt import encode_question
from runs.config import TrainConfig
from runs.events import Answer
from runs.problems import MAX_PROMPTS
from trainer.pace import ANSWER
from trainer.progress import AtEvaluations, ProgressCallback
from trainer.ranks import rank, wait_for_everyone

NEW_TOKENS = 48
MAX_LETTER_BYTES = 4  # in UTF-8
REPEATS, MIN_PIECE_TOKENS = 3, 4  # an answer ends when a piece of it, this long or longer, stands so often in a row
# gets how many answers are finished, of how many, and which part of the tokens is written
Tell = Callable[[int, int, float], None]
SHOWN_CHARACTERS = 500  # of a prompt and of an answer, in every event


def choose_prompts(
    config: TrainConfig, held_out: list[Conversation], fits: Callable[[list[Message]], bool]
) -> list[list[Message]]:
    """Choose the conversations to answer: the prompts of the config, else the first held-out questions that fit."""
    if config.prompts():
        return [[{"role": "user", "content": prompt}] for prompt in config.prompts()]
    opened = (_opening(row["messages"]) for row in held_out if "messages" in row)
    return list(islice((messages for messages in opened if messages and fits(messages)), MAX_PROMPTS))


def fits_window(model, tokenizer, messages: list[Message]) -> bool:
    """Return whether the base's window holds `messages` and the first token of an answer."""
    return len(encode_question(messages, tokenizer)) <= _room(model)


def _room(model) -> int:
    return model.config.max_position_embeddings - 1


def _opening(messages: list[Message]) -> list[Message]:
    """Return the messages before the first answer; [] when the last of them is no question."""
    roles = [message["role"] for message in messages]
    opening = messages[: roles.index("assistant")] if "assistant" in roles else messages
    return opening if opening and opening[-1]["role"] == "user" else []


class SampleAnswers(AtEvaluations):
    """Writes a `samples` event after every evaluation."""

    def __init__(
        self, prompts: list[list[Message]], tokenizer, progress: ProgressCallback, eval_steps: int = 0
    ) -> None:
        super().__init__(progress, eval_steps)
        self.prompts = prompts
        self.tokenizer = tokenizer

    def look(self, model, step: int) -> None:
        """Write a `samples` event with the answers of the model as it is now, unless a stop leaves no time for them."""
        progress, began = self.progress, time.monotonic()
        limit = progress.answer_seconds() if self.prompts and rank() == 0 else 0.0

        def is_over() -> bool:
            return time.monotonic() - began >= limit or progress.seconds_left() <= 0

        if limit:
            answers = answer(model, self.tokenizer, self.prompts, is_over, progress.show_answers)
            progress.pace.add(ANSWER, time.monotonic() - began, 1)
            if progress.is_ending or progress.seconds_left() > 0:
                progress.events.write("samples", step=step, answers=answers)
        wait_for_everyone()


def answer(
    model,
    tokenizer,
    prompts: list[list[Message]],
    is_over: Callable[[], bool] = lambda: False,
    tell: Tell = lambda done, count, part: None,
) -> list[Answer]:
    """Answer all prompts in one batch, clipped; end where they are when `is_over()`.

    A prompt that does not fit into the base's window has the answer "".
    """
    ids = [encode_question(messages, tokenizer) for messages in prompts]
    room = _room(model)
    fitting = [number for number, tokens in enumerate(ids) if len(tokens) <= room]
    answers: list[Answer] = [{"prompt": _clipped(messages[-1]["content"]), "answer": ""} for messages in prompts]
    if fitting:
        ends = _generate(model, tokenizer, [ids[number] for number in fitting], room, is_over, tell)
        for row, number in enumerate(fitting):
            tokens, why = ends.found[row]
            text = _clipped(_whole_text(tokenizer, tokens).strip())
            answers[number]["answer"] = why(text) if why else text
            if why or text.endswith("…"):
                answers[number]["is_cut"] = True
    return answers


def _whole_text(tokenizer, tokens: list[int]) -> str:
    """Return the text of `tokens` without the bytes of a last letter that is not whole: they would spoil those before it."""
    text = ""
    for missing in range(MAX_LETTER_BYTES):
        text = tokenizer.decode(tokens[: len(tokens) - missing], skip_special_tokens=True)
        if not text.endswith("\ufffd"):
            break
    return text


def _clipped(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def _at_the_length(text: str) -> str:
    return f"{text} ..."


def at_the_time(text: str) -> Sentence:
    """Return an answer that ended for want of time."""
    return _("{answer} ... (time limit)", answer=text)


def _repeating(text: str) -> Sentence:
    return _("{answer} ... (repeats itself)", answer=text)


class _Ends(StoppingCriteria):
    """Ends each answer, and keeps its tokens and what is said of an end that the model did not write."""

    def __init__(self, width: int, stops: set[int], most: int, is_over: Callable[[], bool], tell: Tell) -> None:
        self.width, self.stops, self.most, self.is_over, self.tell = width, stops, most, is_over, tell
        self.found: dict[int, tuple[list[int], Callable[[str], str] | None]] = {}

    def __call__(self, input_ids, scores, **kwargs):
        rows, is_over = input_ids[:, self.width :].tolist(), self.is_over()
        for row, tokens in enumerate(rows):
            if row in self.found:
                continue
            if tokens[-1] in self.stops:
                self.found[row] = (tokens, None)
            elif _repeats(tokens):
                self.found[row] = (tokens, _repeating)
            elif is_over:
                self.found[row] = (tokens, at_the_time)
            elif len(tokens) >= self.most:
                self.found[row] = (tokens, _at_the_length)
        self.tell(len(self.found), len(rows), len(rows[0]) / self.most)
        return torch.tensor([row in self.found for row in range(len(rows))], device=input_ids.device)


def _repeats(tokens: list[int]) -> bool:
    """Return whether the last tokens are one piece, again and again."""
    pieces = range(MIN_PIECE_TOKENS, len(tokens) // REPEATS + 1)
    return any(tokens[-REPEATS * piece :] == REPEATS * tokens[-piece:] for piece in pieces)


def _generate(model, tokenizer, ids: list[list[int]], room: int, is_over: Callable[[], bool], tell: Tell) -> _Ends:
    """Write greedy continuations. The model's mode and every random state are as before afterwards."""
    width = max(map(len, ids))
    padded = [[tokenizer.pad_token_id] * (width - len(tokens)) + tokens for tokens in ids]
    mask = [[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in ids]
    own = model.generation_config.eos_token_id
    stops = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own] if own is not None else [])}
    ends = _Ends(width, stops, min(NEW_TOKENS, room - width + 1), is_over, tell)
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            model.generate(
                input_ids=torch.tensor(padded, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                max_new_tokens=ends.most,
                stopping_criteria=[ends],
                use_cache=True,
                eos_token_id=sorted(stops),
                pad_token_id=tokenizer.pad_token_id,
                **{"do_sample": False, "temperature": None, "top_p": None, "top_k": None},
            )
    finally:
        model.train(was_training)
    return ends
