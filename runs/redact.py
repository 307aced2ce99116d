"""Removes paths, the host name and tokens from a text that leaves the machine."""

import re
import socket
import sys
import tempfile
from pathlib import Path

from common.paths import REPOSITORY, home
from common.secret_patterns import SECRETS

# what only a reader of logs takes for a secret: a scan would refuse ordinary words for it
PLACED = (
    r"\beyJ(?:(?!\beyJ)[\w-]){8,}\.[\w-]{8,}\.[\w-]{4,}",
    r"(?<=[Bb]earer )[\w.~+/=-]{8,}",
    r"(?<=://)[^/\s:@'\"]+:[^/\s@'\"]+(?=@)",  # name and password in an address
)
# what follows a letter, a digit, ':' or '/' is a part of an address or of a relative path
ABSOLUTE = re.compile(r"(?<![\w:/.<>~-])(?:/[\w.@+=,%~-]+)+/(?=[\w.@+-]*)")
WINDOWS = re.compile(r"\b[A-Za-z]:(?:\\\\?[^\\/:*?\"<>|\s']+)+")
PACKAGES = re.compile(r"(?<![^\s'\"])[^\s'\"]*/site-packages/")


def redact(text: str) -> str:
    """Return `text` with known folders by name, other absolute paths as `<path>/last-part`, tokens as <secret>."""
    for pattern in (*SECRETS.values(), *PLACED):
        text = re.sub(pattern, "<secret>", text)
    text = PACKAGES.sub("<packages>/", text)
    folders = {home(): "<studio>", REPOSITORY: "<app>", Path(sys.prefix): "<python>", Path.home(): "<home>"}
    folders[Path(tempfile.gettempdir())] = "<tmp>"
    both = {(str(form), name) for folder, name in folders.items() for form in (folder, folder.resolve())}
    for folder, name in sorted(
        both, key=lambda pair: len(pair[0]), reverse=True
    ):  # what lies in another by its own name
        text = text.replace(folder, name) if len(folder) > 3 else text
    text = WINDOWS.sub("<path>", ABSOLUTE.sub("<path>/", text))
    host = socket.gethostname()
    return re.sub(rf"\b{re.escape(host)}\b", "<host>", text) if len(host) > 3 and host != "localhost" else text
