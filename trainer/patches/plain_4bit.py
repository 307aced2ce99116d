"""Sets `Linear4bit.support_avx512bf16_for_cpu` of bitsandbytes==0.50.2 to False on each layer of a base that is trained.

Why: on a CPU with AVX512-BF16 the first evaluation packs the weights for a kernel that has no backward pass, and they stay
packed: from then on no gradient goes through a layer to those below it, and torch only warns. Sample answers and the held-out
loss before the first step are such evaluations.
Gain: the gradients after an evaluation are those without one (tests/trainer/test_recipe.py); before, those of the two-layer
base were off by a third. An evaluation on such a CPU is slower.
Refuses: nothing; other layers have no such attribute.
To drop it: remove the call of `install` in trainer/recipe.py, once bitsandbytes unpacks the weights in training mode.
"""


def install(model) -> None:
    """Keep the 4-bit weights of `model` as they are, so that gradients go through them after an evaluation too."""
    from bitsandbytes.nn import Linear4bit

    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.support_avx512bf16_for_cpu = False
