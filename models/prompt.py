"""One way from messages or text to token ids, with what is trained. Words of people are never control tokens.

A chat template writes control tokens as text (`</s>`), and a tokenizer reads them back as control tokens, also where a
person typed them. So here those of people are tokenised as the characters that they are. Rows without such words, nearly
all, go through `apply_chat_template` as it is.
"""

from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from common.errors import UserError
from common.imports import import_lock

TEMPLATE_MARK, TYPED_MARK, END = "\ufdd0", "\ufdd1", "\ufdd2"  # noncharacters: Unicode keeps them for internal use


def encode_messages(messages: list[dict], tokenizer, template: str) -> tuple[list[int], list[bool]]:
    """(token ids, which of them the template marks as the assistant's)."""
    if any(special in message["content"] for message in messages for special in control_tokens(tokenizer)):
        return _encode_typed(messages, tokenizer, template)
    try:
        result = tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
    except TemplateError as error:
        raise _refused(error) from error
    return list(result["input_ids"]), [bool(trained) for trained in result["assistant_masks"]]


def _refused(error: TemplateError) -> UserError:
    hint = "Choose another chat_template, or change the row."
    return UserError(f"The chat template cannot show a conversation: {str(error)[:200]}", hint)


def encode_text(text: str, tokenizer) -> list[int]:
    """Token ids of plain text, with what the tokenizer puts before it."""
    return tokenizer(text, split_special_tokens=True, verbose=False)["input_ids"]  # long ones are cut later


@lru_cache(maxsize=4)
def control_tokens(tokenizer) -> tuple[str, ...]:
    """The texts that the tokenizer takes for control tokens, the longest first."""
    added = tokenizer.added_tokens_decoder.values()
    return tuple(sorted({token.content for token in added if token.special}, key=len, reverse=True))


def _encode_typed(messages: list[dict], tokenizer, template: str) -> tuple[list[int], list[bool]]:
    """As above for messages in which somebody typed a control token.

    The template is rendered with marks in place of what was typed; then the template's own control tokens become marks,
    which a twin of the tokenizer knows as tokens, and what was typed becomes text again.
    """
    with import_lock:
        from transformers.utils.chat_template_utils import render_jinja_template

    specials = control_tokens(tokenizer)
    hidden = [{**message, "content": _swap(message["content"], specials, TYPED_MARK)} for message in messages]
    try:
        found: Any = render_jinja_template(
            conversations=[hidden],
            chat_template=template,
            return_assistant_tokens_mask=True,
            **tokenizer.special_tokens_map,
        )
    except TemplateError as error:
        raise _refused(error) from error
    (rendered,), (spans,) = found
    text = _to_twin(rendered, specials)
    twin, back = _twin(tokenizer)
    encoding = twin.encode(text, add_special_tokens=False)
    ids = [back.get(token, token) for token in encoding.ids]
    trained = [False] * len(ids)
    for start, end in spans:
        first, last = (len(_to_twin(rendered[:place], specials)) for place in (start, end))
        for number, (begin, _) in enumerate(encoding.offsets):
            trained[number] |= first <= begin < last
    return ids, trained


def _swap(text: str, specials: tuple[str, ...], mark: str) -> str:
    """`text` with every control token's text as a mark of three characters."""
    for foreign in (TEMPLATE_MARK, TYPED_MARK, END):
        text = text.replace(foreign, "")
    for number, special in enumerate(specials):
        text = text.replace(special, f"{mark}{chr(0xE000 + number)}{END}")
    return text


def _to_twin(rendered: str, specials: tuple[str, ...]) -> str:
    """Rendered text as the twin reads it: the template's control tokens as marks, the typed ones as text."""
    for number, special in enumerate(specials):
        rendered = rendered.replace(special, f"{TEMPLATE_MARK}{chr(0xE000 + number)}{END}")
    for number, special in enumerate(specials):
        rendered = rendered.replace(f"{TYPED_MARK}{chr(0xE000 + number)}{END}", special)
    return rendered


@lru_cache(maxsize=2)
def _twin(tokenizer):
    """(a copy of the tokenizer that knows marks and takes control tokens for text, {its ids of marks: the real ids})."""
    from tokenizers import AddedToken, Tokenizer

    twin = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    twin.no_truncation()
    twin.encode_special_tokens = True
    by_content = {token.content: token for token in tokenizer.added_tokens_decoder.values()}
    back = {}
    for number, special in enumerate(control_tokens(tokenizer)):
        own = by_content[special]
        mark = f"{TEMPLATE_MARK}{chr(0xE000 + number)}{END}"
        twin.add_tokens([AddedToken(mark, lstrip=own.lstrip, rstrip=own.rstrip, normalized=False, special=False)])
        back[twin.token_to_id(mark)] = tokenizer.convert_tokens_to_ids(special)
    return twin, back


def shown_tokens(ids: list[int], tokenizer) -> list[str]:
    """Each token for the eye: control tokens as they are, ↵ a newline, ␣ a space, <0xEC> a byte of a longer character."""
    is_byte_level = "ByteLevel" in repr(tokenizer.backend_tokenizer.decoder)
    specials = set(control_tokens(tokenizer))
    return [
        token if token in specials else _shown(token, is_byte_level) for token in tokenizer.convert_ids_to_tokens(ids)
    ]


def _shown(token: str, is_byte_level: bool) -> str:
    if is_byte_level:
        content = bytes(_byte_of()[character] for character in token if character in _byte_of())
        try:
            token = content.decode()
        except UnicodeDecodeError:
            return "".join(f"<0x{byte:02X}>" for byte in content)
    return token.replace("<0x0A>", "↵").replace("\n", "↵").replace("▁", "␣").replace(" ", "␣")


@lru_cache(maxsize=1)
def _byte_of() -> dict[str, int]:
    """The characters that a byte-level tokenizer writes bytes as: printable ones as themselves, the others from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
