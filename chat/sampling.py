"""How the next token is chosen: the settings with their help and limits, and the choice itself.

The page, the command line and the interface for programs read the limits here. Torch is imported when a token is chosen.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from common.errors import UserError
from common.language import _

FEW = 1024  # tokens among which those of `top_p` are looked for first
MIN_TEMPERATURE = 0.01  # a temperature below it, but 0, divides the scores out of their numbers


def setting(default, low, high, help: str):
    """Make a field that carries its limits and its help."""
    return field(default=default, metadata={"low": low, "high": high, "help": help})


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, and when an answer ends. Temperature 0 takes the likeliest."""

    max_new_tokens: int = setting(
        256, 1, 4096, "The longest answer; this much of the context window is kept free for it."
    )
    temperature: float = setting(0.0, 0.0, 5.0, "0: always the likeliest token. Higher: more varied, then wilder.")
    top_p: float = setting(0.95, 0.01, 1.0, "Only the likeliest tokens that together have this probability; 1: all.")
    seed: int = setting(0, 0, 2**63 - 1, "The same seed and settings give the same answer. Retry takes the next one.")
    top_k: int = setting(0, 0, 1000, "Only this many of the likeliest tokens; 0: all.")
    repetition_penalty: float = setting(
        1.0, 0.5, 2.0, "Above 1: tokens that the answer already has become less likely."
    )
    stop_repetition: bool = setting(
        True, False, True, "End an answer that only repeats itself. Switch it off to measure."
    )

    def check(self) -> None:
        """Raise UserError for values that cannot be used; NaN is one of them."""
        for one in fields(self):
            value, low, high = getattr(self, one.name), one.metadata["low"], one.metadata["high"]
            is_number = isinstance(value, int if one.type is int else int | float) and not isinstance(value, bool)
            if one.type is bool and not isinstance(value, bool):
                raise UserError(
                    _("{name} is {value}.", name=one.name, value=str(value)[:40]), _("It is either on or off.")
                )
            if one.type is bool or (is_number and low <= value <= high):
                continue
            limits = _("It must be between {low} and {high}.", low=low, high=high)
            if not is_number and one.type is int:
                limits = _("It must be a whole number between {low} and {high}.", low=low, high=high)
            elif not is_number:
                limits = _("It must be a number between {low} and {high}.", low=low, high=high)
            raise UserError(_("{name} is {value}.", name=one.name, value=str(value)[:40]), limits)
        if 0 < self.temperature < MIN_TEMPERATURE:
            raise UserError(
                _("{name} is {value}.", name="temperature", value=f"{self.temperature:g}"),
                _("It must be 0, or between {low} and {high}.", low=MIN_TEMPERATURE, high=5),
            )


# What people get who choose nothing: small models that always take the likeliest token fall into loops.
BALANCED = Sampling(temperature=0.5, top_p=0.9, repetition_penalty=1.05)
REPEATABLE = Sampling()  # for whoever compares or measures: the same answer each time


class Chooser:
    """Chooses the next token of one answer, with its own random generator, so that other answers do not change it."""

    def __init__(self, sampling: Sampling, device) -> None:
        import torch
        from transformers import generation

        self.greedy = sampling.temperature == 0
        self.top_k, self.top_p = sampling.top_k, sampling.top_p
        self.generator = torch.Generator(device).manual_seed(sampling.seed)
        self.processors = generation.LogitsProcessorList()
        if sampling.repetition_penalty != 1:
            self.processors.append(generation.RepetitionPenaltyLogitsProcessor(float(sampling.repetition_penalty)))
        if not self.greedy:
            self.processors.append(generation.TemperatureLogitsWarper(float(sampling.temperature)))

    def choose(self, logits, answer: list[int]) -> int:
        """Return the next token of `answer`, its tokens until now; `logits` are (vocabulary,).

        A repetition penalty counts the answer's tokens alone: a short answer often says again what the question said.
        """
        import torch

        scores = logits[None].float()
        if self.processors:
            before: Any = torch.tensor([answer], dtype=torch.long, device=logits.device)
            scores = self.processors(before, scores)
        if self.greedy:
            return int(scores.argmax())
        probabilities, ids = likeliest(scores[0], self.top_k, self.top_p)
        return int(ids[torch.multinomial(probabilities, 1, generator=self.generator)])


def likeliest(scores, top_k: int, top_p: float):
    """Return (probabilities, ids) of the tokens that may be chosen; the probabilities need not add up to 1.

    They are the tokens that transformers' TopKLogitsWarper and TopPLogitsWarper leave of `scores` (vocabulary,). Those sort the
    whole vocabulary, which takes 4 ms for 49,000 tokens, a fifth of a step; here only the likeliest are put in order.
    """
    import torch

    if not top_k and top_p >= 1:
        return scores.softmax(-1), torch.arange(len(scores), device=scores.device)
    values, ids = scores.topk(min(top_k or FEW, len(scores)))
    if top_k:
        probabilities = values.softmax(-1)
    else:
        whole = scores.logsumexp(-1)
        if (values - whole).exp().sum() < top_p:
            values, ids = scores.sort(descending=True)
        probabilities = (values - whole).exp()
    likelier = probabilities.cumsum(-1) - probabilities
    return probabilities * (likelier < top_p), ids
