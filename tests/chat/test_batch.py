"""Joined caches hold what each conversation's own would hold, whoever comes and leaves."""

import torch
from torch.nn.functional import pad
from transformers.cache_utils import DynamicLayer

from chat.batch import JoinedCaches, read_prompt
from chat.cache import Cache
from chat.patches.room import ROOM_TOKENS, RoomyLayer


def test_a_layer_with_room_holds_what_a_plain_one_holds_also_when_the_room_ends():
    torch.manual_seed(0)
    keys, values = ([torch.randn(2, tokens, 4) for tokens in (3, 5)] for _ in range(2))
    roomy, plain = RoomyLayer(keys, values), DynamicLayer()
    plain.update(*(torch.stack([pad(row, (0, 0, 5 - row.shape[1], 0)) for row in rows]) for rows in (keys, values)))
    for tokens in (1, 1, ROOM_TOKENS, 1, 3 * ROOM_TOKENS, 1):
        states = torch.randn(2, 2, 2, tokens, 4)
        held, wanted = roomy.update(*states), plain.update(*states)
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(held, wanted, strict=True))
        assert roomy.get_seq_length() == plain.get_seq_length()


def test_conversations_come_and_leave_and_each_gets_what_it_gets_alone(tiny_base):
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(tiny_base).eval()
    prompts = [list(range(5, 5 + length)) for length in (4, 9, 2, 6)]
    alone, together = ([Cache("model") for _ in prompts] for _ in range(2))
    joined = JoinedCaches(network)
    with torch.inference_mode():
        for caches in (alone, together):
            for cache, ids in zip(caches, prompts, strict=True):
                read_prompt(network, cache, ids)
        for step, who in enumerate([(0, 1), (0, 1, 2), (2, 1), (1, 3, 0), (3,), (2, 3), (3, 2, 0), (0, 1, 2, 3)]):
            tokens = [40 + step + number for number in who]
            wanted = torch.stack([read_prompt(network, alone[n], [t]) for n, t in zip(who, tokens, strict=True)])
            assert torch.allclose(joined.step([together[number] for number in who], tokens), wanted, atol=1e-5)
            if step % 2:
                joined.leave(together[who[0]])
        joined.split()
    for mine, theirs in zip(together, alone, strict=True):
        assert mine.ids == theirs.ids
        for one, other in zip(mine.kv.layers, theirs.kv.layers, strict=True):
            assert torch.allclose(one.keys, other.keys, atol=1e-5)
            assert torch.allclose(one.values, other.values, atol=1e-5)
