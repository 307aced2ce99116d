"""Every process takes the same order of rows, after every resume too; nothing that is held out counts twice."""

import numpy
import pytest
import torch
from datasets import Dataset

from data.dataset import IGNORED
from trainer.row_order import LengthGroups, filled_up, own_noise


@pytest.fixture
def rows() -> Dataset:
    return Dataset.from_list([{"input_ids": [1] * (2 + n % 7), "labels": [1] * (2 + n % 7)} for n in range(45)])


def test_rows_of_a_length_come_in_the_same_order_whatever_was_drawn_before_and_in_another_one_each_epoch(rows):
    orders = []
    for drawn in (0, 3):  # a process that has drawn more random numbers, or lost its random state
        torch.manual_seed(drawn)
        torch.rand(drawn)
        sampler = LengthGroups(rows, batch_size=4, seed=42)
        orders.append([])
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            orders[-1].append(list(sampler))
    assert orders[0] == orders[1] and orders[0][0] != orders[0][1]
    assert all(sorted(order) == list(range(45)) for order in orders[0])
    resumed = LengthGroups(rows, batch_size=4, seed=42)
    resumed.set_epoch(1)
    assert list(resumed) == orders[0][1], "a resume in the second epoch"


def test_the_trainer_takes_that_order_on_a_gpu_and_accelerate_tells_it_the_epoch(make_trainer, rows):
    from trainer.studio_trainer import StudioTrainer

    trainer = make_trainer(held_out=rows, train=rows)
    trainer.args.train_sampling_strategy = "group_by_length"
    assert isinstance(StudioTrainer._get_train_sampler(trainer), LengthGroups)
    loader = trainer.get_train_dataloader()
    loader.set_epoch(3)
    assert loader.batch_sampler.sampler.epoch == 3


def test_held_out_rows_are_filled_up_with_rows_that_count_nothing(make_trainer, rows):
    filled = filled_up(rows, 8)
    assert len(filled) == 48 and filled.features == rows.features and filled_up(filled, 8) is filled
    assert [set(row["labels"]) for row in filled.select(range(45, 48))] == [{IGNORED}] * 3
    settings = {"train": rows, "per_device_train_batch_size": 4}
    losses = [make_trainer(held_out=held, **settings).evaluate()["eval_loss"] for held in (rows, filled)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_every_process_but_the_first_draws_noise_of_its_own():
    def drawn(rank: int) -> tuple:
        torch.manual_seed(42)
        numpy.random.seed(42)
        own_noise(42, rank)
        return float(torch.rand(1)), float(numpy.random.rand())

    torch.manual_seed(42)
    assert drawn(0)[0] == float(torch.manual_seed(42) and torch.rand(1))
    assert len({drawn(rank)[0] for rank in range(4)}) == 4 and len({drawn(rank)[1] for rank in range(4)}) == 4
    assert drawn(3) == drawn(3)
