"""On ZeroGPU: what a visitor has left of today's GPU, and why no GPU is lent, in words. Without `spaces`, which needs torch."""

import re

import gradio as gr

from common.errors import UserError
from common.language import Sentence, _
from common.words import duration
from models.hub.client import client, token_of
from models.hub.errors import errors_explained
from ui.events import QUIET
from ui.hints import hint_html
from ui.messages import shown

ASK_SECONDS = 60
# https://huggingface.co/docs/hub/spaces-zerogpu
USUAL = _("ZeroGPU: guests have about 2 minutes of GPU time a day, free accounts 5, PRO 40.")
_QUOTA = re.compile(r"\((\d+)s requested vs\. -?(\d+)s left\)\. Try again in (?:(\d+) days?, )?(\d+):(\d+):(\d+)")


def quota_words(token: gr.OAuthToken | None) -> Sentence:
    """Say what is left of the visitor's quota; what is usual for guests, and where the sign-in may not ask (`read-billing`)."""
    own = token_of(token.token if token else None)
    if not own:
        return USUAL
    try:
        with errors_explained():
            quota = client(own).get_zero_gpu_quota()
    except UserError:
        return USUAL
    left, whole = duration(quota.remaining), duration(quota.base)
    if quota.remaining < 1:
        return _("ZeroGPU: your {whole} of GPU time for today are used up.", whole=whole)
    return _("ZeroGPU: {left} of your {whole} of GPU time left today.", left=left, whole=whole)


def build_quota_line(page: gr.Blocks) -> None:
    """Put the line where the page is being built, and keep it true."""
    line = gr.HTML(hint_html(USUAL), elem_classes="quota")

    @shown
    def quota(token: gr.OAuthToken | None) -> str:
        return hint_html(quota_words(token))

    gr.on([page.load, gr.Timer(ASK_SECONDS).tick], quota, None, line, api_name="quota", **QUIET)


def refusal(error: Exception) -> Exception:
    """Return what `spaces` raises as UserError, whose sentences are a person's; what a call itself raised as RuntimeError."""
    if not isinstance(error, gr.Error):  # of its API: no answer, or one that it does not expect
        return UserError(_("ZeroGPU is not answering."), _("Try again in a minute."))
    title, text = str(error.title), str(error.message)
    if found := _QUOTA.search(text):
        wanted, left, days, hours, minutes, seconds = (int(number or 0) for number in found.groups())
        words = _(
            "Your ZeroGPU quota is used up: this needs {wanted} s of GPU time, and you have {left} s left.",
            wanted=wanted,
            left=left,
        )
        wait = duration(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
        return UserError(words, _("Try again in {wait}. Signed-in users have a larger quota.", wait=wait))
    if "runs limit" in text:
        words = _("You have used ZeroGPU as often today as your account allows.")
        return UserError(words, _("Try again tomorrow. Signed-in users may use it more often."))
    if "reached its GPU limit" in text:
        words = _("This came without your account, and the Space's own ZeroGPU quota is used up.")
        return UserError(words, _("Open this Space on huggingface.co and sign in there."))
    if "No GPU was available" in text:
        return UserError(_("No GPU is free at the moment."), _("Try again in a few minutes."))
    if title == "ZeroGPU illegal duration":
        return UserError(_("ZeroGPU does not lend a GPU for that long."), _("Ask for a shorter answer."))
    if title == "ZeroGPU pending credits exceeded":
        return UserError(_("All your ZeroGPU credits are taken by running tasks."), _("Wait for one to finish."))
    if "Expired ZeroGPU proxy token" in text:
        return UserError(_("Your ZeroGPU session has expired."), _("Reload the page, then try again."))
    if text.endswith("GPU task aborted"):
        return UserError(_("ZeroGPU ended the task before it was done."), _("Try again, or ask for a shorter answer."))
    return RuntimeError(f"{title}: {text}")
