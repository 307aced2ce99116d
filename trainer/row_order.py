"""The order of rows: the same in all processes and after every resume, and no held-out row counted twice.

Random noise (dropout, NEFTune) is each process's own; the order of rows never depends on it.
"""

import random

import numpy
import torch
from datasets import Dataset, concatenate_datasets
from transformers.trainer_pt_utils import LengthGroupedSampler

from data.dataset import IGNORED


class LengthGroups(LengthGroupedSampler):
    """Batches of rows of a similar length, in an order that depends on the seed and the epoch alone.

    transformers draws the order from the process's random state: a resume in the second epoch would draw that of the first,
    and a process that lost its random state another one than the others, so that rows are trained twice or never.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int) -> None:
        super().__init__(batch_size, lengths=[len(ids) for ids in dataset["input_ids"]])
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that the order depends on; accelerate's loader calls it at the start of each."""
        self.epoch = epoch

    def __iter__(self):
        self.generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return super().__iter__()


def filled_up(rows: Dataset, batch_size: int) -> Dataset:
    """Append rows without a trained token to `rows` until all processes get the same number of whole batches.

    `batch_size` is that of all processes together. accelerate would repeat rows from the start, and the held-out loss would
    count those twice.
    """
    missing = -len(rows) % batch_size
    if not missing:
        return rows
    ids = rows[0]["input_ids"][:2]
    empty = {"input_ids": ids, "labels": [IGNORED] * len(ids)}
    return concatenate_datasets([rows, Dataset.from_list([empty] * missing, features=rows.features)])


def own_noise(seed: int, rank: int) -> None:
    """Seed every process but the first anew: with the same random numbers all would drop out the same places."""
    if rank == 0:
        return
    random.seed(seed + rank)
    numpy.random.seed((seed + rank) % 2**32)
    torch.manual_seed(seed + rank)
