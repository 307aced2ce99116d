"""How likely a model finds texts, reference answers and choices: sums of -log p in nats, computed in batches.

    for result in choice_losses(resident, Model(base_folder, "fp32", adapter_folder), items, stop): ...

Each function yields a result as soon as it is computed, not in the order of `items`. Setting `stop` ends it within a batch;
what was yielded is whole. An item whose last message does not fit into the window has `is_cut` and no loss.
The resident must not write answers meanwhile: it belongs to one thread at a time.

A prompt is read once for all its choices: they stand behind it in one row, and a mask hides them from each other. What all
prompts begin with (a system prompt, examples) is read once for all of them.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from chat.cache import shared_length
from chat.resident import Model, Resident
from common.imports import import_lock
from data.test_sets import Item
from evaluation.questions import Question, Row, chat_prompt, chat_question, text_question
from evaluation.results import Result
from models.hardware import use_all_cores

SORTED_TOGETHER = 256  # items that are put into batches of similar length
MAX_BATCH_TOKENS = 4096  # of a batch, padding counted; one row may be longer
MAX_LOGIT_BYTES = 2**27  # of the scores at once: 700 positions with a vocabulary of 49,152
MIN_COMMON_TOKENS = 8  # what fewer tokens save is less than copying them costs


def text_losses(resident: Resident, model: Model, items: Iterable[Item], stop: threading.Event) -> Iterator[Result]:
    """Yield `loss` and `tokens` of each plain text: of all its tokens but the first, which nothing predicts.

    Unlike in a training no stop token is behind it: where an excerpt ends is chance. A text beyond the window is read in windows
    that begin with the last token of the one before.
    """
    format, window = resident.format_of(model), resident.window(model)
    for question, losses in _losses(resident, model, (text_question(format, item, window) for item in items), stop):
        yield _summed(question, losses)


def answer_losses(
    resident: Resident, model: Model, items: Iterable[Item], stop: threading.Event, shots: Sequence[Item] = ()
) -> Iterator[Result]:
    """Yield `loss` and `tokens` of each reference answer behind its prompt: the tokens that a training would train.

    These are the answer and the stop token behind it. `shots` stand before each prompt; what does not fit is left out as in
    a chat, the earliest turns first.
    """
    questions = _chat_questions(resident, model, items, shots, lambda item: [item["answer"]], with_stop=True)
    for question, losses in _losses(resident, model, questions, stop):
        yield _summed(question, losses)


def choice_losses(
    resident: Resident, model: Model, items: Iterable[Item], stop: threading.Event, shots: Sequence[Item] = ()
) -> Iterator[Result]:
    """Yield `choice_losses` of each item, in the order of its `choices`, each behind the same prompt.

    As in lm-eval the stop token is not counted, so that a choice may go on. lm-eval counts white space that the template puts
    before an answer, too: the same number for each choice of an item.
    """
    questions = _chat_questions(resident, model, items, shots, lambda item: item["choices"], with_stop=False)
    for question, losses in _losses(resident, model, questions, stop):
        result = Result(item=question.item, is_cut=question.is_cut)
        yield result | Result(item=question.item, choice_losses=losses) if losses else result


def _chat_questions(
    resident: Resident,
    model: Model,
    items: Iterable[Item],
    shots: Sequence[Item],
    answers: Callable[[Item], Sequence[str]],
    with_stop: bool,
) -> Iterator[Question]:
    format, window = resident.format_of(model), resident.window(model)
    for item in items:
        yield chat_question(format, item["number"], chat_prompt(item, shots), answers(item), window, with_stop)


def _summed(question: Question, losses: list[float]) -> Result:
    result = Result(item=question.item, is_cut=question.is_cut)
    if question.tokens:
        result["loss"], result["tokens"] = sum(losses), question.tokens
    return result


def _losses(
    resident: Resident, model: Model, questions: Iterable[Question], stop: threading.Event
) -> Iterator[tuple[Question, list[float]]]:
    """Yield each question with the losses of all its branches, in their order; [] for one that does not fit."""
    network, left = None, iter(questions)
    while not stop.is_set() and (group := list(islice(left, SORTED_TOGETHER))):
        yield from ((question, []) for question in group if not question.rows)
        waiting = [(row, place, question) for question in group for place, row in enumerate(question.rows)]
        if not waiting:
            continue
        waiting.sort(key=lambda one: one[0].length(), reverse=True)
        network = network or _Network(resident, model)
        network.keep(_common([row.prompt for row, _place, _question in waiting]))
        found: dict[int, dict[int, list[float]]] = defaultdict(dict)  # by the item and the place of the row
        while waiting and not stop.is_set():
            count = max(1, MAX_BATCH_TOKENS // waiting[0][0].length())
            batch, waiting = waiting[:count], waiting[count:]
            computed = network.losses([row for row, _place, _question in batch])
            for (_row, place, question), losses in zip(batch, computed, strict=True):
                rows = found[question.item]
                rows[place] = losses
                if len(rows) == len(question.rows):
                    yield question, [loss for place in sorted(rows) for loss in rows[place]]


def _common(prompts: list[list[int]]) -> list[int]:
    """Return what all prompts begin with, less than any of them; [] where that is too little to be worth it."""
    length = min(len(prompt) - 1 for prompt in prompts)
    for prompt in prompts:
        length = shared_length(prompts[0][:length], prompt[:length])
    return prompts[0][:length] if len(prompts) > 1 and length >= MIN_COMMON_TOKENS else []


class _Network:
    """The loaded model without its head's scores for what nobody asks, and the keys and values of a common beginning."""

    def __init__(self, resident: Resident, model: Model) -> None:
        use_all_cores()
        resident.load(model)
        with import_lock:
            from peft import PeftModel

        network = resident.network
        self.causal: Any = network.get_base_model() if isinstance(network, PeftModel) else network
        self.common: list[int] = []
        self.kv: Any = None

    def keep(self, common: list[int]) -> None:
        """Read the tokens with which all of the next rows begin, [] for none."""
        import torch

        if common == self.common:
            return
        self.common, self.kv = common, None
        if common:
            with torch.inference_mode():
                self.kv = self._new_kv()
                inputs = torch.tensor([common], device=self.causal.device)
                self.causal.get_decoder()(input_ids=inputs, past_key_values=self.kv, use_cache=True)

    def losses(self, rows: list[Row]) -> list[list[float]]:
        """Return the sum of -log p of each branch of each row."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        known, device = len(self.common), self.causal.device
        inputs, positions, parts, targets = [], [], [], []
        sources: list[tuple[int, int]] = []  # (row, place) of what predicts each target
        for number, (prompt, branches) in enumerate(rows):
            ids, position, part = prompt[known:], list(range(known, len(prompt))), [0] * (len(prompt) - known)
            last = len(ids) - 1
            for branch_number, branch in enumerate(filter(None, branches), 1):
                sources += [(number, last), *((number, len(ids) + step) for step in range(len(branch) - 1))]
                targets += branch
                ids += branch[:-1]
                position += range(len(prompt), len(prompt) + len(branch) - 1)
                part += [branch_number] * (len(branch) - 1)
            inputs.append(torch.tensor(ids))
            positions.append(torch.tensor(position))
            parts.append(torch.tensor(part))

        with torch.inference_mode():
            options: dict[str, Any] = {"use_cache": False}
            if known:
                options = {"use_cache": True, "past_key_values": self._new_kv(len(rows))}
            if any(len(row.branches) > 1 for row in rows):  # without: plain causal attention, and padding is behind all
                options["position_ids"] = pad_sequence(positions, batch_first=True).to(device)
                options["attention_mask"] = _tree_mask(pad_sequence(parts, batch_first=True).to(device), known)
            ids = pad_sequence(inputs, batch_first=True).to(device)
            hidden = self.causal.get_decoder()(input_ids=ids, **options).last_hidden_state
            at = torch.tensor(sources, device=device).T
            found = iter(self._token_losses(hidden[at[0], at[1]], torch.tensor(targets, device=device)))
        return [[sum(islice(found, len(branch)), 0.0) for branch in row.branches] for row in rows]

    def _token_losses(self, hidden, targets) -> list[float]:
        """Return -log p of `targets` (tokens,) after `hidden` (tokens, size), the scores of a few tokens at a time."""
        import torch
        from torch.nn.functional import cross_entropy

        head, step = self.causal.get_output_embeddings(), max(1, MAX_LOGIT_BYTES // (4 * self.causal.config.vocab_size))
        pairs = zip(hidden.split(step), targets.split(step), strict=True)
        return torch.cat([cross_entropy(head(part).float(), of, reduction="none") for part, of in pairs]).tolist()

    def _new_kv(self, rows: int = 0):
        """Return an empty cache, or one with the common beginning for each of `rows`."""
        with import_lock:
            from transformers import DynamicCache

        kv: Any = DynamicCache(config=self.causal.config)
        for number, layer in enumerate(self.kv.layers if rows else []):
            kv.update(layer.keys.expand(rows, -1, -1, -1), layer.values.expand(rows, -1, -1, -1), number)
        return kv


def _tree_mask(parts, known: int):
    """Return which token may see which, (rows, 1, tokens, known + tokens): what is before it, but no other branch.

    `parts` (rows, tokens) has 0 in the prompt and the number of the branch behind it; `known` tokens before are seen by all.
    """
    import torch

    tokens = parts.shape[1]
    is_before = torch.ones(tokens, tokens, dtype=torch.bool, device=parts.device).tril()
    is_own = (parts[:, None, :] == 0) | (parts[:, None, :] == parts[:, :, None])
    return torch.nn.functional.pad(is_before & is_own, (known, 0), value=True)[:, None]
