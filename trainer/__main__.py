"""The training jobs from the command line, on the same settings as the page.

python -m trainer train --data rows.jsonl --name my-adapter     queue, watch, and wait
python -m trainer train --config config.yaml                    the same from a file
python -m trainer resume NAME          go on from the last checkpoint
python -m trainer stop NAME            keep what it learned and end; a waiting run leaves the queue
python -m trainer queue                who waits
python -m trainer list [WORDS]         all runs, or those in which the words are found
python -m trainer show NAME            one run, and how to load what came out
python -m trainer rename NAME TITLE    give it a title; the name stays
python -m trainer label NAME --add poems,korean --star          tags, a note and a star, by which `list` finds it
python -m trainer delete NAME          delete the run (--discard: end it and delete its adapter too)
python -m trainer undo NAME            bring back what was deleted within a day
python -m trainer restore you/RUN-checkpoints   bring back a run whose checkpoints were kept on the Hub
python -m trainer compare A B ...      where their settings differ, and what came out
python -m trainer bundle NAME          a zip that reproduces the run
python -m trainer script NAME          a zip with a plain TRL script that trains the same without this program
python -m trainer track NAME --to tensorboard   for other programs to read, live and afterwards; or wandb, or trackio
python -m trainer check DATA           what is wrong with the data, before the start
python -m trainer estimate --data ...  steps, memory and time, before the start
python -m trainer plan [--num-processes 2 ...]                  hardware, processes, batch, command and YAML of a start
python -m trainer preview DATA --base B --rows N [--columns ...] [--json]   the tokens, and which of them are trained
"""

import argparse
import json
import sys
import threading
from contextvars import copy_context
from dataclasses import fields
from pathlib import Path

from common.command_line import add_job, give, run_job
from common.errors import UserError
from common.language import _, n_
from data.columns import mapping_words
from data.report import PreviewRow
from runs import commands
from runs.commands import add_flag, given_settings
from runs.config import MARKUP, SYSTEM_TURNS, WRITTEN, TrainConfig, marked
from runs.follow import follow
from runs.forecast.advice import advice
from runs.forecast.elsewhere import lines_at_start
from runs.history import NEWEST, ORDERS
from runs.queue import enqueue, launch
from runs.resolve import resolve
from runs.run import find_run
from runs.trackers.names import PACKAGES

LEVELS = {"stop": _("Needs fixing"), "warning": _("Warning"), "info": _("Note")}  # of a finding


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    return run_job(_parser, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    jobs = parser.add_subparsers(required=True, metavar="JOB")
    configured = [
        add_job(jobs, "train", _train, _("train an adapter")),
        add_job(jobs, "estimate", _estimate, _("steps, memory and time of a training")),
        add_job(jobs, "plan", commands.show_plan, _("how it would start: hardware, processes, command, YAML")),
    ]
    for job in configured:
        job.add_argument("--config", type=Path, help=_("a config.yaml; flags take precedence"))
        add_settings(job)
    add_job(jobs, "resume", _resume, _("continue a run that was stopped or interrupted"), named="NAME")
    add_job(jobs, "stop", commands.stop_run, _("stop a run and keep what it learned"), named="NAME")
    add_job(jobs, "queue", commands.show_queue, _("the runs that wait"))
    listing = add_job(jobs, "list", commands.list_all, _("all runs, or those that match"))
    listing.add_argument("words", nargs="*", help=_("words in a title, name, note, base, data or state"))
    listing.add_argument("--tag", action="append", default=[], help=_("only with this tag; may be repeated"))
    listing.add_argument("--starred", action="store_true", help=_("only starred ones"))
    listing.add_argument("--sort", choices=ORDERS, default=NEWEST, help=f"[{NEWEST}]")
    add_job(jobs, "show", commands.show, _("one run"), named="NAME")
    add_job(jobs, "rename", commands.rename_run, _("give a run a title"), named="NAME").add_argument("title")
    label = add_job(jobs, "label", commands.label_run, _("change a run's tags, note and star"), named="NAME")
    label.add_argument("--add", default="", metavar="TAGS", help=_("tags, separated by commas"))
    label.add_argument("--remove", default="", metavar="TAGS")
    label.add_argument("--note", help=_('replaces the note; "" removes it'))
    label.add_argument("--star", action=argparse.BooleanOptionalAction)
    delete = add_job(
        jobs, "delete", commands.delete_run, _("delete a run; undo restores it within a day"), named="NAME"
    )
    delete.add_argument("--discard", action="store_true", help=_("stop it if it trains, and delete its adapter too"))
    add_job(jobs, "undo", commands.undo, _("restore a deleted run"), named="NAME")
    restore = add_job(jobs, "restore", commands.restore_run, _("restore a run from its checkpoints on the Hub"))
    restore.add_argument("repo", metavar="you/RUN-checkpoints")
    compare = add_job(jobs, "compare", commands.compare_runs, _("runs side by side"))
    compare.add_argument("names", nargs="+", metavar="NAME")
    bundle = add_job(jobs, "bundle", commands.bundle, _("a zip that reproduces a run"), named="NAME")
    bundle.add_argument("--to", type=Path, default=Path(), metavar="FOLDER", help=_("where to write it [here]"))
    bundle.add_argument("--include-data", action="store_true", help=_("include the data"))
    script = add_job(
        jobs, "script", commands.script, _("a run, or a config.yaml, as a plain TRL script in a zip"), "NAME"
    )
    script.add_argument("--to", type=Path, default=Path(), metavar="FOLDER", help=_("where to write it [here]"))
    tracked = add_job(jobs, "track", commands.track_run, _("write a run for a tracker, and follow it"), named="NAME")
    tracked.add_argument("--to", choices=list(PACKAGES), default="tensorboard", help="[tensorboard]")
    tracked.add_argument("--folder", type=Path, help=_("where to write it [in the run's folder]"))
    tracked.add_argument("--space", default="", help=_("a trackio Space of yours, made private if it is new"))
    tracked.add_argument("--show", action="store_true", help=_("open trackio's dashboard, until Ctrl-C"))
    check = add_job(jobs, "check", _check, _("what is wrong with the data"))
    check.add_argument("data", help=_("a file, a Hugging Face dataset, or 'example'; or several, separated by commas"))
    add_settings(check, ("data",))
    _add_preview(jobs)
    return parser


def _add_preview(jobs) -> None:
    preview = add_job(jobs, "preview", _preview, _("rows as the trainer gets them, as tokens"))
    preview.add_argument("data", help=_("a file, a Hugging Face dataset, or 'example'"))
    preview.add_argument("--base", default="auto")
    preview.add_argument("--rows", type=int, default=10)
    preview.add_argument("--max-length", type=int, default=TrainConfig.max_length)
    preview.add_argument("--split", default="train")
    preview.add_argument("--columns", default="", help=_("which column is what, as JSON"))
    preview.add_argument("--header", default="yes", help=_("no: the first row of a table is data, not column names"))
    preview.add_argument("--sheet", default="", help=_("the sheet of a workbook"))
    preview.add_argument("--keep-null-words", default="no", help=_("yes: nan, None and null in a table are words"))
    preview.add_argument("--system-turns", default="join", choices=SYSTEM_TURNS)
    preview.add_argument("--chat-template", default="auto")
    preview.add_argument("--markup", default=TrainConfig.markup, choices=MARKUP)


def add_settings(parser: argparse.ArgumentParser, without: tuple[str, ...] = ()) -> None:
    """Add a flag for each setting of a run, but for those that are `without` one."""
    for item in fields(TrainConfig):
        if item.name not in (*marked(WRITTEN), *without):
            add_flag(parser, item)


def _train(options: argparse.Namespace) -> int:
    config = commands.given_config(options)
    _advise(config)
    resolved, over = resolve(config), threading.Event()
    run = launch(resolved)

    def propose() -> None:
        for sentence in lines_at_start(resolved, over):
            print(sentence, file=sys.stderr, flush=True)

    # beside the training, which does not wait for the check of its data; in the language of this thread
    proposing = threading.Thread(target=copy_context().run, args=(propose,))
    proposing.start()
    try:
        return follow(run)
    finally:
        over.set()
        proposing.join()


def _advise(config: TrainConfig) -> None:
    """Print what is known to train badly; nothing is refused for it."""
    for sentence in advice(config):
        print(sentence, file=sys.stderr)


def _resume(options: argparse.Namespace) -> int:
    run = find_run(options.name)
    enqueue(run)
    return follow(run)


def _check(options: argparse.Namespace) -> int:
    """Print what was found in the data, and the cures; 1 when a start would be refused."""
    from data.check import check

    config = TrainConfig.from_dict({"data": options.data, **given_settings(options)})
    config.check()
    _advise(config)
    report = check(config.data_settings(), progress=lambda sentence: print(sentence, file=sys.stderr))
    give(report)
    if not options.json:
        print(_("Base: {base}. {reason}", base=report["base"], reason=report["base_reason"]))
        print(_("Columns: {columns}", columns=mapping_words(report["mapping"] or {}) or _("not recognised")))
        for name in ("rows", "turns", "train_rows", "held_out_rows", "tokens", "trained_tokens", "longest"):
            print(f"{name}: {report.get(name)}")
        for found in report["findings"]:
            cures = [cure["changes"] for cure in (found["cure"], *found["other_cures"]) if cure]
            flags = [
                " ".join(f"--{name.replace('_', '-')}={value}" for name, value in changes.items()) for changes in cures
            ]
            fix = _("Fix: {flags}", flags=" | ".join(flags)) if flags else ""
            print(f"{LEVELS[found['level']]}: {found['message']}  {fix}".rstrip())
    return int(any(found["level"] == "stop" for found in report["findings"]))


def _estimate(options: argparse.Namespace) -> int:
    """Check the data, measure a few steps, and print one sentence; the figures as JSON go to stdout."""
    from data.check import check
    from models.base import shape_for
    from runs.forecast.estimate import estimate
    from runs.forecast.plan import facts_in
    from runs.forecast.speed import known, measure

    resolved = resolve(commands.given_config(options))
    config, hardware, shape = resolved.config, resolved.hardware, shape_for(resolved.base)
    if shape is None:
        words = _("This base has not been downloaded yet, so its size is unknown.")
        raise UserError(words, _("Train with it once, or give a folder."))
    report = check(config.data_settings(), progress=lambda sentence: print(sentence, file=sys.stderr))
    facts = facts_in(report)
    speed = known(config, shape, facts, hardware) or measure(config, shape, facts, hardware)
    found = estimate(config, shape, facts, hardware, speed)
    print(found.sentence(), file=sys.stderr)
    _advise(config)
    give(found.to_json())
    if not options.json:
        print(json.dumps(found.to_json(), ensure_ascii=False, indent=2))
    return 0 if found.memory.fits else 1


def _preview(options: argparse.Namespace) -> int:
    """Show rows as tokens. Which base is used, and why, goes to stderr, so that stdout is only rows."""
    from data.dataset import Encoder
    from data.reading import read_rows
    from models.base import choose_base, fetch_base
    from models.templates import training_template
    from models.tokenizer import load_tokenizer

    names = ("data", "columns", "header", "sheet", "keep_null_words", "max_length")
    config = TrainConfig.from_dict({name: getattr(options, name) for name in names})
    config.check()
    base = choose_base(options.base)
    print(_("Base: {base}. {reason}", base=base.model_id, reason=base.reason), file=sys.stderr)
    tokenizer = load_tokenizer(fetch_base(base), options.chat_template)
    template = training_template(tokenizer)
    encoder = Encoder(tokenizer, template, options.max_length, system_turns=options.system_turns, markup=options.markup)
    settings = config.data_settings()
    mapping, table = settings.mapping(), settings.table(settings.sheet)
    rows = read_rows(options.data, split=options.split, max_rows=options.rows, table=table)
    for number, row in enumerate(rows, 1):
        for shown in encoder.preview(number, row, mapping):
            give(shown, is_line=True)
            if not options.json:
                print(_as_text(shown, tokenizer))
    return 0


def _as_text(shown: PreviewRow, tokenizer) -> str:
    """Write a row for reading: trained stretches in [[ ]], special tokens visible."""
    head = n_("row {row}, {count:,} token", "row {row}, {count:,} tokens", shown["length"], row=shown["row"])
    if shown["why_not"]:
        head = _("{row}, not used: {reason}", row=head, reason=shown["why_not"])
    text, inside = f"--- {head}\n", False
    stretch: list = []
    for token, trained in [*zip(shown["ids"], shown["trained"], strict=True), (None, None)]:
        if trained != inside or token is None:
            words = tokenizer.decode(stretch)
            text += f"[[{words}]]" if inside else words
            stretch, inside = [], trained
        stretch.append(token)
    return text


if __name__ == "__main__":
    sys.exit(main())
