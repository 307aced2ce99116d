"""The layout and the HTML of the section 'Run on Hugging Face Jobs'; `ui.train.jobs_events` has its events."""

import html
import os
from dataclasses import dataclass

import gradio as gr

from common.hosted import on_space
from common.language import _
from jobs.hf import Job, read_job
from jobs.prices import MAX_MINUTES, MIN_MINUTES, Flavor, JobPlan
from runs.run import Run, RunState
from ui.hints import hint_html, link_html

STOPPING = _(
    "The job was asked to stop. It saves what it learned and ends within minutes. Cancelling ends it at once, and the steps "
    "since its last checkpoint are lost."
)
FIRST_LOOK = _("See the cost first. Nothing starts before you have seen the maximum it can cost.")
ELSEWHERE = _(
    "For a Slurm cluster, or other clouds through SkyPilot, save the config.yaml above to a file. {command} (or skypilot) "
    "writes the job for it.",
    command="`python -m jobs slurm --config config.yaml --nodes 2 --gpus-per-node 4`",
)
NO_SCOPE = _("This Space cannot run jobs for you.")
ADD_SCOPE = _(
    "Its owner would have to add the scope `jobs` to hf_oauth_scopes in its README.md. On your own machine, use {command}.",
    command="`python -m jobs hf`",
)


@dataclass
class JobsSection:
    """The parts of the section. `agreed` is the plan that was shown: (flavor, minutes, dollars, most dollars)."""

    accordion: gr.Accordion
    account_html: gr.HTML
    flavor_dropdown: gr.Dropdown
    minutes_number: gr.Number
    dollars_number: gr.Number
    plan_button: gr.Button
    plan_html: gr.HTML
    agreed: gr.State
    start_button: gr.Button
    resume_button: gr.Button
    job_html: gr.HTML

    @property
    def wishes(self) -> list:
        """Return the inputs of a plan: machine, minutes, dollars."""
        return [self.flavor_dropdown, self.minutes_number, self.dollars_number]

    @property
    def planned(self) -> list:
        """Return the components that a plan updates."""
        return [self.plan_html, self.agreed, self.start_button, self.resume_button]


def build_jobs_section() -> JobsSection:
    """Lay out the section, closed: opening it asks the Hub for machines and prices."""
    with gr.Accordion(_("Run on Hugging Face Jobs"), open=False, elem_id="jobs") as accordion:
        account_html = gr.HTML("")
        flavor_dropdown = gr.Dropdown(
            [],
            label=_("Machine and price"),
            allow_custom_value=True,
            info=_("Rented by the minute, charged to your account."),
        )
        with gr.Row():
            minutes_number = gr.Number(
                60, label=_("Maximum minutes"), precision=0, minimum=MIN_MINUTES, maximum=MAX_MINUTES, min_width=120
            )
            dollars_number = gr.Number(5, label=_("Maximum US dollars"), minimum=0, min_width=120)
        plan_button = gr.Button(_("See the cost"), size="sm")
        plan_html = gr.HTML(hint_html(FIRST_LOOK))
        with gr.Row():
            start_button = gr.Button(_("Start as a job"), variant="primary", interactive=False, min_width=140)
            resume_button = gr.Button(_("Resume the shown run as a job"), interactive=False, min_width=140)
        job_html = gr.HTML("")
        if not on_space():
            gr.HTML(hint_html(ELSEWHERE))
    parts = (account_html, flavor_dropdown, minutes_number, dollars_number, plan_button, plan_html)
    return JobsSection(accordion, *parts, gr.State(None), start_button, resume_button, job_html)


def lacks_scope() -> bool:
    """Return True on a Space whose sign-in was not asked for the right to run jobs."""
    return on_space() and "jobs" not in os.environ.get("OAUTH_SCOPES", "").split()


def choices(flavors: list[Flavor]) -> list[tuple[str, str]]:
    """Return (label, value) of the machines."""
    return [(flavor.line(), flavor.name) for flavor in flavors]


def first_choice(flavors: list[Flavor]) -> str:
    """Return the cheapest machine with a GPU."""
    return next((flavor.name for flavor in flavors if flavor.gpus), flavors[0].name)


def plan_words(plan: JobPlan, account_name: str) -> str:
    """Return the plan that a person agrees to, as HTML."""
    return f"<p class='good'>{html.escape(plan.sentence())}</p>" + hint_html(
        _(
            "The run and its data go to private repositories of {account}, and so do checkpoints and the adapter. Stop ends "
            "it and keeps what it learned; after that you can cancel it at once.",
            account=account_name,
        )
    )


def job_line(run: Run, state: RunState) -> str:
    """Return the next step for a run on another machine; "" while it only trains."""
    job = read_job(run)
    if job is None:
        return "" if state.is_running else _("It trains on another machine. Submit its file there again to resume it.")
    if not state.is_running:
        if state.status == "done":
            return ""
        return _("To resume it as a new job, press Resume under 'Run on Hugging Face Jobs'.")
    return STOPPING if run.stop_file.exists() else ""


def job_words(job: Job | None) -> str:
    """Return the job of the shown run, with a link; "" for a run without one."""
    if job is None:
        return ""
    words = _(
        "The shown run is job {job}: {machine}, at most {minutes} minutes and ${dollars:.2f}.",
        job=link_html(job.url, job.id),
        machine=html.escape(job.flavor),
        minutes=job.minutes,
        dollars=job.most_dollars,
    )
    return f"<p class='hint'>{words}</p>"
