"""May an adapter be shown to everybody? Not one that is from a repository which not everybody may read.

It may be that repository's own, trained further from it, or a copy that came back as a zip or a folder. Whether everybody may
read there is asked anew at each push: its owner may have opened it since.
"""

from adapters.check import WEIGHTS
from adapters.hub import client, in_words, parse_repo
from adapters.library import Adapter, read_adapter
from common.errors import UserError


def check_source(adapter: Adapter, is_private: bool) -> None:
    """Raise UserError for a public push of what is from where not everybody may look."""
    sources = [] if is_private else adapter.private_sources or _copied_from(adapter)
    closed = [source for source in sources if not _is_public(source["repo_id"])]
    if not closed:
        return
    source = closed[0]
    by = f" by {source['by']}" if source["by"] else ""
    is_pulled = adapter.origin.get("repo_id") == source["repo_id"]
    how = "was pulled" if is_pulled else "is a copy of, or was trained on, an adapter that was pulled"
    raise UserError(
        f"{adapter.name} {how}{by} from {source['repo_id']}, which is not public.",
        "Push it as private; or whoever owns that repository makes it public first.",
    )


def _copied_from(adapter: Adapter) -> list[dict]:
    """The private sources of an adapter beside this one that has the very same weights."""
    mine = adapter.folder / WEIGHTS
    for weights in adapter.folder.parent.glob(f"*/{WEIGHTS}"):
        is_alike = weights.stat().st_size == mine.stat().st_size and weights.read_bytes() == mine.read_bytes()
        if is_alike and (sources := read_adapter(weights.parent).private_sources):
            return sources
    return []


def _is_public(repo_id: str) -> bool:
    """True when the Hub lets everybody read it now."""
    try:
        with in_words("read it", repo_id):
            client(False).auth_check(parse_repo(repo_id)[0])
    except UserError:
        return False
    return True
