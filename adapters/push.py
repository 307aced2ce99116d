"""Pushes an adapter to the Hub: its files are written anew, then planned and sent as `models/hub/push.py` does it."""

import time
from functools import partial

from adapters.library import Adapter, read_adapter, sources_of_copy, update_record
from adapters.package import PushOptions, write_package
from common.errors import UserError
from common.language import _, joined
from models.hub.client import Account, client, errors_explained, parse_repo
from models.hub.fetch import Progress
from models.hub.push import Pushed, PushPlan, plan_files, repository_of, sending_folder


def plan_push(adapter: Adapter, account: Account, options: PushOptions) -> PushPlan:
    """Compare the files of a push with the repository; nothing is sent. Raises UserError."""
    repo_id = repository_of(account, options.repo_name or adapter.name)
    with sending_folder() as folder:
        names = write_package(adapter, repo_id, options, folder, account.token)
        plan = plan_files(folder, names, repo_id, "model", account, options.private, partial(_note, adapter))
        _check_source(adapter, plan.private)
    return plan


def push_adapter(
    adapter: Adapter,
    account: Account,
    options: PushOptions,
    parent: str | None = None,
    progress: Progress = lambda what, fraction: None,
) -> Pushed:
    """Plan and push in one call; `parent` is the commit of a plan that was agreed to before. Raises UserError."""
    progress(_("Preparing and checking the files"), 0.02)
    plan = plan_push(adapter, account, options)
    plan.check_agreed(parent)
    return plan.push(progress)


def _note(adapter: Adapter, pushed: Pushed) -> None:
    """Keep in the adapter's record where it was pushed to, the last place last."""
    entry = {
        "repo_id": pushed.repo_id,
        "url": pushed.url,
        "revision": pushed.revision,
        "time": time.time(),
        "private": pushed.private,
    }
    known = read_adapter(adapter.folder).record.get("pushed")
    others = [one for one in known if one.get("repo_id") != pushed.repo_id] if isinstance(known, list) else []
    update_record(adapter.folder, pushed=[*others, entry])


def _check_source(adapter: Adapter, is_private: bool) -> None:
    """Raise UserError for a public push of an adapter that is from a repository with restricted access.

    It may be pulled from there, trained further, or a copy that was imported from a zip or a folder. The access is asked for
    at each push, because the owner may have opened the repository since.
    """
    sources = [] if is_private else adapter.private_sources or sources_of_copy(adapter)
    for source in sources:
        try:
            with errors_explained(source.repo_id):
                client(False).auth_check(parse_repo(source.repo_id)[0])
        except UserError as error:
            values = {"name": adapter.title, "repo": source.repo_id}
            words = (
                _("'{name}' was downloaded from {repo}, which is not public.", **values)
                if adapter.origin.repo_id == source.repo_id
                else _(
                    "'{name}' is a copy of, or was trained on, an adapter from {repo}, which is not public.", **values
                )
            )
            by = _("It was downloaded by {account}.", account=source.by) if source.by else ""
            hint = _("Push it as private, or have the owner of that repository make it public first.")
            raise UserError(joined([words, by]), hint) from error
