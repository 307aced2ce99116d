"""Works with adapters from the command line: the same jobs as on the page's Adapters tab.

python -m adapters list [WORDS]              all of them, or those in which every word is found
python -m adapters show NAME                 everything that is known of one
python -m adapters import PATH               a folder or a zip, checked first
python -m adapters export NAME --to FILE     a zip
python -m adapters merge NAME --to FOLDER    merged into its base; --gguf writes files for llama.cpp and Ollama too
python -m adapters mix NAME NAME             two or more of one base, into a new one
python -m adapters push NAME                 to your account on the Hub, private unless --public
python -m adapters pull owner/name           from the Hub; also owner/name@revision, owner/name/folder or an address
python -m adapters search                    adapters on the Hub, of one base or --mine
python -m adapters template NAME CHOICE      the chat template that an adapter with one that is not known is read in
python -m adapters delete NAME               --undo brings it back
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from adapters.edit import delete_adapter, rename_adapter, set_notes, set_template, undo_delete
from adapters.evaluated import (
    HEADS,
    STATED,
    chosen_score,
    is_any_evaluated,
    is_stated,
    read_evaluated,
    score_words,
)
from adapters.export.merge import DTYPES, STAGING_PREFIX, merge_adapter
from adapters.export.serve import vllm_line
from adapters.facts import COLUMNS, Column, describe_template, facts_of
from adapters.hub_jobs import add_hub_jobs, add_intake_options, as_json, base_option, opened
from adapters.intake import import_adapter
from adapters.library import adapter_names, find_adapter
from adapters.mix import DENSITY, KINDS, Mix, mix
from adapters.package import export_zip
from common.command_line import add_job, give, progress_on_stderr, run_job, say
from common.errors import UserError
from common.files import check_free, sweep
from common.language import _, joined
from common.paths import home
from models.base import choose_base, fetch_base
from models.templates.choice import template_choices


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do the job, and return the exit code."""
    return run_job(_parser, arguments)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all jobs."""
    parser = argparse.ArgumentParser(
        prog="python -m adapters",
        description=_("Work with adapters: the same jobs as in the Adapters tab of the page."),
    )
    commands = parser.add_subparsers(required=True, metavar="JOB")

    command = partial(add_job, commands)
    listed = command("list", _list, _("list the adapters, or those in which every word is found"))
    listed.add_argument("words", nargs="*")
    listed.add_argument(
        "--score",
        default=chosen_score(),
        help=_("score to list, of those evaluated [{default}]", default=chosen_score()),
    )
    command("show", _show, _("show everything that is known about an adapter")).add_argument("name")
    imported = command("import", _import, _("import a folder or a zip"))
    imported.add_argument("path", type=Path)
    add_intake_options(imported)
    exported = command("export", _export, _("export an adapter as a zip"))
    exported.add_argument("name")
    exported.add_argument("--to", type=Path, help=_("the zip [NAME.zip]"))
    merge = command("merge", _merge, _("merge an adapter into its base"))
    merge.add_argument("name")
    merge.add_argument("--to", type=Path, help=_("the folder [STUDIO_HOME/exports/NAME-merged]"))
    merge.add_argument("--dtype", default="bf16", choices=DTYPES)
    merge.add_argument(
        "--gguf", action="store_true", help=_("also write f16, q8_0 and the adapter as GGUF, with a Modelfile")
    )
    mixed = command("mix", _mix, _("mix two or more adapters of one base into a new one"))
    mixed.add_argument("names", nargs="+", metavar="NAME")
    mixed.add_argument("--kind", default="svd", choices=KINDS, help=joined([f"{k}: {v}." for k, v in KINDS.items()]))
    mixed.add_argument("--weights", nargs="+", type=float, help=_("one for each [equal parts of 1]"))
    mixed.add_argument(
        "--density", type=float, default=DENSITY, help=_("of TIES and DARE: the part that is kept [0.5]")
    )
    mixed.add_argument("--name", default="", help=_("[named after its parts]"))
    add_hub_jobs(commands)
    rename = command("rename", _rename, _("rename an adapter"))
    rename.add_argument("name")
    rename.add_argument("new_name")
    note = command("note", _note, _("save a private note"))
    note.add_argument("name")
    note.add_argument("text")
    template = command("template", _template, _("choose the chat template of an adapter"))
    template.add_argument("name")
    template.add_argument("choice", choices=[value for _label, value in template_choices()])
    delete = command("delete", _delete, _("delete an adapter; it can be restored for a week"))
    delete.add_argument("name")
    delete.add_argument("--undo", action="store_true", help=_("restore it"))
    return parser


def _list(options: argparse.Namespace) -> None:
    """Print a table of the adapters in which all words are found."""
    names, columns = adapter_names(words=" ".join(options.words)), COLUMNS
    if is_any_evaluated():
        columns = (*COLUMNS, Column(_("Evaluated"), 1, lambda adapter: score_words(adapter, options.score)))
    told = []
    if names:
        say("  ".join(f"{column.title:{column.width}}" for column in columns).rstrip())
    for name in names:
        try:
            adapter = find_adapter(name)
        except UserError as error:
            say(_("{name} cannot be read: {error}", name=name, error=str(error)))
            told.append({"name": name, "problem": error.message})
            continue
        told.append(as_json(adapter))
        say("  ".join(f"{column.value(adapter):{column.width}}" for column in columns).rstrip())
    give(told)


def _show(options: argparse.Namespace) -> None:
    """Print everything that is known of one adapter, its scores, and the line for vLLM."""
    adapter = find_adapter(options.name)
    for label, value in facts_of(adapter):
        say(f"{label:20} {value}")
    measured = read_evaluated(adapter.folder)
    for one in measured:
        say(f"\n{one.words()}, {one.day}")
        for row in (HEADS, *(score.row() for score in one.scores)):
            say("  ".join(f"{cell:30}" for cell in row).rstrip())
    if measured and is_stated(adapter):
        say(STATED)
    line = vllm_line(adapter)
    give(
        as_json(adapter)
        | {"facts": dict(facts_of(adapter)), "metrics": adapter.metrics, "evaluated": measured}
        | {"vllm": "" if line.refusals else line.command}
    )
    served = f"vLLM: {line.command}"
    if line.refusals:
        served = _("vLLM cannot serve it: {reasons}.", reasons=joined(line.refusals, ", "))
    say(f"\n{served}")


def _import(options: argparse.Namespace) -> None:
    """Import a folder or a zip."""
    imported = import_adapter(options.path, options.name, base=base_option(options.base), subfolder=options.subfolder)
    give({**as_json(imported.adapter), "notes": imported.notes})
    say(_("Imported as '{name}'.", name=imported.adapter.title))
    for note in imported.notes:
        say(note)


def _export(options: argparse.Namespace) -> None:
    """Write the adapter as a zip."""
    adapter = opened(options.name)
    file = export_zip(adapter, options.to or Path(f"{adapter.name}.zip"))
    give({"file": file})
    say(file)


def _merge(options: argparse.Namespace) -> None:
    """Write the merged model and, with --gguf, the GGUF files and the Modelfile: all of it, or nothing."""
    from adapters.export.gguf_file import check_model, write_all

    adapter = opened(options.name)
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
        lines = [target, merged.sentence()]
        if options.gguf:
            sentences = write_all(adapter, base_folder, merged.folder, Path(staging, "gguf"))[1]
            lines += [gguf_folder, *sentences, "Modelfile"]
            Path(staging, "gguf").rename(gguf_folder)
        merged.folder.rename(target)
    give({"folder": target, "gguf_folder": gguf_folder if options.gguf else None, "message": merged.sentence()})
    for line in lines:
        say(line)


def _mix(options: argparse.Namespace) -> None:
    """Mix adapters into a new one, and print its name."""
    adapters = [opened(name) for name in options.names]
    how = Mix(options.kind, options.weights or [1 / len(adapters)] * len(adapters), options.density)
    made = mix(adapters, how, options.name, progress_on_stderr())
    give({**as_json(made.adapter), "notes": made.notes})
    say(_("Mixed as '{name}'.", name=made.adapter.title))
    for note in made.notes:
        say(note)


def _rename(options: argparse.Namespace) -> None:
    """Rename an adapter, and print its name and its folder's."""
    renamed = rename_adapter(options.name, options.new_name)
    give(as_json(renamed))
    say(_("Renamed to '{name}' (folder {folder}).", name=renamed.title, folder=renamed.name))


def _note(options: argparse.Namespace) -> None:
    """Save a note."""
    set_notes(options.name, options.text)
    give({"name": options.name, "note": options.text})


def _template(options: argparse.Namespace) -> None:
    """Choose the chat template of an adapter, and print it."""
    chosen = describe_template(set_template(options.name, options.choice))
    say(_("Chat template: {template}.", template=chosen))


def _delete(options: argparse.Namespace) -> None:
    """Delete an adapter, or bring it back with --undo."""
    if options.undo:
        restored = undo_delete(options.name)
        give(as_json(restored))
        say(_("Restored '{name}'.", name=restored.title))
    else:
        name = delete_adapter(options.name).name
        give({"deleted": name})
        undo = f"python -m adapters delete {name} --undo"
        say(_("Deleted. For a week, `{command}` restores it.", command=undo))


if __name__ == "__main__":
    sys.exit(main())
