"""Quantities in words: the one place for durations, large counts and the values of scores."""

from typing import Literal

from common.language import Sentence, _

Unit = Literal["share", "nats", "tokens"]
UNITS: dict[Unit, Sentence] = {"share": _("of 100"), "nats": _("nats"), "tokens": _("tokens")}


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


def in_unit(value: float, unit: Unit) -> str:
    """Return the value of a score, or a difference, as it is shown: shares in points of 100, nats with three places."""
    return {"share": f"{100 * value:.1f}", "nats": f"{value:.3f}", "tokens": f"{value:.1f}"}[unit]


def amount(value: float, unit: Unit) -> Sentence:
    """Return a difference of scores with its unit: '2.5 points', '0.412 nats'."""
    number = in_unit(value, unit)
    return {
        "share": _("{number} points", number=number),
        "nats": _("{number} nats", number=number),
        "tokens": _("{number} tokens", number=number),
    }[unit]
