"""Turn a config into a run folder and a command, and start it: always `accelerate launch`, in its own session.

Light: no torch. Output goes to a file, so nobody has to keep reading for the training to go on. The environment of the
training process holds what it needs and no token. Who starts when is decided in runs.queue; resuming is start(run)
again: the process finds its own checkpoints.
"""

import re
import shutil
import subprocess
import threading
import time
from dataclasses import asdict, replace
from itertools import chain, count
from pathlib import Path

from common.errors import UserError
from common.files import is_file, read_json, sweep, write_json, write_text
from common.language import _
from common.mix import DataShare, as_text
from common.paths import LOCAL_OWNER, adapters_folder, as_title, contained, free_name, runs_folder, slug
from common.visitors import working_for
from data.kinds import suffix_of
from models.adapter_fit import check_base
from models.base import Base, shape_for, transport_error
from models.hardware import Gpu, find_gpus
from models.hub.errors import child_environment
from runs import warm
from runs.config import EXAMPLE, ROWS, TrainConfig, marked, named_in
from runs.disk import check_disk, weights_bytes
from runs.labels import Labels, set_labels, title_of
from runs.machines.command import accelerate_yaml, card_name, launch_command, launch_variables
from runs.machines.user_config import FILE as USER_FILE
from runs.machines.user_config import read_user_config
from runs.processes import start_process, this_process
from runs.resolve import ResolvedConfig, check_for_visitors, resolve
from runs.run import UNFINISHED, EventLog, Run, list_runs, read_state
from runs.test_sets import keep_test_sets

LAST_MOMENT_SECONDS = 20
ALL_CARDS = -1  # of a run that has the machine to itself
ADAPTER_SUFFIXES = (".safetensors", ".json", ".jinja", ".model")


def create_run(config: TrainConfig | ResolvedConfig, owner: str = LOCAL_OWNER, labels: Labels | None = None) -> Run:
    """Resolve the settings, copy the data, and write the run's folder. Raises UserError, leaving nothing.

    The config that is written names the base that was chosen and why, so that a resume takes the same one. Its name is the
    folder's; what was typed is the run's title, unless it gets these `labels`.
    """
    resolved = resolve(config)
    config, base = resolved.config, resolved.base
    files = [one.place for name in marked(ROWS) for one in named_in(config, name) if is_file(one.place)]
    check_disk(owner, sum(Path(file).stat().st_size for file in files) + weights_bytes(config, shape_for(base)))
    sweep(*runs_folder(owner).glob(f"*{UNFINISHED}"))
    partial = _reserve(slug(config.name), owner)
    final = partial.with_name(partial.name.removesuffix(UNFINISHED))
    try:
        _write(Run(partial), replace(config, name=final.name), base, owner)
        if labels:
            set_labels(Run(partial), **asdict(labels))
        elif title := _free_title(as_title(config.name), owner):
            set_labels(Run(partial), title=title)
        partial.rename(final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return Run(final)


def _reserve(wanted: str, owner: str) -> Path:
    """Make the folder that becomes the run, under a name that is free among runs and adapters."""
    while True:
        name = free_name(wanted, runs_folder(owner), adapters_folder(owner))
        partial = runs_folder(owner) / f"{name}{UNFINISHED}"
        try:
            partial.mkdir(parents=True)
        except FileExistsError:  # somebody took the same name in this moment
            continue
        if partial.with_name(name).exists():  # or took it before, and was done between the look and the making
            partial.rmdir()
            continue
        return partial


def _free_title(typed: str, owner: str) -> str:
    """Return a title as it was typed, with a number where another run has it; "" where the folder's name says it all."""
    if typed == slug(typed):
        return ""
    taken = {title_of(run) for run in list_runs(owner)}
    return next(title for title in chain([typed], (f"{typed} {number}" for number in count(2))) if title not in taken)


def _write(run: Run, config: TrainConfig, base: Base, owner: str) -> None:
    changes: dict[str, str | None] = {"base": base.choice, "base_revision": base.revision, "base_reason": base.reason}
    if config.init_adapter:
        copy_adapter(config.init_adapter, owner, base, run.init_adapter_folder)
    run.data_folder.mkdir()
    for field in marked(ROWS):
        sets = named_in(config, field)
        if len(sets) > 1:
            kept = [_keep(one, f"{field}-{number}", run) for number, one in enumerate(sets, 1)]
            changes[field] = as_text(kept)
        elif sets and sets[0].place != EXAMPLE:
            wished = sets[0].revision or getattr(config, f"{field}_revision")
            kept = _keep(replace(sets[0], revision=wished), field, run)
            changes |= {field: kept.place, f"{field}_revision": kept.revision}
    keep_test_sets(config, owner, run.data_folder)
    if config.accelerate_config:
        read_user_config(config.accelerate_config)  # again: of a run that is run again the numbers are in the config
        shutil.copyfile(config.accelerate_config, run.folder / USER_FILE)
        changes["accelerate_config"] = USER_FILE
    write_text(run.config_file, replace(config, **changes).to_yaml())


def _keep(one: DataShare, name: str, run: Run) -> DataShare:
    """Return a data set as the run reads it: a copy of a file, called `name`, or the commit of a Hub data set."""
    if one.place == EXAMPLE:
        return one
    revision = _data_revision(one.place, one.revision)
    return replace(one, place=_copy_data(one.place, name, run), revision=revision)


def _data_revision(data: str, wished: str | None) -> str | None:
    """Return the commit that a Hub data set has now, so that a resume trains on the same rows; `wished` when nobody can say."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if suffix_of(data) or is_file(data):
        return wished
    try:
        return HfApi(token=False).dataset_info(data, revision=wished, timeout=10).sha
    except (OfflineModeIsEnabled, HFValidationError, HfHubHTTPError, transport_error()):
        return wished


def _copy_data(data: str, name: str, run: Run) -> str:
    """Keep a copy of a data file in the run, so that a resume trains on the same rows. Ids stay as they are."""
    if not is_file(data):
        if ".." in Path(data).parts:  # it would be looked for from inside the run
            words = _("There is no file '{file}'.", file=data[:200])
            raise UserError(words, _("Choose a file, or enter a Hugging Face ID like owner/name."))
        return data
    endings = Path(data).suffixes[-2:] if data.lower().endswith(".gz") else Path(data).suffixes[-1:]
    suffix = re.sub(r"[^a-z0-9.]", "", "".join(endings).lower())  # tells the format: '.jsonl', '.jsonl.gz'
    copied = run.data_folder / f"{name}{suffix}"
    shutil.copyfile(data, copied)
    return copied.relative_to(run.folder).as_posix()


def copy_adapter(name: str, owner: str, base: Base, destination: Path) -> None:
    """Copy the owner's adapter `name` for a run that continues from it: weights and text files, no links.

    Raises UserError when it is not there or was trained on another base.
    """
    source = contained(adapters_folder(owner), name)
    found = read_json(source / "adapter_config.json")
    if not isinstance(found, dict) or not (source / "adapter_model.safetensors").is_file():
        raise UserError(_("You have no adapter '{name}'.", name=name[:80]), _("Choose one from your adapters."))
    check_base(name, found.get("base_model_name_or_path"), base)
    destination.mkdir()
    for file in source.iterdir():
        if file.suffix in ADAPTER_SUFFIXES and file.is_file() and not file.is_symlink():
            shutil.copyfile(file, destination / file.name)


def start(run: Run, card: int = ALL_CARDS) -> None:
    """Start (or resume) the training process of `run` and return at once. runs.queue asks first whether it may.

    With a `card`, from 0, it trains on that one, which the mark of its process names, and others may train beside it. Raises
    UserError when this very run is still training. One that has said its last word gets a moment to end.
    """
    deadline = time.monotonic() + LAST_MOMENT_SECONDS
    while run.is_alive():
        if read_state(run).is_running or time.monotonic() > deadline:
            words = _("The run '{name}' is already training.", name=run.id)
            raise UserError(words, _("Wait for it, or stop it first."))
        time.sleep(0.1)
    run.stop_file.unlink(missing_ok=True)
    config, gpus = run.config(), find_gpus()  # now: the hardware may be another one than when the run was made
    with working_for(run.owner):  # not for who let the queue go on
        check_for_visitors(config)  # a run may have come from the Hub
        variables = environment(config, gpus)
    name = ""
    if card != ALL_CARDS:
        gpus, name = gpus[card : card + 1], f'"{card_name(card)}"'
    if not config.accelerate_config:
        write_text(run.accelerate_file, accelerate_yaml(config, gpus, name))
    waiting = warm.take(run, warm.start_of(config, gpus, variables, name))
    process = waiting or start_process(command(run, config, gpus), variables, run.log_file, subprocess.DEVNULL)
    write_json(run.process_file, {"launcher": this_process(process.pid) | {"card": card}})
    if waiting:  # whoever dies before this line leaves a process that ends
        warm.tell(waiting, run)
    message = _("Starting the training process")
    EventLog(run).write("preparing", message=message, base=config.base, base_reason=config.base_reason)
    threading.Thread(target=process.wait, daemon=True).start()  # reaps it; nothing else depends on this thread


def command(run: Run, config: TrainConfig, gpus: tuple[Gpu, ...]) -> list[str]:
    """Return the command that trains `run` on these cards. Running it in a shell does the same thing as the button."""
    file = run.folder / USER_FILE if config.accelerate_config else run.accelerate_file
    return launch_command(config, file, gpus, run.folder)


def environment(config: TrainConfig, gpus: tuple[Gpu, ...]) -> dict[str, str]:
    """Return the environment of the training process: a child's, and what accelerate wants to know."""
    return child_environment() | launch_variables(config, gpus)
