"""The table of diagnosed failures: from an exception to a sentence, its cause, and the settings that cure it.

`explain(error, config)` finds the row for an exception, `diagnose(code, config)` takes a row by its code. A `Failure` is raised
where the cause is known already. Light: no torch, so that who watches a run can say why it was killed.
"""

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.errors import DISK_FULL, TOO_LARGE, UserError, as_user_error, causes
from common.language import _, english
from data.report import Cure
from runs.config import TrainConfig
from runs.events import Event

MIN_LENGTH = 128
MIN_RATE = 1e-7


class Failure(UserError):
    """A diagnosed failure: its code, and the cure for a button that starts a new run, if there is one."""

    def __init__(self, code: str, message: str, hint: str = "", cure: Cure | None = None) -> None:
        super().__init__(message, hint)
        self.code = code
        self.cure = cure

    def to_event(self) -> Event:
        """Return the fields of a `failed` event."""
        return {"message": self.message, "hint": self.hint, "code": self.code, "cure": self.cure}


TRAIN_ADAPTER: Cure = {"label": _("Train a LoRA adapter instead"), "changes": {"method": "lora"}}


def less_memory(config: TrainConfig) -> Cure | None:
    """Choose the cheapest change: a smaller batch with the same effective size, then checkpointing, 8 bits, shorter rows.

    Before 8 bits an adapter takes the place of weights of the base itself.
    """
    batch = config.per_device_train_batch_size
    if batch > 1:
        accumulation = min(1024, config.gradient_accumulation_steps * batch // (batch // 2))
        changes = {"per_device_train_batch_size": batch // 2, "gradient_accumulation_steps": accumulation}
        return {"label": _("Halve the batch size"), "changes": changes}
    if config.gradient_checkpointing != "on":
        return {"label": _("Turn on gradient checkpointing"), "changes": {"gradient_checkpointing": "on"}}
    if not config.makes_adapter:
        return TRAIN_ADAPTER
    if config.precision not in ("8bit", "4bit"):
        return {"label": _("Load the base model in 8 bits"), "changes": {"precision": "8bit"}}
    if config.max_length >= 2 * MIN_LENGTH:
        return {"label": _("Halve the max sequence length"), "changes": {"max_length": config.max_length // 2}}
    return None


def _calmer(config: TrainConfig) -> Cure:
    """Choose a tenth of the learning rate, clipped gradients, and bf16 in place of fp16, which overflows at 65504."""
    changes: dict[str, Any] = {
        "learning_rate": max(MIN_RATE, float(f"{config.learning_rate / 10:.3g}")),
        "max_grad_norm": 1.0,
    }
    if config.precision == "fp16":
        changes["precision"] = "bf16"
    return {"label": _("Lower the learning rate to a tenth"), "changes": changes}


def _use_embedded(config: TrainConfig) -> Cure:
    """Choose the embedded base."""
    return {"label": _("Use the built-in model"), "changes": {"base": "embedded", "base_revision": None}}


def _mend_data(said: UserError, config: TrainConfig) -> Cure | None:
    """Return what a setting can do about rows that are named in the sentence or its hint."""
    words = f"{english(said.message)} {english(said.hint)}"
    if "skip_bad_rows" in words and not config.skip_bad_rows:
        return {"label": _("Leave these rows out"), "changes": {"skip_bad_rows": True}}
    if "longer than" in words and config.too_long == "drop":
        return {"label": _("Cut rows that are too long"), "changes": {"too_long": "cut"}}
    return None


@dataclass(frozen=True)
class Diagnosis:
    """One row: what the failure is called, what is said, and how it is cured and recognised (in an exception's text).

    `resumes`: the same run can go on, so that its last word says from where.
    """

    message: str
    hint: str
    cure: Callable[[TrainConfig], Cure | None] = lambda config: None
    words: str = "(?!)"  # matches nothing
    resumes: bool = False


TABLE = {
    "out_of_memory": Diagnosis(
        _("Out of memory."),
        _("Lower the batch size or the max sequence length, turn on gradient checkpointing, or load the base in 8bit."),
        less_memory,
        r"^(OutOfMemoryError|MemoryError)\b|out of memory|can.?t allocate memory|cannot allocate memory"
        r"|not enough memory|CUBLAS_STATUS_ALLOC_FAILED",
    ),
    "disk_full": Diagnosis(
        DISK_FULL,
        _("Free some space, then resume."),
        resumes=True,
        words=r"no space left on device|disk quota exceeded|PytorchStreamWriter failed writing"
        r"|basic_ios::clear: iostream error|inline_container.*unexpected pos",  # what torch.save says of it
    ),
    "file_too_large": Diagnosis(
        TOO_LARGE, _("Raise the limit, then resume."), resumes=True, words=r"file too large|file size limit exceeded"
    ),
    "template": Diagnosis(
        _("The chat template does not accept these rows."),
        _(
            "Choose another chat template, or change the rows: some templates take no system message, or only user and "
            "assistant in turns."
        ),
        words=r"^(TemplateError|TemplateRuntimeError|TemplateSyntaxError|UndefinedError|SecurityError)\b",
    ),
    "gpu_lost": Diagnosis(
        _("The GPU stopped working."),
        _("Check `nvidia-smi`; a GPU that is gone or has memory errors needs a restart of the machine. Then resume."),
        resumes=True,
        words=r"device-side assert|unspecified launch failure|no longer on the bus|fallen off the bus|uncorrectable ECC"
        r"|illegal memory access|all CUDA-capable devices are busy|CUDA error: unknown error|device is lost"
        r"|no CUDA GPUs are available|hardware stack error|device not ready",
    ),
    "token_expired": Diagnosis(
        _("The Hugging Face Hub did not accept the token: it is wrong or has expired."),
        _("Sign in again (`hf auth login`), then start again."),
        words=r"invalid credentials|invalid user token|token.* expired",
    ),
    "gated": Diagnosis(
        _("This model or dataset is gated."),
        _("Accept its terms on Hugging Face, download it with `hf download`, then start again."),
        _use_embedded,
        r"^GatedRepoError\b",
    ),
    "model_not_found": Diagnosis(
        _("The base model was not found."),
        _("Check its ID on Hugging Face, or use the built-in model."),
        _use_embedded,
        r"^(RepositoryNotFoundError|RevisionNotFoundError)\b",
    ),
    "data_format": Diagnosis(_("The data cannot be used."), _("Fix the rows that are named.")),
    "loss_nan": Diagnosis(
        _("The loss became NaN (not a number)."),
        _("The learning rate is too high, the gradients are not clipped, or fp16 overflows."),
        _calmer,
        resumes=True,
    ),
    "loss_zero": Diagnosis(
        _("The loss became exactly 0: nothing is learned any more."),
        _(
            "The learning rate is too high, or the rows leave nothing to predict: check the coloured tokens in the "
            "preview."
        ),
        _calmer,
        resumes=True,
    ),
    "process_lost": Diagnosis(
        _("Another process of this training failed, or the connection to it was lost."),
        _(
            "The log may say why (memory, a GPU, the network). Press Resume to continue; max restarts does so by itself."
        ),
        resumes=True,
    ),
    "process_silent": Diagnosis(
        _("Another process of this training did not answer in time."),
        _("It hangs, or the network is down. Press Resume to continue; a higher timeout waits longer."),
        resumes=True,
    ),
    "killed": Diagnosis(
        _("The system killed the training process, most likely because memory ran out."),
        _("Press Resume to continue; a new run that needs less memory is safer."),
        less_memory,
        resumes=True,
    ),
}


def diagnose(code: str, config: TrainConfig | None = None, message: str = "", hint: str = "") -> Failure:
    """Return the failure with this code; `message` and `hint` replace the table's where more is known."""
    row = TABLE[code]
    return Failure(code, message or row.message, hint or row.hint, row.cure(config) if config else None)


def explain(error: BaseException, config: TrainConfig | None = None) -> Failure:
    """Find the failure behind an exception. What is not known keeps its type and first line, and points to the log."""
    said = next((cause for cause in causes(error) if isinstance(cause, UserError)), None)
    if isinstance(said, Failure):
        return Failure(said.code, said.message, said.hint, said.cure or _cure(said.code, said, config))
    code = next((code for cause in causes(error) if (code := _recognise(cause))), None)
    if said:  # the sentence of who found it says more than the table
        return Failure(code or "settings", said.message, said.hint, _cure(code, said, config))
    if code:
        return diagnose(code, config)
    if known := as_user_error(error):
        return Failure("unknown", known.message, known.hint)
    first_line = (str(error).splitlines() or [""])[0][:300]
    message = _("Unexpected error: {kind}: {words}", kind=type(error).__name__, words=first_line)
    return Failure("unknown", message, _("The log has the details."))


def _cure(code: str | None, said: UserError, config: TrainConfig | None) -> Cure | None:
    if config is None or code not in TABLE:
        return None
    return _mend_data(said, config) if code == "data_format" else TABLE[code].cure(config)


def _recognise(cause: BaseException) -> str | None:
    """Return the code of one exception, or None: by its error number, by its status, by its name and text."""
    if getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return "disk_full"
    text = f"{type(cause).__name__}: {cause}"
    code = next((code for code, row in TABLE.items() if re.search(row.words, text, re.IGNORECASE)), None)
    if code is None and getattr(getattr(cause, "response", None), "status_code", None) == 401:
        return "token_expired"
    return code
