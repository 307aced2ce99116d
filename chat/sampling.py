"""How the next token is chosen: the settings with their help and limits, and the choice itself.

The page, the command line and the interface for programs read the limits here. Torch is imported when a token is chosen.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from common.errors import UserError

MIN_TEMPERATURE = 0.01  # a temperature below it, but 0, divides the scores out of their numbers


def setting(default, low, high, help: str):
    """Make a field that carries its limits and its help."""
    return field(default=default, metadata={"low": low, "high": high, "help": help})


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Temperature 0 takes the likeliest."""

    max_new_tokens: int = setting(256, 1, 4096, "The longest answer, in tokens; its room is kept free in the window.")
    temperature: float = setting(0.0, 0.0, 5.0, "0: always the likeliest token. Higher: more varied, then wilder.")
    top_p: float = setting(0.95, 0.01, 1.0, "Only the likeliest tokens that together have this probability; 1: all.")
    seed: int = setting(0, 0, 2**63 - 1, "The same seed and settings give the same answer. Retry takes the next one.")
    top_k: int = setting(0, 0, 1000, "Only this many of the likeliest tokens; 0: all.")
    repetition_penalty: float = setting(1.0, 0.5, 2.0, "Above 1: tokens that were there already become less likely.")

    def check(self) -> None:
        """Raise UserError for values that cannot be used; NaN is one of them."""
        for one in fields(self):
            value, low, high = getattr(self, one.name), one.metadata["low"], one.metadata["high"]
            kinds, kind = (int, "a whole number") if one.type is int else (int | float, "a number")
            is_number = isinstance(value, kinds) and not isinstance(value, bool)
            if not is_number or not low <= value <= high:
                words = f"It must be between {low} and {high}."
                raise UserError(f"{one.name} is {str(value)[:40]}.", words if is_number else f"{words[:-1]}, {kind}.")
        if 0 < self.temperature < MIN_TEMPERATURE:
            raise UserError(
                f"temperature is {self.temperature:g}.", f"It must be 0, or between {MIN_TEMPERATURE} and 5."
            )


class Chooser:
    """Chooses the next token of one answer, with its own random generator, so that other answers do not change it."""

    def __init__(self, sampling: Sampling, device) -> None:
        import torch
        from transformers import generation

        self.greedy = sampling.temperature == 0
        self.generator = torch.Generator(device).manual_seed(sampling.seed)
        self.processors = generation.LogitsProcessorList()
        if sampling.repetition_penalty != 1:
            self.processors.append(generation.RepetitionPenaltyLogitsProcessor(float(sampling.repetition_penalty)))
        if not self.greedy:
            self.processors.append(generation.TemperatureLogitsWarper(float(sampling.temperature)))
            if sampling.top_k:
                self.processors.append(generation.TopKLogitsWarper(sampling.top_k))
            if sampling.top_p < 1:
                self.processors.append(generation.TopPLogitsWarper(sampling.top_p))

    def choose(self, logits, ids: list[int]) -> int:
        """Return the next token after `ids`; `logits` are (vocabulary,)."""
        import torch

        scores = logits[None].float()
        if self.processors:
            before: Any = torch.tensor([ids], device=logits.device)
            scores = self.processors(before, scores)
        if self.greedy:
            return int(scores.argmax())
        return int(torch.multinomial(scores.softmax(-1)[0], 1, generator=self.generator))
