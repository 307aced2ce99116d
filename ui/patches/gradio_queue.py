"""Reads `Blocks._queue`, `App.state_holder` and `routes.file_upload_statuses` of gradio==6.31.0: what it holds of a session.

Why: Gradio frees the calls and answers of a session when its stream ends; those of a session that never opened one stay.
The progress of an upload stays until somebody asks for it. ui/guard.py counts the calls of a client before it takes one more.
Gain: none in speed; without it anybody can fill the memory of the app.
Refuses: nothing. A table that has moved raises AttributeError at the first call.
To drop it: when Gradio has calls that forget a session and an upload, and that tell which calls wait and run.
"""

from typing import Any

from gradio.routes import file_upload_statuses


def waiting_calls(app) -> dict[str, set[str]]:
    """Return the ids of the calls that have not ended, by session."""
    return _queue(app).pending_event_ids_session


def running_calls(app) -> list[Any]:
    """Return the calls that run now: Gradio's events, each with its `session_hash` and `request`."""
    return [event for job in _queue(app).active_jobs if job for event in job]


def session_of_call(app, event_id: str) -> str | None:
    """Return the session of a call, None for a call that Gradio does not know."""
    event = _queue(app).event_ids_to_events.get(event_id)
    return event.session_hash if event else None


def forget_upload(upload_id: str) -> None:
    """Remove how far an upload has come."""
    file_upload_statuses.stop_tracking(upload_id)


async def forget_session(app, session_hash: str) -> None:
    """Remove Gradio's data of a session: its state, its calls, and its answers that were not fetched."""
    blocks = app.get_blocks()
    app.state_holder.session_data.pop(session_hash, None)
    app.state_holder.time_last_used.pop(session_hash, None)
    queue = _queue(app)
    await queue.clean_events(session_hash=session_hash)
    for held in (
        queue.pending_messages_per_session,
        queue.pending_event_ids_session,
        blocks.pending_streams,
        blocks.pending_diff_streams,
    ):
        held.pop(session_hash, None)


def _queue(app) -> Any:
    return app.get_blocks()._queue
