"""Quantities in words: the one place for durations."""


def duration(seconds: float) -> str:
    """Return seconds in short words: '45 s', '12 min', '3 h 20 min', '2 h'."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours == 0 or (hours == 1 and minutes < 30):
        return f"{60 * hours + minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
