"""The jobs of `python -m data` that need the Hub: push a data set, and pull one back as training data."""

import argparse

from adapters.hub_jobs import push_plan
from common.command_line import add_job, give, progress_on_stderr, say
from common.language import _
from data.feedback import find_dataset
from data.pull import pull_data
from data.push import MAX_TEST_SHARE, DataPushOptions, plan_data_push
from models.hub.client import account_of, token_of


def add_hub_jobs(jobs) -> None:
    """Add `push` and `pull` to the subparsers `jobs`."""
    push = add_job(jobs, "push", _push, _("push a dataset to the Hugging Face Hub"), "NAME")
    push.add_argument("--repo", default="", help=_("name, or owner/name [the dataset's name]"))
    push.add_argument("--public", action="store_true", help=_("everybody may see it"))
    push.add_argument("--license", default="", help=_("licence of the rows, such as cc-by-4.0"))
    push.add_argument("--language", default="", help=_("language of the rows, such as en"))
    most = _("share of the prompts for a split 'test', at most {most} [0]", most=MAX_TEST_SHARE)
    push.add_argument("--test", type=float, default=0.0, metavar="SHARE", help=most)
    push.add_argument("--yes", action="store_true", help=_("change an existing repository without asking"))
    pull = add_job(jobs, "pull", _pull, _("download a dataset that was pushed from here, to train on"))
    pull.add_argument("repo", help=_("owner/name, owner/name@revision, or an address"))
    pull.add_argument("--name", default="", help=_("[that of the repository]"))


def _push(options: argparse.Namespace) -> None:
    """Print the plan and push; without --yes only to a new repository."""
    dataset, account = find_dataset(options.name), account_of(token_of(None))
    wanted = DataPushOptions(options.repo, not options.public, options.license, options.language, options.test)
    push_plan(plan_data_push(dataset, account, wanted), options.yes)


def _pull(options: argparse.Namespace) -> None:
    """Pull a data set, and print its files: what a training takes."""
    pulled = pull_data(options.repo, token_of(None), name=options.name, progress=progress_on_stderr())
    give({"message": pulled.sentence(), "files": [one.path for one in pulled.sets]})
    say(pulled.sentence())
    for one in pulled.sets:
        print(one.path)
