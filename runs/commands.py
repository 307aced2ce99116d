"""Settings as flags, and the commands on runs: list, show, stop, label, delete, undo, compare, bundle; and the plan of one.

Each command takes the parsed options and returns the exit code; what a person can fix is raised as UserError.
"""

import argparse
import time
from contextlib import suppress
from dataclasses import Field, replace
from pathlib import Path
from typing import Any

from common.command_line import give, printable, progress_on_stderr, say
from common.errors import UserError
from common.files import read_object
from common.language import _, joined, n_, said
from common.paths import adapters_folder, bases_folder, runs_folder
from runs.bundle import write_bundle
from runs.config import EXAMPLE, TrainConfig
from runs.forecast.advice import advice
from runs.history import RunFilter, compare, delete, discard, search, undo_delete
from runs.labels import labels_of, set_labels, split_tags
from runs.queue import order, position, stop
from runs.run import LOCAL_OWNER, Run, find_run, model_words, read_state
from runs.state import UNREADABLE, RunState
from runs.trackers.dashboard import open_dashboard
from runs.trackers.track import send_to_space, track, tracker_folder, viewer_command


def add_flag(parser: argparse.ArgumentParser, item: Field, may_be_bare: bool = False) -> None:
    """Add the flag of one setting, with its help and default; one that `may_be_bare` is true without a value.

    What is not given stays out of the namespace: `given_settings` returns the others.
    """
    choices = item.metadata["choices"] or None
    parser.add_argument(
        f"--{item.name.replace('_', '-')}",
        dest=f"set_{item.name}",
        default=argparse.SUPPRESS,
        nargs="?" if may_be_bare else None,
        const="true" if may_be_bare else None,
        choices=choices,
        metavar=None if choices else item.name.upper(),
        help=f"{said(item.metadata['help'])} [{item.default}]".replace("%", "%%"),
    )


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given as flags."""
    return {name[4:]: value for name, value in vars(options).items() if name.startswith("set_")}


def given_config(options: argparse.Namespace) -> TrainConfig:
    """Return the settings of the file, with those of the flags over them."""
    values = TrainConfig.from_yaml(options.config).to_dict() if options.config else {}
    return replace(TrainConfig.from_dict({**values, **given_settings(options)}), base_reason="")


def show_plan(options: argparse.Namespace) -> int:
    """Print how these settings would be started here; the memory too where the rows are known without reading them."""
    from models.base import shape_for
    from runs.forecast.estimate import EXAMPLE_FACTS, count_weights
    from runs.forecast.memory import checkpointing_words, estimate_memory
    from runs.machines.command import launch_plan
    from runs.resolve import resolve

    resolved = resolve(given_config(options))
    config, base, hardware = resolved.config, resolved.base, resolved.hardware
    shape = shape_for(base)
    memory = estimate_memory(config, shape, EXAMPLE_FACTS, hardware) if shape and config.data == EXAMPLE else None
    found = launch_plan(config, hardware, memory.total if memory else None)
    more = [(_("Checkpointing"), checkpointing_words(config, memory))] if memory else []
    more += [(_("Trained"), count_weights(config, shape).words())] if shape else []
    rows = [(_("Base model"), str(base)), *found.rows, *more]
    give({"plan": dict(rows), "advice": advice(config), "command": found.command, "accelerate": found.yaml})
    for what, words in rows:
        print(f"{f'{what}:':20} {words}")
    for sentence in advice(config):
        print(sentence)
    print(f"\n{found.command}\n\n{found.yaml}".rstrip())
    return 0


def list_all(options: argparse.Namespace) -> int:
    """Print a line for each run in which the words are found, with the tags and the star that were asked for."""
    wanted = RunFilter(" ".join(options.words), tuple(options.tag), options.starred, options.sort)
    found = []
    for run in search(LOCAL_OWNER, wanted):
        state = read_state(run, with_curves=False)
        found.append(run_as_json(run, state))
        loss = _("loss {loss:.4f}", loss=state.losses[-1][1]) if state.losses else ""
        labels = labels_of(run)
        words = f"{labels.title}  {labels.words()}".strip()
        step = _("step {step}/{total}", step=state.step, total=state.total_steps)
        problem = joined([state.message, state.hint]) if state.status == UNREADABLE else run.settings_problem()
        say(f"{run.id:40} {state.status:12} {step}  {loss}  {words}  {problem}".rstrip())
    give(found)
    return 0


def run_as_json(run: Run, state: RunState) -> dict[str, Any]:
    """Return a run as `--json` prints it: what it does, how far it is, what came out."""
    labels = labels_of(run)
    return {
        "name": run.id,
        "title": labels.title,
        "tags": labels.tags,
        "starred": labels.starred,
        "note": labels.notes,
        "status": state.status,
        "message": state.message,
        "hint": state.hint,
        "step": state.step,
        "total_steps": state.total_steps,
        "loss": state.losses[-1][1] if state.losses else None,
        "held_out_loss": state.eval_losses[-1][1] if state.eval_losses else None,
        "adapter": state.adapter,
        "folder": run.folder,
        "problem": run.settings_problem(),
    }


def show(options: argparse.Namespace) -> int:
    """Print the settings, state and figures of a run, and how to load what came out."""
    run = find_run(options.name)
    state, labels = read_state(run), labels_of(run)
    settings = run.config_or_none()
    give(
        run_as_json(run, state)
        | {"settings": settings and settings.to_dict(), "metrics": state.metrics, "notes": state.notes}
        | {"losses": state.curve("losses"), "held_out_losses": state.curve("eval_losses")}
    )
    for line in filter(None, (labels.title, labels.words(), labels.notes)):
        say(line)
    config = run.config_or_none()
    words = replace(config, base_reason=said(config.base_reason)).to_yaml() if config else run.settings_problem()
    say(words)
    say(f"status: {state.status} {joined([state.message, state.hint])}".strip())
    for note in state.notes:
        say(note)
    for name, value in state.metrics.items():
        say(f"{name}: {value}")
    if where := model_words(run, state):
        print("", printable(where), sep="\n")
        if run.model_folder.is_dir():
            chat = f"    python -m chat --base {run.model_folder} 'Hello'"
            print(_("Chat with it:"), chat, sep="\n")
    if state.adapter:
        folder = adapters_folder(run.owner) / state.adapter
        chat = f"    python -m chat --adapter {state.adapter} 'Hello'"
        load = f"    from peft import AutoPeftModelForCausalLM\n    AutoPeftModelForCausalLM.from_pretrained({str(folder)!r})"
        print("", _("Chat with it:"), chat, _("Load it:"), load, sep="\n")
        if state.metrics.get("base_source") == "embedded":
            cache = f"    HF_HUB_OFFLINE=1 HF_HUB_CACHE={bases_folder()}"
            print(_("Without a network, its base model is found with:"), cache, sep="\n")
    return 0


def stop_run(options: argparse.Namespace) -> int:
    """Ask a run to stop, or say what ends one that nothing here reaches."""
    run = find_run(options.name)
    kind = read_object(run.job_file).get("kind")
    if kind == "hf":  # nothing that lies here reaches it
        raise UserError(
            _("'{name}' is a job on Hugging Face.", name=run.id),
            _("Stop it with `python -m jobs stop {name}`.", name=run.id),
        )
    if kind == "skypilot":
        raise UserError(
            _("'{name}' is a job of SkyPilot.", name=run.id),
            _("Stop it with `sky jobs cancel --name studio-{name}`.", name=run.id),
        )
    stop(run)
    print(_("It stops after this step and keeps what it learned; a waiting run leaves the queue."))
    return 0


def show_queue(options: argparse.Namespace) -> int:
    """Print your waiting runs with their places; of the others only how many they are."""
    mine = [run for run in order() if run.owner == LOCAL_OWNER]
    give([{"name": run.id, "place": position(run)[0], "total": position(run)[1]} for run in mine])
    for run in mine:
        place, total = position(run)
        words = _("place {place} of {total}", place=place, total=total)
        print(f"{run.id:40} {words}")
    if not mine:
        others = len(order())
        print(
            n_(
                "None of your runs is waiting; {count} of others is.",
                "None of your runs is waiting; {count} of others are.",
                others,
            )
        )
    return 0


def rename_run(options: argparse.Namespace) -> int:
    """Give a run a title."""
    give({"name": options.name, "title": set_labels(find_run(options.name), options.title).title})
    return 0


def label_run(options: argparse.Namespace) -> int:
    """Change a run's tags, note and star."""
    run = find_run(options.name)
    removed = {tag.casefold() for tag in split_tags(options.remove)}
    tags = [tag for tag in (*labels_of(run).tags, *split_tags(options.add)) if tag.casefold() not in removed]
    labels = set_labels(run, notes=options.note, tags=tags, starred=options.star)
    give({"name": run.id, "tags": labels.tags, "note": labels.notes, "starred": labels.starred})
    say(labels.words())
    return 0


def delete_run(options: argparse.Namespace) -> int:
    """Delete a run, with --discard whatever it does, and its adapter."""
    run = find_run(options.name)
    entry = discard(run) if options.discard else delete(run)
    give({"deleted": entry.run_id})
    print(_("Deleted. To bring it back within a day: python -m trainer undo {name}", name=entry.run_id))
    return 0


def undo(options: argparse.Namespace) -> int:
    """Bring a deleted run back."""
    name = undo_delete(LOCAL_OWNER, options.name).id
    give({"name": name})
    print(_("Brought back: {name}", name=name))
    return 0


def restore_run(options: argparse.Namespace) -> int:
    """Bring a run back whose checkpoints were kept on the Hub."""
    from models.hub.client import account_of, token_of
    from runs.backup.backup import restore

    folder = restore(options.repo, account_of(token_of(None)), runs_folder(), progress_on_stderr())
    give({"name": folder.name})
    print(_("Brought back: {name}. Continue it with `python -m trainer resume {name}`.", name=folder.name))
    return 0


def compare_runs(options: argparse.Namespace) -> int:
    """Print the settings that differ and the final metrics, a column for each run."""
    compared = compare([find_run(name) for name in options.names])
    differing = {row.name: row.values for row in compared.settings if row.differs}
    give({"names": options.names, "settings": differing, "metrics": compared.metrics})
    print(_line("", options.names))
    for row in compared.settings:
        if row.differs:
            print(_line(row.name, row.values))
    for name in dict.fromkeys(name for metrics in compared.metrics for name in metrics):
        print(_line(name, [metrics.get(name, "") for metrics in compared.metrics]))
    return 0


def _line(name: str, values: list) -> str:
    return f"{name:28}" + "".join(f"{str(value).splitlines()[0][:26] if str(value) else '':28}" for value in values)


def bundle(options: argparse.Namespace) -> int:
    """Write the zip that reproduces a run; print its path."""
    file = write_bundle(find_run(options.name), options.to, options.include_data)
    give({"file": file})
    print(file)
    return 0


def track_run(options: argparse.Namespace) -> int:
    """Write a run for a tracker and follow it to its end; or send it to a Space, or open the dashboard."""
    run = find_run(options.name)
    if options.space:
        from models.hub.client import account_of, token_of

        address = send_to_space(run, options.space, account_of(token_of(None)), progress_on_stderr())
        give({"address": address})
        print(address)
        return 0
    name = "trackio" if options.show else options.to
    folder = (options.folder or tracker_folder(run, name)).resolve()
    print(_("Look at it with:  {command}", command=viewer_command(name, folder)), flush=True)
    count = track(run, name, folder, not options.show, progress_on_stderr())
    give({"tracker": name, "steps": count, "folder": folder, "viewer": viewer_command(name, folder)})
    print(n_("{count:,} step in {folder}", "{count:,} steps in {folder}", count, folder=str(folder)))
    if options.show:
        print(open_dashboard(folder), flush=True)
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
    return 0


def script(options: argparse.Namespace) -> int:
    """Write a run, or a file of settings, as a TRL script; print the path of the zip."""
    from runs.script.write import write_script

    source = Path(options.name) if options.name.endswith((".yaml", ".yml")) else find_run(options.name)
    file = write_script(source, options.to, progress_on_stderr())
    give({"file": file})
    print(file)
    return 0
