"""ZeroGPU: the functions that are lent a GPU, and what is ready before they are called.

Imported on ZeroGPU alone, before torch: `spaces` puts an emulation in the place of CUDA, in the thread that imports it.
"""

import os
from collections.abc import Generator
from pathlib import Path

# else the files of a base in the Hub's cache are deleted once its weights are packed: a training reads them, too
os.environ.setdefault("ZEROGPU_MMAP_AUTOPRUNE_PATTERN", "/nothing")

import gradio as gr
import httpx
import spaces

from chat import zero_gpu
from chat.engine import Engine, Reply
from chat.resident import Model, wanted_precision
from chat.sampling import Sampling
from chat.warm_up import import_packages
from chat.zero_gpu import ZeroEngine, answer_seconds
from common.errors import UserError
from common.imports import import_lock
from models.base import AUTO, choose_base, fetch_base
from models.messages import Message
from runs.run import Run
from runs.slices import SLICE_SECONDS, SPARE_SECONDS
from trainer import slices
from ui.quota import refusal

ENGINE = Engine()  # of the forks: each has its own copy of it, and the page's process never asks it


def prepare() -> ZeroEngine:
    """Hold the base and import what calls need, so that none spends its quota on that; return the page's engine.

    In the main thread, before the server starts: `spaces` then packs the weights. Raises UserError.
    """
    # a fork while another thread imports would wait for that thread for ever, which it does not have
    lock = import_lock
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    import_packages()
    slices.import_trainer()
    ENGINE.resident.hold(fetch_base(choose_base(AUTO)), wanted_precision())
    return ZeroEngine(answer)


@spaces.GPU(duration=answer_seconds)
def _answer(
    model: Model, messages: list[Message], sampling: Sampling, continuing: bool
) -> Generator[Reply | UserError]:
    """Answer in a fork that has a GPU."""
    yield from zero_gpu.answer(ENGINE, model, messages, sampling, continuing)


def answer(model: Model, messages: list[Message], sampling: Sampling, continuing: bool) -> Generator[Reply | UserError]:
    """Answer on a GPU that is lent for it. Raises UserError where none is."""
    try:
        yield from _answer(model, messages, sampling, continuing)
    except (gr.Error, httpx.HTTPError, RuntimeError) as error:
        raise refusal(error) from error


def _slice_seconds(folder: Path, used_seconds: float) -> int:
    """Return for how many seconds a slice asks for the GPU."""
    return SLICE_SECONDS + SPARE_SECONDS


@spaces.GPU(duration=_slice_seconds)
def _train_slice(folder: Path, used_seconds: float) -> None:
    """Train in a fork that has a GPU."""
    os.environ.pop("HF_TOKEN", None)  # of the Space: a training has no token
    slices.train_slice(folder, SLICE_SECONDS, used_seconds)


def train_slice(run: Run, used_seconds: float) -> None:
    """Train a slice of `run` on a GPU that is lent for it. Raises UserError where none is."""
    try:
        _train_slice(run.folder, used_seconds)
    except (gr.Error, httpx.HTTPError, RuntimeError) as error:
        raise refusal(error) from error
