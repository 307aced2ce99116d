"""Reads the machines and prices of Hugging Face Jobs (the Hub's list, else its documentation's), and limits a job's cost."""

import math
from dataclasses import dataclass

from common.errors import UserError
from common.language import Sentence, _, joined, n_
from models.hub.client import Token, client, errors_explained
from models.prices import MIN_MINUTES, Flavor, documented_flavors

FROM_HUB = _("Hugging Face's current list")
MINUTES_A_UNIT = {"minute": 1.0, "hour": 60.0, "second": 1 / 60}
MAX_MINUTES = 7 * 24 * 60


@dataclass(frozen=True)
class JobPlan:
    """A machine, a time limit, and what it can cost at most; that is what a person agrees to before anything starts."""

    flavor: Flavor
    minutes: int

    @property
    def most_dollars(self) -> float:
        """Price times limit, rounded up to a cent: one attempt, billed by the begun minute while it starts or runs."""
        return math.ceil(100 * self.flavor.dollars_per_minute * self.minutes - 1e-6) / 100

    def sentence(self) -> Sentence:
        """Return what a person agrees to: the machine, the time limit, and the most that it costs."""
        gpus = self.flavor.gpus
        limit = _(
            "It ends after {minutes} minutes at the latest and costs ${dollars:.2f} at most, paid by your Hugging Face account.",
            minutes=self.minutes,
            dollars=self.most_dollars,
        )
        return joined(
            [
                _("Machine: {machine}.", machine=self.flavor.line()),
                _("{count} GPUs, one process each.", count=gpus) if gpus > 1 else "",
                limit,
                prices_from(self.flavor),
            ]
        )


def prices_from(flavor: Flavor) -> Sentence:
    """Say where the price of a machine is from."""
    return _("Prices: {source}.", source=flavor.source)


def flavors(token: Token = False) -> list[Flavor]:
    """Return all machines, the cheapest first; the documentation's list when the Hub does not answer."""
    try:
        with errors_explained():
            found = [_flavor(hardware) for hardware in client(token).list_jobs_hardware()]
    except UserError:
        found = []
    found = [flavor for flavor in found if flavor] or documented_flavors()
    return sorted(found, key=lambda flavor: (flavor.gpus > 0, flavor.dollars_per_minute))


def _flavor(hardware) -> Flavor | None:
    """Convert what the Hub lists; None for a machine without an NVIDIA card, or a price in an unknown unit."""
    accelerator = hardware.accelerator
    if hardware.unit_label not in MINUTES_A_UNIT or (accelerator and accelerator.type.lower() != "gpu"):
        return None
    words = f"{hardware.pretty_name}, {accelerator.vram if accelerator else hardware.ram}"
    price = hardware.unit_cost_usd / MINUTES_A_UNIT[hardware.unit_label]
    return Flavor(hardware.name, price, int(accelerator.quantity) if accelerator else 0, words, FROM_HUB)


def plan(flavor: str, minutes: float, max_dollars: float, token: Token = False) -> JobPlan:
    """Return the plan of a job within both limits. Raises UserError when it could cost more than `max_dollars`."""
    known = {one.name: one for one in flavors(token)}
    if flavor not in known:
        words = _("There is no machine '{name}'.", name=str(flavor)[:40])
        raise UserError(words, _("Choose one of these: {names}.", names=", ".join(known)))
    if not isinstance(minutes, int | float) or not MIN_MINUTES <= minutes <= MAX_MINUTES:
        raise UserError(
            _("The time limit must be {low} to {high:,} minutes.", low=MIN_MINUTES, high=MAX_MINUTES),
            _("Setting up takes some of it."),
        )
    if not isinstance(max_dollars, int | float) or not max_dollars > 0:
        raise UserError(_("Set the maximum cost, in US dollars."), _("It is never started without that limit."))
    made = JobPlan(known[flavor], int(minutes))
    if made.most_dollars > max_dollars:
        affordable = int(max_dollars / made.flavor.dollars_per_minute)
        raise UserError(
            _(
                "{name} for {minutes} minutes can cost ${dollars:.2f}, but your limit is ${limit:.2f}.",
                name=flavor,
                minutes=made.minutes,
                dollars=made.most_dollars,
                limit=max_dollars,
            ),
            n_(
                "That pays for {count} minute: choose fewer, a cheaper machine, or a higher limit.",
                "That pays for {count} minutes: choose fewer, a cheaper machine, or a higher limit.",
                affordable,
            ),
        )
    return made
