"""Replaces `SessionState` of gradio==6.31.0: sessions keep only what cannot be found elsewhere.

Why: Gradio copies the configuration of every component for every session, and keeps in it the last value that went in or out of
each, conversations included. Only deep links read that copy, and this app has none (ui/routes.py).
Gain, for this page on 2 CPU cores: 0.73 MB a session became 0.03 MB, and its first call takes 11 ms, not 46.
Refuses: nothing. A method that was renamed is Gradio's again, and the session is large again.
To drop it: remove the call of `keep_no_values` in ui/page.py.
"""

from copy import copy

from gradio import blocks, route_utils, state_holder
from gradio.components import State
from gradio.state_holder import SessionState


class LeanSession(SessionState):
    """The state of one session: the values of gr.State, and components that were given other properties."""

    def __init__(self, page) -> None:
        self.blocks_config = copy(page.default_config)
        self.config_values = {}
        self.state_data = {}
        self._state_ttl = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = 3600

    def __setitem__(self, key: int, value) -> None:
        if isinstance(self.blocks_config.blocks.get(key), State):
            super().__setitem__(key, value)
            self.config_values.clear()
        else:
            self.blocks_config.blocks[key] = value

    def _update_config(self, key: int) -> None:
        """Keep nothing."""

    def _update_value_in_config(self, key: int, value) -> None:
        """Keep nothing."""


def keep_no_values() -> None:
    """Let Gradio make a `LeanSession` for every session from now on."""
    state_holder.SessionState = blocks.SessionState = route_utils.SessionState = LeanSession
