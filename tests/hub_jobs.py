"""Hugging Face Jobs on loopback: the routes that huggingface_hub 2.4 uses, with the payloads that it sends and reads.

`hub.jobs.payloads` keeps what was submitted. With `hub.jobs.bin` the command of a job really runs, as a process of this
machine with the job's secrets and that folder first on its PATH; without it a test scripts the log: `says(job_id, line)`,
`ends(job_id)`.
"""

import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

OVER = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
HARDWARE = [  # as GET /api/jobs/hardware answers
    {
        "name": "cpu-basic",
        "prettyName": "CPU Basic",
        "cpu": "2 vCPU",
        "ram": "16 GB",
        "ephemeralStorage": "50 GB",
        "accelerator": None,
        "unitCostMicroUSD": 167,
        "unitCostUSD": 0.000167,
        "unitLabel": "minute",
    },
    {
        "name": "a10g-largex2",
        "prettyName": "2x Nvidia A10G - large",
        "cpu": "24 vCPU",
        "ram": "92 GB",
        "ephemeralStorage": "1000 GB",
        "accelerator": {"type": "gpu", "model": "A10G", "quantity": "2", "vram": "48 GB", "manufacturer": "Nvidia"},
        "unitCostMicroUSD": 50000,
        "unitCostUSD": 0.05,
        "unitLabel": "minute",
    },
]


@dataclass
class FakeJob:
    """One job: its payload, its log, and the process that runs it when one does."""

    id: str
    owner: str
    payload: dict
    stage: str = "SCHEDULING"
    message: str | None = None
    lines: list[str] = field(default_factory=list)
    process: subprocess.Popen | None = None
    created: float = field(default_factory=time.time)

    def info(self) -> dict:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(self.created))
        kept = {name: self.payload.get(name) for name in ("command", "environment", "flavor", "labels", "dockerImage")}
        owner = {"id": "5e9ecfc04957053f60648a3e", "name": self.owner, "type": "user"}
        status = {"stage": self.stage, "message": self.message, "exposeUrls": None}
        return {"id": self.id, "createdAt": stamp, "arguments": [], "status": status, "owner": owner, **kept}


class Jobs:
    """All jobs of a loopback Hub."""

    def __init__(self) -> None:
        self.payloads: list[dict] = []
        self.jobs: dict[str, FakeJob] = {}
        self.bin: Path | None = None
        self.hub_url = ""
        self.loses_answers = 0  # so many jobs start although the client never hears of it
        self.hardware = HARDWARE

    @property
    def runs(self) -> bool:
        return self.bin is not None

    def submit(self, owner: str, payload: dict) -> FakeJob:
        self.payloads.append(payload)
        job = FakeJob(f"{len(self.jobs) + 1:024x}", owner, payload)
        self.jobs[job.id] = job
        if self.runs:
            threading.Thread(target=self._run, args=(job,), daemon=True).start()
        return job

    def _run(self, job: FakeJob) -> None:
        """What the infrastructure does: start the command, keep its log, end it at its time limit."""
        kept = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(self.bin),
            "TMPDIR": str(self.bin),
            "HF_ENDPOINT": self.hub_url,
        }
        variables = {**kept, "HF_HUB_DISABLE_XET": "1", "JOB_ID": job.id, **job.payload.get("secrets", {})}
        job.process = subprocess.Popen(
            job.payload["command"],
            env={**variables, **job.payload["environment"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        job.stage = "RUNNING"
        limit = threading.Timer(job.payload.get("timeoutSeconds", 1800), self._end, (job, "ERROR", "Job timeout"))
        limit.start()
        for line in job.process.stdout:
            job.lines.append(line.rstrip("\n"))
        code = job.process.wait()
        limit.cancel()
        if job.stage not in OVER:
            job.stage, job.message = (
                ("COMPLETED", None) if code == 0 else ("ERROR", f"Job failed with exit code: {code}")
            )

    def _end(self, job: FakeJob, stage: str, message: str | None = None) -> None:
        if job.stage not in OVER:
            job.stage, job.message = stage, message
        if job.process and job.process.poll() is None:
            os.killpg(job.process.pid, signal.SIGKILL)
            for pid in _trainings(str(self.bin)):  # they have sessions of their own; a container ends with all of it
                os.kill(pid, signal.SIGKILL)

    def cancel(self, job: FakeJob) -> None:
        self._end(job, "CANCELED")

    def says(self, job_id: str, line: str) -> None:
        self.jobs[job_id].lines.append(line)

    def ends(self, job_id: str, stage: str = "COMPLETED", message: str | None = None) -> None:
        self.jobs[job_id].stage, self.jobs[job_id].message = stage, message


def _trainings(folder: str) -> list[int]:
    """The processes of trainings whose run lies in `folder`."""
    import psutil

    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "trainer.train" in words and words[-1].startswith(f"{folder}/"):
            found.append(process.pid)
    return found


def serve(handler, rest: list[str], query: dict, body: bytes) -> None:
    """Answer one request under /api/jobs/."""
    from tests.hub_files import Refused

    jobs, method = handler.hub.jobs, handler.command
    if rest == ["hardware"]:
        return handler.answer(jobs.hardware)
    if handler.user is None:
        raise Refused(401, error="Invalid username or password.")
    if handler.user["role"] in ("read", "contribute") or rest[0] != handler.user["name"]:
        raise Refused(403, error="Missing scope: jobs")
    if method == "POST" and len(rest) == 1:
        job = jobs.submit(rest[0], json.loads(body))
        if jobs.loses_answers:
            jobs.loses_answers -= 1
            handler.close_connection = True
            return None
        return handler.answer(job.info())
    if len(rest) == 1:
        wanted = dict(label.split("=", 1) for label in query.get("label", []))
        found = [job for job in jobs.jobs.values() if wanted.items() <= job.payload.get("labels", {}).items()]
        return handler.answer([job.info() for job in found])
    job = jobs.jobs.get(rest[1])
    if job is None or job.owner != rest[0]:
        raise Refused(404, error="Job not found")
    if rest[2:] == ["cancel"]:
        jobs.cancel(job)
        return handler.answer(job.info())
    if rest[2:] == ["logs"]:
        return _stream(handler, job)
    return handler.answer(job.info())


def _stream(handler, job: FakeJob) -> None:
    """The log as server-sent events, from its start, until the job is over."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
    sent = 0
    try:
        _send_line(handler, f"===== Job started at {job.created} =====")
        while True:
            is_over = job.stage in OVER and (job.process is None or job.process.poll() is not None)
            for line in job.lines[sent:]:
                _send_line(handler, line)
                sent += 1
                if handler.cut and sent == 3:  # a connection that breaks in the middle
                    return
            if is_over and sent == len(job.lines):
                return
            time.sleep(0.02)
    except ConnectionError:
        pass  # the client went away


def _send_line(handler, line: str) -> None:
    event = json.dumps({"timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), "data": line})
    handler.wfile.write(f"data: {event}\n\n".encode())
    handler.wfile.flush()
