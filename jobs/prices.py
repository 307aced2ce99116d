"""What Hugging Face Jobs offers, for how much, and the most that a job can cost: the Hub's list, else its documentation's."""

import math
from dataclasses import dataclass

from adapters.hub import Token, client, in_words
from common.errors import UserError

# US dollars an hour and GPUs: huggingface.co/docs/hub/jobs-pricing, read on 2026-11-25; taken when the Hub cannot be asked
DOCUMENTED = {
    "cpu-basic": (0.01, 0, "CPU Basic, 2 vCPU, 16 GB"),
    "cpu-upgrade": (0.03, 0, "CPU Upgrade, 8 vCPU, 32 GB"),
    "t4-small": (0.40, 1, "Nvidia T4 - small, 16 GB"),
    "t4-medium": (0.60, 1, "Nvidia T4 - medium, 16 GB"),
    "l4x1": (0.80, 1, "1x Nvidia L4, 24 GB"),
    "l4x4": (3.80, 4, "4x Nvidia L4, 96 GB"),
    "l40sx1": (1.80, 1, "1x Nvidia L40S, 48 GB"),
    "l40sx4": (8.30, 4, "4x Nvidia L40S, 192 GB"),
    "l40sx8": (23.50, 8, "8x Nvidia L40S, 384 GB"),
    "a10g-small": (1.00, 1, "Nvidia A10G - small, 24 GB"),
    "a10g-large": (1.50, 1, "Nvidia A10G - large, 24 GB"),
    "a10g-largex2": (3.00, 2, "2x Nvidia A10G - large, 48 GB"),
    "a10g-largex4": (5.00, 4, "4x Nvidia A10G - large, 96 GB"),
    "a100-large": (2.50, 1, "Nvidia A100 - large, 80 GB"),
    "a100x4": (10.00, 4, "4x Nvidia A100, 320 GB"),
    "a100x8": (20.00, 8, "8x Nvidia A100, 640 GB"),
    "h200": (5.00, 1, "Nvidia H200, 141 GB"),
    "h200x2": (10.00, 2, "2x Nvidia H200, 282 GB"),
    "h200x4": (20.00, 4, "4x Nvidia H200, 564 GB"),
    "h200x8": (40.00, 8, "8x Nvidia H200, 1128 GB"),
    "rtx-pro-6000": (2.75, 1, "Nvidia RTX PRO 6000, 96 GB"),
}
FROM_HUB, FROM_DOCS = "the Hub's list of now", "the Hub's documentation of 2026-11-25"
MINUTES_A_UNIT = {"minute": 1.0, "hour": 60.0, "second": 1 / 60}
MOST_MINUTES = 7 * 24 * 60
LEAST_MINUTES = 10  # less is over before the packages are installed


@dataclass(frozen=True)
class Flavor:
    """One kind of machine: its price in US dollars a minute, its GPUs, and words for a person."""

    name: str
    dollars_per_minute: float
    gpus: int
    words: str
    source: str = FROM_DOCS

    def line(self) -> str:
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
        processes = f"{self.flavor.gpus} GPUs, a process each. " if self.flavor.gpus > 1 else ""
        return (
            f"{self.flavor.line()}. {processes}Ends after {self.minutes} minutes at the latest: "
            f"${self.most_dollars:.2f} at most, paid by your account on the Hub. Prices: {self.flavor.source}."
        )


def flavors(token: Token = False) -> list[Flavor]:
    """What can be had, the cheapest first; the documentation's list when the Hub does not answer."""
    try:
        with in_words("read the list of machines"):
            found = [_flavor(hardware) for hardware in client(token).list_jobs_hardware()]
    except UserError:
        found = []
    found = [flavor for flavor in found if flavor] or [
        Flavor(name, dollars / 60, gpus, words) for name, (dollars, gpus, words) in DOCUMENTED.items()
    ]
    return sorted(found, key=lambda flavor: (flavor.gpus > 0, flavor.dollars_per_minute))


def _flavor(hardware) -> Flavor | None:
    """None for what cannot train here: no NVIDIA card, or a price in a unit that nobody knows."""
    accelerator = hardware.accelerator
    if hardware.unit_label not in MINUTES_A_UNIT or (accelerator and accelerator.type.lower() != "gpu"):
        return None
    words = f"{hardware.pretty_name}, {accelerator.vram if accelerator else hardware.ram}"
    price = hardware.unit_cost_usd / MINUTES_A_UNIT[hardware.unit_label]
    return Flavor(hardware.name, price, int(accelerator.quantity) if accelerator else 0, words, FROM_HUB)


def plan(flavor: str, minutes: float, max_dollars: float, token: Token = False) -> Plan:
    """The plan of a job within both limits. Raises UserError when it could cost more than `max_dollars`."""
    known = {one.name: one for one in flavors(token)}
    if flavor not in known:
        raise UserError(f"There is no machine '{str(flavor)[:40]}'.", f"Choose one of {', '.join(known)}.")
    if not isinstance(minutes, int | float) or not LEAST_MINUTES <= minutes <= MOST_MINUTES:
        raise UserError(
            f"The time limit must be {LEAST_MINUTES} to {MOST_MINUTES} minutes.", "Setting up takes some of it."
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
