"""The layout and the HTML of the section 'Run on Hugging Face Jobs'; `ui.train.jobs_events` has its events."""

import html
import os
from dataclasses import dataclass

import gradio as gr

from jobs.hf import Job, read_job
from jobs.prices import MAX_MINUTES, MIN_MINUTES, Flavor, Plan
from runs.run import Run, RunState
from ui.messages import hint_html
from ui.owner import on_space

STOPPING = (
    "The job is asked to stop: it sends what it learned and ends, within minutes. Cancelling it ends it at once: then the "
    "steps since its last checkpoint are lost."
)
FIRST_LOOK = "See the cost first: nothing starts before you have seen the most that it can cost."
ELSEWHERE = (
    "A cluster with Slurm, or other clouds through SkyPilot: keep the config.yaml above in a file; "
    "`python -m jobs slurm --config config.yaml --nodes 2 --gpus-per-node 4` (or skypilot) writes the job for it."
)
NO_SCOPE = (
    "This Space may not run jobs in your name: its owner would have to add the scope `jobs` to hf_oauth_scopes in its README.md. "
    "On a machine of your own the same works: python -m jobs hf."
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
    with gr.Accordion("Run on Hugging Face Jobs", open=False, elem_id="jobs") as accordion:
        account_html = gr.HTML("")
        flavor_dropdown = gr.Dropdown(
            [], label="Machine and price", allow_custom_value=True, info="Rented by the minute, paid by your account."
        )
        with gr.Row():
            minutes_number = gr.Number(
                60, label="Minutes at most", precision=0, minimum=MIN_MINUTES, maximum=MAX_MINUTES, min_width=120
            )
            dollars_number = gr.Number(5, label="US dollars at most", minimum=0, min_width=120)
        plan_button = gr.Button("See the cost", size="sm")
        plan_html = gr.HTML(hint_html(FIRST_LOOK))
        with gr.Row():
            start_button = gr.Button("Start as a job", variant="primary", interactive=False, min_width=140)
            resume_button = gr.Button("Resume the shown run as a job", interactive=False, min_width=140)
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


def plan_words(plan: Plan, account_name: str) -> str:
    """Return the plan that a person agrees to, as HTML."""
    return (
        f"<p class='good'>{html.escape(plan.sentence())}</p>"
        f"<p class='hint'>The run, with its data, goes to private repositories of {html.escape(account_name)}; checkpoints and "
        "the adapter come to private ones too. Stop in the run's view ends it and keeps what it learned; "
        "then it can be cancelled at once.</p>"
    )


def job_line(run: Run, state: RunState) -> str:
    """Return the next step for a run on another machine; "" while it only trains."""
    job = read_job(run)
    if job is None:
        return "" if state.is_running else "It trains on another machine: submit its file there again, and it goes on."
    if not state.is_running:
        return "" if state.status == "done" else "It goes on as a new job: Resume under 'Run on Hugging Face Jobs'."
    return STOPPING if run.stop_file.exists() else ""


def job_words(job: Job | None) -> str:
    """Return the job of the shown run, with a link; "" for a run without one."""
    if job is None:
        return ""
    url = html.escape(job.url, quote=True)
    link = f"<a href='{url}' target='_blank' rel='noopener'>{html.escape(job.id)}</a>"
    facts = f"{job.flavor}, {job.minutes} minutes and ${job.most_dollars:.2f} at most"
    return f"<p class='hint'>The shown run is job {link}: {html.escape(facts)}.</p>"
