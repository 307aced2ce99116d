"""Adapters from the command line: the same jobs as on the page's Adapters tab.

python -m adapters list [WORDS]              all of them, or those in which every word is found
python -m adapters show NAME                 everything that is known of one
python -m adapters import PATH               a folder or a zip, checked first
python -m adapters export NAME --to FILE     a zip
python -m adapters merge NAME --to FOLDER    merged into its base; --gguf writes files for llama.cpp and Ollama too
python -m adapters push NAME                 to your account on the Hub, private unless --public
python -m adapters pull owner/name           from the Hub; also owner/name@revision or an address
python -m adapters restore you/RUN-checkpoints   a training run whose checkpoints were kept on the Hub
python -m adapters search                    adapters on the Hub, of one base or --mine
python -m adapters template NAME CHOICE      the chat template that an adapter with one that is not known is read in
python -m adapters delete NAME               --undo brings it back
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from adapters.backup import restore
from adapters.edit import delete_adapter, rename_adapter, set_notes, set_template, undo_delete
from adapters.facts import describe_loss, describe_template, describe_when, facts_of
from adapters.hub import account_of, token_of
from adapters.intake import import_adapter
from adapters.library import Adapter, adapter_names, find_adapter
from adapters.parcel import Wish, pack
from adapters.pull import look, open_adapter, pull, search_hub
from adapters.push import plan_push, push_adapter
from adapters.serve import vllm_line, write_modelfile
from common.command_line import exit_code, printable
from common.errors import UserError
from common.files import check_free, sweep
from common.paths import LOCAL_OWNER, home, runs_folder
from models.base import DEFAULT_BASE, choose_base, fetch_base
from models.templates.choice import choices


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    return exit_code(lambda: options.work(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m adapters", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    jobs = parser.add_subparsers(required=True, metavar="JOB")
    _job(jobs, "list", _list, "all adapters").add_argument("words", nargs="*")
    _job(jobs, "show", _show, "one adapter").add_argument("name")
    come = _job(jobs, "import", _import, "take a folder or a zip into the library")
    come.add_argument("path", type=Path)
    come.add_argument("--name", default="")
    come.add_argument("--base", default="", help="the base it belongs to, when it does not say so itself")
    zipped = _job(jobs, "export", _export, "an adapter as a zip")
    zipped.add_argument("name")
    zipped.add_argument("--to", type=Path, help="the zip [NAME.zip]")
    merge = _job(jobs, "merge", _merge, "merge an adapter into its base")
    merge.add_argument("name")
    merge.add_argument("--to", type=Path, help="the folder [STUDIO_HOME/exports/NAME-merged]")
    merge.add_argument("--dtype", default="bf16", choices=("bf16", "fp16", "fp32"))
    merge.add_argument("--gguf", action="store_true", help="also f16, q8_0 and the adapter as GGUF, with a Modelfile")
    _add_hub_jobs(jobs)
    rename = _job(jobs, "rename", lambda options: print(rename_adapter(options.name, options.new_name).name), "rename")
    rename.add_argument("name")
    rename.add_argument("new_name")
    note = _job(jobs, "note", lambda options: set_notes(options.name, options.text) and None, "keep a note")
    note.add_argument("name")
    note.add_argument("text")
    template = _job(jobs, "template", _template, "choose a chat template")
    template.add_argument("name")
    template.add_argument("choice", choices=[value for _, value in choices()])
    delete = _job(jobs, "delete", _delete, "delete; kept for a week")
    delete.add_argument("name")
    delete.add_argument("--undo", action="store_true", help="bring it back")
    return parser


def _add_hub_jobs(jobs) -> None:
    push = _job(jobs, "push", _push, "push to the Hub")
    push.add_argument("name")
    push.add_argument("--repo", default="", help="name, or owner/name [the adapter's name]")
    push.add_argument("--public", action="store_true", help="everybody may see it")
    push.add_argument("--license", default="", help="[the base's]")
    push.add_argument("--language", default="", help="of the data, as a code like en, for the card [left out]")
    push.add_argument("--no-answers", action="store_true", help="no sample answers on the card")
    push.add_argument(
        "--show-rows", action="store_true", help="sample answers also when rows of your data are shown by it"
    )
    push.add_argument("--yes", action="store_true", help="change an existing repository without asking")
    fetch = _job(jobs, "pull", _pull, "pull from the Hub")
    fetch.add_argument("repo")
    fetch.add_argument("--revision")
    fetch.add_argument("--name", default="")
    back = _job(jobs, "restore", _restore, "bring a training run back from its checkpoints on the Hub")
    back.add_argument("repo")
    search = _job(jobs, "search", _search, "adapters on the Hub")
    search.add_argument("words", nargs="*")
    search.add_argument("--base", default=DEFAULT_BASE)
    search.add_argument("--mine", action="store_true")


def _job(jobs, name: str, work, text: str) -> argparse.ArgumentParser:
    parser = jobs.add_parser(name, help=text, description=text)
    parser.set_defaults(work=work)
    return parser


def _say(words: object) -> None:
    print(printable(str(words)))


def _teller():
    """Tells on stderr what is done; the same words once."""
    last = ""

    def tell(what: str, fraction: float | None) -> None:
        nonlocal last
        if what != last:
            print(printable(what), file=sys.stderr, flush=True)
        last = what

    return tell


def _list(options: argparse.Namespace) -> None:
    for name in adapter_names(words=" ".join(options.words)):
        try:
            adapter = find_adapter(name)
        except UserError as error:
            _say(f"{name:32} cannot be read: {error} Get it again, or delete its folder.")
            continue
        loss = describe_loss(adapter).replace(" before, ", " -> ").removesuffix(" after") or "-"
        size = f"{adapter.size_bytes / 1e6:.1f} MB"
        _say(f"{adapter.name:32} r{adapter.lora_r:<4} {size:>9}  {loss:16} {describe_when(adapter)}  {adapter.base}")


def _show(options: argparse.Namespace) -> None:
    adapter = find_adapter(options.name)
    for label, value in facts_of(adapter):
        _say(f"{label:20} {value}")
    line = vllm_line(adapter)
    _say(f"\nvLLM: {line.command}" if not line.refusals else f"\nvLLM does not serve it: {', '.join(line.refusals)}.")


def _import(options: argparse.Namespace) -> None:
    imported = import_adapter(options.path, options.name, base=options.base)
    _say("\n".join([f"Imported as {imported.adapter.name}.", *imported.notes]))


def _opened(name: str) -> Adapter:
    """The adapter, once the Hub has let the local login read what was pulled."""
    return open_adapter(name, LOCAL_OWNER, token_of(None))


def _export(options: argparse.Namespace) -> None:
    adapter = _opened(options.name)
    _say(pack(adapter, options.to or Path(f"{adapter.name}.zip")))


def _base_folder(adapter: Adapter) -> Path:
    return fetch_base(choose_base(adapter.base_choice, adapter.base_revision), _teller())


def _merge(options: argparse.Namespace) -> None:
    from adapters.merge import STAGING_PREFIX, merge_adapter

    adapter = _opened(options.name)
    target = (options.to or home() / "exports" / f"{adapter.name}-merged").resolve()
    check_free(target)
    gguf_folder = target.with_name(f"{target.name}-gguf")
    if options.gguf:
        check_free(gguf_folder)
    base_folder = _base_folder(adapter)
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(*target.parent.glob(f"{STAGING_PREFIX}*"))
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=STAGING_PREFIX) as staging:
        merged = merge_adapter(adapter, base_folder, Path(staging, target.name), options.dtype, _teller())
        try:
            sentences = _write_gguf(adapter, base_folder, merged.folder, Path(staging, "gguf")) if options.gguf else []
        finally:  # the merged model is whole, whatever became of the rest
            merged.folder.rename(target)
            _say(f"{target}\n{merged.sentence()}")
        if options.gguf:
            Path(staging, "gguf").rename(gguf_folder)
            _say("\n".join([str(gguf_folder), *sentences]))


def _write_gguf(adapter: Adapter, base_folder: Path, model_folder: Path, folder: Path) -> list[str]:
    """Write f16, q8_0, the adapter and a Modelfile; returns a sentence on each."""
    from adapters.gguf_file import write_adapter, write_models

    written = write_models(model_folder, folder)
    written.append(write_adapter(adapter, base_folder, folder / f"{adapter.name}-adapter.gguf"))
    return [*(one.sentence() for one in written), write_modelfile(model_folder, written[1].path).name]


def _push(options: argparse.Namespace) -> None:
    adapter, account = _opened(options.name), account_of(token_of(None))
    wish = Wish(
        options.repo, not options.public, options.license, options.language, not options.no_answers, options.show_rows
    )
    plan = plan_push(adapter, account, wish)
    _say(f"Signed in as {account.name}. {plan.sentence()}")
    for file in plan.files:
        _say(f"  {file.change:8} {file.path} ({file.size / 1e6:.2f} MB)")
    if not plan.is_new and plan.changes and not options.yes:
        raise UserError("The repository is there already.", "Add --yes to change it.")
    wish = replace(wish, private=plan.private)
    _say(push_adapter(adapter, account, wish, plan.parent, _teller()).url)


def _pull(options: argparse.Namespace) -> None:
    token = token_of(None)
    offer = look(options.repo, token, options.revision)
    _say(offer.sentence())
    pulled = pull(offer, token, name=options.name, progress=_teller())
    _say("\n".join([f"Pulled as {pulled.adapter.name}.", *pulled.notes]))


def _restore(options: argparse.Namespace) -> None:
    folder = restore(options.repo, account_of(token_of(None)), runs_folder(), _teller())
    _say(f"{folder.name} is back. `python -m trainer resume {folder.name}` goes on with it.")


def _search(options: argparse.Namespace) -> None:
    base = "" if options.mine else options.base
    for found in search_hub(token_of(None), base, " ".join(options.words), options.mine):
        secrecy = "private" if found.is_private else "public"
        _say(f"{found.repo_id:60} {secrecy:8} {found.downloads:>8} downloads  {found.changed}")


def _template(options: argparse.Namespace) -> None:
    _say(f"Chat template: {describe_template(set_template(options.name, options.choice))}.")


def _delete(options: argparse.Namespace) -> None:
    if options.undo:
        _say(f"{undo_delete(options.name).name} is back.")
    else:
        kept = delete_adapter(options.name)
        _say(f"Deleted. Within a week, `python -m adapters delete {kept} --undo` brings it back.")


if __name__ == "__main__":
    sys.exit(main())
