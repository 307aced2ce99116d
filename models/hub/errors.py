"""Errors of huggingface_hub in words, and the environment of child processes that use it."""

import errno
import os
import re
import ssl
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from common.errors import UserError, causes

PASSED_ON = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LD_LIBRARY_PATH"),
    *("VIRTUAL_ENV", "STUDIO_HOME", "SPACE_ID", "XDG_DATA_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"),
    *("HF_DATASETS_CACHE", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("PIP_CONFIG_FILE", "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_CERT"),
)
PASSED_ON_PREFIXES = ("CUDA_", "NVIDIA_", "NCCL_", "GLOO_", "OMP_", "MKL_")
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


def sign_in_words() -> str:
    """Return how to sign in to the Hub where this app runs."""
    return "Sign in at the top of the page." if os.environ.get("SPACE_ID") else "Run `hf auth login` and try again."


def child_environment() -> dict[str, str]:
    """Return the environment of the app's child processes: only what they need, without a token, also none from a file."""
    kept = {
        name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    kept |= client_environment() | {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
    kept["HF_HUB_DISABLE_TELEMETRY"] = "1"  # TRL reports usage from rank 0 otherwise
    kept["PYTHONWARNINGS"] = "ignore::FutureWarning"  # for the authors of libraries, not for who reads the log
    return kept


@contextmanager
def in_words(doing: str, repo_id: str = "it", has_token: bool = True):
    """Raise a UserError for any error of huggingface_hub inside. `doing` completes "while trying to ..."."""
    import httpx2
    from huggingface_hub.errors import HFValidationError, XetDownloadError

    try:
        yield
    except (OSError, httpx2.HTTPError, HFValidationError, XetDownloadError, RuntimeError) as error:
        raise explain(error, doing, repo_id, has_token) from error


def explain(error: BaseException, doing: str, repo_id: str, has_token: bool = True) -> UserError:
    """Return the sentence for one error of huggingface_hub, by its cause.

    `has_token=False` is for anonymous requests: the hint is then another one than to sign in.
    """
    from huggingface_hub import errors

    chain = list(causes(error))
    if any(isinstance(cause, errors.OfflineModeIsEnabled) for cause in chain):
        return UserError("The Hub is switched off here (HF_HUB_OFFLINE).", "Start the app without it.")
    answered = next((cause for cause in chain if getattr(cause, "response", None) is not None), None)
    if answered is not None:
        return _of_answer(answered, doing, repo_id, has_token)
    if isinstance(error, errors.LocalEntryNotFoundError) and len(chain) == 1:
        return UserError(f"{repo_id} is not whole in the local cache.", "Start again while the Hub can be reached.")
    return _of_disk(chain) or _of_network(chain, doing)


def _of_answer(error, doing: str, repo_id: str, has_token: bool) -> UserError:
    """Return the sentence for an error status of the Hub."""
    from huggingface_hub import errors

    by_hand = f"Accept its terms on the Hub, run `hf download {repo_id}`, and start again."
    if isinstance(error, errors.GatedRepoError):
        hint = "Ask for access on its page on the Hub, then try again." if has_token else by_hand
        return UserError(f"{repo_id} is gated.", hint)
    if isinstance(error, errors.RepositoryNotFoundError):
        return UserError(
            f"There is no '{repo_id}' on the Hub, or it is private.",
            "Check the spelling. A private one opens for those who may read it, when they are signed in."
            if has_token
            else "Check the spelling.",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(f"{repo_id} has no such revision.", "Give a commit, a tag or a branch of it, or none: main.")
    if isinstance(error, errors.EntryNotFoundError):
        return UserError(f"A file of {repo_id} is not there (any more).", "Look at it again.")
    status, wait = error.response.status_code, error.response.headers.get("Retry-After", "")
    if status in (401, 403) and not has_token:
        return UserError(f"The Hub does not give {repo_id} to everybody ({status}).", by_hand)
    sentences = {
        401: ("The Hub does not know this sign-in (any more).", sign_in_words()),
        403: (f"This sign-in may not {doing} ({repo_id}).", "It needs the right to write to that repository."),
        404: (
            f"The Hub has nothing there (404) while trying to {doing}.",
            "Check the name, and HF_ENDPOINT if it is set.",
        ),
        407: (f"The proxy wants a sign-in (407) while trying to {doing}.", "Put it into HTTPS_PROXY."),
        409: (f"{repo_id} is being changed by somebody else.", "Look at it again, then repeat."),
        412: (f"{repo_id} was changed in the meantime.", "Look at what would change now, then repeat."),
        429: ("The Hub asks for a pause: too many requests.", f"Try again in {wait or 'some'} seconds."),
    }
    failed = (f"The Hub failed ({status}) while trying to {doing}.", "Try again in some minutes.")
    return UserError(*sentences.get(status, failed))


def _of_disk(chain: list[BaseException]) -> UserError | None:
    """Return the sentence for an error of this machine's disk, None for others. Xet's errors come from Rust as text only."""
    numbers = {getattr(cause, "errno", None) for cause in chain}
    words = " ".join(map(str, chain))
    if numbers & {errno.ENOSPC, errno.EDQUOT} or "No space left on device" in words:
        return UserError("The disk is full.", "Free some space, then start again.")
    is_file = any(getattr(cause, "filename", None) for cause in chain)
    if is_file and numbers & {errno.EACCES, errno.EPERM, errno.EROFS}:
        return UserError(
            "The folder for downloads may not be written.", "Change its rights, or set HF_HOME to another."
        )
    return None


def _of_network(chain: list[BaseException], doing: str) -> UserError:
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
            f"The certificate of {host} is not accepted.",
            "Check the clock of this machine; behind a company's proxy, set SSL_CERT_FILE to its certificates.",
        )
    hint = "Check that there is a network (and HF_ENDPOINT, if it is set), then try again."
    if any(sign in words for sign in UNKNOWN_NAME_WORDS):
        reason = f"the name {host} is not found (DNS)"
    elif numbers & {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN}:
        reason = "there is no network"
    elif errno.ECONNREFUSED in numbers or "connection refused" in words:
        reason = f"nothing answers at {host}:{address.port or (80 if address.scheme == 'http' else 443)}"
    elif any(isinstance(cause, (httpx2.TimeoutException, TimeoutError)) for cause in chain) or "timed out" in words:
        reason = f"{host} does not answer in time"
    elif any(isinstance(cause, httpx2.ProxyError) for cause in chain):
        reason = str(next(cause for cause in chain if isinstance(cause, httpx2.ProxyError)))[:100]
    else:
        line = (str(chain[-1]).splitlines() or [""])[0]
        line = re.sub(r"\S*/\S*|hf_\w+", "...", line)[:200]  # no addresses, paths and tokens: visitors may read it
        return UserError(
            f"The connection to the Hub broke while trying to {doing} ({type(chain[-1]).__name__}: {line}).", hint
        )
    if proxy:
        hint = "Check HTTPS_PROXY (HTTP_PROXY, ALL_PROXY), or start without it."
        return UserError(f"The Hub cannot be reached through the proxy {host}: {reason}.", hint)
    return UserError(f"The Hub cannot be reached: {reason}.", hint)


def _proxy_of(url: str) -> str | None:
    """Return the proxy that this machine's settings name for `url`, or None."""
    address, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(address.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
