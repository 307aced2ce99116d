"""Keyword arguments that many events share."""

from typing import Any

# no progress bar over the outputs; not in the documented API
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "undocumented"}
