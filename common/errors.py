"""The one exception for what a person can fix. Raised by engines, shown once at the edge (ui/, trainer/train.py, CLIs)."""


class UserError(Exception):
    """A problem that a person can fix: `message` says what was found, `hint` what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()
