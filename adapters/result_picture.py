"""The result of a training as one picture: name, base, data, held-out loss, curve, and one answer before and after.

For the page and for the model card, in the size that sites show beside a link.
"""

from dataclasses import astuple, dataclass, field
from difflib import SequenceMatcher

from adapters.curves import INK, PAPER, SCALE, paint_losses, png
from adapters.fonts import can_show, font
from adapters.history import Answer, Points
from common.language import ENGLISH, Sentence, _, current_language, joined, language, n_
from common.words import duration

WIDTH, HEIGHT, MARGIN = 1200, 630, 60
ACCENT, SUBDUED = (19, 118, 107), (75, 85, 99)
MAX_LOSS = 1e6
MAX_COMPARED_WORDS = 200  # of an answer: comparing takes the square of it


@dataclass(frozen=True)
class Sample:
    """A prompt, and the answers of the base and of the adapter."""

    prompt: str
    before: str
    after: str


@dataclass(frozen=True)
class Result:
    """What a training came to. A picture of it holds no more than this: without a `sample` none of the data's words."""

    name: str
    base: str
    rows: int | None = None
    seconds: float | None = None
    loss_before: float | None = None
    loss_after: float | None = None
    losses: Points = field(default_factory=list)
    eval_losses: Points = field(default_factory=list)
    kept_step: int | None = None
    sample: Sample | None = None
    decided: Sentence | None = None  # a difference of scores, of `adapters.evaluated`: told in the place of the losses

    def facts(self) -> Sentence:
        """Return the size of the data and the time in words; empty when neither is known."""
        found = [n_("{count:,} example", "{count:,} examples", self.rows)] if self.rows else []
        found += [_("{time} of training", time=duration(self.seconds))] if self.seconds else []
        return joined(found, " · ")


def best_sample(before: list[Answer], after: list[Answer]) -> Sample | None:
    """Return the prompt whose answers differ most, word by word, with both; None where none differ.

    Both have words. A pair in which an answer was cut is taken only where there is no whole one.
    """
    last = {answer["prompt"]: answer for answer in after}
    pairs = [(first, last[first["prompt"]]) for first in before if first["prompt"] in last]

    def worth(pair: tuple[Answer, Answer]) -> tuple[bool, float]:
        words = [answer["answer"].split()[:MAX_COMPARED_WORDS] for answer in pair]
        is_whole = not any(answer.get("is_cut") for answer in pair)
        return is_whole, 1 - SequenceMatcher(None, *words, autojunk=False).ratio()

    pairs = [pair for pair in pairs if all(answer["answer"].split() for answer in pair) and worth(pair)[1] > 0]
    best = max(pairs, key=worth, default=None)
    return Sample(best[0]["prompt"], *(one["answer"] for one in best)) if best else None


def loss_words(before: float | None, after: float | None) -> Sentence | None:
    """Say how the held-out loss changed, in whole percent; None when it was not measured before and after."""
    if before is None or after is None or not 0 < before < MAX_LOSS or not 0 <= after < MAX_LOSS:
        return None
    change = after / before - 1
    if abs(change) < 0.005:
        return _("Held-out loss stayed at {loss:.2f}", loss=after)
    if change < 0:
        return _("Held-out loss fell by {share:.0%}", share=-change)
    return _("Held-out loss rose by {share:.0%}", share=change)


def draw_result(result: Result) -> bytes | None:
    """Draw the result as a PNG; None when there are no losses to draw.

    It speaks the current language where the system has a font for it, else English. A name or a sample with letters that the
    font lacks is left out, and the picture says so.
    """
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), PAPER)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 14 * SCALE, HEIGHT * SCALE), fill=ACCENT)
    sample = result.sample if result.sample and can_show("".join(astuple(result.sample))) else None
    has_name = can_show(result.name)
    with language(current_language() if can_show("가") else ENGLISH):
        y = _write(draw, 44, result.name, 46, INK) if has_name else 44
        y = _write(draw, y + 8, _("{base} with LoRA", base=result.base), 22, SUBDUED)
        if result.decided:
            y = _write(draw, y + 22, str(result.decided), 22, ACCENT, 600 if sample else WIDTH - 2 * MARGIN, 2)
        elif words := loss_words(result.loss_before, result.loss_after):
            y = _write(draw, y + 22, str(words), 38, ACCENT)
        y = _write(draw, y + 8, str(result.facts()), 22, SUBDUED)
        box = (690, 190, 1130, 500) if sample else (MARGIN + 60, y + 70, 1130, 520)
        if not paint_losses(draw, box, result.losses, result.eval_losses, result.kept_step):
            return None
        if sample:
            _write_sample(draw, y + 26, sample)
        missing = _("Words that no font of this computer can show are left out.")
        parts = [_("Made with TinyLlama Studio."), *([] if has_name and sample == result.sample else [missing])]
        _write(draw, HEIGHT - 44, joined(parts), 18, SUBDUED)
    return png(image)


def _write_sample(draw, y: float, sample: Sample) -> None:
    """Write the prompt and both answers below each other."""
    parts = [(_("Prompt"), sample.prompt, 2), (_("Before"), sample.before, 3), (_("After"), sample.after, 3)]
    for label, text, lines in parts:
        y = _write(draw, y, label, 16, ACCENT if label is parts[2][0] else SUBDUED, 560)
        y = _write(draw, y, text, 20, INK, 560, lines) + 8


def _write(draw, y: float, text: str, size: int, colour, width: int = WIDTH - 2 * MARGIN, lines: int = 1) -> float:
    """Write a text at the left margin in at most `lines` lines of `width` pixels; return where the next one begins."""
    rest, letters = " ".join(str(text).split()), font(size * SCALE)
    for number in range(lines):
        line = rest
        while draw.textlength(line, letters) > width * SCALE:
            line = line[: max(1, min(len(line) - 1, int(len(line) * width * SCALE / draw.textlength(line, letters))))]
        if line != rest:  # between words, where there are any
            line = line.rsplit(" ", 1)[0] if " " in line and rest[len(line)] != " " else line
            rest = rest[len(line) :].lstrip()
            line = f"{line[:-1]}…" if number == lines - 1 else line
        else:
            rest = ""
        draw.text((MARGIN * SCALE, y * SCALE), line, fill=colour, font=letters)
        y += size * 1.35
        if not rest:
            break
    return y
