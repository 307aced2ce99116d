"""Lets bitsandbytes' int8 layers drop the inputs that their backward pass never uses.

bitsandbytes 0.50 stores the input `A` as a plain attribute of ctx (autograd/_functions.py, MatMul8bitLt and MatMul8bitFp),
although a frozen int8 weight never uses it in backward. Plain attributes escape torch's saved-tensor hooks, so gradient
checkpointing cannot free them: 518 kB a token for TinyLlama. Gradients stay bit-equal (a test compares them).
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
