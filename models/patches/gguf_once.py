"""Replaces `GGUFReader`, `get_tensor_name_map` and `dequantize` of gguf==0.19.0: read once, named once, and counted.

Why: transformers reads a GGUF three times, for the tokenizer, the config and the weights, each of its 100,000 strings by four
slices of a memory map, and makes the table of all names again for each of a model's 400 modules. It tells nobody how far it is.
Gain: converting the embedded base takes 8 s of a core instead of 18 (30 s instead of 85 on two busy ones), to the same bytes.
Refuses: nothing.
To drop it: remove `read_once` in models/embedded.py, once transformers reads a GGUF once and has a callback for its progress.
"""

import functools
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

STRINGS_A_CALL = 2000  # between two calls of `read`


@contextmanager
def read_once(read: Callable[[int], None], computed: Callable[[int], None]) -> Generator[None]:
    """Let transformers read a GGUF once inside; `read` gets the strings read so far, `computed` the tensors dequantised."""
    import gguf

    dequantize = gguf.dequantize
    strings, tensors = 0, 0

    class Reader(gguf.GGUFReader):
        def _get_str(self, offset: int) -> Any:
            nonlocal strings
            strings += 1
            if strings % STRINGS_A_CALL == 0:
                read(strings)
            return super()._get_str(offset)

    def counted(*arguments: Any, **more: Any) -> Any:
        nonlocal tensors
        tensors += 1
        computed(tensors)
        return dequantize(*arguments, **more)

    replaced: dict[str, Any] = {
        "GGUFReader": functools.cache(Reader),
        "get_tensor_name_map": functools.cache(gguf.get_tensor_name_map),
        "dequantize": counted,
    }
    originals: dict[str, Any] = {name: getattr(gguf, name) for name in replaced}
    vars(gguf).update(replaced)
    try:
        yield
    finally:
        vars(gguf).update(originals)
