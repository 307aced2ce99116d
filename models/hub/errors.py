"""Errors of huggingface_hub in words, and the environment of child processes that use it."""

import errno
import os
import re
import ssl
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from common.errors import DISK_FULL, MAKE_ROOM, UserError, causes
from common.hosted import on_space
from common.language import Sentence, _, joined
from common.paths import home
from common.visitors import FOR_GUEST, GUESTS, is_guest
from models.hardware import wait_briefly

UNREACHED = _("Could not reach the Hugging Face Hub.")
PASSED_ON = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LD_LIBRARY_PATH"),
    *("VIRTUAL_ENV", "STUDIO_HOME", "SPACE_ID", GUESTS, "XDG_DATA_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"),
    *("HF_DATASETS_CACHE", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("PIP_CONFIG_FILE", "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_CERT"),
)
PASSED_ON_PREFIXES = ("STUDIO_MAX_", "CUDA_", "NVIDIA_", "NCCL_", "GLOO_", "OMP_", "GOMP_", "MKL_")
UNKNOWN_NAME_WORDS = (
    "name or service not known",
    "temporary failure in name resolution",
    "no address associated",
    "nodename nor servname",
    "getaddrinfo failed",
    "dns error",
)


def client_environment() -> dict[str, str]:
    """Return the variables that make a child's huggingface_hub work like the one of this process, without a token.

    huggingface_hub reads its variables once, when it is imported: its values now count, not those of `os.environ`.
    """
    from huggingface_hub import constants

    return {
        "HF_ENDPOINT": constants.ENDPOINT,
        "HF_HUB_OFFLINE": str(int(constants.HF_HUB_OFFLINE)),
        "HF_HOME": constants.HF_HOME,
        "HF_HUB_CACHE": constants.HF_HUB_CACHE,
        "HF_XET_CACHE": constants.HF_XET_CACHE,
        "HF_HUB_ETAG_TIMEOUT": str(constants.HF_HUB_ETAG_TIMEOUT),
        "HF_HUB_DOWNLOAD_TIMEOUT": str(constants.HF_HUB_DOWNLOAD_TIMEOUT),
        "HF_HUB_DISABLE_XET": str(int(constants.HF_HUB_DISABLE_XET)),
        "HF_HUB_DISABLE_TELEMETRY": str(int(constants.HF_HUB_DISABLE_TELEMETRY)),
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    }


def sign_in_words() -> Sentence:
    """Return how to sign in to the Hub where this app runs."""
    if is_guest():
        return _("Guests cannot sign in here: ask the owner of this machine.")
    return _("Sign in at the top of the page.") if on_space() else _("Run `hf auth login`, then try again.")


def child_environment() -> dict[str, str]:
    """Return the environment of the app's child processes: only what they need, without a token, also none from a file."""
    kept = {
        name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    kept |= client_environment() | {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
    kept |= {FOR_GUEST: "1"} if is_guest() else {}
    wait_briefly(kept)
    kept["HF_HUB_DISABLE_TELEMETRY"] = "1"  # TRL reports usage from rank 0 otherwise
    kept["STUDIO_HOME"] = str(home())  # which may have been chosen by trying a volume
    kept["PYTHONWARNINGS"] = "ignore::FutureWarning"  # for the authors of libraries, not for who reads the log
    return kept


@contextmanager
def errors_explained(repo_id: str = "Hugging Face", has_token: bool = True):
    """Raise a UserError for any error of huggingface_hub inside."""
    import httpx2
    from huggingface_hub.errors import HFValidationError, XetDownloadError

    try:
        yield
    except (OSError, httpx2.HTTPError, HFValidationError, XetDownloadError, RuntimeError) as error:
        raise explain(error, repo_id, has_token) from error


def explain(error: BaseException, repo_id: str, has_token: bool = True) -> UserError:
    """Return the sentence for one error of huggingface_hub, by its cause.

    `has_token=False` is for anonymous requests: the hint is then another one than to sign in.
    """
    from huggingface_hub import errors

    chain = list(causes(error))
    if any(isinstance(cause, errors.OfflineModeIsEnabled) for cause in chain):
        return UserError(joined([UNREACHED, _("HF_HUB_OFFLINE is set.")]), _("Restart the app without it."))
    answered = next((cause for cause in chain if getattr(cause, "response", None) is not None), None)
    if answered is not None:
        return _of_answer(answered, repo_id, has_token)
    if isinstance(error, errors.LocalEntryNotFoundError) and len(chain) == 1:
        words = _("{repo} is not complete in the local cache.", repo=repo_id)
        return UserError(words, _("Try again with a connection to the Hugging Face Hub."))
    return _of_disk(chain) or _of_network(chain)


def _of_answer(error, repo_id: str, has_token: bool) -> UserError:
    """Return the sentence for an error status of the Hub."""
    from huggingface_hub import errors

    by_hand = _("Accept its terms on the Hub, run `hf download {repo}`, then try again.", repo=repo_id)
    if isinstance(error, errors.GatedRepoError):
        hint = _("Ask for access on its page on the Hub, then try again.") if has_token else by_hand
        return UserError(_("{repo} is gated.", repo=repo_id), hint)
    if isinstance(error, errors.RepositoryNotFoundError):
        return UserError(
            _("There is no '{repo}' on the Hugging Face Hub, or it is private.", repo=repo_id),
            _("Check the spelling. A private one needs you to sign in to an account that may read it.")
            if has_token
            else _("Check the spelling."),
        )
    if isinstance(error, errors.RevisionNotFoundError):
        words = _("{repo} has no such revision.", repo=repo_id)
        return UserError(words, _("Enter one of its commits, tags or branches, or none for main."))
    if isinstance(error, errors.EntryNotFoundError):
        return UserError(_("A file of {repo} is missing, or was removed.", repo=repo_id), _("Preview it again."))
    status, wait = error.response.status_code, error.response.headers.get("Retry-After", "")
    if status in (401, 403) and not has_token:
        return UserError(_("{repo} is not open to everybody ({status}).", repo=repo_id, status=status), by_hand)
    again = _("Try again in {seconds} seconds.", seconds=wait) if wait else _("Try again in a minute.")
    sentences = {
        401: (_("Hugging Face does not accept this sign-in; it may have expired."), sign_in_words()),
        403: (
            _("Your sign-in has no permission for this ({repo}).", repo=repo_id),
            _("It needs write access to that repository."),
        ),
        404: (_("The Hugging Face Hub found nothing there (404)."), _("Check the name, and HF_ENDPOINT if it is set.")),
        407: (_("The proxy asks for a sign-in (407)."), _("Put it into HTTPS_PROXY.")),
        409: (_("{repo} is being changed by somebody else.", repo=repo_id), _("Preview it again, then repeat.")),
        412: (_("{repo} was changed in the meantime.", repo=repo_id), _("Preview the changes again, then repeat.")),
        429: (_("Too many requests to the Hugging Face Hub."), again),
    }
    failed = (_("The Hugging Face Hub reported an error ({status}).", status=status), _("Try again in a few minutes."))
    return UserError(*sentences.get(status, failed))


def _of_disk(chain: list[BaseException]) -> UserError | None:
    """Return the sentence for an error of this machine's disk, None for others. Xet's errors come from Rust as text only."""
    numbers = {getattr(cause, "errno", None) for cause in chain}
    words = " ".join(map(str, chain))
    if numbers & {errno.ENOSPC, errno.EDQUOT} or "No space left on device" in words:
        return UserError(DISK_FULL, MAKE_ROOM)
    is_file = any(getattr(cause, "filename", None) for cause in chain)
    if is_file and numbers & {errno.EACCES, errno.EPERM, errno.EROFS}:
        return UserError(
            _("No permission to write to the download folder."), _("Change its permissions, or set HF_HOME to another.")
        )
    return None


def _of_network(chain: list[BaseException]) -> UserError:
    """Return the sentence for a missing answer: which address does not answer, and how."""
    import httpx2
    from huggingface_hub import constants

    words = " ".join(map(str, chain)).lower()
    numbers = {getattr(cause, "errno", None) for cause in chain}
    proxy = _proxy_of(constants.ENDPOINT)
    address = urlsplit(proxy or constants.ENDPOINT)
    host = address.hostname or constants.ENDPOINT
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in chain) or "certificate verify failed" in words:
        return UserError(
            _("The certificate of {host} is not accepted.", host=host),
            _("Check the clock of this machine; behind a company's proxy, set SSL_CERT_FILE to its certificates."),
        )
    if any(sign in words for sign in UNKNOWN_NAME_WORDS):
        reason = _("The name {host} was not found (DNS).", host=host)
    elif numbers & {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN}:
        reason = _("There is no network.")
    elif errno.ECONNREFUSED in numbers or "connection refused" in words:
        port = address.port or (80 if address.scheme == "http" else 443)
        reason = _("Nothing answers at {host}:{port}.", host=host, port=port)
    elif any(isinstance(cause, (httpx2.TimeoutException, TimeoutError)) for cause in chain) or "timed out" in words:
        reason = _("{host} did not answer in time.", host=host)
    else:
        line = (str(chain[-1]).splitlines() or [""])[0]
        line = re.sub(r"\S*/\S*|hf_\w+", "...", line)[:200]  # no addresses, paths and tokens: visitors may read it
        words = ": ".join(filter(None, (type(chain[-1]).__name__, line)))
        reason = _("The connection broke ({error}).", error=words)
    if proxy:
        return UserError(
            joined([_("Could not reach the Hugging Face Hub through the proxy {host}.", host=host), reason]),
            _("Check HTTPS_PROXY (HTTP_PROXY, ALL_PROXY), or start without it."),
        )
    hint = _("Check your network connection (and HF_ENDPOINT, if it is set), then try again.")
    return UserError(joined([UNREACHED, reason]), hint)


def _proxy_of(url: str) -> str | None:
    """Return the proxy that this machine's settings name for `url`, or None."""
    address, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(address.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
