"""What stands in the place of a run before there is one: what will happen, what the model learns from, and a picture."""

import html
import json

from common.language import _
from data.reading import EXAMPLE_TRAIN

# examples on paper, an adapter beside the layers of a model, an answer
DRAWING = """
<svg viewBox='0 0 360 110' aria-hidden='true'>
  <rect class='faint' x='24' y='18' width='62' height='46' rx='6'/>
  <rect class='faint' x='17' y='27' width='62' height='46' rx='6'/>
  <rect x='10' y='36' width='62' height='46' rx='6'/>
  <path d='M20 50h42M20 59h30M20 68h36M98 59h26m-7-7 7 7-7 7M236 59h26m-7-7 7 7-7 7'/>
  <rect x='140' y='20' width='80' height='78' rx='10'/>
  <path class='faint' d='M154 38h30M154 52h30M154 66h30M154 80h30'/>
  <rect class='adapter' x='194' y='32' width='14' height='54' rx='4'/>
  <path d='M286 26h54a10 10 0 0 1 10 10v32a10 10 0 0 1-10 10h-30l-14 14v-14h-10a10 10 0 0 1-10-10v-32a10 10 0 0 1 10-10z'/>
  <path class='learned' d='M290 44h46M290 58h30'/>
</svg>
"""


def empty_view() -> str:
    """Return the place of a run while there is none, as HTML."""
    with EXAMPLE_TRAIN.open(encoding="utf-8") as file:
        question, answer = (message["content"] for message in json.loads(file.readline())["messages"])
    steps = [
        _("The examples are checked; one in ten is held out to test on."),
        _("The model trains: the loss falls, and its answers to the held-out prompts change."),
        _("You chat with it beside the model it came from, and share it if you like."),
    ]
    answer = html.escape(answer).replace("\n", "<br>")
    return (
        f"<section class='no-run'>{DRAWING}<h3>{_('What happens when you press Start')}</h3>"
        f"<ol>{''.join(f'<li>{step}</li>' for step in steps)}</ol>"
        f"<div class='of-example'><h3>{_('One of the examples')}</h3><dl><dt>{_('Goes in')}</dt><dd>{html.escape(question)}</dd>"
        f"<dt>{_('The model learns to say')}</dt><dd>{answer}</dd></dl></div></section>"
    )
