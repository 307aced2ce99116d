"""Rows of a data set on the Hub, through `datasets`: without anybody's token, without running its code.

With a row limit the data set is streamed; without one it is downloaded into the Hub cache once, unless it is too large.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from common.errors import UserError
from models.base import transport_error

MOST_DOWNLOAD_BYTES = 2 * 10**9
UNREACHED = "'{}' is neither a file here nor a data set that can be fetched: the Hub cannot be reached."
OFFLINE = "Check the network, or upload a file."


def rows(name: str, config: str | None, split: str, revision: str | None, max_rows: int) -> Iterator[dict]:
    """The rows of one split, one after the other. Raises UserError with the names to choose from where one is missing."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    check_id(name)
    options = {"split": split, "revision": revision, "token": False, "streaming": bool(max_rows)}
    try:
        _look_first(name, revision, bool(max_rows))
        yield from load_dataset(name, config, **options)
    except (DatasetNotFoundError, HFValidationError) as error:
        raise UserError(_not_there(name, str(error)), "Check the spelling, or upload a file.") from error
    except (OfflineModeIsEnabled, ConnectionError, transport_error()) as error:
        raise UserError(UNREACHED.format(name), OFFLINE) from error
    except (DatasetsError, OSError, ValueError, NotImplementedError, HfHubHTTPError, RuntimeError) as error:
        raise _explained(name, config, split, str(error)) from error


def check_id(name: str) -> None:
    """Raise UserError for what is no id of a data set. `datasets` takes `text` or `csv` for a reader of local files, and a
    name that is a folder here for that folder.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or ".." in name or Path(name).exists():
        raise UserError(f"'{name[:80]}' is neither a file here nor a data set's id.", "Ids look like owner/name.")


def _look_first(name: str, revision: str | None, streams: bool) -> None:
    """Raise UserError when the repository is too large to download whole, ConnectionError when there is no network.

    `datasets` itself would try again for half a minute. What is in its cache needs no network.
    """
    from datasets import config
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        info = HfApi(token=False).dataset_info(name, revision=revision, files_metadata=True, timeout=10)
    except (OfflineModeIsEnabled, transport_error()) as error:
        if streams or not (Path(config.HF_DATASETS_CACHE) / name.replace("/", "___")).is_dir():
            raise ConnectionError(str(error)) from error
        return
    except HfHubHTTPError:
        return  # `datasets` says why
    size = sum(file.size or 0 for file in info.siblings or [])
    if size > MOST_DOWNLOAD_BYTES and not streams:
        raise UserError(f"'{name}' is {size / 1e9:.1f} GB.", "Set max_rows: its first rows are then streamed.")


def _not_there(name: str, words: str) -> str:
    if "gated" in words:
        return f"The data set '{name}' is gated: it is not given without its owner's leave."
    if "Revision" in words:
        return f"The data set '{name}' has no such revision."
    return f"'{name}' is neither a file here nor a public data set on the Hub."


def _explained(name: str, config: str | None, split: str, words: str) -> UserError:
    """The libraries' errors carry the names to choose from."""
    choices = ", ".join(re.findall(r"'([^']+)'", words.rsplit("[", 1)[-1])) if "[" in words else ""
    if "Config name is missing" in words or "BuilderConfig" in words:
        asked = f"no configuration '{config}'" if config else "several configurations"
        return UserError(f"The data set '{name}' has {asked}.", f"Set data_config to one of: {choices}.")
    if "split" in words and choices:
        return UserError(f"The data set '{name}' has no split '{split}'.", f"Set data_split to one of: {choices}.")
    if "couldn't find" in words.lower() or "couldn't reach" in words.lower():
        return UserError(UNREACHED.format(name), OFFLINE)
    line = (words.splitlines() or ["no reason given"])[0][:200]
    return UserError(f"'{name}' is neither a file here nor a data set that the Hub gives: {line}", OFFLINE)
