"""The jobs of `python -m adapters` that need the Hub: push an adapter, pull and search others."""

import argparse
from pathlib import Path
from typing import Any

from adapters.hub_base import name_hub_base
from adapters.library import Adapter, find_adapter
from adapters.package import PushOptions
from adapters.pull import look, open_adapter, pull, search_hub
from adapters.push import plan_push
from common.command_line import add_job, give, progress_on_stderr, say
from common.errors import UserError
from common.language import _, joined, n_
from common.paths import LOCAL_OWNER
from models.base import DEFAULT_BASE
from models.hub.client import account_of, token_of
from models.hub.push import PushPlan


def add_hub_jobs(jobs) -> None:
    """Add `push`, `pull` and `search` to the subparsers `jobs`."""
    push = add_job(jobs, "push", _push, _("push an adapter to the Hugging Face Hub"))
    push.add_argument("name")
    push.add_argument("--repo", default="", help=_("name, or owner/name [the adapter's name]"))
    push.add_argument("--base", default="", help=_("the model on the Hub that its base, a local folder, is a copy of"))
    push.add_argument("--public", action="store_true", help=_("everybody may see it"))
    push.add_argument("--license", default="", help=_("licence [that of the base]"))
    push.add_argument("--language", default="", help=_("language of the data for the model card, such as en"))
    push.add_argument("--no-answers", action="store_true", help=_("no sample answers on the model card"))
    push.add_argument(
        "--show-rows", action="store_true", help=_("sample answers even where they show rows of your data")
    )
    push.add_argument("--yes", action="store_true", help=_("change an existing repository without asking"))
    pulled = add_job(jobs, "pull", _pull, _("download an adapter from the Hugging Face Hub"))
    pulled.add_argument("repo", help=_("owner/name, owner/name@revision, owner/name/folder, or an address"))
    pulled.add_argument("--revision")
    add_intake_options(pulled)
    search = add_job(jobs, "search", _search, _("search the Hugging Face Hub for adapters"))
    search.add_argument("words", nargs="*")
    search.add_argument("--base", default=DEFAULT_BASE)
    search.add_argument("--mine", action="store_true", help=_("only your own"))


def add_intake_options(job: argparse.ArgumentParser) -> None:
    """Add the options of a job that takes an adapter from elsewhere."""
    job.add_argument("--name", default="")
    job.add_argument("--subfolder", default="", help=_("the folder in it, if it holds several adapters"))
    job.add_argument(
        "--base", default="", help=_("its base, a Hugging Face ID or a folder, if it names none that can be found")
    )


def base_option(wanted: str) -> str:
    """Return the base of an option: the whole path of a folder that is here, else what was typed."""
    return str(Path(wanted).resolve()) if wanted and Path(wanted).is_dir() else wanted


def opened(name: str) -> Adapter:
    """Return the adapter; one that was pulled only while the local login may still read its repository."""
    return open_adapter(name, LOCAL_OWNER, token_of(None))


def as_json(adapter: Adapter) -> dict[str, Any]:
    """Return an adapter as `--json` prints it."""
    metrics = {name: adapter.metrics.get(name) for name in ("loss_before", "loss_after", "train_seconds")}
    facts = {"base": adapter.base, "base_revision": adapter.base_revision, "lora_r": adapter.lora_r}
    return {"name": adapter.name, "title": adapter.title, "folder": adapter.folder, **facts, **metrics}


def _push(options: argparse.Namespace) -> None:
    """Print the plan and push; without --yes only to a new repository."""
    adapter, account = opened(options.name), account_of(token_of(None))
    if options.base:
        say(name_hub_base(adapter, options.base, account.token, progress_on_stderr()).sentence())
        adapter = find_adapter(adapter.name)
    plan = plan_push(
        adapter,
        account,
        PushOptions(
            repo_name=options.repo,
            private=not options.public,
            license=options.license,
            language=options.language,
            with_answers=not options.no_answers,
            with_rows=options.show_rows,
        ),
    )
    push_plan(plan, options.yes)


def push_plan(plan: PushPlan, may_change: bool) -> None:
    """Print a plan and push it. Raises UserError for a repository that is there, unless it `may_change`."""
    for line in (joined([_("Signed in as {name}.", name=plan.account.name), plan.sentence()]), *plan.lines()):
        say(line)
    if not plan.is_new and plan.changes and not may_change:
        raise UserError(_("The repository already exists."), _("Add --yes to change it."))
    pushed = plan.push(progress_on_stderr())
    give(pushed)
    say(pushed.url)


def _pull(options: argparse.Namespace) -> None:
    """Pull an adapter from the Hub."""
    token = token_of(None)
    offer = look(options.repo, token, options.revision, options.subfolder, base_option(options.base))
    say(offer.sentence())
    pulled = pull(offer, token, name=options.name, progress=progress_on_stderr())
    give({**as_json(pulled.adapter), "notes": pulled.notes})
    say(_("Downloaded as '{name}'.", name=pulled.adapter.title))
    for note in pulled.notes:
        say(note)


def _search(options: argparse.Namespace) -> None:
    """Print the adapters that a search on the Hub finds."""
    base = "" if options.mine else options.base
    all_found = search_hub(token_of(None), base, " ".join(options.words), options.mine)
    give(all_found)
    for found in all_found:
        secrecy = _("private") if found.is_private else _("public")
        downloads = n_("{count:,} download", "{count:,} downloads", found.downloads)
        say(f"{found.repo_id:60} {secrecy:8} {downloads:>18}  {found.changed}")
