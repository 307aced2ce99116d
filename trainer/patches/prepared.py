"""Writes `_is_accelerate_prepared` of accelerate==1.15.0, calls `Trainer._load_from_checkpoint` of transformers==5.23.0.

Why: accelerate marks an evaluated model as prepared, and `train` would not wrap it for several processes: each would train for
itself. `Trainer.train` adds a step to a run that was killed after its last checkpoint, where an epoch is not over; such a run
only needs its weights loaded.
Gain: none in speed; without it the adapter is not the one that was asked for (tests/trainer/test_resume.py).
Refuses: nothing. A missing mark changes nothing, a missing method raises AttributeError.
To drop it: when `Accelerator.free_memory` unmarks the models that it releases, and transformers loads a checkpoint on request.
"""


def forget_preparation(model) -> None:
    """Let the next trainer prepare `model` anew."""
    model._is_accelerate_prepared = False


def load_checkpoint(trainer, folder: str) -> None:
    """Load the weights of the checkpoint in `folder` into the model of `trainer`."""
    trainer._load_from_checkpoint(folder)
