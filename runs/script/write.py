"""A run, or a file of settings, as a plain TRL script: a zip that trains the same without this program. Light: no torch.

<id>-trl/train.py              reads the rows beside it; its head says what it cannot carry
         rows.jsonl            in the training's order, as messages; as tokens where TRL would make others of the messages
         held_out.jsonl        the rows of the evaluations
         chat_template.jinja   the base's, with marks around what is trained
         requirements.txt      the versions of transformers, peft, trl and what they need
         init_adapter/         the adapter that it continues from
"""

import re
import tempfile
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict, cast

from common.child import Tell, ask_child
from common.paths import LOCAL_OWNER, slug
from models.hub.errors import child_environment
from runs.bundle import write_zip
from runs.config import TrainConfig
from runs.history import copy_settings
from runs.redact import redact
from runs.run import Run, read_state

PROCESS = "runs.script.process"
PACKAGES = ("transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets", "torch")
MAX_MINUTES = 15
TEMPLATE = Path(__file__).with_name("train.py.txt")


class ScriptFacts(TypedDict):
    """What the process that makes the rows found out of them and of the base."""

    base: str
    base_revision: str | None
    base_is_quantised: bool
    precision: str
    target_modules: list[str]
    trained_layers: list[int]
    eval_steps: int
    rows: int
    held_out: int
    why_tokens: str  # why the rows are tokens and not messages, "" where they are messages


def write_script(source: Run | Path, destination: Path, tell: Tell = lambda what, fraction: None) -> Path:
    """Write the zip of a run, or of a config.yaml, into the folder `destination`; return the file. Raises UserError."""
    is_run = isinstance(source, Run)
    config = copy_settings(source) if is_run else TrainConfig.from_yaml(source)
    precision = read_state(source, with_curves=False).precision if is_run else ""
    name = f"{source.id if is_run else slug(config.name)}-trl"
    with tempfile.TemporaryDirectory(prefix="studio-script-") as temporary:
        folder = Path(temporary)
        owner = source.owner if is_run else LOCAL_OWNER
        request = {"config": config.to_dict(), "precision": precision, "folder": temporary, "owner": owner}
        facts = cast(ScriptFacts, ask_child(PROCESS, request, child_environment(), tell, max_minutes=MAX_MINUTES))
        contents: dict[str, str | bytes | Path] = {file.name: file for file in sorted(folder.glob("*.json*"))}
        contents["chat_template.jinja"] = folder / "chat_template.jinja"
        init = sorted(source.init_adapter_folder.iterdir()) if is_run and config.init_adapter else []
        contents |= {f"init_adapter/{file.name}": file for file in init if file.is_file()}
        contents["train.py"] = script_text(config, facts, bool(init))
        contents["requirements.txt"] = "".join(f"{name}=={found}\n" for name in PACKAGES if (found := _version(name)))
        return write_zip(destination, name, contents)


def script_text(config: TrainConfig, facts: ScriptFacts, has_init_adapter: bool) -> str:
    """Return the script, which reads the rows beside it."""
    script = TEMPLATE.read_text(encoding="utf-8")
    # the settings that the script reads: it has each by its name in capitals
    read = [item.name for item in fields(TrainConfig) if re.search(rf"\b{item.name.upper()}\b", script)]
    values = {name: getattr(config, name) for name in read if name != "base"} | {
        "base_revision": facts["base_revision"],
        "base_is_quantised": facts["base_is_quantised"],
        "precision": facts["precision"],
        "target_modules": facts["target_modules"],
        "trained_layers": facts["trained_layers"],
        "gradient_checkpointing": config.gradient_checkpointing == "on",
        "eval_steps": facts["eval_steps"],
        "has_held_out": facts["held_out"] > 0,
        "has_init_adapter": has_init_adapter,
        "rows_are_tokens": bool(facts["why_tokens"]),
    }
    # a folder of this machine is named by its last part alone
    lines = [f'BASE = os.environ.get("BASE", {redact(facts["base"])!r})  # a Hugging Face ID or a folder']
    lines += [f"{name.upper()} = {value!r}" for name, value in values.items()]
    head = "\n".join(f"# {line}".rstrip() for line in _head(config, facts))
    found = {"@HEAD@": head, "@SETTINGS@": "\n".join(lines)}
    # in one go: a run may be called @SETTINGS@
    return re.sub("|".join(found), lambda mark: found[mark[0]], script)


def _head(config: TrainConfig, facts: ScriptFacts) -> list[str]:
    """Return what the script needs and what it cannot carry, in English as all of the zip."""
    several = config.num_processes > 1 or config.parallel != "auto"
    start = f"accelerate launch --num_processes {config.num_processes} train.py" if several else "python train.py"
    lines = [f"{config.name!r}, a training of TinyLlama Studio, as a plain TRL script.", ""]
    lines += ["    pip install -r requirements.txt", f"    {start}", ""]
    lines += [f"{facts['rows']:,} rows to train on, {facts['held_out']:,} held out."]
    if facts["why_tokens"]:
        lines += [f"The rows are tokens with labels, not messages: {facts['why_tokens']}."]
    lines += ["", "The same computation: on a CPU losses are equal to about 1e-5. What it cannot carry:"]
    carried = [
        "What only changes the speed and the memory: int8 layers that keep no inputs, attention row by row, a loss that\n"
        "makes no logits of tokens that are not trained. Losses are the same but for the last digits.",
        "Sample answers, the losses on test sets, and the evaluation of step 0: they only look.",
        "On a GPU batches hold rows of similar lengths, here in an order that TRL draws.",
    ]
    if several:
        carried += ["Which process gets which rows, and the noise of each."]
    if config.parallel not in ("auto", "ddp"):
        carried += [f"parallel: {config.parallel}. Give accelerate a configuration of your own for it."]
    if config.text_data:
        carried += [
            "Stage 1, the plain text before the conversations: this is stage 2 on an adapter that read none of it."
        ]
    if config.keep == "best":
        carried += ["keep: best. The adapter is the last step."]
    if config.early_stopping_patience or config.max_minutes:
        carried += ["Early stopping and the time limit."]
    if config.gradient_checkpointing == "auto":
        carried += ["gradient_checkpointing: auto. It is off; set it to True where memory is short."]
    carried += ["Reading, mixing, sampling, checking and splitting the data: rows.jsonl is what came out."]
    return lines + [line for one in carried for line in f"- {one}".replace("\n", "\n  ").split("\n")]


def _version(package: str) -> str:
    """Return the version of an installed package without its build; "" when it is not there."""
    try:
        return version(package).split("+")[0]
    except PackageNotFoundError:
        return ""
