"""Patterns of secrets in a text: for what is never sent (adapters/trust/scan.py) and what is redacted (runs/redact.py).

Every pattern starts at few places or stops at the next such place, so that its time grows linearly with the text.
"""

from common.language import _

SECRETS = {  # words: pattern
    _("a Hugging Face token"): r"\bhf_[A-Za-z0-9_]{20,}",
    _("an API key"): r"\bsk-[A-Za-z0-9_-]{20,}",
    _("an AWS key"): r"\bAKIA[0-9A-Z]{16}\b",
    _("a GitHub token"): r"\bgh[pousr]_[A-Za-z0-9]{20,}",
    _("a private key"): r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*",
}
