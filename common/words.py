"""Quantities in words: the one place for durations and large counts."""

from common.language import Sentence, _


def duration(seconds: float) -> Sentence:
    """Return seconds in short words: '45 s', '12 min', '3 h 20 min', '2 h'."""
    if seconds < 90:
        return _("{seconds} s", seconds=max(1, round(seconds)))
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours == 0 or (hours == 1 and minutes < 30):
        return _("{minutes} min", minutes=60 * hours + minutes)
    return _("{hours} h {minutes} min", hours=hours, minutes=minutes) if minutes else _("{hours} h", hours=hours)


def count_in_words(count: int) -> str:
    """Return a count in short words: '32,768', '4.5 M', '1,104.6 M'."""
    return _("{millions:,.1f} M", millions=count / 1e6) if count >= 100_000 else f"{count:,}"
