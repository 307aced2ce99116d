"""Files that are made when asked for: the handler of a button makes one, then the page clicks the hidden link to it."""

import gradio as gr

from ui.events import Wiring

_CLICK = """() => setTimeout(() => {
    const made = document.querySelector('#ID');
    (made.tagName === 'A' ? made : made.querySelector('a') || made).click();
}, 400)"""


def build_download(elem_id: str) -> gr.DownloadButton:
    """Lay out the hidden link that takes a file's path as its value."""
    return gr.DownloadButton(visible="hidden", elem_id=elem_id)


def clicking(download: gr.DownloadButton) -> Wiring:
    """Return the arguments of the event that clicks the link, after the one that made the file."""
    return {"fn": None, "js": _CLICK.replace("ID", str(download.elem_id))}
