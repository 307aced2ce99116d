"""TinyLlama Studio: `python app.py` builds the page and opens it. The only file that opens a port."""

import os

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")  # nobody's token stands in for another's

from common.paths import home
from trainer.queue import start_dispatcher
from ui.page import STYLE, build, theme


def main() -> None:
    """Serve on 127.0.0.1:7860; on a Space, or with GRADIO_SERVER_NAME/_PORT, where those say."""
    on_space = bool(os.environ.get("SPACE_ID"))
    home().mkdir(parents=True, exist_ok=True)
    start_dispatcher()
    build().queue(default_concurrency_limit=8).launch(
        server_name=os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0" if on_space else "127.0.0.1"),
        server_port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
        theme=theme(),
        css_paths=[STYLE],
        ssr_mode=False,
        run_history=False,  # it would keep every prompt in the visitor's browser
        max_file_size="2gb",
        blocked_paths=[str(home())],
        show_error=False,
    )


if __name__ == "__main__":
    main()
