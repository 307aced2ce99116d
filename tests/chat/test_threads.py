"""The number of threads that write a token follows what is quickest now, and looking for it costs little."""

import threading

import pytest
import torch

from chat.threads import Threads, threads
from models.hardware import cpu_count, use_all_cores


def write(choice, cost, tokens=20_000, seconds=60.0):
    """Let tokens be written that cost `cost(number of threads, seconds since the start)`; returns (number, when, cost)."""
    now, written = 0.0, []
    while now < seconds and len(written) < tokens:
        number = choice.number()
        took = cost(number, now)
        choice.took(took)
        written.append((number, now, took))
        now += took
    return written


def share(written, number, after=0.0):
    """The share of the time that was spent with `number` threads."""
    late = [(used, took) for used, when, took in written if when >= after]
    return sum(took for used, took in late if used == number) / sum(took for _, took in late)


@pytest.mark.parametrize("costs", [{2: 0.012, 1: 0.016}, {2: 0.024, 1: 0.016}, {2: 0.051, 1: 0.075}])
def test_the_quickest_number_is_found_and_the_search_costs_less_than_5_percent(costs):
    choice = Threads(2)
    written = write(choice, lambda number, _: costs[number])
    best = min(costs, key=costs.get)
    assert choice.best == best
    assert sum(took for *_, took in written) / (len(written) * costs[best]) < 1.05


def test_bursts_that_slow_one_number_count_by_what_they_cost():
    """A browser draws for 40 ms ten times a second: two threads are slow then, and quick in between."""
    choice = Threads(2)
    written = write(choice, lambda number, now: {1: 0.020, 2: 0.070 if now % 0.1 < 0.04 else 0.012}[number])
    assert share(written, 1, after=5) > 0.85


def test_it_follows_when_the_machine_becomes_busy_and_free_again():
    def cost(number, now):
        return {1: 0.016, 2: 0.030 if 20 < now < 80 else 0.011}[number]

    choice = Threads(2)
    written = write(choice, cost, seconds=200)
    assert share([one for one in written if 10 < one[1] < 20], 2) > 0.9
    assert share([one for one in written if 24 < one[1] < 80], 1) > 0.85, "busy: within four seconds"
    assert share([one for one in written if 145 < one[1] < 200], 2) > 0.85, "free: within a minute"


def test_chance_changes_nothing():
    choice = Threads(2)
    write(choice, lambda number, now: 0.016 + 0.0003 * (int(now * 1000) % 3) - 0.0005 * (number == 1))
    assert choice.best == 2


@pytest.mark.parametrize(("most", "numbers"), [(1, {1}), (2, {1, 2}), (12, {1, 2, 4, 8, 12})])
def test_every_number_up_to_that_of_the_cores_is_tried(most, numbers):
    choice = Threads(most)
    assert {number for number, *_ in write(choice, lambda *_: 0.02, tokens=200)} == numbers


def test_on_many_cores_the_hopeless_numbers_cost_little():
    """A large model on 16 cores: one thread takes 16 times as long as 16, and nobody waits for four tokens of that."""
    choice = Threads(16)
    written = write(choice, lambda number, _: 0.8 / number)
    assert choice.best == 16
    assert sum(took for *_, took in written[:40]) < 40 * 0.05 + 4.0, "the beginning"
    assert share(written, 16, after=5) > 0.9


def test_what_a_number_took_long_ago_decides_nothing():
    """Four threads were quick while the machine was free; now it is busy, and two are quickest."""
    choice = Threads(4)

    def cost(number, now):
        return {1: 0.024, 2: 0.016, 4: 0.010}[number] if now < 10 else {1: 0.030, 2: 0.020, 4: 0.060}[number]

    written = write(choice, cost)
    assert share(written, 2, after=16) > 0.85


def test_torch_has_its_own_number_after_every_token_whatever_happens():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with threads(None):
        assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="in the midst"), threads(1):
        raise ValueError("in the midst")
    assert torch.get_num_threads() == before


def test_a_merge_takes_all_cores_also_while_the_chat_writes_with_one(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found, own = [], torch.get_num_threads()

    def work():
        use_all_cores()
        found.append(torch.get_num_threads())

    with threads(1):
        other = threading.Thread(target=work)
        other.start()
        other.join()
        assert torch.get_num_threads() == 1, "the chat's own number is as it was"
    assert found == [cpu_count()] and torch.get_num_threads() == own
