"""Works with adapters from the command line: the same jobs as on the page's Adapters tab.

python -m adapters list [WORDS]              all of them, or those in which every word is found
python -m adapters show NAME                 everything that is known of one
python -m adapters import PATH               a folder or a zip, checked first
python -m adapters export NAME --to FILE     a zip
python -m adapters merge NAME --to FOLDER    merged into its base; --gguf writes files for llama.cpp and Ollama too
python -m adapters push NAME                 to your account on the Hub, private unless --public
python -m adapters pull owner/name           from the Hub; also owner/name@revision, owner/name/folder or an address
python -m adapters search                    adapters on the Hub, of one base or --mine
python -m adapters template NAME CHOICE      the chat template that an adapter with one that is not known is read in
python -m adapters delete NAME               --undo brings it back
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from adapters.edit import delete_adapter, rename_adapter, set_notes, set_template, undo_delete
from adapters.export.serve import vllm_line
from adapters.facts import COLUMNS, describe_template, facts_of
from adapters.hub_base import name_hub_base
from adapters.intake import import_adapter
from adapters.library import Adapter, adapter_names, find_adapter
from adapters.package import PushOptions, export_zip
from adapters.pull import look, open_adapter, pull, search_hub
from adapters.push import plan_push
from common.command_line import exit_code, printable, progress_on_stderr
from common.errors import UserError
from common.files import check_free, sweep
from common.paths import LOCAL_OWNER, home
from models.base import DEFAULT_BASE, choose_base, fetch_base
from models.hub.client import account_of, token_of
from models.templates.choice import choices


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do the job, and return the exit code."""
    options = _parser().parse_args(arguments)
    return exit_code(lambda: options.work(options) and None)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all jobs."""
    parser = argparse.ArgumentParser(
        prog="python -m adapters", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="JOB")

    def command(name: str, work: Callable[[argparse.Namespace], object], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(work=work)
        return added

    command("list", _list, "all adapters").add_argument("words", nargs="*")
    command("show", _show, "one adapter").add_argument("name")
    imported = command("import", _import, "take a folder or a zip into the library")
    imported.add_argument("path", type=Path)
    exported = command("export", _export, "an adapter as a zip")
    exported.add_argument("name")
    exported.add_argument("--to", type=Path, help="the zip [NAME.zip]")
    merge = command("merge", _merge, "merge an adapter into its base")
    merge.add_argument("name")
    merge.add_argument("--to", type=Path, help="the folder [STUDIO_HOME/exports/NAME-merged]")
    merge.add_argument("--dtype", default="bf16", choices=("bf16", "fp16", "fp32"))
    merge.add_argument("--gguf", action="store_true", help="also f16, q8_0 and the adapter as GGUF, with a Modelfile")
    push = command("push", _push, "push to the Hub")
    push.add_argument("name")
    push.add_argument("--repo", default="", help="name, or owner/name [the adapter's name]")
    push.add_argument("--base", default="", help="the model on the Hub that its base, a folder here, is a copy of")
    push.add_argument("--public", action="store_true", help="everybody may see it")
    push.add_argument("--license", default="", help="[the base's]")
    push.add_argument("--language", default="", help="of the data, as a code like en, for the card [left out]")
    push.add_argument("--no-answers", action="store_true", help="no sample answers on the card")
    push.add_argument(
        "--show-rows", action="store_true", help="sample answers also when rows of your data are shown by it"
    )
    push.add_argument("--yes", action="store_true", help="change an existing repository without asking")
    pulled = command("pull", _pull, "pull from the Hub")
    pulled.add_argument("repo")
    pulled.add_argument("--revision")
    for taken in (imported, pulled):
        taken.add_argument("--name", default="")
        taken.add_argument("--subfolder", default="", help="the folder in it, where it holds several adapters")
        taken.add_argument("--base", default="", help="its base, a Hub id or a folder, if it names none within reach")
    search = command("search", _search, "adapters on the Hub")
    search.add_argument("words", nargs="*")
    search.add_argument("--base", default=DEFAULT_BASE)
    search.add_argument("--mine", action="store_true")
    rename = command("rename", lambda options: _say(rename_adapter(options.name, options.new_name).name), "rename")
    rename.add_argument("name")
    rename.add_argument("new_name")
    note = command("note", lambda options: set_notes(options.name, options.text), "keep a note")
    note.add_argument("name")
    note.add_argument("text")
    template = command(
        "template",
        lambda options: _say(f"Chat template: {describe_template(set_template(options.name, options.choice))}."),
        "choose a chat template",
    )
    template.add_argument("name")
    template.add_argument("choice", choices=[value for _, value in choices()])
    delete = command("delete", _delete, "delete; kept for a week")
    delete.add_argument("name")
    delete.add_argument("--undo", action="store_true", help="bring it back")
    return parser


def _say(words: object) -> None:
    """Print `words` without control characters of a terminal."""
    print(printable(str(words)))


def _list(options: argparse.Namespace) -> None:
    """Print a table of the adapters in which all words are found."""
    names = adapter_names(words=" ".join(options.words))
    if names:
        _say("  ".join(f"{column.title:{column.width}}" for column in COLUMNS).rstrip())
    for name in names:
        try:
            adapter = find_adapter(name)
        except UserError as error:
            _say(f"{name} cannot be read: {error} Get it again, or delete its folder.")
            continue
        _say("  ".join(f"{column.value(adapter):{column.width}}" for column in COLUMNS).rstrip())


def _show(options: argparse.Namespace) -> None:
    """Print everything that is known of one adapter, and the line for vLLM."""
    adapter = find_adapter(options.name)
    for label, value in facts_of(adapter):
        _say(f"{label:20} {value}")
    line = vllm_line(adapter)
    _say(f"\nvLLM: {line.command}" if not line.refusals else f"\nvLLM does not serve it: {', '.join(line.refusals)}.")


def _import(options: argparse.Namespace) -> None:
    """Import a folder or a zip."""
    imported = import_adapter(options.path, options.name, base=_base(options.base), subfolder=options.subfolder)
    _say("\n".join([f"Imported as {imported.adapter.name}.", *imported.notes]))


def _base(wanted: str) -> str:
    """Return the base of an option: the whole path of a folder that is here, else what was typed."""
    return str(Path(wanted).resolve()) if wanted and Path(wanted).is_dir() else wanted


def _opened(name: str) -> Adapter:
    """Return the adapter; one that was pulled only while the local login may still read its repository."""
    return open_adapter(name, LOCAL_OWNER, token_of(None))


def _export(options: argparse.Namespace) -> None:
    """Write the adapter as a zip."""
    adapter = _opened(options.name)
    _say(export_zip(adapter, options.to or Path(f"{adapter.name}.zip")))


def _merge(options: argparse.Namespace) -> None:
    """Write the merged model and, with --gguf, the GGUF files and the Modelfile: all of it, or nothing."""
    from adapters.export.gguf_file import check_model, write_all
    from adapters.export.merge import STAGING_PREFIX, merge_adapter

    adapter = _opened(options.name)
    target = (options.to or home() / "exports" / f"{adapter.name}-merged").resolve()
    check_free(target)
    gguf_folder = target.with_name(f"{target.name}-gguf")
    if options.gguf:
        check_free(gguf_folder)
    base_folder = fetch_base(choose_base(adapter.base_choice, adapter.base_revision), progress_on_stderr())
    if options.gguf:
        check_model(base_folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(*target.parent.glob(f"{STAGING_PREFIX}*"))
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=STAGING_PREFIX) as staging:
        merged = merge_adapter(adapter, base_folder, Path(staging, target.name), options.dtype, progress_on_stderr())
        lines = [str(target), merged.sentence()]
        if options.gguf:
            lines += [
                str(gguf_folder),
                *write_all(adapter, base_folder, merged.folder, Path(staging, "gguf"))[1],
                "Modelfile",
            ]
            Path(staging, "gguf").rename(gguf_folder)
        merged.folder.rename(target)
    _say("\n".join(lines))


def _push(options: argparse.Namespace) -> None:
    """Print the plan and push; without --yes only to a new repository."""
    adapter, account = _opened(options.name), account_of(token_of(None))
    if options.base:
        _say(name_hub_base(adapter, options.base, account.token, progress_on_stderr()).sentence())
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
    _say(f"Signed in as {account.name}. {plan.sentence()}")
    for file in plan.files:
        _say(f"  {file.change:8} {file.path} ({file.size / 1e6:.2f} MB)")
    if not plan.is_new and plan.changes and not options.yes:
        raise UserError("The repository is there already.", "Add --yes to change it.")
    _say(plan.push(progress_on_stderr()).url)


def _pull(options: argparse.Namespace) -> None:
    """Pull an adapter from the Hub."""
    token = token_of(None)
    offer = look(options.repo, token, options.revision, options.subfolder, _base(options.base))
    _say(offer.sentence())
    pulled = pull(offer, token, name=options.name, progress=progress_on_stderr())
    _say("\n".join([f"Pulled as {pulled.adapter.name}.", *pulled.notes]))


def _search(options: argparse.Namespace) -> None:
    """Print the adapters that a search on the Hub finds."""
    base = "" if options.mine else options.base
    for found in search_hub(token_of(None), base, " ".join(options.words), options.mine):
        secrecy = "private" if found.is_private else "public"
        _say(f"{found.repo_id:60} {secrecy:8} {found.downloads:>8} downloads  {found.changed}")


def _delete(options: argparse.Namespace) -> None:
    """Delete an adapter, or bring it back with --undo."""
    if options.undo:
        _say(f"{undo_delete(options.name).name} is back.")
    else:
        deleted = delete_adapter(options.name)
        _say(f"Deleted. Within a week, `python -m adapters delete {deleted.name} --undo` brings it back.")


if __name__ == "__main__":
    sys.exit(main())
