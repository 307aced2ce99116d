"""Replaces roles and a button in the scripts of gradio==6.31.0: a Chatbot's examples are a group of buttons, an empty plot is a
picture, "one more file" at a list of files is one button, not a button in a button, and so is the title of a message.

Why: a screen reader announces a list and finds no items in it, and a label where none may be; of the two buttons at files the
outer one does nothing and is called "common.upload"; the head of a message is a button around the one that closes it. axe-core
calls it critical and serious (aria-required-children, aria-prohibited-attr, nested-interactive).
Gain: none in speed; what is there is read as what it is, and the keyboard opens the choice of a file.
Refuses: a text that it does not know is delivered as it is; the test of it in tests/test_library_contracts.py fails.
To drop it: remove its call in ui/delivery.py, when Gradio has these roles.
"""

import re

_MENDS = (
    (re.compile(rb'(<div class="examples [\w-]+" role=)"list"'), rb'\1"group"'),
    (re.compile(rb'<div aria-label="Empty value"'), b'<div role="img" aria-label="Empty value"'),
    (
        re.compile(
            rb'(<div class="toast-header [\w-]+")( role="button" tabindex="0")(>.+?<div class="toast-title-row [\w-]+")'
        ),
        rb"\1\3\2",
    ),
    (
        re.compile(
            rb"common\.upload(`\)\);[\w$]+\([\w$]+,\{)"
            rb"(get Icon\(\)\{return [\w$]+\},get label\(\)\{return [\w$]+\([\w$]+\)\},"
            rb"children:\([\w$]+,[\w$]+\)=>\{[\w$]+\([\w$]+,\{)(icon_upload:!0,)"
        ),
        rb"upload_text.click_to_upload\1"
        rb"onclick:e=>{let t=e.currentTarget.querySelector(`.icon-mode`);t.contains(e.target)||t.click()},"
        rb"\2container_element:`div`,\3",
    ),
)


def with_roles(script: bytes) -> bytes:
    """Return a script of Gradio with the roles that its elements have."""
    for wrong, right in _MENDS:
        script = wrong.sub(right, script)
    return script
