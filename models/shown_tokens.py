"""Tokens as people see them in a preview: a character that is cut into several stands whole at the first."""

import re
from collections.abc import Iterable

from common.imports import import_lock
from models.prompt import control_tokens

MAX_CHARACTER_TOKENS = 16  # that may begin and end within characters, one after the other


def shown_tokens(ids: list[int], tokenizer) -> list[str]:
    """Return each token as visible text: control tokens as they are, ↵ a newline, ␣ a space.

    A character that is cut into several tokens stands at the first of them, the others are "". <0xEC> is a byte of one that is
    not whole.
    """
    with import_lock:
        from transformers.convert_slow_tokenizer import bytes_to_unicode

    specials = set(control_tokens(tokenizer))
    byte_of: dict[str, int] = {}  # the characters that a byte-level tokenizer writes bytes as
    if "ByteLevel" in repr(tokenizer.backend_tokenizer.decoder):
        byte_of = {character: byte for byte, character in bytes_to_unicode().items()}

    def bytes_of(token: str) -> bytes | None:
        if token in specials:
            return None
        if byte_of:
            return bytes(byte_of[character] for character in token if character in byte_of)
        if re.fullmatch("<0x[0-9A-F]{2}>", token):
            return bytes.fromhex(token[3:5])
        return token.replace("▁", " ").encode()

    names = tokenizer.convert_ids_to_tokens(ids)
    contents = list(map(bytes_of, names))
    shown: list[str] = []
    while (place := len(shown)) < len(names):
        content, (text, count) = contents[place], _whole(contents[place : place + MAX_CHARACTER_TOKENS])
        if content is None:
            shown.append(names[place])
        elif count:
            shown += [text.replace("\n", "↵").replace(" ", "␣"), *[""] * (count - 1)]
        else:
            shown.append("".join(f"<0x{byte:02X}>" for byte in content))
    return shown


def _whole(contents: Iterable[bytes | None]) -> tuple[str, int]:
    """Return (the characters that the first pieces make, how many pieces they take); ("", 0) where they are not whole."""
    held = b""
    for count, content in enumerate(contents, 1):
        if content is None:
            break
        held += content
        try:
            return held.decode(), count
        except UnicodeDecodeError as error:
            if error.reason != "unexpected end of data":
                break
    return "", 0
