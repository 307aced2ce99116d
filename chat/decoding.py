"""Tokens to text as they come: only whole characters, no special tokens, no role tags.

A character of several tokens (Korean, emoji) is held back until its last token is there. A role tag that is plain text in the
template ends the answer: the model has begun to write the other side's turn.
"""

from collections.abc import Iterable, Sequence

BROKEN = "\ufffd"


class TextStream:
    """The growing text of one answer: `text` may be shown.

    Like the `tags`, any of the `stops` ends it, which people choose; white space before a stop stays. `behind` are tokens that
    it goes on after: of the first word behind others the space before it is kept.
    """

    def __init__(self, tokenizer, tags: Iterable[str], stops: Iterable[str] = (), behind: Sequence[int] = ()) -> None:
        self.tags, self.stops = tuple(tags), tuple(stops)
        self.text = ""
        self.ended_by_tag = False
        self._tokenizer = tokenizer.backend_tokenizer
        self._whole = ""  # all that was decoded, tags and their beginnings too
        self._ids = list(behind)
        self._done = 0  # so many of them are in `_whole`
        self._begin()

    def add(self, token: int) -> str:
        """Take a token; return the text so far."""
        try:
            piece = self._stream.step(self._tokenizer, token)
        except Exception:  # the library raises nothing narrower: the bytes before this token are no character
            self._begin()
            piece = self._stream.step(self._tokenizer, token)
        self._ids.append(token)
        if piece is not None:
            self._done = len(self._ids)
            self._take(piece)
        return self.text

    def finish(self) -> str:
        """Return the whole text, with a piece that was held back as a possible tag, without half a character."""
        start = max(0, self._done - 1)  # the token before may be a part of the first character
        before, now = (self._tokenizer.decode(ids) for ids in (self._ids[start : self._done], self._ids[start:]))
        self._done = len(self._ids)
        self._take(now[len(before) :])
        if not self.ended_by_tag:
            self.text = self._whole
        return self.text

    def _begin(self) -> None:
        """Restart decoding behind the last token: DecodeStream has only `step`, and cannot go back."""
        from tokenizers.decoders import DecodeStream

        self._stream = DecodeStream(ids=self._ids[-1:], skip_special_tokens=True)
        self._done = len(self._ids)

    def _take(self, piece: str) -> None:
        """Add `piece` up to the first role tag, without an end that could become one."""
        self._whole += piece.replace(BROKEN, "")
        ends = (*self.tags, *self.stops)
        places = [(place, end) for end in ends if (place := self._whole.find(end)) >= 0]
        if places:
            self.ended_by_tag = True
            place, end = min(places)
            self.text = self._whole[:place] if end in self.stops else self._whole[:place].rstrip()
        else:
            begun = [end[:size] for end in ends for size in range(1, len(end))]
            held = max((len(begin) for begin in begun if self._whole.endswith(begin)), default=0)
            self.text = self._whole[: len(self._whole) - held]
