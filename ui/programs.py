"""The endpoints for programs: what `view_api` shows. Names, parameters and defaults are stable; everything else is private.

    client = gradio_client.Client(url)                       # on a Space: token="hf_..." is your account there
    run = client.predict({"data": "example", "max_steps": 20}, api_name="/start")["run"]
    client.predict(run, api_name="/status")

A program needs no key: on a laptop it acts for the person there, on a Space for the account of its token, without one for the
guest that its cookie names. `chat` and `compare` are in ui/chat/api.py.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from gradio.utils import get_upload_folder

from adapters.library import list_adapters
from adapters.package import PushOptions
from adapters.pull import look, open_adapter
from adapters.pull import pull as pull_offer
from adapters.push import plan_push
from common.errors import UserError
from common.language import _
from common.mix import DataShare, as_text
from data.check import check as check_data
from data.report import Report
from evaluation.config import EvaluationConfig
from evaluation.run import find_evaluation
from evaluation.start import default_config
from evaluation.start import start as start_evaluation
from models.hub.client import account_of
from runs.config import TrainConfig
from runs.history import search
from runs.queue import enqueue
from runs.queue import stop as stop_run
from runs.resolve import capped
from runs.run import Run, find_run
from ui.adapters.export import exported
from ui.messages import shown
from ui.named import check_named, checked_base
from ui.owner import Visitor, program_of
from ui.program_facts import (
    AdapterFacts,
    EvaluationFacts,
    PushedFacts,
    RunFacts,
    adapter_facts,
    evaluation_facts,
    run_facts,
)
from ui.train.backups import renew
from ui.train.check_events import PREVIEW_ROWS
from ui.train.plan_events import checked_start
from ui.train.slices import only_the_page_trains

PUBLIC = ("start", "check", "runs", "status", "stop", "resume", "chat", "compare", "adapters", "evaluate", "evaluation")
PUBLIC += ("export", "push", "pull")


@shown
def start(
    config: dict[str, Any] | str = "",
    files: list[dict[str, Any]] | None = None,
    token: gr.OAuthToken | None = None,
    request: gr.Request | None = None,
) -> RunFacts:
    """Start a training; it waits in the queue while another one runs.

    config: settings under their names in docs/training.md, as an object or as YAML; what is left out has its default.
    files: uploads (`gradio_client.handle_file(path)`) to train on, instead of `data`.
    Return the run. Its id goes to `status`, `stop` and `resume`, its adapter, when it is done, to `chat` and `push`.
    """
    visitor = program_of(token, request)
    only_the_page_trains()
    return run_facts(checked_start(_config(visitor, config, files), None, visitor))


@shown
def check(
    config: dict[str, Any] | str = "",
    files: list[dict[str, Any]] | None = None,
    token: gr.OAuthToken | None = None,
    request: gr.Request | None = None,
) -> Report:
    """Read the rows as a training would, and return what was found in them: counts, lengths, findings, the first rows.

    config, files: as for `start`. A finding of level "stop" prevents a start.
    """
    config_ = capped(_config(program_of(token, request), config, files))
    config_.check()
    return check_data(config_.data_settings(), PREVIEW_ROWS)


@shown
def runs(token: gr.OAuthToken | None = None, request: gr.Request | None = None) -> list[str]:
    """Return the ids of your runs, the newest first."""
    return [run.id for run in search(program_of(token, request).owner)]


@shown
def status(run: str, token: gr.OAuthToken | None = None, request: gr.Request | None = None) -> RunFacts:
    """Return the state of a run, its losses so far, and its adapter when there is one."""
    return run_facts(_run(run, program_of(token, request)))


@shown
def stop(run: str, token: gr.OAuthToken | None = None, request: gr.Request | None = None) -> RunFacts:
    """Stop a run after its step and keep what it learned; one that waits leaves the queue."""
    found = _run(run, program_of(token, request))
    if found.job_file.exists():
        raise UserError(_("This run is a job on another machine."), _("Stop it on the page, where you are signed in."))
    stop_run(found)
    return run_facts(found)


@shown
def resume(run: str, token: gr.OAuthToken | None = None, request: gr.Request | None = None) -> RunFacts:
    """Resume a run that was stopped or interrupted, from its last checkpoint."""
    visitor = program_of(token, request)
    found = _run(run, visitor)
    only_the_page_trains()
    enqueue(found)
    renew(found, visitor)
    return run_facts(found)


@shown
def adapters(token: gr.OAuthToken | None = None, request: gr.Request | None = None) -> list[AdapterFacts]:
    """Return your adapters, the newest first."""
    return [adapter_facts(adapter) for adapter in list_adapters(program_of(token, request).owner)]


@shown
def evaluate(
    adapter: str = "",
    config: dict[str, Any] | None = None,
    token: gr.OAuthToken | None = None,
    request: gr.Request | None = None,
) -> EvaluationFacts:
    """Start to compare an adapter, the newest unless named, with its base: on its run's held-out rows and the bundled sets.

    config: what is to be otherwise: candidates, test_sets, scores, shots, max_new_tokens, max_items, format_rule, seed.
    Return the evaluation; its id goes to `evaluation`.
    """
    visitor = program_of(token, request)
    if not isinstance(config, dict | None):
        raise UserError(_("The settings are not an object."), _('They look like {"test_sets": ["general"]}.'))
    values = asdict(default_config(visitor.owner, adapter)) | (config or {})
    wanted = EvaluationConfig.from_dict(values | {"base": checked_base(str(values["base"])) if values["base"] else ""})
    return evaluation_facts(start_evaluation(wanted, visitor.owner, visitor.hub_token))


@shown
def evaluation(
    evaluation: str, token: gr.OAuthToken | None = None, request: gr.Request | None = None
) -> EvaluationFacts:
    """Return the state of an evaluation, and what it found: each score with its interval, its difference and n."""
    owner = program_of(token, request).owner
    return evaluation_facts(find_evaluation(evaluation if isinstance(evaluation, str) else "", owner))


@shown
def export(
    adapter: str,
    kind: Literal["zip", "merged", "gguf"] = "zip",
    dtype: Literal["bf16", "fp16", "fp32"] = "bf16",
    token: gr.OAuthToken | None = None,
    request: gr.Request | None = None,
) -> list[dict[str, Any]]:
    """Return an adapter as files: a zip of it, the model with the adapter merged in, or that model as GGUF.

    dtype: the precision of a merged model.
    """
    visitor = program_of(token, request)
    found = open_adapter(adapter, visitor.owner, visitor.hub_token)
    return [_file(path) for path in exported(found, kind, dtype, is_signed_in=bool(visitor.hub_token)).files]


@shown
def push(
    adapter: str,
    repo: str = "",
    private: bool = True,
    token: gr.OAuthToken | None = None,
    request: gr.Request | None = None,
) -> PushedFacts:
    """Push an adapter to the Hub and return its address.

    repo: a name or owner/name; empty takes the adapter's name, in your account.
    private: refuse to write where others can read. False makes a new repository public.
    """
    visitor = program_of(token, request)
    found = open_adapter(adapter, visitor.owner, visitor.hub_token)
    pushed = plan_push(found, account_of(visitor.hub_token), PushOptions(str(repo or ""), bool(private))).push()
    return PushedFacts(url=pushed.url, private=pushed.private, changed=pushed.changed)


@shown
def pull(
    repo: str,
    revision: str = "",
    token: gr.OAuthToken | None = None,
    request: gr.Request | None = None,
) -> AdapterFacts:
    """Download an adapter from the Hub into your library, checked, and return it under the name that it got.

    repo: owner/name, with a folder where it holds several.
    """
    visitor = program_of(token, request)
    offer = look(repo, visitor.hub_token, revision or None)
    return adapter_facts(pull_offer(offer, visitor.hub_token, visitor.owner).adapter)


def wire() -> None:
    """Register the endpoints, but for `chat` and `compare`. What takes long starts one at a time; two checks may run at once."""
    limits: dict[str, dict[str, Any]] = {
        "start": {"concurrency_id": "start", "concurrency_limit": 1},
        "evaluate": {"concurrency_id": "start", "concurrency_limit": 1},
        "check": {"concurrency_id": "check", "concurrency_limit": 2},
        "export": {"concurrency_id": "merge", "concurrency_limit": 1},
        "push": {"concurrency_limit": 4},
        "pull": {"concurrency_limit": 4},
    }
    for endpoint in (start, check, runs, status, stop, resume, adapters, evaluate, evaluation, export, push, pull):
        gr.api(endpoint, api_name=endpoint.__name__, **limits.get(endpoint.__name__, {}))


def hide_the_rest(page: gr.Blocks) -> None:
    """Make every handler of the page private but PUBLIC: programs are not shown them, and may not call them by name."""
    for handler in page.fns.values():
        handler.api_visibility = "public" if handler.api_name in PUBLIC and handler.targets == [] else "private"


def _config(visitor: Visitor, given: object, files: object) -> TrainConfig:
    """Return the settings of a call, its files from the visitor's uploads. Raises UserError."""
    if isinstance(given, str):
        config = TrainConfig.from_text(given) if given.strip() else TrainConfig()
    elif isinstance(given, dict):
        config = TrainConfig.from_dict(given)
    else:
        raise UserError(_("The settings are neither an object nor YAML."), _('They look like {"data": "example"}.'))
    check_named(visitor.owner, config)
    if files:
        config.data = as_text(DataShare(str(path)) for path in _uploads(files))
    config.base = checked_base(config.base)
    return config


def _uploads(files: object) -> list[Path]:
    """Return the paths of uploads; whose they are has been checked by the guard. Raises UserError for any other path."""
    given = (
        [file.get("path") if isinstance(file, dict) else None for file in files] if isinstance(files, list) else [None]
    )
    paths = [Path(path).resolve() for path in given if isinstance(path, str)]
    folder = Path(get_upload_folder()).resolve()
    if len(paths) < len(given) or not all(path.is_file() and path.is_relative_to(folder) for path in paths):
        raise UserError(_("This is not an uploaded file."), _("Send files with `gradio_client.handle_file(path)`."))
    return paths


def _run(name: object, visitor: Visitor) -> Run:
    """Return the visitor's run. Raises UserError."""
    if not isinstance(name, str) or not name:
        raise UserError(_("No run was named."), _("`start` and `runs` return the ids."))
    return find_run(name, visitor.owner)


def _file(path: Path) -> dict[str, Any]:
    """Return a file of a download folder as Gradio's client downloads it."""
    about = {"path": str(path), "orig_name": path.name, "size": path.stat().st_size, "is_stream": False}
    return {**about, "meta": {"_type": "gradio.FileData"}}
