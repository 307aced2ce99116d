"""Replaces the role of a Chatbot's examples in `Index-*.js` of gradio==6.31.0: a group of buttons, not a list without items.

Why: a screen reader announces a list and finds nothing in it; axe-core calls it critical (aria-required-children).
Gain: none in speed; the examples are read as the buttons that they are.
Refuses: a text that it does not know is delivered as it is; the test of it in tests/test_library_contracts.py fails.
To drop it: remove its call in ui/delivery.py, when Gradio's buttons are items of their list.
"""

import re

_LIST = re.compile(rb'(<div class="examples [\w-]+" role=)"list"')


def with_a_group_of_examples(script: bytes) -> bytes:
    """Return Gradio's script of the Chatbot with its examples as a group."""
    return _LIST.sub(rb'\1"group"', script)
