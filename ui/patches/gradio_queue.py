"""Reads `Blocks._queue`, its tables of sessions and `App.state_holder` of gradio==6.31.0: what Gradio holds of a session.

Why: Gradio frees the calls and answers of a session when its stream ends; those of a session that never opened one stay.
Gain: none in speed; without it anybody can fill the memory of the app.
Refuses: nothing. A table that has moved raises AttributeError at the first call.
To drop it: when Gradio has a call that forgets a session, and says which calls wait.
"""

from typing import Any


def queue_of(app) -> Any:
    """Return the queue of the page that `app` serves."""
    return app.get_blocks()._queue


async def forget_session(app, session_hash: str) -> None:
    """Remove what Gradio holds of a session: its state, its calls, and the answers that nobody fetched."""
    blocks = app.get_blocks()
    app.state_holder.session_data.pop(session_hash, None)
    app.state_holder.time_last_used.pop(session_hash, None)
    queue = queue_of(app)
    await queue.clean_events(session_hash=session_hash)
    for held in (
        queue.pending_messages_per_session,
        queue.pending_event_ids_session,
        blocks.pending_streams,
        blocks.pending_diff_streams,
    ):
        held.pop(session_hash, None)
