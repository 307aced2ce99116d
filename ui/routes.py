"""Which of Gradio's routes are open, and how the guard (ui/guard.py) treats each of them.

A route that is in neither OPEN nor CLOSED cannot be reached from outside: a test compares both with the installed Gradio.
"""

from enum import Enum, auto

from starlette.routing import compile_path


class Kind(Enum):
    """How a route is counted and checked."""

    ASSET = auto()  # a file of the page itself, cheap and the same for all
    PAGE = auto()  # made anew for each request, by a thread
    CALL = auto()  # JSON that makes a handler run
    NOTE = auto()  # a small JSON about a call that runs
    STREAM = auto()  # stays open: server-sent events
    UPLOAD = auto()
    FILE = auto()  # an upload or a download
    SIGN_IN = auto()  # signs somebody in or out


API = "/gradio_api"
OPEN = {
    "/": Kind.PAGE,
    "/config": Kind.PAGE,
    f"{API}/info": Kind.PAGE,
    f"{API}/openapi.json": Kind.PAGE,
    "/static/{path:path}": Kind.ASSET,
    "/assets/{path:path}": Kind.ASSET,
    "/favicon.ico": Kind.ASSET,
    "/manifest.json": Kind.ASSET,
    "/pwa_icon": Kind.ASSET,  # the mark, which the manifest names
    "/robots.txt": Kind.ASSET,
    "/theme.css": Kind.ASSET,
    f"{API}/theme.css": Kind.ASSET,
    f"{API}/startup-events": Kind.ASSET,  # Gradio asks itself for it when it starts
    f"{API}/queue/join": Kind.CALL,
    f"{API}/call/{{api_name}}": Kind.CALL,
    f"{API}/call/v2/{{api_name}}": Kind.CALL,
    f"{API}/run/{{api_name}}": Kind.CALL,
    f"{API}/api/{{api_name}}": Kind.CALL,  # gradio_client, for what does not wait in the queue
    f"{API}/cancel": Kind.NOTE,
    f"{API}/reset": Kind.NOTE,
    f"{API}/queue/data": Kind.STREAM,
    f"{API}/call/{{api_name}}/{{event_id}}": Kind.STREAM,
    f"{API}/call/v2/{{api_name}}/{{event_id}}": Kind.STREAM,
    f"{API}/heartbeat/{{session_hash}}": Kind.STREAM,
    f"{API}/upload_progress": Kind.STREAM,
    f"{API}/upload": Kind.UPLOAD,
    f"{API}/file={{path_or_url:path}}": Kind.FILE,
    "/login/huggingface": Kind.SIGN_IN,
    "/logout": Kind.SIGN_IN,
    "/login/callback": Kind.PAGE,  # where the Hub sends a browser back to; the state in the session is its check
}
# Gradio has these with a slash at their end, too
_CALLS = [template for template in OPEN if template.endswith("/{api_name}")]
OPEN |= {f"{template}/": OPEN[template] for template in ("/config", f"{API}/info", f"{API}/reset", *_CALLS)}
CLOSED = {
    # signing in with a password, which this app does not have
    "/login",
    f"{API}/user",
    f"{API}/login_check",
    f"{API}/token",
    # for developers
    "/openapi.json",
    f"{API}/app_id",
    f"{API}/dev/reload",
    f"{API}/vibe-code",
    f"{API}/vibe-edit",
    f"{API}/undo-vibe-edit",
    f"{API}/vibe-starter-queries",
    f"{API}/profiling/traces",
    f"{API}/profiling/summary",
    f"{API}/profiling/clear",
    # what others did
    "/monitoring",
    "/monitoring/summary",
    "/monitoring/{key}",
    f"{API}/queue/status",
    # kept by the server: the page of a session, prompts and answers
    f"{API}/deep_link",
    f"{API}/runs",
    f"{API}/run-history/connect",
    f"{API}/run-history/buckets",
    f"{API}/run-history/records",
    f"{API}/run-history/records/{{endpoint}}/{{record_id}}/assets/{{asset_id}}",
    # fetches from elsewhere
    f"{API}/proxy={{url_path:path}}",
    # of components that the page does not have
    "/svelte/{path:path}",
    f"{API}/custom_component/{{id}}/{{environment}}/{{type}}/{{file_name}}",
    f"{API}/component_server",
    f"{API}/process_recording",
    f"{API}/stream/{{event_id}}",
    f"{API}/stream/{{event_id}}/close",
    f"{API}/stream/{{session_hash}}/{{run}}/{{component_id}}/playlist.m3u8",
    f"{API}/stream/{{session_hash}}/{{run}}/{{component_id}}/{{segment_id}}.{{ext}}",
    f"{API}/stream/{{session_hash}}/{{run}}/{{component_id}}/playlist-file",
    # draws a picture of any size
    "/pwa_icon/{size}",
    # an older name of file=
    f"{API}/file/{{path:path}}",
}
CLOSED |= {f"{template}/" for template in CLOSED}
_EXACT = {template: kind for template, kind in OPEN.items() if "{" not in template}
_PATTERNS = [(compile_path(template)[0], kind) for template, kind in OPEN.items() if "{" in template]


def kind_of(path: str) -> Kind | None:
    """Return how the guard treats `path`; None for a route that is not open."""
    return _EXACT.get(path) or next((kind for pattern, kind in _PATTERNS if pattern.match(path)), None)
