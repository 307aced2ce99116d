"""What an adapter forgot: how much the loss rose on text that has nothing to do with its data, in words.

The trainer measures it on a sample of each test set of the run and writes it into metrics.json.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.values import number
from common.language import Sentence, _

GENERAL = "general"  # the text that is measured unless other test sets are named
MAX_TEST_SETS, MAX_NAME_CHARACTERS = 5, 80
# Nats per token. PEFT's method comparison (Llama-3.2-3B on MetaMathQA, loss on Wikipedia, one seed) has full tuning at 0.030,
# LoRA of rank 32 at 0.050, rank-stabilized LoRA of rank 64 at 0.111. Under a hundredth nothing is told from noise.
NOTHING, LITTLE, MUCH = 0.01, 0.05, 0.111


@dataclass(frozen=True)
class Forgotten:
    """Losses per token on `tokens` of a test set: of the base, and with the adapter."""

    test_set: str
    before: float
    after: float
    tokens: int

    @property
    def nats(self) -> float:
        """What the loss rose by, per token; below 0 it fell."""
        return self.after - self.before

    def words(self) -> Sentence:
        """Say it in a sentence, with what it means."""
        values = {"text": test_set_words(self.test_set), "nats": abs(self.nats), "tokens": self.tokens}
        if self.nats < -NOTHING:
            return _("On {text} the loss fell by {nats:.2f} nats ({tokens:,} tokens).", **values)
        if self.nats < NOTHING:
            return _("On {text} the loss stayed as it was ({tokens:,} tokens): nothing was forgotten.", **values)
        if self.nats <= LITTLE:
            return _("On {text} the loss rose by {nats:.2f} nats ({tokens:,} tokens): little was forgotten.", **values)
        if self.nats <= MUCH:
            return _("On {text} the loss rose by {nats:.2f} nats ({tokens:,} tokens): some was forgotten.", **values)
        return _("On {text} the loss rose by {nats:.2f} nats ({tokens:,} tokens): much was forgotten.", **values)


def forgotten_in(metrics: Mapping[str, Any]) -> list[Forgotten]:
    """Return what the metrics of a run or an adapter say was forgotten, one for each test set; [] where it was not measured."""
    found, kept = metrics.get("forgotten"), []
    for name, value in list(found.items())[:MAX_TEST_SETS] if isinstance(found, dict) else []:
        losses = value if isinstance(value, dict) else {}
        before, after, tokens = (number(losses.get(key)) for key in ("before", "after", "tokens"))
        if isinstance(name, str) and before is not None and after is not None and tokens:
            kept.append(Forgotten(name[:MAX_NAME_CHARACTERS], before, after, round(tokens)))
    return kept


def general_nats(metrics: Mapping[str, Any]) -> float | None:
    """Return the nats per token that were forgotten of the general text; None where it was not measured."""
    return next((one.nats for one in forgotten_in(metrics) if one.test_set == GENERAL), None)


def test_set_words(name: str) -> str:
    """Return how a test set is called within a sentence."""
    return _("general text") if name == GENERAL else f"“{name}”"
