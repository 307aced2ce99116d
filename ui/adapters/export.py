"""The Export section: a zip, the merged model, GGUF with a Modelfile, and the line for vLLM.

Files are made in a download folder of their own: the app's data is never served.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from adapters.library import Adapter, find_adapter
from adapters.package import export_zip
from adapters.pull import open_adapter
from common.errors import UserError
from common.paths import new_download_folder
from models.base import choose_base, fetch_base
from models.hub.client import sign_in_words, token_of
from ui.adapters.view import hints_html, vllm_text
from ui.messages import hint_html, reporter, shown
from ui.owner import on_space, owner_of

DTYPES = [("bf16 (usual)", "bf16"), ("fp16", "fp16"), ("fp32 (exact, twice as large)", "fp32")]
MERGE_HINT = "The merged model is as large as its base (TinyLlama: 2.2 GB) and needs the base in fp32 in memory."


def build_export(browser_key: gr.BrowserState, adapter_dropdown: gr.Dropdown) -> gr.Code:
    """Lay out the section and wire its events; return the box with the line for vLLM, which `on_line` fills."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            gr.Markdown("#### As it is\nA zip for another machine, or for a friend.")
            zip_button = gr.Button("Make a zip")
            zip_file = gr.File(label="Zip", visible=False, interactive=False)
            gr.Markdown("#### Served by vLLM\n`./NAME` in it is the unpacked zip.")
            vllm_box = gr.Code(
                label="Command",
                language="shell",
                lines=2,
                wrap_lines=True,
                show_line_numbers=False,
                interactive=False,
                buttons=["copy"],
            )
        with gr.Column(min_width=300):
            gr.Markdown(
                "#### Merged into its base\nFor tools that know no adapters. Compared with the original before it is kept."
            )
            dtype_dropdown = gr.Dropdown(DTYPES, value="bf16", label="Precision", info=MERGE_HINT)
            with gr.Row():
                merge_button = gr.Button("Merge", min_width=100)
                gguf_button = gr.Button("Merge and write GGUF", min_width=100)
            merge_html = gr.HTML("")
            merged_files = gr.File(label="Files", visible=False, file_count="multiple", interactive=False)

    picked = [browser_key, adapter_dropdown]
    heavy: dict[str, Any] = {"concurrency_id": "merge", "concurrency_limit": 1, "show_progress_on": merge_html}
    zip_button.click(on_zip, picked, zip_file, api_name="export_adapter")
    merge_button.click(
        on_merge, [*picked, dtype_dropdown], [merge_html, merged_files], api_name="merge_adapter", **heavy
    )
    gguf_button.click(on_gguf, [*picked, dtype_dropdown], [merge_html, merged_files], api_name="export_gguf", **heavy)
    adapter_dropdown.change(
        on_pick,
        picked,
        [vllm_box, zip_file, merge_html, merged_files],
        show_progress="hidden",
        api_visibility="undocumented",
    )
    return vllm_box


@shown
def on_zip(token: gr.OAuthToken | None, key, name):
    """Return a zip of the adapter."""
    adapter = _readable(token, key, name)
    return gr.File(str(export_zip(adapter, _folder(adapter) / f"{adapter.name}.zip")), visible=True)


@shown
def on_merge(token: gr.OAuthToken | None, key, name, dtype, progress=gr.Progress()):  # noqa: B008
    """Return the merged model, file by file."""
    _, merged, _ = _merge(token, key, name, dtype, progress)
    files = [str(path) for path in sorted(merged.folder.iterdir())]
    return hint_html(merged.sentence()), gr.File(files, visible=True)


@shown
def on_gguf(token: gr.OAuthToken | None, key, name, dtype, progress=gr.Progress()):  # noqa: B008
    """Return GGUF files of the merged model and of the adapter, and a Modelfile."""
    from adapters.export.gguf_file import check_model, write_all

    adapter, merged, base_folder = _merge(token, key, name, dtype, progress, check_model)
    progress(0.9, desc="Writing GGUF and reading it back")
    try:
        files, sentences = write_all(adapter, base_folder, merged.folder, merged.folder.parent / "gguf")
    finally:
        shutil.rmtree(merged.folder)  # gigabytes that nobody asked for
    return hints_html([merged.sentence(), *sentences]), gr.File([str(path) for path in files], visible=True)


@shown
def on_line(token: gr.OAuthToken | None, key, name):
    """Return the line for vLLM; after a push it names the repository."""
    return vllm_text(find_adapter(name, owner_of(key, token))) if name else ""


@shown
def on_pick(token: gr.OAuthToken | None, key, name):
    """Return the line for vLLM, and clear the files of the adapter that was picked before."""
    return on_line(token, key, name), gr.File(visible=False), "", gr.File(visible=False)


def _readable(token: gr.OAuthToken | None, key: str, name: str | None) -> Adapter:
    """Return the visitor's adapter; one that was pulled only while the Hub lets them read its repository."""
    return open_adapter(name or "", owner_of(key, token), token_of(token.token if token else None))


def _folder(adapter: Adapter) -> Path:
    """Return a new folder for files of this adapter, counted with the other downloads of its owner."""
    return new_download_folder(adapter.folder.parent.name)


def _merge(
    token: gr.OAuthToken | None,
    key: str,
    name: str | None,
    dtype: str,
    progress: gr.Progress,
    check_base: Callable[[Path], None] = lambda folder: None,
):
    """Return (the adapter, the merged model, its base's folder), with progress on the page; the base is checked before.

    Raises UserError for a visitor who is not signed in: a merge takes gigabytes and minutes of the Space.
    """
    from adapters.export.merge import merge_adapter

    if on_space() and token is None:
        raise UserError("Merging is for who is signed in.", sign_in_words())
    adapter = _readable(token, key, name)
    tell = reporter(progress)
    base_folder = fetch_base(choose_base(adapter.base_choice, adapter.base_revision), tell)
    check_base(base_folder)
    return adapter, merge_adapter(adapter, base_folder, _folder(adapter) / adapter.name, dtype, tell), base_folder
