"""How long the rest of a run takes: the work that is left, and the seconds of each kind of work as measured in this run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from runs.forecast.plan import FORWARD_SHARE

# kinds of work; training and evaluating are counted in tokens, the others in times
TRAIN, EVALUATE, ANSWER, SAVE = "train", "evaluate", "answer", "save"
Work = Mapping[str, float]
FADE = 0.9  # what was measured before counts so much less each time
RISE = 0.1  # a forecast that rises by less shows nothing but noise
SAVE_SECONDS = 1.0  # before the first one is measured
# answers take so much of the time of all steps, within bounds
ANSWER_SHARE, MIN_ANSWER_SECONDS, MAX_ANSWER_SECONDS = 0.05, 5.0, 20.0


@dataclass(frozen=True)
class StageWork:
    """The work of one stage. `looks_every` so many steps it evaluates and answers prompts; 0 is never."""

    steps: int
    step_tokens: float
    looks_every: int
    held_out_rows: int
    held_out_tokens: float
    has_answers: bool
    saves_every: int
    test_tokens: float = 0.0  # of all test sets

    @property
    def looks(self) -> int:
        """The evaluations after step 0."""
        return math.ceil(self.steps / self.looks_every) if self.looks_every else 0

    def left(self, step: int, looked: int) -> Work:
        """Return the work after `step`; `looked` is the last step that was evaluated, -1 when not even step 0 was."""
        looks = self.looks
        looks -= looks if looked >= self.steps or not looks else looked // self.looks_every
        return {
            TRAIN: (self.steps - step) * self.step_tokens,
            EVALUATE: looks * (self.held_out_tokens + self.test_tokens),
            ANSWER: looks * self.has_answers,
            SAVE: math.ceil(self.steps / self.saves_every) - step // self.saves_every + 1,  # the adapter is one, too
        }


class Pace:
    """Measures each kind of work, and forecasts seconds from it; before the first evaluation or answer it estimates."""

    def __init__(self) -> None:
        self._measured: dict[str, tuple[float, float]] = {}  # kind: (seconds, amount)
        self._shown = math.inf

    def add(self, kind: str, seconds: float, amount: float) -> None:
        """Count the seconds that an amount of work took."""
        before = self._measured.get(kind, (0.0, 0.0))
        self._measured[kind] = (FADE * before[0] + seconds, FADE * before[1] + amount)

    def seconds(self, work: Work) -> float | None:
        """Return the seconds that the work takes; None before the first step."""
        if self._measured.get(TRAIN, (0.0, 0.0))[1] <= 0:
            return None
        seconds, tokens = self._measured[TRAIN]
        guesses = {
            EVALUATE: (FORWARD_SHARE * seconds, tokens),
            ANSWER: (MIN_ANSWER_SECONDS, 1.0),
            SAVE: (SAVE_SECONDS, 1.0),
        }
        known = {kind: took / amount for kind, (took, amount) in (guesses | self._measured).items() if amount > 0}
        return sum(known[kind] * amount for kind, amount in work.items())

    def answer_seconds(self, stage: StageWork | None) -> float:
        """Return the most seconds that the answers to all prompts may take, so that they stay a small part of the stage."""
        training = self.seconds({TRAIN: stage.steps * stage.step_tokens}) if stage else None
        wanted = MAX_ANSWER_SECONDS if training is None else ANSWER_SHARE * training
        return min(max(wanted, MIN_ANSWER_SECONDS), MAX_ANSWER_SECONDS)

    def shown(self, seconds: float | None) -> float | None:
        """Return what is shown of a forecast: it falls, and rises only when it was clearly too short."""
        if seconds is None:
            return None
        if seconds < self._shown or seconds > (1 + RISE) * self._shown:
            self._shown = seconds
        return round(self._shown, 1)
