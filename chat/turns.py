"""Which conversations generate their next token together, and whose turn it is when not all can.

Plain LoRAs of one base share a batch, each row with its own adapter: on a CPU a token of two costs little more than of one.
Adapters that cannot be mixed (DoRA; those that others pushed out of memory) take turns of a few tokens with the rest.
"""

from collections.abc import Callable

TURN_TOKENS = 8  # tokens that some write while others wait: switching adapters takes as long as some tokens


class Turns:
    """Remembers which models generated last, and which waited longest. A key identifies a model."""

    def __init__(self) -> None:
        self._line: list[tuple] = []  # keys; who has waited longest stands first
        self._current: tuple | None = None  # one of those whose turn it is
        self._written = 0  # tokens of this turn

    def next_keys(self, keys: list[tuple], is_mixable: Callable[[tuple], bool]) -> list[tuple]:
        """Return the models that generate a token now, together; in the same order while they are the same.

        `keys` are the models with a token to generate. It must not be empty; one may occur in it several times.
        """
        self._line = [key for key in self._line if key in keys]
        self._line += [key for key in dict.fromkeys(keys) if key not in self._line]
        if self._current not in self._line or self._written >= TURN_TOKENS:
            self._current, self._written = self._line[0], 0
        now = [self._current]
        if is_mixable(self._current):
            now = sorted(filter(is_mixable, self._line), key=str)
        self._written += 1
        self._line = [key for key in self._line if key not in now] + now
        return now
