"""How each tracker is written: TensorBoard's event files, a W&B offline run, trackio's local database or a Space of one's own.

Only the process of `runs.trackers.process` imports the trackers: what they read from the environment is set for it alone.
Each is made anew from all points, so that a follower that was killed leaves nothing that counts twice.
"""

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from models.hub.errors import errors_explained
from runs.run import Run
from runs.trackers.points import Point, settings_of, settings_text

PROJECT = "tinyllama-studio"
Write = Callable[[list[Point]], None]


@contextmanager
def tensorboard(run: Run, folder: Path) -> Generator[Write]:
    """Write event files into `folder`; what is written can be seen a second later."""
    from tensorboardX import SummaryWriter

    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder), flush_secs=1) as writer:
        writer.add_text("settings", settings_text(run))

        def write(points: list[Point]) -> None:
            for point in points:
                for tag, value in point.values.items():
                    writer.add_scalar(tag, value, point.step, point.time)

        yield write
    for file in folder.glob("events.out.tfevents.*"):  # the name of the machine stands at the end
        file.rename(file.with_name(".".join([*file.name.split(".")[:4], run.id])))


@contextmanager
def wandb(run: Run, folder: Path) -> Generator[Write]:
    """Collect all points, and at the end write an offline run into `folder` for `wandb sync`: its steps must not go back."""
    import wandb as library

    kept: dict[int, Point] = {}

    def keep(points: list[Point]) -> None:
        for point in points:
            values = {**kept[point.step].values, **point.values} if point.step in kept else point.values
            kept[point.step] = Point(point.step, point.time, values)

    yield keep
    if not run.folder.exists():  # it was deleted meanwhile
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tracked = library.init(project=PROJECT, name=run.id, id=run.id, dir=folder, config=settings_of(run))
    for step in sorted(kept):
        tracked.log({**kept[step].values, "_timestamp": kept[step].time}, step=step)
    tracked.finish()
    for made in folder.glob("wandb/offline-run-*"):
        shutil.rmtree(made / "logs", ignore_errors=True)  # paths of this machine
        made.rename(folder / made.name)
    shutil.rmtree(folder / "wandb", ignore_errors=True)


@contextmanager
def trackio(run: Run, space: str) -> Generator[Write]:
    """Write into trackio's database in TRACKIO_DIR, each point once; at the end send it to `space`, unless that is ""."""
    from trackio.sqlite_storage import SQLiteStorage

    def write(points: list[Point]) -> None:
        SQLiteStorage.bulk_log(
            PROJECT,
            run.id,
            [point.values for point in points],
            steps=[point.step for point in points],
            timestamps=[datetime.fromtimestamp(point.time, UTC).isoformat() for point in points],
            config=settings_of(run),
            log_ids=[f"{run.id}:{point.step}:{','.join(sorted(point.values))}" for point in points],
        )

    yield write
    if space:
        import huggingface_hub
        import trackio as library

        # trackio would put the sender's token into the Space as a secret, for whoever may write there; its bucket needs none
        vars(huggingface_hub)["add_space_secret"] = lambda *secret, **more: None
        with errors_explained(space):
            library.sync(PROJECT, space, private=True, force=True)
