"""The Export section: a zip, the merged model, GGUF with a Modelfile, and the line for vLLM.

Files are made in a download folder of their own: the app's data is never served.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from adapters.export.merge import DTYPES, merge_adapter
from adapters.library import Adapter, find_adapter
from adapters.package import export_zip
from adapters.pull import open_adapter
from common.errors import UserError
from common.language import _
from common.paths import new_download_folder
from common.visitors import is_visitor
from models.base import choose_base, fetch_base
from models.hub.client import sign_in_words, token_of
from models.hub.fetch import Progress
from ui.adapters.view import hints_html, vllm_text
from ui.messages import reporter, shown
from ui.owner import is_signed_in, owner_of

KINDS = (ZIP, MERGED, GGUF) = ("zip", "merged", "gguf")


def build_export(browser_key: gr.BrowserState, picked: gr.Textbox) -> gr.Code:
    """Lay out the section and wire its events; return the box with the line for vLLM, which `on_line` fills."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            gr.Markdown(f"#### {_('As it is')}\n{_('A zip for another machine, or for a friend.')}")
            zip_button = gr.Button(_("Make a zip"))
            zip_file = gr.File(label=_("Zip"), visible=False, interactive=False)
            gr.Markdown(f"#### {_('Serve with vLLM')}\n{_('Unzip the adapter; `./NAME` is its folder.')}")
            vllm_box = gr.Code(
                label=_("Command"),
                language="shell",
                lines=2,
                wrap_lines=True,
                show_line_numbers=False,
                interactive=False,
                buttons=["copy"],
            )
        with gr.Column(min_width=300):
            about = _("For tools without LoRA support. The result is checked against the original.")
            gr.Markdown(f"#### {_('Merged into its base')}\n{about}")
            dtype_dropdown = gr.Dropdown(
                [(_("bf16 (usual)"), "bf16"), ("fp16", "fp16"), (_("fp32 (exact, twice as large)"), "fp32")],
                value="bf16",
                label=_("Precision"),
                info=_(
                    "A merged model is as large as its base (TinyLlama: 2.2 GB); merging needs the base in fp32 in memory."
                ),
            )
            with gr.Row():
                merge_button = gr.Button(_("Merge"), min_width=100)
                gguf_button = gr.Button(_("Merge to GGUF"), min_width=100)
            merge_html = gr.HTML("")
            merged_files = gr.File(label=_("Files"), visible=False, file_count="multiple", interactive=False)

    inputs = [browser_key, picked]
    heavy: dict[str, Any] = {"concurrency_id": "merge", "concurrency_limit": 1, "show_progress_on": merge_html}
    outputs = [merge_html, merged_files]
    zip_button.click(on_zip, inputs, zip_file, api_name="export_adapter")
    merge_button.click(on_merge, [*inputs, dtype_dropdown], outputs, api_name="merge_adapter", **heavy)
    gguf_button.click(on_gguf, [*inputs, dtype_dropdown], outputs, api_name="export_gguf", **heavy)
    picked.change(
        on_pick,
        inputs,
        [vllm_box, zip_file, merge_html, merged_files],
        show_progress="hidden",
    )
    return vllm_box


@shown
def on_zip(token: gr.OAuthToken | None, key, name):
    """Return a zip of the adapter."""
    return gr.File(str(exported(_readable(token, key, name), ZIP).files[0]), visible=True)


@shown
def on_merge(token: gr.OAuthToken | None, key, name, dtype, progress=gr.Progress()):  # noqa: B008
    """Return the merged model, file by file."""
    return _files(exported(_readable(token, key, name), MERGED, dtype, is_signed_in(token), reporter(progress)))


@shown
def on_gguf(token: gr.OAuthToken | None, key, name, dtype, progress=gr.Progress()):  # noqa: B008
    """Return GGUF files of the merged model and of the adapter, and a Modelfile."""
    return _files(exported(_readable(token, key, name), GGUF, dtype, is_signed_in(token), reporter(progress)))


@shown
def on_line(token: gr.OAuthToken | None, key, name):
    """Return the line for vLLM; after a push it names the repository."""
    return vllm_text(find_adapter(name, owner_of(key, token))) if name else ""


@shown
def on_pick(token: gr.OAuthToken | None, key, name):
    """Return the line for vLLM, and clear the files of the adapter that was picked before."""
    return on_line(token, key, name), gr.File(visible=False), "", gr.File(visible=False)


@dataclass
class Exported:
    """The files of an export, and what is said of them."""

    files: list[Path]
    sentences: list[str]


def exported(
    adapter: Adapter,
    kind: str,
    dtype: str = "bf16",
    is_signed_in: bool = False,
    tell: Progress = lambda what, fraction: None,
) -> Exported:
    """Export an adapter as one of KINDS into a download folder of its owner; a merged model in one of DTYPES.

    Raises UserError for another kind, and on a Space for a merge by who is not signed in: it takes gigabytes and minutes.
    """
    if kind not in KINDS or dtype not in DTYPES:
        known = {"kinds": ", ".join(KINDS), "precisions": ", ".join(DTYPES)}
        raise UserError(_("There is no such export."), _("Kinds: {kinds}. Precisions: {precisions}.", **known))
    if kind != ZIP and is_visitor() and not is_signed_in:
        raise UserError(_("You have to be signed in to merge."), sign_in_words())
    folder = new_download_folder(adapter.folder.parent.name)  # counted with the other downloads of its owner
    if kind == ZIP:
        return Exported([export_zip(adapter, folder / f"{adapter.name}.zip")], [])
    from adapters.export.gguf_file import check_model, write_all

    base_folder = fetch_base(choose_base(adapter.base_choice, adapter.base_revision), tell)
    if kind == GGUF:
        check_model(base_folder)
    merged = merge_adapter(adapter, base_folder, folder / adapter.name, dtype, tell)
    if kind == MERGED:
        return Exported(sorted(merged.folder.iterdir()), [merged.sentence()])
    tell(_("Writing GGUF and reading it back"), 0.9)
    try:
        files, sentences = write_all(adapter, base_folder, merged.folder, folder / "gguf")
    finally:
        shutil.rmtree(merged.folder)  # gigabytes that nobody asked for
    return Exported(files, [merged.sentence(), *sentences])


def _readable(token: gr.OAuthToken | None, key: str, name: str | None) -> Adapter:
    """Return the visitor's adapter; one that was pulled only while the Hub lets them read its repository."""
    return open_adapter(name or "", owner_of(key, token), token_of(token.token if token else None))


def _files(found: Exported) -> list:
    """Return updates that show what was exported."""
    return [hints_html(found.sentences), gr.File([str(path) for path in found.files], visible=True)]
