"""Starts runs on Hugging Face Jobs: submit, resume, cancel, with the user's own token, within a limit of time and money.

The token travels as a `secret` of the job and lies in no file. `job.json` in the run's folder keeps which job it is; jobs.follow
streams what it says into the run, jobs.inside is the program that runs there.
"""

import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace

from filelock import FileLock, Timeout

from common.errors import UserError
from common.files import read_json, read_object, write_json
from common.language import _, joined
from common.paths import LOCAL_OWNER, home
from jobs.line import Machines, announce, make_run
from jobs.prices import JobPlan
from jobs.upload import ARCHIVE, send_run
from models.hub.client import Account, Token, account_of, client, errors_explained
from runs.backup.backup import find_repo, look_for_checkpoints
from runs.config import TrainConfig
from runs.forecast.elsewhere import check_for_job
from runs.machines.parallel import with_processes
from runs.run import EventLog, Run, read_state

KIND = "hf"
OVER = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
IMAGE = (
    "ghcr.io/astral-sh/uv:python3.12-bookworm"  # huggingface_hub's own default for scripts: Python, uv and a C compiler
)
SCOPE_HINT = _(
    "A Space must ask for the scope `jobs` (hf_oauth_scopes in its README.md); a token of your own needs permission to run jobs. "
    "Or use the command: python -m jobs hf."
)
FETCH = (
    "import os, sys, zipfile; from huggingface_hub import hf_hub_download as get; "
    f"zipfile.ZipFile(get(sys.argv[1], '{ARCHIVE}', revision=sys.argv[2], token=os.environ['HF_TOKEN'], local_dir='.'))"
    ".extractall()"
)
# $1 repository, $2 commit, the rest are the words for jobs.inside
SCRIPT = f"""set -eu
export STUDIO_JOB_BEGAN=$(date +%s) HF_HUB_DISABLE_TELEMETRY=1 PYTHONUNBUFFERED=1
cd "$(mktemp -d)"
export STUDIO_HOME="$PWD/home"
env -u HF_TOKEN uv pip install --system --quiet huggingface_hub=={{version}}
python -c "{FETCH}" "$1" "$2"
shift 2
cd studio
env -u HF_TOKEN uv pip install --system --quiet -r requirements.txt
exec python -m jobs.inside "$@"
"""


@dataclass(frozen=True)
class Job:
    """The contents of `job.json` for a job of Hugging Face; no token. `log_bytes`: where its part of train.log begins."""

    id: str
    namespace: str
    url: str
    flavor: str
    minutes: int
    most_dollars: float
    checkpoints_repo: str
    adapter_repo: str
    submitted: float
    log_bytes: int = 0
    stage: str = "SCHEDULING"
    kind: str = KIND

    @property
    def is_over(self) -> bool:
        """Whether the job has ended, by the stage that the Hub last gave."""
        return self.stage in OVER


def read_job(run: Run) -> Job | None:
    """Return the job of `run`, None for a run that trains elsewhere or here."""
    values = read_json(run.job_file)
    names = {item.name for item in fields(Job)}
    if not isinstance(values, dict) or values.get("kind") != KIND or not values.get("id"):
        return None
    try:
        return Job(**{name: value for name, value in values.items() if name in names})
    except TypeError:  # of a later version
        return None


def note_job(run: Run, **values) -> Job | None:
    """Change what is kept of the job of `run`."""
    job = read_job(run)
    if job:
        job = replace(job, **values)
        write_json(run.job_file, asdict(job))
    return job


def submit(config: TrainConfig, plan: JobPlan, account: Account, owner: str = LOCAL_OWNER) -> Run:
    """Make a run and start it as a job. Raises UserError; a run that was not started can be resumed."""
    check_for_job(config)
    run = make_run(config, Machines(1, plan.flavor.gpus), owner)
    with _one_start(run):
        announce(run, _("Sending the run to the Hugging Face Hub"), kind=KIND)
        _start(run, plan, account, restore="")
    return run


@contextmanager
def _one_start(run: Run):
    """Hold the lock of a run's start, so that it is not paid twice. Writes a failed start into the run's events."""
    folder = home() / "following"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"start-{run.owner}-{run.id}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(_("'{run}' is already being started.", run=run.id), _("Wait until it has started.")) from error
    try:
        yield
    except Refused as error:
        raise UserError(error.message, error.hint) from error
    except UserError as error:
        hint = joined([error.hint, _("Resume it as a job to try again.")])
        with suppress(OSError):  # a full disk, which may be the reason itself
            EventLog(run).write("stopped", message=_("Not started: {reason}", reason=error.message), hint=hint)
        raise
    finally:
        lock.release()


class Refused(UserError):
    """A start that was not tried: the run goes on as it was."""


def resume(run: Run, plan: JobPlan, account: Account) -> None:
    """Start a new job for `run`, from its last checkpoint on the Hub, or from the start when there is none yet."""
    if read_object(run.job_file).get("kind") != KIND:
        words = _("'{run}' does not run on Hugging Face Jobs.", run=run.id)
        raise UserError(words, _("Resume it where it trains."))
    with _one_start(run):
        job = read_job(run)
        if read_state(run).is_running and job and not job.is_over:
            raise Refused(_("'{run}' is still running as a job.", run=run.id), _("Cancel it first, or wait for it."))
        config = with_processes(run.config(), max(1, plan.flavor.gpus))
        run.config_file.write_text(config.to_yaml(), encoding="utf-8")
        restore = ""
        with suppress(UserError):  # no checkpoint has arrived
            restore = look_for_checkpoints(job.checkpoints_repo, account).repo_id if job else ""
        _start(run, plan, account, restore)


def _start(run: Run, plan: JobPlan, account: Account, restore: str) -> None:
    from huggingface_hub import __version__

    checkpoints = find_repo(run.folder, account)
    adapter = _adapter_repo(run, account)
    repo_id, commit = send_run(run, account)
    words = ["--run", run.id, "--seconds", str(60 * plan.minutes), "--checkpoints", checkpoints, "--adapter", adapter]
    words += ["--source", repo_id, *(["--restore", restore] if restore else [])]
    run.stop_file.unlink(missing_ok=True)
    began = time.time()
    info = _run_job(
        account,
        image=IMAGE,
        command=["bash", "-c", SCRIPT.format(version=__version__), "studio", repo_id, commit, *words],
        secrets={"HF_TOKEN": account.token},
        flavor=plan.flavor.name,
        timeout=60 * plan.minutes,
        attempts=1,  # a second attempt would cost a second time
        labels={"studio-run": run.id[:60], "studio-start": str(int(began)), "name": f"studio-{run.id}"[:60]},
        namespace=account.name,
    )
    job = Job(
        id=info.id,
        namespace=account.name,
        url=info.url,
        flavor=plan.flavor.name,
        minutes=plan.minutes,
        most_dollars=plan.most_dollars,
        checkpoints_repo=checkpoints,
        adapter_repo=adapter,
        submitted=began,
        log_bytes=run.log_file.stat().st_size if run.log_file.exists() else 0,
    )
    try:
        announce(run, _("Waiting for a machine: {name}", name=plan.flavor.name), **asdict(job))
    except OSError as error:  # nobody would know of it, and it would cost
        cancel_job(job, account)
        words = _("The job was cancelled again, because it could not be recorded in the run's folder.")
        raise UserError(words, str(error)) from error


def _run_job(account: Account, **wanted):
    """Start the job once. When the answer is lost on the way, find the job that may have started, so that none is paid twice."""
    try:
        with job_words():
            return client(account.token).run_job(**wanted)
    except UserError as error:
        if status_of(error):  # the Hub has refused it
            raise
        with suppress(UserError), job_words():
            labels = {name: wanted["labels"][name] for name in ("studio-run", "studio-start")}
            found = next(iter(client(account.token).list_jobs(labels=labels, namespace=account.name)), None)
            if found:
                return found
        raise


def _adapter_repo(run: Run, account: Account) -> str:
    """Return where the adapter goes: the run's name in the account, when that is free or this run's own already."""
    from huggingface_hub.errors import RepositoryNotFoundError

    job = read_job(run)
    if job:
        return job.adapter_repo
    for name in (run.id, *(f"{run.id}-{number}" for number in range(2, 100))):
        try:
            with errors_explained(f"{account.name}/{name}"):
                client(account.token).model_info(f"{account.name}/{name}")
        except UserError as error:
            if isinstance(error.__cause__, RepositoryNotFoundError):
                return f"{account.name}/{name}"
            raise
    words = _("There are already a hundred repositories named like '{name}'.", name=run.id)
    raise UserError(words, _("Give the adapter another name."))


def cancel(run: Run, account: Account) -> None:
    """End the job of `run` now. What it has learned up to its last checkpoint is on the Hub. Raises UserError."""
    job = read_job(run)
    if job is None:
        raise UserError(
            _("'{run}' has no job on Hugging Face.", run=run.id),
            _("`python -m trainer stop` stops a run on this machine."),
        )
    cancel_job(job, account)


def cancel_job(job: Job, account: Account) -> None:
    """End `job` at once. Raises UserError."""
    with job_words():
        client(account.token).cancel_job(job_id=job.id, namespace=job.namespace)


def end_job(run: Run, hub_token: Token) -> None:
    """Cancel the job of `run`, if it has one that is not over: it costs. Raises UserError when that cannot be done."""
    job = read_job(run)
    if job and not job.is_over:
        cancel(run, account_of(hub_token))


@contextmanager
def job_words():
    """Turn errors of the Jobs API into UserError, as models.hub.errors.errors_explained does for the rest of the Hub."""
    try:
        with errors_explained("Hugging Face Jobs"):
            yield
    except UserError as error:
        status = status_of(error)
        if status == 402:
            raise UserError(
                _("Your account has no credit for Jobs."),
                _("Add some at huggingface.co/settings/billing, then start it again."),
            ) from error.__cause__
        if status == 403:
            raise UserError(_("This sign-in is not allowed to run jobs."), SCOPE_HINT) from error.__cause__
        if status == 404:
            raise UserError(
                _("The Hugging Face Hub no longer knows this job."), _("Resume the run: that starts a new job.")
            ) from error.__cause__
        raise


def status_of(error: UserError) -> int:
    """Return the HTTP status of the answer that `error` is about, 0 when there was none."""
    return getattr(getattr(error.__cause__, "response", None), "status_code", 0)
