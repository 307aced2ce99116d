"""Rows of a public data set on the Hub, through `datasets`: without a token, without running its code.

A data set is downloaded into the Hub cache once; one that is large is streamed where only some of its rows are wanted, and
else refused.
What the library reads before any row, the card's YAML, is bounded first; and only plain tables and text are read, by the
library's own readers: others unpack archives, of which some hold pickles.
"""

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import exists
from common.language import _
from common.paths import REPOSITORY
from data.conversations import Row
from models.base import transport_error
from models.plain_yaml import NestedYamlError, check_yaml

MAX_DOWNLOAD_BYTES = 2 * 10**9
CARDS = ("README.md", ".huggingface.yaml")
MAX_CARD_BYTES = 1_000_000
MAX_CARD_DEPTH = 50
MAX_INFO_BYTES = 1_000_000  # of dataset_infos.json, what cards were before
READERS = ("json", "csv", "parquet", "text", "arrow")
CACHE = "cache"  # of the library: what one of its readers made of it before, without a network
OFFLINE = _("Check the network connection, or upload a file.")
UPLOAD_ROWS = _("Upload its rows as a file.")


class HubSplit:
    """The rows of one split, to be iterated as often as needed; `size` is None and `is_streamed` true where nobody knows it.

    `commit` is the one they are of; the revision as it was asked for, or None, where the Hub was not reached. `splits` counts the
    rows of all splits, where they are known. Raises UserError, with the names to choose from where one is missing; iterating
    raises it for later rows.
    """

    def __init__(
        self, name: str, config: str | None, split: str, revision: str | None, stream_above: int | None
    ) -> None:
        from datasets import load_dataset_builder

        check_id(name)
        self._asked = (name, config, split)
        with _in_words(*self._asked):
            self.commit, self.is_streamed, is_reached = _look_first(name, revision, stream_above)
            with nullcontext() if is_reached else _offline():
                builder = load_dataset_builder(name, config, revision=self.commit, token=False)
            reader = type(builder).__module__.rpartition(".")[2]
            if reader not in (*READERS, CACHE):
                words = _("'{name}' would be read as {reader}.", name=name, reader=reader[:40])
                kinds = ", ".join(READERS)
                raise UserError(words, _("Only tables and text are read from the Hub ({kinds}).", kinds=kinds))
            if not self.is_streamed:
                builder.download_and_prepare()
            self._rows: Any = builder.as_streaming_dataset(split) if self.is_streamed else builder.as_dataset(split)
            self.size = None if self.is_streamed else len(self._rows)
            self.splits = {name: found.num_examples for name, found in (builder.info.splits or {}).items()}

    def __iter__(self) -> Iterator[Row]:
        with _in_words(*self._asked):
            yield from self._rows


@contextmanager
def _in_words(name: str, config: str | None, split: str) -> Generator[None]:
    """Raise UserError for what `datasets` and the Hub's client raise inside."""
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except (DatasetNotFoundError, HFValidationError) as error:
        words = _("'{name}' is neither a file here nor a public dataset on the Hugging Face Hub.", name=name)
        if "gated" in str(error):
            words = _("The dataset '{name}' is gated: it needs its owner's permission.", name=name)
        elif "Revision" in str(error):
            words = _("The dataset '{name}' has no such revision.", name=name)
        raise UserError(words, _("Check the spelling, or upload a file.")) from error
    except (OfflineModeIsEnabled, ConnectionError, transport_error()) as error:
        raise _unreached(name) from error
    except (DatasetsError, OSError, ValueError, NotImplementedError, HfHubHTTPError, RuntimeError) as error:
        raise _explained(name, config, split, str(error)) from error


@contextmanager
def _offline() -> Generator[None]:
    """Let `datasets` read its cache at once: it would ask a Hub that was not reached again for half a minute."""
    from datasets import config

    before, config.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


def check_id(name: str) -> None:
    """Raise UserError for what is no id of a data set. `datasets` takes `text` or `csv` for a reader of local files, and a
    name that is a folder here for that folder.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or ".." in name or exists(REPOSITORY / name) or exists(name):
        words = _("'{name}' is neither a file here nor the ID of a dataset.", name=name[:80])
        raise UserError(words, _("IDs look like owner/name."))


def _look_first(name: str, revision: str | None, stream_above: int | None) -> tuple[str | None, bool, bool]:
    """Return the commit that `revision` is now, whether to stream, where the repository has more bytes than that, and whether
    the Hub was reached.

    Raises UserError when it is too large to download whole and not to be streamed (None), or its card is not to be read;
    ConnectionError when there is no network, and nothing of it in the cache of `datasets`.
    """
    from datasets import config
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        info = HfApi(token=False).dataset_info(name, revision=revision, files_metadata=True, timeout=10)
    except (OfflineModeIsEnabled, transport_error()) as error:
        if not (Path(config.HF_DATASETS_CACHE) / name.replace("/", "___")).is_dir():
            raise ConnectionError(str(error)) from error
        return revision, False, False
    except HfHubHTTPError:
        return revision, False, True  # `datasets` says why
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    size = sum(sizes.values())
    if size > MAX_DOWNLOAD_BYTES and stream_above is None:
        words = _("'{name}' is {size:.1f} GB, which is too large to download.", name=name, size=size / 1e9)
        raise UserError(words, _("Set max_rows: then only some of its rows are streamed."))
    for card in (*CARDS, "dataset_infos.json"):
        most = MAX_CARD_BYTES if card in CARDS else MAX_INFO_BYTES
        if sizes.get(card, 0) > most:
            words = _("{file} of '{name}' is too large: {size:.1f} MB.", file=card, name=name, size=sizes[card] / 1e6)
            raise UserError(words, UPLOAD_ROWS)
        if card in CARDS and card in sizes:
            _check_card(name, card, info.sha)
    return info.sha, stream_above is not None and size > stream_above, True


def _check_card(name: str, card: str, commit: str | None) -> None:
    """Raise UserError for a card whose YAML repeats itself, where a few lines become gigabytes, or is nested deeply, where
    each level takes the parser longer than the one before.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    path = hf_hub_download(name, card, repo_type="dataset", revision=commit, token=False)
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    if card == "README.md":
        found = REGEX_YAML_BLOCK.search(text)
        text = found[2] if found else ""
    try:
        check_yaml(text, MAX_CARD_DEPTH)
    except NestedYamlError as error:
        words = _("The YAML in {file} of '{name}' repeats itself or is nested too deeply.", file=card, name=name)
        raise UserError(words, UPLOAD_ROWS) from error
    except ValueError as error:
        raise UserError(_("{file} of '{name}' cannot be read.", file=card, name=name), UPLOAD_ROWS) from error


def _unreached(name: str) -> UserError:
    """Return the UserError for a name that is no file, and a Hub that does not answer."""
    return UserError(_("'{name}' is not a file here, and the Hugging Face Hub cannot be reached.", name=name), OFFLINE)


def _explained(name: str, config: str | None, split: str, words: str) -> UserError:
    """Return the UserError for an error of a library, with the names to choose from where it carries them."""
    choices = ", ".join(re.findall(r"'([^']+)'", words.rsplit("[", 1)[-1])) if "[" in words else ""
    if "Config name is missing" in words or "BuilderConfig" in words:
        found = _("The dataset '{name}' has several configurations.", name=name)
        if config:
            found = _("The dataset '{name}' has no configuration '{config}'.", name=name, config=config)
        return UserError(found, _("Set data_config to one of: {choices}.", choices=choices))
    if "split" in words and choices:
        found = _("The dataset '{name}' has no split '{split}'.", name=name, split=split)
        return UserError(found, _("Set data_split to one of: {choices}.", choices=choices))
    if "couldn't find" in words.lower() or "couldn't reach" in words.lower():
        return _unreached(name)
    line = (words.splitlines() or [_("no reason given")])[0][:200]
    found = _("The dataset '{name}' could not be read from the Hugging Face Hub: {reason}", name=name, reason=line)
    return UserError(found, OFFLINE)
