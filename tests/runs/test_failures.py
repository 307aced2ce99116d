"""A failure is a sentence that a person understands, a cause, and where there is one a cure for a button."""

import errno
import os

import pytest
import torch
from jinja2 import Template

from common.errors import UserError
from runs.config import TrainConfig
from runs.failures import TABLE, Failure, diagnose, explain, less_memory


def raised(work) -> BaseException:
    """What `work` really raises."""
    try:
        work()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def hub_error(kind: str, status: int, message: str = "") -> BaseException:
    """The Hub's own error for a response, raised by its own code."""
    import httpx2
    from huggingface_hub.utils import hf_raise_for_status

    headers = {name: value for name, value in (("X-Error-Code", kind), ("X-Error-Message", message)) if value}
    request = httpx2.Request("GET", "https://hub.invalid/api/models/owner/name")
    return raised(lambda: hf_raise_for_status(httpx2.Response(status, headers=headers, request=request)))


def write_to_a_full_disk() -> None:
    with open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


REAL = [
    ("out_of_memory", lambda: raised(lambda: torch.empty(2**50))),
    ("out_of_memory", lambda: raised(lambda: bytearray(2**60))),
    ("out_of_memory", lambda: torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")),
    (
        "out_of_memory",
        lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
    ),
    ("disk_full", lambda: raised(write_to_a_full_disk)),
    ("disk_full", lambda: raised(lambda: torch.save({"a": torch.ones(9)}, "/dev/full"))),
    ("disk_full", lambda: RuntimeError("SafetensorError: I/O error: No space left on device (os error 28)")),
    ("disk_full", lambda: OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))),
    ("file_too_large", lambda: OSError(errno.EFBIG, os.strerror(errno.EFBIG))),
    ("template", lambda: raised(lambda: Template("{{ raise_exception() }}").render())),
    ("gpu_lost", lambda: torch.AcceleratorError("CUDA error: device-side assert triggered", 710)),
    ("gpu_lost", lambda: RuntimeError("CUDA error: unspecified launch failure")),
    ("gpu_lost", lambda: RuntimeError("CUDA error: uncorrectable ECC error encountered")),
    ("gpu_lost", lambda: RuntimeError("GPU 0000:01:00.0 is no longer on the bus")),
    ("model_not_found", lambda: hub_error("RepoNotFound", 404)),
    ("model_not_found", lambda: hub_error("RevisionNotFound", 404)),
    ("gated", lambda: hub_error("GatedRepo", 403)),
    ("token_expired", lambda: hub_error("", 401, "Invalid credentials in Authorization header")),
    ("token_expired", lambda: hub_error("", 401, "User Access Token is expired")),
    ("data_format", lambda: Failure("data_format", "3 rows cannot be used.", "Fix them, or set skip_bad_rows.")),
    ("loss_nan", lambda: diagnose("loss_nan")),
    ("loss_zero", lambda: diagnose("loss_zero")),
    ("killed", lambda: diagnose("killed")),
    ("process_lost", lambda: diagnose("process_lost")),
    ("process_silent", lambda: diagnose("process_silent")),
]


@pytest.mark.parametrize(("code", "make"), REAL, ids=[f"{code}-{number}" for number, (code, _) in enumerate(REAL)])
def test_a_known_failure_has_its_sentence_its_cause_and_its_cure(code, make):
    failure = explain(make(), TrainConfig())
    assert failure.code == code and failure.message.endswith(".") and failure.hint
    has_cure = code in ("out_of_memory", "model_not_found", "gated", "data_format", "loss_nan", "loss_zero", "killed")
    assert bool(failure.cure) == has_cure
    if has_cure:
        assert failure.cure["label"]
        changed = TrainConfig.from_dict({**TrainConfig().to_dict(), **failure.cure["changes"]})
        assert not changed.problems() and changed != TrainConfig(), "a button can apply it"


def test_every_row_of_the_table_has_a_test():
    assert {code for code, _ in REAL} == set(TABLE)


def test_what_is_not_known_keeps_its_type_and_points_to_the_log():
    failure = explain(KeyError("surprise"), TrainConfig())
    assert (failure.code, failure.cure) == ("unknown", None)
    assert failure.message.startswith("Unexpected error: KeyError") and "log" in failure.hint


def test_a_users_error_keeps_its_sentence_and_takes_the_code_of_its_cause():
    failure = explain(UserError("No such thing.", "Do that."), TrainConfig())
    assert (failure.message, failure.hint, failure.code) == ("No such thing.", "Do that.", "settings")
    error = UserError("owner/name is gated.", "Accept its terms.")
    error.__cause__ = hub_error("GatedRepo", 403)
    failure = explain(error, TrainConfig())
    assert failure.message == "owner/name is gated." and failure.code == "gated"
    assert failure.cure["changes"]["base"] == "embedded"


def test_the_cause_behind_an_error_is_found():
    error = RuntimeError("saving failed")
    error.__context__ = raised(write_to_a_full_disk)
    assert explain(error).message == "The disk is full."


@pytest.mark.parametrize(("method", "last"), [("lora", []), ("full", ["Train a LoRA adapter instead"])])
def test_memory_is_saved_by_the_change_that_costs_least_until_nothing_is_left(method, last):
    """Press the button again and again."""
    config, labels = TrainConfig(per_device_train_batch_size=4, max_length=512, method=method), []
    while cure := less_memory(config):
        labels.append(cure["label"])
        config = TrainConfig.from_dict({**config.to_dict(), **cure["changes"]})
        assert config.per_device_train_batch_size * config.gradient_accumulation_steps == 4, "the same effective batch"
    first = ["Halve the batch size"] * 2 + ["Turn on gradient checkpointing", *last]
    assert labels[: len(first) + 1] == [*first, "Load the base model in 8 bits"]
    assert config.max_length == 128


def test_a_loss_that_is_no_number_is_cured_by_a_tenth_of_the_rate_and_no_fp16():
    cure = diagnose("loss_nan", TrainConfig(learning_rate=5e-4, max_grad_norm=0.0, precision="fp16")).cure
    assert cure["changes"] == {"learning_rate": 5e-5, "max_grad_norm": 1.0, "precision": "bf16"}


def test_rows_that_are_too_long_are_cured_by_cutting_them():
    error = Failure("data_format", "No row is left to train on.", "9 rows are longer than 16 tokens and left out.")
    assert explain(error, TrainConfig()).cure["changes"] == {"too_long": "cut"}
    assert explain(error, TrainConfig(too_long="cut")).cure is None
