"""Takes out of a text what tells of a machine or opens an account: paths, host name, tokens. For what leaves the machine."""

import re
import socket
import sys
import tempfile
from pathlib import Path

from common.paths import REPOSITORY, home

# every pattern starts at few places or stops at the next such place: the time grows with the text, not with its square
SECRETS = (
    re.compile(r"\bhf_[A-Za-z0-9_]{6,}"),
    re.compile(r"\bsk-[A-Za-z0-9_-]{16,}"),
    re.compile(r"\bgh[pousr]_[A-Za-z0-9]{16,}"),
    re.compile(r"\beyJ(?:(?!\beyJ)[\w-]){8,}\.[\w-]{8,}\.[\w-]{4,}"),
    re.compile(r"(?<=[Bb]earer )[\w.~+/=-]{8,}"),
    re.compile(r"(?<=://)[^/\s:@'\"]+:[^/\s@'\"]+(?=@)"),  # name and password in an address
)
# what follows a letter, a digit, ':' or '/' is a part of an address or of a relative path
ABSOLUTE = re.compile(r"(?<![\w:/.<>~-])(?:/[\w.@+=,%~-]+)+/(?=[\w.@+-]*)")
WINDOWS = re.compile(r"\b[A-Za-z]:(?:\\\\?[^\\/:*?\"<>|\s']+)+")
PACKAGES = re.compile(r"(?<![^\s'\"])[^\s'\"]*/site-packages/")


def redact(text: str) -> str:
    """`text` with known folders by name, other absolute paths as `<path>/last-part`, tokens as <secret>."""
    for pattern in SECRETS:
        text = pattern.sub("<secret>", text)
    text = PACKAGES.sub("<packages>/", text)
    for folder, name in _known_folders():
        text = text.replace(folder, name)
    text = WINDOWS.sub("<path>", ABSOLUTE.sub("<path>/", text))
    host = socket.gethostname()
    return re.sub(rf"\b{re.escape(host)}\b", "<host>", text) if len(host) > 3 and host != "localhost" else text


def _known_folders() -> list[tuple[str, str]]:
    """(folder, name), the longest first, so that what lies inside another is named by itself."""
    folders = {home(): "<studio>", REPOSITORY: "<app>", Path(sys.prefix): "<python>", Path.home(): "<home>"}
    folders[Path(tempfile.gettempdir())] = "<tmp>"
    both = {(str(form), name) for folder, name in folders.items() for form in (folder, folder.resolve())}
    return sorted((pair for pair in both if len(pair[0]) > 3), key=lambda pair: len(pair[0]), reverse=True)
