"""The tokens that may be chosen are those that transformers leaves, with its probabilities."""

import pytest
import torch
from transformers.generation import LogitsProcessorList, TopKLogitsWarper, TopPLogitsWarper

from chat.sampling import FEW, Chooser, Sampling, likeliest


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("top_k", [0, 1, 40, 1000])
@pytest.mark.parametrize(("tokens", "spread"), [(30, 3.0), (5 * FEW, 8.0), (5 * FEW, 2.0), (5 * FEW, 0.1)])
def test_they_are_those_of_transformers(tokens, spread, top_k, top_p):
    scores = spread * torch.randn(tokens, generator=torch.Generator().manual_seed(tokens))
    warpers = LogitsProcessorList([TopKLogitsWarper(top_k)] if top_k else [])
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    wanted = warpers(None, scores[None])[0].softmax(-1)
    probabilities, ids = likeliest(scores, top_k, top_p)
    found = torch.zeros(tokens).scatter(0, ids, probabilities / probabilities.sum())
    edge = (found > 0) != (wanted > 0)  # equally likely ones, or where sums are rounded
    assert (found + wanted)[edge].sum() < max(1e-5, 2 * wanted[wanted > 0].min())
    torch.testing.assert_close(found[~edge], wanted[~edge], atol=1e-5, rtol=1e-2)


def test_tokens_come_as_often_as_they_are_likely_and_a_seed_gives_them_again():
    scores, sampling = torch.tensor([2.0, 0.0, 1.0, -1.0, -9.0]), Sampling(temperature=2.0, top_p=0.85, seed=3)
    choosers = Chooser(sampling, "cpu"), Chooser(sampling, "cpu")
    first, again = ([chooser.choose(scores, []) for _ in range(2000)] for chooser in choosers)
    wanted = (scores[:3] / 2).softmax(-1)
    share = torch.tensor(first).bincount(minlength=5) / len(first)
    assert first == again and share[3:].sum() == 0
    torch.testing.assert_close(share[:3], wanted, atol=0.04, rtol=0)
