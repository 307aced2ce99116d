"""Reads the machines and prices of Hugging Face Jobs (the Hub's list, else its documentation's), and limits a job's cost."""

import math
from dataclasses import dataclass

from common.errors import UserError
from models.hub.client import Token, client, in_words
from models.prices import JOBS

FROM_HUB, FROM_DOCS = "the Hub's list of now", "the Hub's documentation of 2026-11-25"
MINUTES_A_UNIT = {"minute": 1.0, "hour": 60.0, "second": 1 / 60}
MAX_MINUTES = 7 * 24 * 60
MIN_MINUTES = 10  # less is over before the packages are installed


@dataclass(frozen=True)
class Flavor:
    """One kind of machine: its price in US dollars a minute, its GPUs, and a description."""

    name: str
    dollars_per_minute: float
    gpus: int
    words: str
    source: str = FROM_DOCS

    def line(self) -> str:
        """Return the name, the price of an hour, and the description, in one line."""
        return f"{self.name}, ${60 * self.dollars_per_minute:.2f} an hour: {self.words}"


@dataclass(frozen=True)
class Plan:
    """A machine, a time limit, and what it can cost at most; that is what a person agrees to before anything starts."""

    flavor: Flavor
    minutes: int

    @property
    def most_dollars(self) -> float:
        """Price times limit, rounded up to a cent: one attempt, billed by the begun minute while it starts or runs."""
        return math.ceil(100 * self.flavor.dollars_per_minute * self.minutes - 1e-6) / 100

    def sentence(self) -> str:
        """Return what a person agrees to: the machine, the time limit, and the most that it costs."""
        processes = f"{self.flavor.gpus} GPUs, a process each. " if self.flavor.gpus > 1 else ""
        return (
            f"{self.flavor.line()}. {processes}Ends after {self.minutes} minutes at the latest: "
            f"${self.most_dollars:.2f} at most, paid by your account on the Hub. Prices: {self.flavor.source}."
        )


def flavors(token: Token = False) -> list[Flavor]:
    """Return all machines, the cheapest first; the documentation's list when the Hub does not answer."""
    try:
        with in_words():
            found = [_flavor(hardware) for hardware in client(token).list_jobs_hardware()]
    except UserError:
        found = []
    found = [flavor for flavor in found if flavor] or [
        Flavor(name, price.dollars_per_hour / 60, price.gpus, price.words) for name, price in JOBS.items()
    ]
    return sorted(found, key=lambda flavor: (flavor.gpus > 0, flavor.dollars_per_minute))


def _flavor(hardware) -> Flavor | None:
    """Convert what the Hub lists; None for a machine without an NVIDIA card, or a price in an unknown unit."""
    accelerator = hardware.accelerator
    if hardware.unit_label not in MINUTES_A_UNIT or (accelerator and accelerator.type.lower() != "gpu"):
        return None
    words = f"{hardware.pretty_name}, {accelerator.vram if accelerator else hardware.ram}"
    price = hardware.unit_cost_usd / MINUTES_A_UNIT[hardware.unit_label]
    return Flavor(hardware.name, price, int(accelerator.quantity) if accelerator else 0, words, FROM_HUB)


def plan(flavor: str, minutes: float, max_dollars: float, token: Token = False) -> Plan:
    """Return the plan of a job within both limits. Raises UserError when it could cost more than `max_dollars`."""
    known = {one.name: one for one in flavors(token)}
    if flavor not in known:
        raise UserError(f"There is no machine '{str(flavor)[:40]}'.", f"Choose one of {', '.join(known)}.")
    if not isinstance(minutes, int | float) or not MIN_MINUTES <= minutes <= MAX_MINUTES:
        raise UserError(
            f"The time limit must be {MIN_MINUTES} to {MAX_MINUTES} minutes.", "Setting up takes some of it."
        )
    if not isinstance(max_dollars, int | float) or not max_dollars > 0:
        raise UserError("Say what it may cost at most, in US dollars.", "It is never started without that limit.")
    made = Plan(known[flavor], int(minutes))
    if made.most_dollars > max_dollars:
        affordable = int(max_dollars / made.flavor.dollars_per_minute)
        raise UserError(
            f"{flavor} for {made.minutes} minutes can cost ${made.most_dollars:.2f}; ${max_dollars:.2f} is your limit.",
            f"That pays for {affordable} minutes: give fewer, a cheaper machine, or a higher limit.",
        )
    return made
