"""Prices of Hugging Face's machines, from its documentation: as a Space's hardware, and for Jobs."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from common.language import Sentence, _
from models.hardware import Gpu, Hardware

FROM_DOCS = _("Hugging Face's documentation of 2026-11-25")
MIN_MINUTES = 10  # of a job: less is over before the packages and the base are there
# developer.nvidia.com/cuda-gpus
COMPUTE_CAPABILITIES = {"T4": 7.5, "A100": 8.0, "A10G": 8.6, "L4": 8.9, "L40S": 8.9, "H200": 9.0, "RTX PRO 6000": 12.0}


class Price(NamedTuple):
    """One kind of machine: US dollars an hour, its GPUs, and words for a person."""

    dollars_per_hour: float
    gpus: int
    words: str


# huggingface.co/docs/hub/jobs-pricing, read on 2026-11-25
JOBS = {
    "cpu-basic": Price(0.01, 0, "CPU Basic, 2 vCPU, 16 GB"),
    "cpu-upgrade": Price(0.03, 0, "CPU Upgrade, 8 vCPU, 32 GB"),
    "t4-small": Price(0.40, 1, "Nvidia T4 - small, 16 GB"),
    "t4-medium": Price(0.60, 1, "Nvidia T4 - medium, 16 GB"),
    "l4x1": Price(0.80, 1, "1x Nvidia L4, 24 GB"),
    "l4x4": Price(3.80, 4, "4x Nvidia L4, 96 GB"),
    "l40sx1": Price(1.80, 1, "1x Nvidia L40S, 48 GB"),
    "l40sx4": Price(8.30, 4, "4x Nvidia L40S, 192 GB"),
    "l40sx8": Price(23.50, 8, "8x Nvidia L40S, 384 GB"),
    "a10g-small": Price(1.00, 1, "Nvidia A10G - small, 24 GB"),
    "a10g-large": Price(1.50, 1, "Nvidia A10G - large, 24 GB"),
    "a10g-largex2": Price(3.00, 2, "2x Nvidia A10G - large, 48 GB"),
    "a10g-largex4": Price(5.00, 4, "4x Nvidia A10G - large, 96 GB"),
    "a100-large": Price(2.50, 1, "Nvidia A100 - large, 80 GB"),
    "a100x4": Price(10.00, 4, "4x Nvidia A100, 320 GB"),
    "a100x8": Price(20.00, 8, "8x Nvidia A100, 640 GB"),
    "h200": Price(5.00, 1, "Nvidia H200, 141 GB"),
    "h200x2": Price(10.00, 2, "2x Nvidia H200, 282 GB"),
    "h200x4": Price(20.00, 4, "4x Nvidia H200, 564 GB"),
    "h200x8": Price(40.00, 8, "8x Nvidia H200, 1128 GB"),
    "rtx-pro-6000": Price(2.75, 1, "Nvidia RTX PRO 6000, 96 GB"),
}
# huggingface.co/docs/hub/spaces-gpus, read on 2026-11-25: the same prices, but for the free one. Of others (A100) two sources
# of different age do not agree
ON_SPACES = ("cpu-upgrade", "t4-small", "t4-medium", "l4x1", "l4x4", "l40sx1", "l40sx4", "a10g-small", "a10g-large")
ON_SPACES += ("a10g-largex2", "a10g-largex4")


@dataclass(frozen=True)
class Flavor:
    """One kind of machine: its price in US dollars a minute, its GPUs, and a description."""

    name: str
    dollars_per_minute: float
    gpus: int
    words: str
    source: str = FROM_DOCS

    def line(self) -> Sentence:
        """Return the name, the price of an hour, and the description, in one line."""
        price = round(60 * self.dollars_per_minute, 2)
        return _("{name}, ${dollars:.2f} per hour: {machine}", name=self.name, dollars=price, machine=self.words)

    def hardware(self) -> Hardware:
        """Return this machine as a forecast takes it, read out of its description: "4x Nvidia L4, 96 GB" has 24 GB a card."""
        cores, size = re.search(r"(\d+) vCPU", self.words), re.search(r"(\d+) ?GB\b", self.words)
        memory_bytes = int(size[1]) * 10**9 // max(1, self.gpus) if size else 0
        named = (value for card, value in COMPUTE_CAPABILITIES.items() if re.search(rf"\b{card}\b", self.words))
        gpus = (Gpu(self.words, memory_bytes, next(named, None)),) * self.gpus
        return Hardware(gpus, int(cores[1]) if cores else 1, memory_bytes, self.words)


def documented_flavors() -> list[Flavor]:
    """Return the machines of Jobs at the documentation's prices."""
    return [Flavor(name, price.dollars_per_hour / 60, price.gpus, price.words) for name, price in JOBS.items()]


def space_dollars_per_hour(flavor: str) -> float | None:
    """Return the price of a Space with this hardware, None when it is not known."""
    if flavor == "cpu-basic":
        return 0.0
    return JOBS[flavor].dollars_per_hour if flavor in ON_SPACES else None
