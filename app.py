"""TinyLlama Studio: `python app.py` builds the page and opens it. The only file that opens a port."""

import gc
import os
import sys

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")  # nobody's token stands in for another's
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")  # or every call makes a table of all

from common.command_line import exit_code
from common.paths import data_folders, home, remove_old_files, temporary_folder

os.environ.setdefault("GRADIO_TEMP_DIR", str(home() / "temporary"))  # read when gradio is imported

gc.disable()  # it would walk all that is being imported again and again: a sixth of the time until the page answers
from chat.engine import CALLS
from runs.queue import start_dispatcher
from ui.guard import guarded
from ui.on_term import obey_term
from ui.page import build
from ui.patches.calm_queue import look_less_often
from ui.served import keep_adapters_on_server
from ui.theme import MARK, STYLES, theme
from ui.usage import MAX_SESSIONS, MAX_UPLOAD_BYTES, raise_open_files_limit

gc.enable()

MAX_WAITING_CALLS = 500
# of handlers: each answer on its way holds one. Another number than Gradio's 40 gives them threads apart from the page's own
MAX_HANDLER_THREADS = CALLS.total + 40


def main() -> None:
    """Serve on 127.0.0.1:7860; on a Space, or with GRADIO_SERVER_NAME/_PORT, where those say."""
    on_space = bool(os.environ.get("SPACE_ID"))
    server_name = os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0" if on_space else "127.0.0.1")
    raise_open_files_limit()
    temporary_folder()
    remove_old_files()
    page = build().queue(default_concurrency_limit=8, max_size=MAX_WAITING_CALLS)
    gc.freeze()  # modules and components stay: never walked again
    look_less_often(page)
    page.translate(build)
    start_dispatcher()
    obey_term()
    keep_adapters_on_server()
    page.launch(
        server_name=server_name,
        server_port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
        theme=theme(),
        css_paths=STYLES,
        favicon_path=MARK,
        footer_links=["api"],  # Gradio's settings have a language of their own
        ssr_mode=False,
        run_history=False,  # it would keep every prompt in the visitor's browser
        max_file_size=MAX_UPLOAD_BYTES,
        blocked_paths=[str(folder) for folder in data_folders()],
        show_error=False,
        max_threads=MAX_HANDLER_THREADS,
        state_session_capacity=MAX_SESSIONS + 100,  # the guard makes room before Gradio takes anybody's
        app_kwargs=guarded(server_name),
    )


if __name__ == "__main__":
    sys.exit(exit_code(main))
