"""Answers of the model while it learns: after every evaluation, to up to three prompts.

They change nothing: no random number is drawn, and the model is put back as it was. Greedy, at most 64 tokens, and bounded in
time. Rank 0 answers and the others wait (right for DDP, where every rank holds the whole model).
"""

from collections.abc import Callable
from itertools import islice

import torch
from transformers import TrainerCallback

from data.conversations import Conversation
from models.messages import Message
from models.prompt import encode_question
from runs.config import TrainConfig
from runs.events import Answer
from runs.problems import MAX_PROMPTS
from runs.run import EventLog
from trainer.ranks import rank, wait_for_everyone

NEW_TOKENS = 64
MAX_SECONDS = 30.0
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


class SampleAnswers(TrainerCallback):
    """Writes a `samples` event after every evaluation; without held-out rows, where an evaluation would be."""

    def __init__(self, prompts: list[list[Message]], tokenizer, events: EventLog, eval_steps: int = 0) -> None:
        self.prompts = prompts
        self.tokenizer = tokenizer
        self.events = events
        self.eval_steps = eval_steps

    def on_evaluate(self, args, state, control, model=None, **kwargs) -> None:
        """Answer after an evaluation."""
        self.answer_prompts(model, state.global_step)

    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        """Answer every `eval_steps` where nothing is evaluated."""
        if args.eval_strategy == "no" and self.eval_steps and state.global_step % self.eval_steps == 0:
            self.answer_prompts(model, state.global_step)

    def on_epoch_end(self, args, state, control, model=None, **kwargs) -> None:
        """Answer after each epoch where nothing is evaluated and `eval_steps` is 0."""
        if args.eval_strategy == "no" and not self.eval_steps and not control.should_training_stop:
            self.answer_prompts(model, state.global_step)

    def answer_prompts(self, model, step: int) -> None:
        """Write a `samples` event with the answers of the model as it is now."""
        if not self.prompts:
            return
        if rank() == 0:
            self.events.write("samples", step=step, answers=answer(model, self.tokenizer, self.prompts))
        wait_for_everyone()


def answer(model, tokenizer, prompts: list[list[Message]]) -> list[Answer]:
    """Answer all prompts in one batch, clipped. A prompt that does not fit into the base's window has the answer ""."""
    ids = [encode_question(messages, tokenizer) for messages in prompts]
    room = _room(model)
    fitting = [number for number, tokens in enumerate(ids) if len(tokens) <= room]
    answers = [""] * len(prompts)
    if fitting:
        texts = _generate(model, tokenizer, [ids[number] for number in fitting], room)
        for number, text in zip(fitting, texts, strict=True):
            answers[number] = text
    return [
        {"prompt": _clipped(messages[-1]["content"]), "answer": _clipped(text)}
        for messages, text in zip(prompts, answers, strict=True)
    ]


def _clipped(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def _generate(model, tokenizer, ids: list[list[int]], room: int) -> list[str]:
    """Return greedy continuations. The model's mode and every random state are as before afterwards."""
    width = max(map(len, ids))
    padded = [[tokenizer.pad_token_id] * (width - len(tokens)) + tokens for tokens in ids]
    mask = [[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in ids]
    own = model.generation_config.eos_token_id
    stops = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own] if own is not None else [])}
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            generated = model.generate(
                input_ids=torch.tensor(padded, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                max_new_tokens=min(NEW_TOKENS, room - width + 1),
                max_time=MAX_SECONDS,
                use_cache=True,
                eos_token_id=sorted(stops),
                pad_token_id=tokenizer.pad_token_id,
                **{"do_sample": False, "temperature": None, "top_p": None, "top_k": None},
            )
    finally:
        model.train(was_training)
    return [text.strip() for text in tokenizer.batch_decode(generated[:, width:], skip_special_tokens=True)]
