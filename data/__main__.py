"""Data from the command line: rows that a teacher makes of documents, seed rows or topics, and data sets on the Hub.

python -m data make guide.pdf notes/ --rows 200 --model NAME       questions and answers about documents, by the server in
                                                                    CHAT_SERVER_URL, or by the one that --server names
python -m data make --recipe instruction --seed-rows mine.jsonl --topic tea --teacher provider:auto --model owner/name
python -m data make guide.pdf --plan ...         what it takes, and no more
python -m data list                              all made sets
python -m data show ID                           settings, how far it is, what was found in how many rows
python -m data review ID                         the rows on which nothing is decided; --finding NAME those with it
python -m data review ID --accept KEY,KEY        or --reject KEY,KEY; or --undo the last decision
python -m data keep ID NAME                      the accepted rows become a data set; --accept-rest: and those without findings
python -m data stop ID | resume ID | delete ID
python -m data push NAME | pull OWNER/NAME       a data set to the Hub, and back

A key for a server or a provider is asked for with --key: typed without echo, or read from standard input. It is kept nowhere, and
asked for again by resume.
"""

import argparse
import getpass
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

from common.command_line import add_job, give, printable, run_job, say
from common.errors import UserError
from common.language import _, joined, n_
from common.paths import LOCAL_OWNER
from data.hub_jobs import add_hub_jobs
from evaluation.background import delete_work, request_stop
from evaluation.follow import count_of, follow, progress_as_json, say_end
from evaluation.run import Progress, read_progress
from making.checks import FINDINGS
from making.config import MakingConfig
from making.made import MadeSet, find_made, list_made, read_summary
from making.plan import plan
from making.recipes import own_recipe
from making.review import ReviewRow, count_findings, decide, keep, read_review, undo
from making.start import MAX_KEY_CHARACTERS, resume, start
from models.hub.client import token_of
from runs.commands import add_flag, given_settings

SHOWN_CHARACTERS = 2_000  # of a message


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    return run_job(_parser, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    jobs = parser.add_subparsers(required=True, metavar="JOB")
    make = add_job(jobs, "make", _make, _("let a teacher make rows, and follow it; Ctrl-C stops it"))
    make.add_argument("documents", nargs="*", metavar="DOCUMENT", help=_("files, folders or zips"))
    make.add_argument(
        "--topic", dest="topics", metavar="TOPIC", action="append", default=[], help=_("a topic; may be repeated")
    )
    make.add_argument(
        "--label", dest="labels", metavar="LABEL", action="append", default=[], help=_("a label; may be repeated")
    )
    make.add_argument("--recipe-file", type=Path, help=_("a recipe of your own, a text file"))
    make.add_argument("--plan", action="store_true", help=_("only say what it takes"))
    for item in fields(MakingConfig):
        if item.metadata and item.name != "recipe_text":
            add_flag(make, item, may_be_bare=item.type is bool)
    _add_key(make)
    add_job(jobs, "list", _list, _("all made sets"))
    add_job(jobs, "show", _show, _("one made set, and what was found in its rows"), named="ID")
    review = add_job(jobs, "review", _review, _("show rows, accept or reject them"), named="ID")
    review.add_argument("--finding", choices=list(FINDINGS), help=_("only rows in which this was found"))
    review.add_argument("--count", type=int, default=10, help=_("how many rows [10]"))
    review.add_argument(
        "--accept", default="", metavar="KEYS", help=_("accept rows by their keys, separated by commas")
    )
    review.add_argument(
        "--reject", default="", metavar="KEYS", help=_("reject rows by their keys, separated by commas")
    )
    review.add_argument("--undo", action="store_true", help=_("undo the last decision"))
    kept = add_job(jobs, "keep", _keep, _("make a dataset of the accepted rows"), named="ID")
    kept.add_argument("dataset", metavar="NAME")
    kept.add_argument("--accept-rest", action="store_true", help=_("also rows without findings that nobody rejected"))
    add_job(jobs, "stop", _stop, _("end one and keep its rows"), named="ID")
    _add_key(add_job(jobs, "resume", _resume, _("ask for the rows that are missing"), named="ID"))
    add_job(jobs, "delete", _delete, _("delete one for good"), named="ID")
    add_hub_jobs(jobs)
    return parser


def _add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key", action="store_true", help=_("ask for a key of the teacher, or read it from standard input")
    )


def _key(options: argparse.Namespace) -> str | None:
    """Return the key that a person types, unseen, or that another program writes; None when none is to be asked for."""
    if not options.key:
        return None
    return getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline(MAX_KEY_CHARACTERS + 2)


def _make(options: argparse.Namespace) -> int:
    given = given_settings(options)
    if options.recipe_file:
        given |= {"recipe": "own", "recipe_text": own_recipe(options.recipe_file)}
    lists = {name: getattr(options, name) for name in ("documents", "topics", "labels")}
    config = MakingConfig.from_dict({**given, **lists})
    planned = plan(config)
    if planned.problems:
        raise UserError(planned.problems[0])
    print(printable(planned.words), flush=True)
    if options.plan:
        give(planned)
    return 0 if options.plan else _follow(start(config, token=token_of(None), key=_key(options)))


def _follow(made: MadeSet) -> int:
    """Print what is done until it ends, and what was found in the rows; return 0 unless it failed. Ctrl-C stops it."""
    print(_("Made set {name} in {folder}", name=made.id, folder=str(made.folder)), flush=True)
    progress = follow(made)
    give(_as_json(made, progress))
    _print_counts(made)
    return say_end(made, progress)


def _as_json(made: MadeSet, progress: Progress) -> dict[str, Any]:
    """Return a made set as `--json` prints it: what it does, what was decided on its rows and found in them."""
    rows = read_review(made)
    decided = Counter(row.decision for row in rows)
    return {
        "id": made.id,
        "title": made.config().title,
        "folder": made.folder,
        **progress_as_json(progress),
        "rows": len(rows),
        "accepted": decided["accepted"],
        "rejected": decided["rejected"],
        "findings": count_findings(rows),
        "teacher": read_summary(made),
    }


def _print_counts(made: MadeSet) -> None:
    """Print how many rows there are, what was decided on them and found in them, and what the teacher was asked."""
    rows, summary = read_review(made), read_summary(made)
    decided = [row.decision for row in rows]
    words = n_(
        "{count:,} row: {accepted:,} accepted, {rejected:,} rejected",
        "{count:,} rows: {accepted:,} accepted, {rejected:,} rejected",
        len(rows),
        accepted=decided.count("accepted"),
        rejected=decided.count("rejected"),
    )
    say(words)
    for name, count in count_findings(rows).items():
        say(f"  {count:6,}  {name:12} {FINDINGS[name]}")
    say(
        _(
            "{answers:,} answers of the teacher, {unreadable:,} of them could not be read; {tokens:,} tokens.",
            answers=summary["answers"],
            unreadable=summary["unreadable"],
            tokens=summary["tokens_in"] + summary["tokens_out"],
        )
    )


def _list(options: argparse.Namespace) -> int:
    """Print a line for each made set."""
    found = []
    for made in list_made():
        progress = read_progress(made)
        found.append({"id": made.id, "title": made.config().title, **progress_as_json(progress)})
        title = made.config().title
        say(f"{made.id:40} {progress.status:12} {count_of(progress):14} {title}  {progress.message}".rstrip())
    give(found)
    return 0


def _show(options: argparse.Namespace) -> int:
    """Print the settings of a made set, what was found in its rows, and what it does."""
    made = find_made(options.name)
    say(made.config().to_yaml())
    _print_counts(made)
    progress = read_progress(made)
    give({**_as_json(made, progress), "settings": vars(made.config())})
    say(f"{progress.status} {joined([progress.activity, progress.message, progress.hint])}")
    return 0


def _review(options: argparse.Namespace) -> int:
    """Decide on rows, or print those on which nothing is decided."""
    made = find_made(options.name)
    for keys, decision in ((options.accept, "accepted"), (options.reject, "rejected")):
        if keys:
            decide(made, [key.strip() for key in keys.split(",")], decision)
    if options.undo:
        undo(made)
    if options.accept or options.reject or options.undo:
        _print_counts(made)
        give(_as_json(made, read_progress(made)))
        return 0
    rows = [row for row in read_review(made) if row.decision == "pending"]
    if options.finding:
        rows = [row for row in rows if options.finding in row.findings]
    give({"pending": len(rows), "rows": rows[: options.count]})
    for row in rows[: options.count]:
        _print_row(row)
    left = max(0, len(rows) - options.count)
    if left:
        say(n_("{count:,} more row", "{count:,} more rows", left))
    return 0


def _print_row(row: ReviewRow) -> None:
    """Print a row, where it is from, and what was found in it."""
    origin = row.made["made"]
    where = f"{origin['document']} {origin['start']}-{origin['end']}" if origin["document"] else ""
    say(f"\n{row.key}  {where}".rstrip())
    for message in row.messages:
        say(f"{message['role']}: {message['content'][:SHOWN_CHARACTERS]}")
    for name in row.findings:
        say(f"* {name}: {FINDINGS[name]}")


def _keep(options: argparse.Namespace) -> int:
    kept = keep(find_made(options.name), options.dataset, LOCAL_OWNER, options.accept_rest)
    give({"file": kept.path, "rows": kept.rows})
    words = n_("{count:,} row in {file}", "{count:,} rows in {file}", kept.rows, file=str(kept.path))
    say(words)
    return 0


def _stop(options: argparse.Namespace) -> int:
    request_stop(find_made(options.name))
    print(_("It stops at once, and keeps its rows."))
    return 0


def _resume(options: argparse.Namespace) -> int:
    made = find_made(options.name)
    resume(made, token_of(None), _key(options))
    return _follow(made)


def _delete(options: argparse.Namespace) -> int:
    delete_work(find_made(options.name))
    print(_("Deleted: {name}", name=options.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
