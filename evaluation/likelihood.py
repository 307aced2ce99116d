"""How likely a model finds texts, reference answers and choices: sums of -log p in nats, computed in batches.

    for result in choice_losses(resident, Model(base_folder, "fp32", adapter_folder), items, stop): ...

Each function yields a result as soon as it is computed, not in the order of `items`. Setting `stop` ends it within a batch;
what was yielded is whole. An item whose last message does not fit into the window has `is_cut` and no loss.
The resident must not write answers meanwhile: it belongs to one thread at a time.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence

from chat.resident import Model, Resident
from data.test_sets import Item
from evaluation.results import Result


def text_losses(resident: Resident, model: Model, items: Iterable[Item], stop: threading.Event) -> Iterator[Result]:
    """Yield `loss` and `tokens` of each plain text: of all its tokens but the first, which nothing predicts.

    A text beyond the window is read in windows that begin with the last token of the one before.
    """
    raise NotImplementedError


def answer_losses(
    resident: Resident, model: Model, items: Iterable[Item], stop: threading.Event, shots: Sequence[Item] = ()
) -> Iterator[Result]:
    """Yield `loss` and `tokens` of each reference answer behind its prompt: the tokens that a training would train.

    These are the answer and the stop token behind it. `shots` stand before each prompt; what does not fit is left out as in
    a chat, the earliest turns first.
    """
    raise NotImplementedError


def choice_losses(
    resident: Resident, model: Model, items: Iterable[Item], stop: threading.Event, shots: Sequence[Item] = ()
) -> Iterator[Result]:
    """Yield `choice_losses` of each item, in the order of its `choices`, each behind the same prompt.

    As in lm-eval the stop token is not counted, so that a choice may go on. lm-eval counts white space that the template puts
    before an answer, too: the same number for each choice of an item.
    """
    raise NotImplementedError
