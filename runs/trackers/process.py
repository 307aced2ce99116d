"""The process that tells trackers of a run: `python -m runs.trackers.process REQUEST.json ANSWER.json`; see runs.trackers.track.

It reads the run's events until the run has ended, every POLL_SECONDS, and answers with the number of points.
"""

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from common.child import Tell, answer_parent
from common.language import _, n_
from runs.run import Run, read_state
from runs.trackers.points import Point, read_points
from runs.trackers.writers import Write, tensorboard, trackio, wandb

POLL_SECONDS = 2.0


def track(request: dict[str, Any], tell: Tell) -> int:
    """Write what is new to each tracker, once or until the run ends; return how many values there were."""
    run, folders, space = Run(Path(request["run"])), request["folders"], request.get("space", "")
    sent: dict[int, set[str]] = {}
    with ExitStack() as stack:
        writes: list[Write] = []
        if "tensorboard" in folders:
            writes.append(stack.enter_context(tensorboard(run, Path(folders["tensorboard"]))))
        if "wandb" in folders:
            writes.append(stack.enter_context(wandb(run, Path(folders["wandb"]))))
        if "trackio" in folders:
            writes.append(stack.enter_context(trackio(run, space)))
        before = 0
        while True:
            is_over = not (request["follow"] and read_state(run, with_curves=False).is_running)
            size = run.events_file.stat().st_size if run.events_file.exists() else 0
            if size != before:
                before = size
                _write_new(read_points(run), sent, writes)
                tell(n_("{count:,} step written", "{count:,} steps written", len(sent)), None)
            if is_over:
                break
            time.sleep(POLL_SECONDS)
        if space:
            tell(_("Sending to {space}", space=space), None)
    return len(sent)


def _write_new(points: list[Point], sent: dict[int, set[str]], writes: list[Write]) -> None:
    """Write the values that were not written yet; of a step that a resume trained again those of its first time stay."""
    new = []
    for point in points:
        known = sent.setdefault(point.step, set())
        values = {tag: value for tag, value in point.values.items() if tag not in known}
        if values:
            known |= {*values}
            new.append(Point(point.step, point.time, values))
    if new:
        for write in writes:
            write(new)


if __name__ == "__main__":
    sys.modules["torch"] = None  # tensorboardX imports it for nothing that is written here: 1 s, 200 MB
    sys.exit(answer_parent(sys.argv[1:], track))
