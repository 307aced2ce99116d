"""The training jobs from the command line, on the same settings as the page.

python -m trainer train --data rows.jsonl --name my-adapter     start, watch, and wait
python -m trainer train --config config.yaml                    the same from a file
python -m trainer resume NAME        go on from the last checkpoint
python -m trainer list               all runs
python -m trainer show NAME          one run, and how to load what came out
python -m trainer preview DATA --base B --rows N [--json]       the tokens, and which of them are trained
"""

import argparse
import json
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

from common.errors import UserError
from common.paths import adapters_folder, bases_folder
from models.hardware import describe_hardware
from trainer.config import TrainConfig
from trainer.run import Run, RunState, find_run, list_runs, read_state

POLL_SECONDS = 0.5


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return options.work(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # `| head` has enough
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    jobs = parser.add_subparsers(required=True, metavar="JOB")
    train = _job(jobs, "train", _train, "train an adapter")
    train.add_argument("--config", type=Path, help="a config.yaml; flags win over it")
    add_settings(train)
    resume = _job(jobs, "resume", _resume, "go on with a run that was stopped or interrupted")
    resume.add_argument("name")
    _job(jobs, "list", _list, "all runs")
    show = _job(jobs, "show", _show, "one run")
    show.add_argument("name")
    preview = _job(jobs, "preview", _preview, "rows as the trainer gets them")
    preview.add_argument("data", help="a file, a Hub data set id, or 'example'")
    preview.add_argument("--base", default="auto")
    preview.add_argument("--rows", type=int, default=10)
    preview.add_argument("--max-length", type=int, default=TrainConfig.max_length)
    preview.add_argument("--split", default="train")
    preview.add_argument("--chat-template", default="auto")
    preview.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _job(jobs, name: str, work, text: str) -> argparse.ArgumentParser:
    parser = jobs.add_parser(name, help=text, description=text)
    parser.set_defaults(work=work)
    return parser


def add_settings(parser: argparse.ArgumentParser) -> None:
    """One flag a field of the config, with its help and default; what is not given stays out of the namespace."""
    for item in fields(TrainConfig):
        if item.name == "base_reason":
            continue
        parser.add_argument(
            f"--{item.name.replace('_', '-')}",
            dest=f"set_{item.name}",
            default=argparse.SUPPRESS,
            choices=item.metadata["choices"],
            metavar=None if item.metadata["choices"] else item.name.upper(),
            help=f"{item.metadata['help']} [{item.default}]".replace("%", "%%"),
        )


def given_settings(options: argparse.Namespace) -> dict:
    """The settings that were given as flags."""
    return {name[4:]: value for name, value in vars(options).items() if name.startswith("set_")}


def _train(options: argparse.Namespace) -> int:
    from trainer.launcher import launch

    values = TrainConfig.from_yaml(options.config).to_dict() if options.config else {}
    config = TrainConfig.from_dict({**values, **given_settings(options)})
    run = launch(replace(config, base_reason=""))
    return follow(run)


def _resume(options: argparse.Namespace) -> int:
    from trainer.launcher import start

    run = find_run(options.name)
    start(run)
    return follow(run)


def follow(run: Run) -> int:
    """Print the events of `run` until it ends, and return 0 unless it failed. Ctrl-C stops it and keeps what it learned."""
    config = run.config()
    print(f"Run {run.id} in {run.folder}\nHardware: {describe_hardware()}\nBase: {config.base}: {config.base_reason}")
    try:
        state = watch(run)
    except KeyboardInterrupt:
        print("\nStopping: saving what was learned ...", flush=True)
        run.request_stop()
        state = watch(run)
    _print_end(run, state)
    return 0 if state.status in ("done", "stopped") else 1


def watch(run: Run) -> RunState:
    """Print what is new in `run` until it ends; returns its last state."""
    shown_steps, shown_message = len(read_state(run).losses), ""
    while True:
        state = read_state(run)
        for step, loss in state.losses[shown_steps:]:
            print(
                f"step {step}/{state.total_steps}  loss {loss:.4f}  {state.tokens_per_second:.0f} tokens/s", flush=True
            )
        shown_steps = len(state.losses)
        if state.message and state.message != shown_message and state.is_running:
            print(state.message, flush=True)
            shown_message = state.message
        if not state.is_running:
            return state
        time.sleep(POLL_SECONDS)


def _print_end(run: Run, state: RunState) -> None:
    for note in state.notes:
        print(note)
    print(f"{state.status}. {state.message} {state.hint}".strip())
    if state.status in ("failed", "interrupted"):
        print(f"The log is {run.log_file}")
    if state.adapter:
        print(f"Adapter: {adapters_folder(run.owner) / state.adapter}")


def _list(options: argparse.Namespace) -> int:
    for run in list_runs():
        state = read_state(run)
        loss = f"loss {state.losses[-1][1]:.4f}" if state.losses else ""
        print(f"{run.id:40} {state.status:12} step {state.step}/{state.total_steps}  {loss}")
    return 0


def _show(options: argparse.Namespace) -> int:
    run = find_run(options.name)
    state = read_state(run)
    print(run.config_file.read_text(encoding="utf-8"))
    print(f"status: {state.status} {state.message} {state.hint}".strip())
    for name, value in state.metrics.items():
        print(f"{name}: {value}")
    if state.adapter:
        folder = adapters_folder(run.owner) / state.adapter
        print(f"\nTalk to it:  python -m chat --adapter {state.adapter} 'Hello'")
        print("Load it:     from peft import AutoPeftModelForCausalLM")
        print(f"             AutoPeftModelForCausalLM.from_pretrained({str(folder)!r})")
        if state.metrics.get("base_source") == "embedded":
            print(f"             (without a network: HF_HUB_OFFLINE=1 HF_HUB_CACHE={bases_folder()} finds its base)")
    return 0


def _preview(options: argparse.Namespace) -> int:
    """Show rows as tokens. Which base is used, and why, goes to stderr, so that stdout is only rows."""
    from models.base import choose_base, fetch_base
    from models.templates import training_template
    from models.tokenizer import load_tokenizer
    from trainer.dataset import preview, read_rows

    base = choose_base(options.base)
    print(f"Base: {base}", file=sys.stderr)
    tokenizer = load_tokenizer(fetch_base(base), options.chat_template)
    rows = read_rows(options.data, options.split)[: options.rows]
    for shown in preview(rows, tokenizer, training_template(tokenizer), options.max_length):
        print(json.dumps(shown, ensure_ascii=False) if options.json else _as_text(shown, tokenizer))
    return 0


def _as_text(shown: dict, tokenizer) -> str:
    """A row for reading: trained stretches in [[ ]], special tokens visible."""
    text, inside = f"--- row {shown['row']}, {len(shown['ids'])} tokens\n", False
    stretch: list[int] = []
    for token, trained in [*zip(shown["ids"], shown["trained"], strict=True), (None, None)]:
        if trained != inside or token is None:
            words = tokenizer.decode(stretch)
            text += f"[[{words}]]" if inside else words
            stretch, inside = [], trained
        stretch.append(token)
    return text


if __name__ == "__main__":
    sys.exit(main())
