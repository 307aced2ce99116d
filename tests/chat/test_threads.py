"""The number of threads that write a token follows what is quickest now, and looking for it costs little."""

import pytest
import torch

from chat.threads import Threads


def write(threads, cost, tokens=20_000, seconds=60.0):
    """Let tokens be written that cost `cost(number of threads, seconds since the start)`; returns (number, when, cost)."""
    now, written = 0.0, []
    while now < seconds and len(written) < tokens:
        number = threads.number()
        took = cost(number, now)
        threads.took(took)
        written.append((number, now, took))
        now += took
    return written


def share(written, number, after=0.0):
    """The share of the time that was spent with `number` threads."""
    late = [(used, took) for used, when, took in written if when >= after]
    return sum(took for used, took in late if used == number) / sum(took for _, took in late)


@pytest.mark.parametrize("costs", [{2: 0.012, 1: 0.016}, {2: 0.024, 1: 0.016}, {2: 0.051, 1: 0.075}])
def test_the_quickest_number_is_found_and_the_search_costs_less_than_5_percent(costs):
    threads = Threads(2)
    written = write(threads, lambda number, _: costs[number])
    best = min(costs, key=costs.get)
    assert threads.best == best
    assert sum(took for *_, took in written) / (len(written) * costs[best]) < 1.05


def test_bursts_that_slow_one_number_count_by_what_they_cost():
    """A browser draws for 40 ms ten times a second: two threads are slow then, and quick in between."""
    threads = Threads(2)
    written = write(threads, lambda number, now: {1: 0.020, 2: 0.070 if now % 0.1 < 0.04 else 0.012}[number])
    assert share(written, 1, after=5) > 0.85


def test_it_follows_when_the_machine_becomes_busy_and_free_again():
    def cost(number, now):
        return {1: 0.016, 2: 0.030 if 20 < now < 80 else 0.011}[number]

    threads = Threads(2)
    written = write(threads, cost, seconds=200)
    assert share([one for one in written if 10 < one[1] < 20], 2) > 0.9
    assert share([one for one in written if 24 < one[1] < 80], 1) > 0.85, "busy: within four seconds"
    assert share([one for one in written if 145 < one[1] < 200], 2) > 0.85, "free: within a minute"


def test_chance_changes_nothing():
    threads = Threads(2)
    write(threads, lambda number, now: 0.016 + 0.0003 * (int(now * 1000) % 3) - 0.0005 * (number == 1))
    assert threads.best == 2


@pytest.mark.parametrize(("most", "numbers"), [(1, {1}), (2, {1, 2}), (12, {1, 2, 4, 8, 12})])
def test_every_number_up_to_that_of_the_cores_is_tried(most, numbers):
    threads = Threads(most)
    assert {number for number, *_ in write(threads, lambda *_: 0.02, tokens=200)} == numbers


def test_torch_has_its_own_number_after_every_token_whatever_happens():
    threads, before = Threads(torch.get_num_threads() + 1), torch.get_num_threads()
    with threads.token():
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="in the midst"), threads.token():
        raise ValueError("in the midst")
    assert torch.get_num_threads() == before
