"""TinyLlama Studio: `python app.py` builds the page and opens it. The only file that opens a port."""

import argparse
import gc
import io
import os
import sys
from contextlib import nullcontext, redirect_stdout
from functools import partial

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")  # nobody's token stands in for another's
os.environ["GRADIO_DEBUG"] = "0"  # or launch() would not return to tell the key
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")  # or every call makes a table of all

from common.command_line import run_job
from common.hosted import on_space
from common.language import _
from common.paths import data_folders, home, remove_old_files, temporary_folder
from models.hardware import on_zero_gpu

os.environ.setdefault("GRADIO_TEMP_DIR", str(home() / "temporary"))  # read when gradio is imported

gc.disable()  # it would walk all that is being imported again and again: a sixth of the time until the page answers
if on_zero_gpu():
    from ui import zero_gpu  # before anything else brings torch
from gradio.tunneling import CURRENT_TUNNELS

from chat.engine import CALLS, Engine
from runs.queue import start_dispatcher
from ui.guard import guarded
from ui.on_term import obey_term
from ui.page import build
from ui.patches.calm_queue import look_less_often
from ui.served import keep_adapters_on_server
from ui.sharing import Share, Sharing, Who, address_of_app, link, lock_all_out, new_key, open_at, sharing
from ui.theme import MARK, STYLES, theme
from ui.usage import MAX_SESSIONS, MAX_UPLOAD_BYTES, raise_open_files_limit

gc.enable()

MAX_WAITING_CALLS = 500
# of handlers: each answer on its way holds one. Another number than Gradio's 40 gives them threads apart from the page's own
MAX_HANDLER_THREADS = CALLS.total + 40


def main(arguments: list[str] | None = None) -> int:
    """Serve the page, or renew the keys of the app that does; return the exit code."""
    return run_job(_parser, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="app.py", description=str(_("Open the page in a browser.")))
    parser.set_defaults(work=_serve)
    jobs = parser.add_mutually_exclusive_group()
    jobs.add_argument("--share", action="store_true", help=_("through Gradio's tunnel, for anyone with a key"))
    for flag, work, words in (
        ("--another-key", partial(_print_key, Who.OWNER), _("print a link for one more browser of yours")),
        (
            "--guest-key",
            partial(_print_key, Who.GUEST),
            _("print a link for one guest, who has data of their own and no login"),
        ),
        ("--new-key", _renew, _("lock out anyone who has a key or came in with one, and print a new link")),
    ):
        jobs.add_argument(flag, dest="work", action="store_const", const=work, help=words)
    return parser


def _serve(options: argparse.Namespace) -> None:
    """Serve on 127.0.0.1:7860; on a Space, or with GRADIO_SERVER_NAME/_PORT, where those say."""
    server_name = os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0" if on_space() else "127.0.0.1")
    share = Share(sharing(options.share))
    raise_open_files_limit()
    temporary_folder()
    remove_old_files()
    if share.kind == Sharing.TUNNEL:
        lock_all_out()  # whoever has a key of an earlier start
    engine = zero_gpu.prepare() if on_zero_gpu() else Engine()
    page = build(engine).queue(default_concurrency_limit=8, max_size=MAX_WAITING_CALLS)
    gc.freeze()  # modules and components stay: never walked again
    look_less_often(page)
    page.translate(build)
    start_dispatcher()
    obey_term(_close_tunnel)
    keep_adapters_on_server()
    said = io.StringIO()  # Gradio's own words tell a link that opens nothing
    with redirect_stdout(said) if share.kind == Sharing.TUNNEL else nullcontext():
        page.launch(
            share=share.kind == Sharing.TUNNEL,  # on Colab and Kaggle Gradio would decide by itself
            prevent_thread_lock=True,
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
            app_kwargs=guarded(server_name, share, engine),
        )
    if share.kind == Sharing.TUNNEL and not page.share_url:
        print(said.getvalue())
        print(_("Nobody else can open it: Gradio's tunnel could not be set up, which needs the internet."))
    if share.kind == Sharing.TUNNEL:
        page.share = False  # from here on it only says that the page's scripts come from a server of Gradio's
        share.address = page.share_url or ""
        open_at(share.address or page.local_url)
        _print_key(Who.OWNER, options)
        print(
            _("It opens one browser. `python app.py --another-key` prints one more, --guest-key one for a guest."),
            flush=True,
        )
    elif share.kind == Sharing.COLAB_PROXY:
        line = f"from google.colab import output; output.serve_kernel_port_as_iframe({page.server_port})"
        print(_("Show the page in a cell: {line}", line=line), flush=True)
    try:
        page.block_thread()
    finally:
        _close_tunnel()


def _close_tunnel() -> None:
    """End the tunnel, if there is one, and its keys' address."""
    for tunnel in CURRENT_TUNNELS:
        tunnel.kill()
    open_at("")


def _print_key(who: Who, options: argparse.Namespace) -> None:
    """Print a link with a new key to the app that runs."""
    print(_("Open it with its key: {link}", link=link(address_of_app(), new_key(who))), flush=True)


def _renew(options: argparse.Namespace) -> None:
    """Lock everybody out of the app that runs, and print a link with a new key."""
    address_of_app()
    lock_all_out()
    _print_key(Who.OWNER, options)


if __name__ == "__main__":
    sys.exit(main())
