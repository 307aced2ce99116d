"""Tokens to text while they come: never half a character, no special tokens, no role tags.

A character of several bytes (Korean, emoji) is held back until its last token is there. A role tag that is plain text in the
template ends the answer: the model has begun to write the other side's turn.
"""

BROKEN = "\ufffd"
LONGEST_CHARACTER = 8  # tokens; what is still broken then will not become whole


class TextStream:
    """The growing text of one answer."""

    def __init__(self, tokenizer, tags: list[str]) -> None:
        self.tokenizer, self.tags = tokenizer, tags
        self.text = ""  # all that may be shown
        self.ended_by_tag = False
        self._ids: list[int] = []
        self._start = self._end = 0  # the tokens before _end are in _whole; _start gives them context
        self._whole = ""

    def add(self, token: int) -> str:
        """Take a token; returns the text so far."""
        self._ids.append(token)
        before = self._decode(self._ids[self._start : self._end])
        now = self._decode(self._ids[self._start :])
        is_broken = now.endswith(BROKEN) and len(self._ids) - self._end < LONGEST_CHARACTER
        if len(now) > len(before) and not is_broken:
            self._whole += now[len(before) :].replace(BROKEN, "")
            self._start, self._end = self._end, len(self._ids)
        return self._show(self._whole)

    def finish(self) -> str:
        """The whole text: what was held back as a possible tag is shown, half a character is not."""
        now = self._decode(self._ids[self._start :])[len(self._decode(self._ids[self._start : self._end])) :]
        self._whole += now.replace(BROKEN, "")
        self._end = self._start = len(self._ids)
        self._show(self._whole)
        if not self.ended_by_tag:
            self.text = self._whole
        return self.text

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _show(self, whole: str) -> str:
        """Cut at the first role tag; hold back an end that could become one."""
        places = [place for tag in self.tags if (place := whole.find(tag)) >= 0]
        if places:
            self.ended_by_tag = True
            self.text = whole[: min(places)].rstrip()
            return self.text
        held = max((_overlap(whole, tag) for tag in self.tags), default=0)
        self.text = whole[: len(whole) - held]
        return self.text


def _overlap(text: str, tag: str) -> int:
    """How many of the last characters of `text` are the beginning of `tag`."""
    return next((size for size in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:size])), 0)
