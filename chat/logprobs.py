"""Log probabilities of tokens: from the network's logits, and with the text of each token. Torch is imported when it is used."""

from dataclasses import dataclass

from chat.request import Score

ROWS_TOGETHER = 32  # positions whose logits are made floats at once: 20 MB with a vocabulary of 152,000
MAX_CHARACTER_TOKENS = 8  # a character has fewer: what is none by then is shown as it is


@dataclass(frozen=True)
class Scored:
    """A token in words: the text that it adds, "" where its character is not whole yet, or a control token's name.

    `start` is the place of that text among all that was scored, `top` {text: log probability in nats} of the likeliest
    and of itself.
    """

    text: str
    start: int
    logprob: float | None
    top: dict[str, float]


def scores_of(logits, tokens: list[int], top: int) -> list[Score]:
    """Return the Score of each of `tokens`, predicted by its row of `logits` (tokens, vocabulary), with the `top` likeliest."""
    import torch

    scores: list[Score] = []
    for part in logits.split(ROWS_TOGETHER):
        logprobs, own = part.float().log_softmax(-1), tokens[len(scores) : len(scores) + len(part)]
        found = logprobs.gather(-1, torch.tensor(own, dtype=torch.long, device=logprobs.device)[:, None])[:, 0].tolist()
        values, ids = logprobs.topk(top)
        rows = zip(own, found, ids.tolist(), values.tolist(), strict=True)
        scores += [Score(token, of_it, tuple(zip(*best, strict=True))) for token, of_it, *best in rows]
    return scores


def with_texts(scores: list[Score], tokenizer, behind: int | None = None) -> list[Scored]:
    """Return the scores with the text of each token: together what the tokens say, control tokens by their names.

    `behind` is the token before them, None where there is none: of the first word behind another the space is kept.
    """
    ids = [] if behind is None else [behind]
    first = len(ids)
    ids += [score.token for score in scores]
    control = {place: token.content for place, token in tokenizer.added_tokens_decoder.items() if token.special}

    def text_of(tokens: list[int]) -> str:
        return tokenizer.backend_tokenizer.decode(tokens, skip_special_tokens=True)

    said: list[Scored] = []
    # the tokens from `before` to `done` are said, and may be a part of the next character
    before, done, length = 0, first, 0
    for place, score in enumerate(scores, first):
        text = text_of(ids[before : place + 1])[len(text_of(ids[before:done])) :]
        if text.endswith("\ufffd") and place - done < MAX_CHARACTER_TOKENS:
            text = ""
        else:
            before, done = done, place + 1
        named, last = control.get(score.token, text), ids[max(0, place - 1) : place]
        top: dict[str, float] = {}
        for token, logprob in score.top:
            other = control.get(token) or text_of([*last, token])[len(text_of(last)) :]
            top.setdefault(named if token == score.token else other, logprob)  # of two with the same text the likelier
        if top and score.logprob is not None:
            top.setdefault(named, score.logprob)
        said.append(Scored(named, length, score.logprob, top))
        length += len(text)
    return said
