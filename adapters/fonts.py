"""The font of a picture: one of the system's with Korean letters where there is one, else what is there."""

from functools import cache

# as Linux, macOS and Windows have them; Pillow looks in the system's own folders. None is needed.
WITH_HANGUL = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansKR-Regular.otf",
    "NanumGothic.ttf",
    "AppleSDGothicNeo.ttc",
    "malgun.ttf",
)
OTHERS = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf")
MISSING = "\U0010ffff"  # no font has it: drawn as the box of a missing letter


@cache
def font(size: int):
    """Return the font in this size in pixels; Pillow's own, with Western letters, where the system has none."""
    from PIL import ImageFont

    for name in (*WITH_HANGUL, *OTHERS):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def can_show(text: str) -> bool:
    """Return whether the font has every letter of `text`, so that none becomes a box."""
    box = bytes(font(20).getmask(MISSING))
    return all(bytes(font(20).getmask(letter)) != box for letter in set(text) if not letter.isspace())
