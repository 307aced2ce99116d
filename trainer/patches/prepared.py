"""A model that a trainer has prepared, made ready for another one; and a checkpoint that is loaded without a step.

Writes `_is_accelerate_prepared` of accelerate==1.15.0: accelerate marks an evaluated model as prepared, and `train` would not
wrap it for several processes: each would train for itself. Calls `Trainer._load_from_checkpoint` of transformers==5.23.0:
`train` would add a step to a run that was killed after its last checkpoint, where an epoch is not over. To drop it: when
accelerate frees a model that `free_memory` has let go, and transformers loads a checkpoint on request.
"""


def forget_preparation(model) -> None:
    """Let the next trainer prepare `model` anew."""
    model._is_accelerate_prepared = False


def load_checkpoint(trainer, folder: str) -> None:
    """Load the weights of the checkpoint in `folder` into the model of `trainer`."""
    trainer._load_from_checkpoint(folder)
