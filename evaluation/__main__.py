"""Evaluations from the command line: is it better, at what, and what was forgotten.

python -m evaluation run                                        the newest adapter beside its base
python -m evaluation run --adapter A --adapter B --test-set general --test-set mine.jsonl --few-shot 3
python -m evaluation list                        all evaluations
python -m evaluation show ID                     the scores, with 95 % intervals and what they decide
python -m evaluation show ID --rows exact        the questions at which two candidates differ most in a score
python -m evaluation stop ID                     end it and keep what is there
python -m evaluation resume ID                   go on where it was
python -m evaluation delete ID
python -m evaluation compare A B                 all candidates of two, on the rows that both asked
python -m evaluation judge ID --model NAME       a model of the server in CHAT_SERVER_URL compares answers in pairs
python -m evaluation lm-eval --adapter A --tasks hellaswag,arc_easy    lm-eval's own tasks (pip install lm-eval)
python -m evaluation test-sets                   what can be asked
python -m evaluation test-sets add FILE          keep a file, or a split of a Hugging Face dataset, as a test set
python -m evaluation test-sets delete ID
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

from adapters.library import find_adapter
from common.command_line import add_job, give, printable, run_job, say
from common.language import _, joined, n_
from data.settings import DataSettings
from data.test_sets import delete_test_set, keep_test_set, list_test_sets
from evaluation import harness
from evaluation.background import delete_work, request_stop
from evaluation.config import ADAPTER, BASE, FEW_SHOT, EvaluationConfig
from evaluation.follow import count_of, follow, progress_as_json, say_end
from evaluation.model_judge import PROMPT_FILE, find_judge, judge_evaluation, judge_prompt
from evaluation.results import Line
from evaluation.run import Evaluation, Progress, candidate_title, find_evaluation, list_evaluations, read_progress
from evaluation.scores import SCORES
from evaluation.start import DEFAULT_TEST_SETS, default_config, keep_file, resume, start
from evaluation.table import compare, read_table, rows_that_differ
from models.hub.client import token_of
from runs.commands import add_flag, given_settings

SHOWN_CHARACTERS = 300  # of a question or an answer


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    return run_job(_parser, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    jobs = parser.add_subparsers(required=True, metavar="JOB")
    run = add_job(jobs, "run", _run, _("evaluate adapters beside their base"))
    run.add_argument("--adapter", action="append", default=[], metavar="NAME", help=_("an adapter; may be repeated"))
    run.add_argument(
        "--test-set",
        action="append",
        default=[],
        metavar="ID",
        help=_("general, questions, run:NAME, your own, or a file"),
    )
    run.add_argument("--score", action="append", default=[], choices=list(SCORES), help=_("only these scores"))
    run.add_argument("--few-shot", type=int, metavar="N", help=_("ask the base with so many examples, too"))
    for item in fields(EvaluationConfig):
        if item.metadata and item.name not in ("shots", "base_revision"):
            add_flag(run, item)
    add_job(jobs, "list", _list, _("all evaluations"))
    show = add_job(jobs, "show", _show, _("the scores of one"), named="ID")
    show.add_argument(
        "--rows", choices=list(SCORES), help=_("the questions at which two candidates differ most in a score")
    )
    show.add_argument("--count", type=int, default=10, help=_("how many questions of each test set [10]"))
    add_job(jobs, "stop", _stop, _("end one and keep the results so far"), named="ID")
    add_job(jobs, "resume", _resume, _("go on where it was"), named="ID")
    add_job(jobs, "delete", _delete, _("delete one for good"), named="ID")
    both = add_job(jobs, "compare", _compare, _("all candidates of two evaluations"), named="ID")
    both.add_argument("other", metavar="OTHER")
    judge = add_job(
        jobs, "judge", _judge, _("let a model of the server in CHAT_SERVER_URL compare answers in pairs"), named="ID"
    )
    judge.add_argument("--model", default="", help=_("the model's name there; without it all are listed"))
    judge.add_argument("--count", type=int, default=0, help=_("how many pairs of each test set; 0: all"))
    words = _("let lm-eval's own harness ask an adapter and its base")
    harness.add_options(add_job(jobs, "lm-eval", harness.work, words))
    sets = add_job(jobs, "test-sets", _list_test_sets, _("what can be asked"))
    more = sets.add_subparsers(metavar="JOB")
    add = add_job(more, "add", _add_test_set, _("keep a file or a split of a dataset as a test set"))
    add.add_argument("data", help=_("a file or a Hugging Face dataset"))
    add.add_argument("--title", default="")
    add.add_argument("--split", default="test", help=_("split of the dataset [test]"))
    add.add_argument("--columns", default="", help=_("which column is what, as JSON"))
    add.add_argument("--max-rows", type=int, default=0, help=_("a sample of so many rows; 0: all"))
    add_job(more, "delete", _delete_test_set, _("delete a test set for good"), named="ID")
    return parser


def _run(options: argparse.Namespace) -> int:
    given = given_settings(options)
    if options.adapter or not given.get("base"):
        config = default_config(adapter=options.adapter[0] if options.adapter else "")
    else:
        config = EvaluationConfig(test_sets=DEFAULT_TEST_SETS)
    if options.adapter:
        names = [find_adapter(name).name for name in options.adapter]
        config = replace(config, candidates=[BASE, *(f"{ADAPTER}{name}" for name in names)], title="")
    if options.few_shot is not None:
        config = replace(config, candidates=[*config.candidates, FEW_SHOT], shots=options.few_shot)
    if options.test_set:
        config = replace(config, test_sets=[keep_file(name) for name in options.test_set])
    config = EvaluationConfig.from_dict({**vars(config), "scores": options.score, **given})
    return _follow(start(config, token=token_of(None)))


def _follow(evaluation: Evaluation) -> int:
    """Print what an evaluation does until it ends, and its scores; return 0 unless it failed. Ctrl-C stops it."""
    print(_("Evaluation {name} in {folder}", name=evaluation.id, folder=str(evaluation.folder)), flush=True)
    progress = follow(evaluation)
    lines = list(read_table(evaluation))
    give({**_as_json(evaluation, progress), "scores": lines})
    _print_table(lines, evaluation)
    return say_end(evaluation, progress)


def _as_json(evaluation: Evaluation, progress: Progress) -> dict[str, Any]:
    """Return an evaluation as `--json` prints it."""
    return {
        "id": evaluation.id,
        "title": evaluation.config().title,
        "folder": evaluation.folder,
        **progress_as_json(progress),
    }


def _print_table(lines: Iterable[Line], evaluation: Evaluation) -> None:
    """Print scores as a table for each test set, with what is to be known of them."""
    from evaluation.statistics import verdict_sentence

    titles = {name: one["title"] for name, one in (evaluation.versions() or {"test_sets": {}})["test_sets"].items()}
    before, notes = "", {}
    for line in lines:
        if line.test_set != before:
            print("\n" + printable(titles.get(line.test_set, line.test_set)))
            before = line.test_set
        score, value = SCORES[line.score], line.estimate
        shown = score.text(value.value)
        if value.n > 1:  # of one row nothing is known
            shown = f"{shown} ({score.text(value.low)} – {score.text(value.high)})"
        verdict = verdict_sentence(line.difference, score) if line.difference else _("the reference")
        name = candidate_title(line.candidate, evaluation.owner)
        say(f"  {score.title:24} {name:32} {shown:26} {verdict}")
        notes |= {(titles.get(line.test_set, line.test_set), name, note): None for note in line.notes}
    for title, name, note in notes:
        say(f"* {title}, {name}: {note}")


def _list(options: argparse.Namespace) -> int:
    """Print a line for each evaluation."""
    found = []
    for evaluation in list_evaluations():
        progress = read_progress(evaluation)
        found.append(_as_json(evaluation, progress))
        title = evaluation.config().title
        say(f"{evaluation.id:40} {progress.status:12} {count_of(progress):14} {title}  {progress.message}".rstrip())
    give(found)
    return 0


def _show(options: argparse.Namespace) -> int:
    """Print the settings and scores of an evaluation, or the questions at which candidates differ."""
    evaluation = find_evaluation(options.name)
    config, progress = evaluation.config(), read_progress(evaluation)
    if options.rows:
        return _show_rows(evaluation, options.rows, options.count)
    say(config.to_yaml())
    for one in (evaluation.versions() or {"test_sets": {}})["test_sets"].values():
        words = n_(
            "{asked:,} of {count:,} row asked", "{asked:,} of {count:,} rows asked", one["rows"], asked=one["asked"]
        )
        say(f"{one['title']}: {words}")
    lines = list(read_table(evaluation))
    versions = (evaluation.versions() or {"test_sets": {}})["test_sets"]
    give({**_as_json(evaluation, progress), "settings": vars(config), "test_sets": versions, "scores": lines})
    _print_table(lines, evaluation)
    say(f"{progress.status} {joined([progress.activity, progress.message, progress.hint])}")
    return 0


def _show_rows(evaluation: Evaluation, score: str, count: int) -> int:
    """Print for each test set and candidate the questions at which it differs most from the first candidate."""
    first, *others = evaluation.config().candidates
    reference, found = candidate_title(first, evaluation.owner), []
    for test_set, known in evaluation.known()["test_sets"].items():
        for candidate in others:
            name = candidate_title(candidate, evaluation.owner)
            for row in rows_that_differ(evaluation, test_set, candidate, score, count):
                found.append({"test_set": test_set, "candidate": candidate, **vars(row)})
                say(f"\n{known['title']} {row.item}: {row.prompt[:SHOWN_CHARACTERS]}")
                say(_("Right: {answer}", answer=row.expected[:SHOWN_CHARACTERS]))
                shown = (
                    (reference, row.reference_value, row.reference_answer),
                    (name, row.candidate_value, row.candidate_answer),
                )
                for who, value, answer in shown:
                    say(f"{who} ({SCORES[score].text(value)}): {answer[:SHOWN_CHARACTERS]}")
    give(found)
    return 0


def _stop(options: argparse.Namespace) -> int:
    request_stop(find_evaluation(options.name))
    print(_("It stops after the answers that are being written, and keeps the results so far."))
    return 0


def _resume(options: argparse.Namespace) -> int:
    evaluation = find_evaluation(options.name)
    resume(evaluation, token_of(None))
    return _follow(evaluation)


def _delete(options: argparse.Namespace) -> int:
    delete_work(find_evaluation(options.name))
    print(_("Deleted: {name}", name=options.name))
    return 0


def _compare(options: argparse.Namespace) -> int:
    first = find_evaluation(options.name)
    lines = list(compare(first, find_evaluation(options.other)))
    give(lines)
    _print_table(lines, first)
    return 0


def _judge(options: argparse.Namespace) -> int:
    """Let a model judge what it has not judged yet, and print win rates; without a model list the server's."""
    evaluation = find_evaluation(options.name)
    if not options.model:
        models = find_judge().models()
        give({"models": models})
        say("\n".join(models))
        return 0
    print(_("The questions are those in {file}, version {version}.", file=str(PROMPT_FILE), version=judge_prompt()[1]))
    for sentence in judge_evaluation(evaluation, options.model, options.count):
        print(printable(sentence), flush=True)
    return 0


def _list_test_sets(options: argparse.Namespace) -> int:
    """Print a line for each test set, the bundled ones first."""
    give(list_test_sets())
    for one in list_test_sets():
        rows = n_("{count:,} row", "{count:,} rows", one.rows)
        labels = _("labels: {names}", names=", ".join(one.labels)) if one.labels else ""
        say(f"{one.id:32} {one.title:40} {rows}  {labels}  {joined(one.notes)}".rstrip())
    return 0


def _add_test_set(options: argparse.Namespace) -> int:
    settings = DataSettings(
        data=options.data, data_split=options.split, columns=options.columns, max_rows=options.max_rows
    )
    kept = keep_test_set(settings, options.title or options.data, progress=lambda words: print(words, file=sys.stderr))
    give(kept)
    say(joined([_("Kept as {name}", name=kept.id), *kept.notes], "\n"))
    return 0


def _delete_test_set(options: argparse.Namespace) -> int:
    delete_test_set(options.name)
    print(_("Deleted: {name}", name=options.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
