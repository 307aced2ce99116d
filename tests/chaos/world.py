"""The real app as on a Space, a Hub on loopback, five people and one attacker; and the judgement of what came of it."""

import contextlib
import math
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from common.paths import REPOSITORY
from tests.adapters.making import make_adapter
from tests.browser.driving import answers, free_port, wait_for
from tests.chaos.attacks import Attacker
from tests.chaos.client import Refused
from tests.chaos.people import BASE, Person
from tests.hub_server import HubServer
from tests.tiny import make_tiny_base

QUIET_PART = 1 / 3  # of the time of the attack, before it: what the people are used to
KILL_SECONDS = 12
HANDS = 3  # attacks at the same time
MAX_GROWTH_BYTES = 300_000_000
SLOWER = 2.0  # times the quiet 95th percentile
MIN_SLOW_SECONDS = 3.0  # an answer within that is not slow, however quick the quiet time was


@dataclass
class Report:
    """What was tried, what people waited for, and where the app fell short."""

    failures: list[str] = field(default_factory=list)
    attacks: dict[str, int] = field(default_factory=dict)
    waits: dict[str, tuple[float, float, int]] = field(default_factory=dict)  # p95 quiet, p95 attacked, how many
    growth_bytes: int = 0
    kills: int = 0
    runs: Counter = field(default_factory=Counter)

    def __str__(self) -> str:
        tried = ", ".join(f"{name} {count}" for name, count in sorted(self.attacks.items()))
        lines = [f"Attacks ({sum(self.attacks.values())}): {tried}."]
        for what, (quiet, attacked, count) in self.waits.items():
            lines.append(f"{what}: 95 % within {attacked:.2f} s under attack, {quiet:.2f} s before it ({count} times).")
        states = ", ".join(f"{count} {status}" for status, count in self.runs.items())
        lines.append(f"Trainings: {states}; {self.kills} kills. Memory grew by {self.growth_bytes / 1e6:.0f} MB.")
        return "\n".join([*lines, *(f"FAILED: {failure}" for failure in self.failures)] or ["Nobody noticed."])


class World:
    """The app's process and everybody who calls it."""

    def __init__(self, folder: Path, seed: int, max_runs: int) -> None:
        self.max_runs, self.folder, self.home, self.luck = max_runs, folder, folder / "home", random.Random(seed)
        self.base = make_tiny_base(folder / "base")
        self.made = make_adapter(folder / "made", self.base, base=BASE)
        self.hub = HubServer({BASE: self.base})
        self.kills, self.process = 0, None
        self.people: list[Person] = []

    def __enter__(self) -> "World":
        self.hub.__enter__()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "STUDIO_"))}
        environment |= {"STUDIO_HOME": str(self.home), "HOME": str(self.folder), "HF_HOME": str(self.folder / "hf")}
        environment |= {"SPACE_ID": "someone/studio", "GRADIO_SERVER_NAME": "127.0.0.1", "HF_ENDPOINT": self.hub.url}
        environment |= {"GRADIO_SERVER_PORT": str(port), "HF_HUB_DISABLE_XET": "1", "PYTHONUNBUFFERED": "1"}
        self.log = self.folder / "app.log"
        with open(self.log, "wb") as log:
            command = [sys.executable, "app.py"]
            self.process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
        wait_for(lambda: answers(port), 120, "the app does not answer")
        for number, name in enumerate(("ann", "ben", "cleo", "dan", "eve")):
            token = self.hub.add_user(name) if number < 2 else None
            self.people.append(Person(self.url, name, f"1.2.3.{number + 1}", token, self.made, self.max_runs))
        return self

    def __exit__(self, *details) -> None:
        for process in [*self.trainings(), self.process]:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                process.kill()
        self.process.wait()
        self.hub.__exit__(*details)

    def memory_bytes(self) -> int:
        return psutil.Process(self.process.pid).memory_info().rss

    def trainings(self) -> list[psutil.Process]:
        """Return the processes that train in this home."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = process.cmdline()
                if "--run" in line and any(str(self.home) in word for word in line):
                    found.append(process)
        return found

    def live(self, seconds: float, attacker: Attacker | None) -> None:
        """Let everybody act for so long, each in threads of their own; with an attacker, trainings are killed as well."""
        end = time.monotonic() + seconds

        def acts(person: Person) -> None:
            luck = random.Random(f"{person.name}{seconds}")
            while time.monotonic() < end:
                try:
                    person.act(luck)
                except Exception as error:  # of the test's own thread: told at the end
                    person.problems.append(f"{type(error).__name__}: {error}")
                time.sleep(0.2)

        def attacks() -> None:
            while time.monotonic() < end:
                attacker.attack()

        threads = [threading.Thread(target=acts, args=(person,)) for person in self.people]
        threads += [threading.Thread(target=attacks) for _ in range(HANDS if attacker else 0)]
        for thread in threads:
            thread.start()
        killed_at = time.monotonic()
        while time.monotonic() < end:
            time.sleep(0.5)
            if attacker and time.monotonic() > killed_at + KILL_SECONDS and (alive := self.trainings()):
                killed_at = time.monotonic()
                with contextlib.suppress(psutil.Error):
                    self.luck.choice(alive).kill()
                    self.kills += 1
        for thread in threads:
            thread.join(timeout=120)


def chaos(seconds: float, seed: int, folder: Path, max_runs: int = 2) -> Report:
    """Run the whole play: settle in, a quiet third of the time, then `seconds` under attack; returns the judgement.

    Each person starts up to `max_runs` trainings, all of which are waited for, one after the other.
    """
    with World(folder, seed, max_runs) as world:
        say("Five people settle in.")
        for person in world.people:
            person.settle_in()
        say("They use the app undisturbed.")
        world.live(seconds * QUIET_PART, None)
        quiet = [person.answered for person in world.people]
        for person in world.people:
            person.answered = {name: [] for name in person.answered}
        before = world.memory_bytes()
        paths = [person.upload_path for person in world.people]
        attacker = Attacker(world.url, world.made, [person.name for person in world.people], paths, world.luck)
        say("An attacker comes.")
        world.live(seconds, attacker)
        attacker.leave()
        say("The trainings come to their end.")
        report = Report(attacks=attacker.done, kills=world.kills)
        for what in ("page", "chat"):
            calm, attacked = (
                [one for answered in several for one in answered[what]]
                for several in (quiet, [person.answered for person in world.people])
            )
            report.waits[what] = (percentile_95(calm), percentile_95(attacked), len(attacked))
        report.growth_bytes = world.memory_bytes() - before
        judge(world, attacker, report)
        return report


def say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def percentile_95(values: list[float]) -> float:
    return sorted(values)[math.ceil(0.95 * len(values)) - 1] if values else math.inf


def judge(world: World, attacker: Attacker, report: Report) -> None:
    """Write down where the app fell short of what people may expect."""
    fail = report.failures.append
    for person in world.people:
        for problem in person.problems:
            fail(f"{person.name}: {problem}")
        strangers = [other for other in world.people if other is not person]
        for other in strangers:
            if any(other.marker in text for text in person.seen):
                fail(f"{person.name} saw the words of {other.name}")
        if any(person.marker in text for text in attacker.seen):
            fail(f"the attacker saw the words of {person.name}")
        check_files(world, person, fail)
        check_runs(world, person, report)
    for what, (quiet, attacked, _) in report.waits.items():
        if attacked > max(MIN_SLOW_SECONDS, SLOWER * quiet):
            fail(f"{what}: 95 % within {attacked:.2f} s under attack, {quiet:.2f} s before it")
    if report.growth_bytes > MAX_GROWTH_BYTES:
        fail(f"the app grew by {report.growth_bytes / 1e6:.0f} MB")
    if world.process.poll() is not None:
        fail("the app ended")
    if "Traceback" in (log := world.log.read_text(errors="replace")):
        first = log[log.index("Traceback") :].split("\nERROR", 1)[0]
        fail(f"{log.count('Traceback')} tracebacks in the app's log, the first ends with\n{first[-1500:]}")


def check_files(world: World, person: Person, fail) -> None:
    """The marker of a person stands in files of one owner only, and in no log of the app."""
    owners = set()
    for path in world.home.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and person.marker.encode() in path.read_bytes():
                parts = path.relative_to(world.home).parts
                owners.add(parts[1] if len(parts) > 2 else str(path))
    if len(owners) != 1:
        fail(f"the words of {person.name} lie with {sorted(owners) or 'nobody'}")
    if person.marker in world.log.read_text(errors="replace"):
        fail(f"the words of {person.name} are in the app's log")


def check_runs(world: World, person: Person, report: Report) -> None:
    """Every run that was started is there, and each that was killed goes on to its end when its owner says so."""
    for name in person.runs:
        try:
            status = status_of(world, name)
            for _ in range(5):
                if status in ("done", "missing"):
                    break
                if status in ("failed", "interrupted", "stopped"):  # a kill of the launcher stops what it launched
                    person.client.call("resume_run", {"Run": name})
                status = wait_for(lambda name=name: finished(world, name), 240, f"{name} does not end")
        except (Refused, AssertionError) as error:
            report.failures.append(f"{name}: {error}")
            status = "lost"
        report.runs[status] += 1
        if status != "done":
            report.failures.append(f"{name} is {status}")


def finished(world: World, name: str) -> str:
    """Return the status of a run that is at rest, '' while it waits or trains."""
    status = status_of(world, name)
    return status if status in ("done", "stopped", "failed", "interrupted", "missing") else ""


def status_of(world: World, name: str) -> str:
    """Read the run's status from its folder, as the page does."""
    from runs.run import Run, read_state

    folders = list(world.home.glob(f"runs/*/{name}"))
    return read_state(Run(folders[0])).status if folders else "missing"
