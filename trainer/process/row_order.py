"""Which process gets which row: the same order in all of them and after every resume, and no held-out row counted twice.

Random noise (dropout, NEFTune) is each process's own; the order of rows never depends on it.
"""

import random

import numpy
import torch
from datasets import Dataset, concatenate_datasets
from transformers.trainer_pt_utils import LengthGroupedSampler

from trainer.data.dataset import IGNORED


class LengthGroups(LengthGroupedSampler):
    """Rows of a length together, in an order that the seed and the epoch decide.

    transformers draws it from the process's own random state: a resume in the second epoch would draw the order of the first,
    and a process that lost its random state another order than its siblings, so that rows are trained twice or never.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int) -> None:
        super().__init__(batch_size, lengths=[len(ids) for ids in dataset["input_ids"]])
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate's loader at the start of every epoch."""
        self.epoch = epoch

    def __iter__(self):
        self.generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return super().__iter__()


def filled_up(rows: Dataset, batch_size: int) -> Dataset:
    """`rows` and as many that train nothing that all processes get whole batches of the same number.

    accelerate would repeat rows from the start instead, and the held-out loss would count those twice.
    """
    missing = -len(rows) % batch_size
    if not missing:
        return rows
    ids = rows[0]["input_ids"][:2]
    empty = {"input_ids": ids, "labels": [IGNORED] * len(ids)}
    return concatenate_datasets([rows, Dataset.from_list([empty] * missing, features=rows.features)])


def own_noise(seed: int, rank: int) -> None:
    """Random numbers of its own for every process but the first: with the same ones all would drop out the same places."""
    if rank == 0:
        return
    random.seed(seed + rank)
    numpy.random.seed((seed + rank) % 2**32)
    torch.manual_seed(seed + rank)
