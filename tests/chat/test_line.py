"""Who may wait and who is next: people in rotation, each within their limits, a base for as long as it is wanted."""

import contextlib
import itertools
from dataclasses import dataclass

import pytest

from chat import line
from chat.engine import CALLS, RUNNING, WAITING
from chat.line import LOCAL, Caller, Limit, Line, Places
from common.errors import UserError
from common.paths import GUEST_PREFIX

MANY = Limit(100, owner=100, address=100)


@dataclass(eq=False)
class Asked:
    """A request as the line sees it."""

    caller: Caller
    of: str = "base"
    is_prepared: bool = True

    def base(self):
        return (self.of,)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves; it moves a little by itself, so that no two moments are the same."""
    now, ticks = [1000.0], itertools.count()
    monkeypatch.setattr(line.time, "monotonic", lambda: now[0] + next(ticks) * 1e-6)
    return now


def guest(number: int, address: str = "") -> Caller:
    return Caller(f"{GUEST_PREFIX}{number}", address or f"198.51.100.{number}")


def served(waiting: Line, count: int) -> list[str]:
    """The owners of the next `count` that are answered, one at a time."""
    return [waiting.next([]).caller.owner for _ in range(count)]


def test_one_who_asks_thirty_times_delays_another_by_one_answer(clock):
    waiting = Line(MANY, MANY)
    for _ in range(30):
        waiting.add(Asked(Caller("user-busy")))
    assert served(waiting, 3) == ["user-busy"] * 3
    waiting.add(Asked(Caller("user-late")))
    assert served(waiting, 3) in (["user-busy", "user-late", "user-busy"], ["user-late", "user-busy", "user-busy"])


def test_three_people_are_answered_in_turn(clock):
    waiting = Line(MANY, MANY)
    for owner in ("user-a", "user-b", "user-c"):
        for _ in range(3):
            waiting.add(Asked(Caller(owner)))
    order = served(waiting, 9)
    assert all(sorted(order[start : start + 3]) == ["user-a", "user-b", "user-c"] for start in (0, 3, 6))


def test_one_who_comes_back_as_somebody_new_does_not_pass_those_who_wait(clock):
    waiting = Line(MANY, MANY)
    waiting.add(Asked(Caller("user-a")))
    waiting.add(Asked(Caller("user-a")))
    waiting.next([])
    for number in range(5):
        clock[0] += 1
        waiting.add(Asked(guest(number)))
    assert served(waiting, 1) == ["user-a"]


def test_thirty_guests_of_one_address_are_one_person(clock):
    waiting = Line(MANY, MANY)
    for number in range(30):
        waiting.add(Asked(guest(number, "203.0.113.7")))
    waiting.next([])
    waiting.add(Asked(Caller("user-a")))
    assert "user-a" in served(waiting, 2)


def test_whoever_is_not_prepared_is_passed_by(clock):
    waiting = Line(MANY, MANY)
    slow = Asked(Caller("user-slow"), is_prepared=False)
    waiting.add(slow)
    waiting.add(Asked(Caller("user-a")))
    assert served(waiting, 1) == ["user-a"] and waiting.next([]) is None
    slow.is_prepared = True
    assert waiting.next([]) is slow


def test_a_base_stays_while_it_is_wanted_and_another_gets_its_turn(clock):
    waiting, active = Line(MANY, MANY), []
    for number in range(6):
        waiting.add(Asked(Caller(f"user-{number}"), "A"))
    active.append(waiting.next(active))
    waiting.add(Asked(Caller("user-other"), "B"))
    clock[0] += 5
    waiting.add(Asked(Caller("user-7"), "A"))
    active += [waiting.next(active) for _ in range(6)]
    assert {one.of for one in active} == {"A"}, "those who came later go first while the base stays"
    waiting.add(Asked(Caller("user-8"), "A"))
    clock[0] += line.MAX_STAY_SECONDS
    assert waiting.next(active) is None, "nobody new: the turn is another base's"
    active.clear()
    assert waiting.next(active).of == "B"


def test_one_person_cannot_make_the_base_change_all_the_time(clock):
    """Ten people ask for A without end, one for B: of ten minutes, with a second an answer, most are A's."""
    waiting, bases = Line(MANY, MANY), []
    callers = [(Caller(f"user-{number}"), "A") for number in range(10)] + [(Caller("user-other"), "B")]
    for _ in range(600):
        for caller, of in callers:
            if not any(one.caller == caller for one in waiting.requests):
                waiting.add(Asked(caller, of))
        bases.append(waiting.next([]).of)
        clock[0] += 1
    changes = sum(first != second for first, second in itertools.pairwise(bases))
    assert 4 <= changes <= 16 and bases.count("B") < 100, (changes, bases.count("B"))


def test_nobody_waits_for_a_base_that_nobody_wants(clock):
    waiting = Line(MANY, MANY)
    waiting.add(Asked(Caller("user-a"), "A"))
    waiting.next([])
    waiting.add(Asked(Caller("user-b"), "B"))
    assert waiting.next([]).of == "B"


@pytest.mark.parametrize(
    ("callers", "sentence"),
    [
        ([Caller("user-a", f"198.51.100.{n}") for n in range(WAITING.owner)], "8 of your own requests"),
        ([Caller(f"user-{n}", "203.0.113.7") for n in range(WAITING.address)], "16 requests from your network"),
        ([guest(n) for n in range(WAITING.total // 2)], "Sign in"),
        ([Caller(f"user-{n}", f"198.51.100.{n}") for n in range(WAITING.total)], "64 requests are already waiting"),
        ([LOCAL] * WAITING.total, "64 requests are already waiting"),
    ],
    ids=["owner", "address", "guests", "all", "laptop"],
)
def test_a_full_share_is_a_sentence_and_the_next_is_taken_when_one_leaves(callers, sentence):
    waiting, requests = Line(WAITING, RUNNING), [Asked(caller) for caller in callers]
    for request in requests:
        waiting.add(request)
    again = Asked(guest(99) if sentence == "Sign in" else callers[0])
    with pytest.raises(UserError, match=sentence):
        waiting.add(again)
    if len(callers) < WAITING.total:
        waiting.add(Asked(Caller("user-else", "192.0.2.1")))  # anybody else is welcome
    assert waiting.remove(requests[0]) and not waiting.remove(requests[0])
    waiting.add(again)


def test_guests_run_in_half_of_the_places_and_one_owner_in_four(clock):
    waiting, active = Line(MANY, RUNNING), []
    for number in range(20):
        waiting.add(Asked(guest(number)))
    for _ in range(9):
        waiting.add(Asked(Caller("user-a", "192.0.2.1")))
    while (one := waiting.next(active)) is not None:
        active.append(one)
    owners = [one.caller for one in active]
    assert sum(caller.is_guest for caller in owners) == 8 and owners.count(Caller("user-a", "192.0.2.1")) == 4
    active = [one for one in active if one.caller.is_guest]
    assert waiting.next(active).caller.owner == "user-a"


def test_a_place_is_given_back_whatever_happens():
    places = Places(CALLS)
    for _ in range(200):
        with pytest.raises(KeyError), places.taken_by(Caller("user-a")):
            raise KeyError
    with contextlib.ExitStack() as held:
        for _ in range(CALLS.owner):
            held.enter_context(places.taken_by(Caller("user-b")))
        with pytest.raises(UserError, match="of your own"):
            held.enter_context(places.taken_by(Caller("user-b")))
        held.enter_context(places.taken_by(Caller("user-a")))
    with places.taken_by(Caller("user-b")):
        pass
