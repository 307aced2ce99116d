"""TinyLlama Studio: `python app.py` builds the page and opens it. The only file that opens a port."""

import gc
import os
import sys

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")  # nobody's token stands in for another's

from common.collection import without_collection
from common.command_line import exit_code
from common.paths import home

with without_collection():  # a fifth of the time until the page answers
    from chat.engine import CALLS
    from trainer.queue import start_dispatcher
    from ui.page import STYLE, build, host_guard, theme
    from ui.read_ahead import start_reading_ahead


def main() -> None:
    """Serve on 127.0.0.1:7860; on a Space, or with GRADIO_SERVER_NAME/_PORT, where those say."""
    on_space = bool(os.environ.get("SPACE_ID"))
    server_name = os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0" if on_space else "127.0.0.1")
    home().mkdir(parents=True, exist_ok=True)
    with without_collection():
        page = build().queue(default_concurrency_limit=8)
    gc.freeze()  # modules and components stay: never walked again
    start_dispatcher()
    start_reading_ahead()
    page.launch(
        server_name=server_name,
        server_port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
        theme=theme(),
        css_paths=[STYLE],
        ssr_mode=False,
        run_history=False,  # it would keep every prompt in the visitor's browser
        max_file_size="2gb",
        max_threads=CALLS.total + 40,  # each answer on its way holds one; the rest of the page has gradio's usual 40
        blocked_paths=[str(home())],
        show_error=False,
        app_kwargs=host_guard(server_name),
    )


if __name__ == "__main__":
    sys.exit(exit_code(main))
