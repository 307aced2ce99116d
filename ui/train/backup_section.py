"""Checkpoints on the Hub in the Train tab: the checkbox with its consequences, and bringing a run back."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from adapters.pull import search_hub
from common.errors import UserError
from common.files import write_text
from common.language import _, n_
from common.paths import runs_folder, slug
from models.hub.client import account_of
from runs.backup.backup import SUFFIX, backup_repo_name, look_for_checkpoints, restore
from runs.disk import check_disk
from runs.resolve import capped
from runs.run import Run
from ui.events import QUIET, Wiring
from ui.hints import hint_html
from ui.messages import shown
from ui.owner import Visitor, visitor_of
from ui.train.backups import backup_account, sign_in_note


@dataclass
class BackupForm:
    """The checkbox, and the line under it."""

    checkbox: gr.Checkbox
    note_html: gr.HTML


def build_backup_form() -> BackupForm:
    """Lay out the checkbox, off by default."""
    checkbox = gr.Checkbox(
        False,
        label=_("Keep the newest checkpoint in my Hugging Face account"),
        info=_(
            "In a private repository, with the settings and the training data, so that the run can resume after a restart."
        ),
    )
    return BackupForm(checkbox, gr.HTML("", visible=False))


@dataclass
class RestoreForm:
    """The parts of the section that brings a run back."""

    repo_box: gr.Dropdown
    list_button: gr.Button
    restore_button: gr.Button
    said_html: gr.HTML


def build_restore_form() -> RestoreForm:
    """Lay out the section that brings a run back, closed."""
    with gr.Accordion(_("Restore a run from Hugging Face"), open=False):
        label, info = _("Repository with its checkpoints"), f"you/the-run{SUFFIX}"
        repo_box = gr.Dropdown([], value="", label=label, allow_custom_value=True, info=info)
        with gr.Row():
            list_button = gr.Button(_("List mine"), size="sm", min_width=100)
            restore_button = gr.Button(_("Restore"), variant="primary", size="sm", min_width=100)
        said_html = gr.HTML("")
    return RestoreForm(repo_box, list_button, restore_button, said_html)


def backup_words(name: str, visitor: Visitor, expires_at: float | None, seconds: float | None) -> str:
    """Return what keeping checkpoints means for this visitor, as HTML."""
    try:
        account = backup_account(visitor)
    except UserError as error:
        return hint_html(error, "problem")
    where = backup_repo_name(account.name, slug(name))
    note = sign_in_note(expires_at, seconds, time.time())
    return hint_html(_("Saved to {where} (private).", where=where)) + (hint_html(note) if note else "")


def bring_back(wanted: str, visitor: Visitor, progress=lambda what, fraction: None) -> Run:
    """Restore the run in one of the visitor's repositories, so that it can be resumed. Raises UserError."""
    account = account_of(visitor.hub_token)
    check_disk(visitor.owner, look_for_checkpoints(wanted or "", account).size_bytes)
    return Run(restore(wanted, account, runs_folder(visitor.owner), progress, _accept))


def _accept(folder: Path) -> None:
    """Reduce restored settings to this machine's limits. Raises UserError."""
    run = Run(folder)
    config = run.config()
    config.check()
    allowed = capped(config)
    if allowed != config:
        write_text(run.config_file, allowed.to_yaml())


def wire_restore(
    form: RestoreForm,
    browser_key: gr.BrowserState,
    lists: list,
    listed: Callable[[str, str], list],
    after: list[Wiring],
) -> None:
    """Wire the section; `listed(owner, run_id)` returns updates for `lists`, `after` are events that follow."""

    @shown
    def on_list(token: gr.OAuthToken | None, key):
        visitor = visitor_of(key, token)
        account = account_of(visitor.hub_token)
        found = [one.repo_id for one in search_hub(visitor.hub_token, words=SUFFIX, mine=True, tag="tinyllama-studio")]
        words = n_(
            "{account} has {count} such repository.",
            "{account} has {count} such repositories.",
            len(found),
            account=account.name,
        )
        return gr.Dropdown(found, value=next(iter(found), "")), hint_html(words)

    @shown
    def on_restore(token: gr.OAuthToken | None, key, wanted, progress=gr.Progress()):  # noqa: B008
        visitor = visitor_of(key, token)
        run = bring_back(wanted, visitor, lambda what, fraction: progress(fraction or 0, desc=what))
        return [hint_html(_("{run} is restored. Press Resume.", run=run.id)), *listed(visitor.owner, run.id)]

    form.list_button.click(on_list, browser_key, [form.repo_box, form.said_html], **QUIET)
    event = form.restore_button.click(
        on_restore,
        [browser_key, form.repo_box],
        [form.said_html, *lists],
        api_name="restore",
        concurrency_limit=2,
        show_progress_on=form.said_html,
    )
    for following in after:
        event = event.success(**following)
