"""Replaces `bitsandbytes.matmul` and reads `autograd._functions` of bitsandbytes==0.50.2: int8 layers keep no unused input.

Why: `MatMul8bitLt` and `MatMul8bitFp` store the input `A` as a plain attribute of ctx, although the backward pass of a frozen
int8 weight never reads it. Plain attributes escape torch's saved-tensor hooks, so gradient checkpointing cannot free them.
Gain: 518 kB a token for TinyLlama, counted tensor by tensor; gradients are bit-equal (tests/trainer/test_recipe.py). Predicted
for an H100: 0.9 GB of the peak; not measured on a GPU (benchmarks/README.md).
Refuses: a weight that is trained itself; its input stays as bitsandbytes keeps it.
To drop it: remove the call of `install` in trainer/recipe.py, once bitsandbytes stores `A` for trained weights alone.
"""


def install() -> None:
    """Replace `bitsandbytes.matmul` by one that drops the unused inputs. Calling it twice changes nothing."""
    import bitsandbytes
    from bitsandbytes.autograd import _functions

    if getattr(bitsandbytes.matmul, "is_lean", False):
        return

    class LeanInt8(_functions.MatMul8bitLt):
        @staticmethod
        def forward(ctx, A, B, out=None, bias=None, state=None):
            result = _functions.MatMul8bitLt.forward(ctx, A, B, out, bias, state)
            if not ctx.needs_input_grad[1] and not ctx.is_empty:
                ctx.tensors, ctx.tensor_states = (None, None, None), (None, None)
            return result

    class LeanFloat(_functions.MatMul8bitFp):
        @staticmethod
        def forward(ctx, A, B, out=None, bias=None, state=None):
            result = _functions.MatMul8bitFp.forward(ctx, A, B, out, bias, state)
            if not ctx.needs_input_grad[1]:
                ctx.A = None
            return result

    def matmul(A, B, out=None, state=None, threshold=0.0, bias=None):
        state = state or _functions.MatmulLtState()
        if threshold > 0.0:
            state.threshold = threshold
        as_floats = state.is_training and A.device.type in ("cpu", "xpu")  # bitsandbytes' own choice
        function = LeanFloat if as_floats else LeanInt8
        return function.apply(A, B, out, bias, state)

    matmul.__dict__["is_lean"] = True
    bitsandbytes.matmul = matmul
