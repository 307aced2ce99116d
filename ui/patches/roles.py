"""Replaces two roles in the scripts of gradio==6.31.0: a Chatbot's examples are a group of buttons, an empty plot is a picture.

Why: a screen reader announces a list and finds no items in it, and a label where none may be; axe-core calls it critical and
serious (aria-required-children, aria-prohibited-attr).
Gain: none in speed; what is there is read as what it is.
Refuses: a text that it does not know is delivered as it is; the test of it in tests/test_library_contracts.py fails.
To drop it: remove its call in ui/delivery.py, when Gradio has these roles.
"""

import re

_MENDS = (
    (re.compile(rb'(<div class="examples [\w-]+" role=)"list"'), rb'\1"group"'),
    (re.compile(rb'<div aria-label="Empty value"'), b'<div role="img" aria-label="Empty value"'),
)


def with_roles(script: bytes) -> bytes:
    """Return a script of Gradio with the roles that its elements have."""
    for wrong, right in _MENDS:
        script = wrong.sub(right, script)
    return script
