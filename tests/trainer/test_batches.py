"""What a batch computes: TRL's loss from fewer positions, rows that do not see each other, padding that is never trained."""

import pytest
import torch
from trl import SFTTrainer

from data.dataset import IGNORED
from trainer.patches.loss_head import COUNTED


@pytest.mark.parametrize("batch", [1, 4])
def test_our_loss_on_a_cpu_is_trls_loss(make_trainer, batch):
    """The same number and the same gradients, from fewer positions."""
    trainer = make_trainer(per_device_train_batch_size=batch)
    inputs = trainer.data_collator([trainer.train_dataset[n] for n in range(batch)])
    results = []
    for compute_loss, without in ((trainer.compute_loss, ()), (SFTTrainer.compute_loss.__get__(trainer), COUNTED)):
        trainer.model.zero_grad()
        given = {name: value for name, value in inputs.items() if name not in without}
        loss = compute_loss(trainer.model, given, num_items_in_batch=torch.tensor(37))
        loss.backward()
        results.append(
            (loss.item(), {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.requires_grad})
        )
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    assert all(torch.allclose(results[0][1][name], results[1][1][name], atol=1e-6) for name in results[0][1])


def test_rows_laid_end_to_end_do_not_see_each_other(make_trainer):
    """The loss of a batch without padding is the sum of its rows' losses."""
    trainer = make_trainer(per_device_train_batch_size=4)
    trainer.model.eval()
    batch = [trainer.train_dataset[n] for n in range(4)]
    one = torch.tensor(1)
    together = trainer.compute_loss(trainer.model, trainer.data_collator(batch), num_items_in_batch=one)
    alone = sum(
        trainer.compute_loss(trainer.model, trainer.data_collator([row]), num_items_in_batch=one) for row in batch
    )
    assert together.item() == pytest.approx(alone.item(), rel=1e-4)


def test_a_packed_batch_has_the_loss_of_its_rows(make_trainer, rows):
    """TRL's best-fit packing on our rows: whole rows, which do not see each other, and nothing lost."""
    trainer = make_trainer(per_device_train_batch_size=2, packing=True, max_length=128)
    trainer.model.eval()
    packed = list(trainer.train_dataset)
    assert len(packed) < len(rows) and any(len(row["seq_lengths"]) > 1 for row in packed)
    assert all(len(row["input_ids"]) <= 128 for row in packed)
    assert sorted(length for row in packed for length in row["seq_lengths"]) == sorted(
        len(r["input_ids"]) for r in rows
    )
    one = torch.tensor(1)
    together = sum(_loss(trainer, packed[start : start + 2], one) for start in range(0, len(packed), 2))
    assert together == pytest.approx(sum(_loss(trainer, [row], one) for row in rows), rel=1e-4)
    joined = [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in packed]
    seen = sum(_loss(trainer, joined[start : start + 2], one) for start in range(0, len(packed), 2))
    assert seen != pytest.approx(together, rel=1e-4), "without the lengths they would see each other"


def _loss(trainer, batch: list[dict], count) -> float:
    return trainer.compute_loss(trainer.model, trainer.data_collator(batch), num_items_in_batch=count).item()


def test_packed_rows_are_trained_and_held_out_rows_are_not_packed(make_trainer, rows):
    trainer = make_trainer(held_out=rows, packing=True, per_device_train_batch_size=1)
    trainer.train()
    assert trainer.state.global_step == 1 and len(trainer.eval_dataset) == len(rows)
    assert trainer.evaluate()["eval_loss"] > 0


def test_an_evaluation_before_the_training_leaves_no_trace(make_trainer, rows):
    """accelerate marks an evaluated model as prepared; several processes would then train one each. Nor is RNG drawn."""
    trainer = make_trainer(held_out=rows)
    state = torch.random.get_rng_state()
    trainer.evaluate()
    assert torch.equal(state, torch.random.get_rng_state())
    assert not trainer.model._is_accelerate_prepared


def test_padding_is_never_trained_although_it_is_the_stop_token(tinyllama_tokenizer, rows):
    """The collator that a GPU uses: it pads, with </s>."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    assert tinyllama_tokenizer.pad_token_id == tinyllama_tokenizer.eos_token_id == 2
    batch = DataCollatorForLanguageModeling(pad_token_id=tinyllama_tokenizer.pad_token_id)(rows)
    padding = batch["attention_mask"] == 0
    assert padding.any() and (batch["labels"][padding] == IGNORED).all()
    assert (batch["labels"] == 2).sum() == len(rows), "every answer's stop token is trained, once"


def test_the_held_out_loss_is_a_mean_over_tokens_not_over_batches(make_trainer, rows):
    trainer = make_trainer(held_out=rows, per_device_train_batch_size=3)
    trainer.model.eval()
    one = torch.tensor(1)
    total = sum(
        trainer.compute_loss(trainer.model, trainer.data_collator([row]), num_items_in_batch=one).item()
        for row in trainer.train_dataset
    )
    tokens = sum(label != IGNORED for row in rows for label in row["labels"][1:])
    assert trainer.evaluate()["eval_loss"] == pytest.approx(total / tokens, rel=1e-4)
