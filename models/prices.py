"""Prices of Hugging Face's machines, from its documentation: as a Space's hardware, and for Jobs."""

from typing import NamedTuple


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


def space_dollars_per_hour(flavor: str) -> float | None:
    """Return the price of a Space with this hardware, None when it is not known."""
    if flavor == "cpu-basic":
        return 0.0
    return JOBS[flavor].dollars_per_hour if flavor in ON_SPACES else None
