"""Puts this app on a Space of the Hub: the last commit of this repository, less what no Space needs, as one commit there.

python -m jobs.space OWNER/NAME              a plan, then a question; private unless --public
python -m jobs.space OWNER/NAME --yes        without the question, as .github/workflows/space.yml does

Only files that git knows, as they were committed: nothing that lies beside them goes along. They are searched for tokens and keys
first. What the Space has besides is removed; its hardware, secrets, variables, volumes and the rights that it asks its visitors
for stay as they are. Needs git, and of the packages only huggingface_hub.
"""

import argparse
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from common.command_line import exit_code, progress_on_stderr, say
from common.errors import UserError
from common.language import _, joined, n_
from common.paths import REPOSITORY
from common.secret_patterns import SECRETS
from models.hub.client import Account, account_of, client, errors_explained, token_of
from models.hub.push import PushPlan, plan_files, repository_of, sending_folder
from models.hub.transfer import MAX_CONFIG_BYTES, fetch

if TYPE_CHECKING:
    from huggingface_hub.hf_api import SpaceInfo

NOT_NEEDED = ("tests", "benchmarks", ".ci", ".github")  # there; the folders
NEVER = (".env", ".env.*", ".netrc", "*.pem", "*.key", "*.p12", "id_rsa*", "id_ed25519*")  # names of files
MARK = "ui/page.py"  # a Space that has files without this one is another app
KEPT = ".gitattributes"  # the Hub's own
ZERO_GPU = "zero-a10g"
SCOPES = re.compile(r"^hf_oauth_scopes:\n(?:- .+\n)+", re.MULTILINE)
NOTHING_SENT = _("Nothing was sent.")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return exit_code(lambda: _push(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.space", description=_("Create or update a Space of Hugging Face with this app.")
    )
    parser.add_argument("repo", metavar="OWNER/NAME")
    parser.add_argument("--public", action="store_true", help=_("everybody may see it"))
    parser.add_argument("--zero-gpu", action="store_true", help=_("a new Space gets ZeroGPU, as free accounts may"))
    parser.add_argument("--jobs", action="store_true", help=_("it may start Hugging Face Jobs for who signs in"))
    parser.add_argument("--yes", action="store_true", help=_("push without asking"))
    return parser


def _push(options: argparse.Namespace) -> None:
    """Print the plan, ask, and push."""
    account = account_of(token_of(None))
    plan = plan_space(options.repo, account, REPOSITORY, not options.public, options.zero_gpu, options.jobs)
    if left := _uncommitted():
        print(
            n_(
                "{count} change is not committed, and stays here.",
                "{count} changes are not committed, and stay here.",
                left,
            )
        )
    changes = [line for file, line in zip(plan.files, plan.lines(), strict=True) if file.change != "same"]
    for line in [*changes, joined([_("Signed in as {name}.", name=account.name), plan.sentence()])]:
        say(line)
    if plan.changes and not options.yes and input(_("Push it? Type yes: ")).strip().lower() != "yes":
        raise UserError(NOTHING_SENT)
    try:
        say(plan.push(progress_on_stderr()).url)
    except UserError as error:
        if plan.is_new and not options.zero_gpu:
            hint = _("A new Space on a CPU needs a PRO account; with --zero-gpu it does not.")
            raise UserError(error.message, joined([error.hint, hint])) from error
        raise


def plan_space(
    wanted: str, account: Account, source: Path, private: bool = True, zero_gpu: bool = False, jobs: bool = False
) -> PushPlan:
    """Return the plan of what the last commit of `source` changes in the Space `wanted`; nothing is sent.

    Its visitors are asked for the right to run jobs with `jobs`, and to read their quota with `zero_gpu`, and go on being asked
    for the rights that the Space asks for already. Raises UserError, also for a Space with another app.
    """
    repo_id = repository_of(account, wanted)
    with sending_folder() as folder:
        names = _write_commit(source, folder)
        _check_no_secret(folder, names, account)
        info = _space(repo_id, account)
        there = None if info is None else {file.rfilename for file in info.siblings or []}
        if there and MARK not in there and there - {"README.md", KEPT}:
            words = _("{repo} is another app: what it has would be removed.", repo=repo_id)
            raise UserError(words, _("Choose another name."))
        if zero_gpu and there is not None:
            words = _("{repo} exists already, and its hardware stays as it is.", repo=repo_id)
            raise UserError(words, _("Change it in the settings of the Space, and leave --zero-gpu out."))
        if scopes := ["jobs"] * jobs + ["read-billing"] * zero_gpu + _scopes_there(repo_id, info, account):
            _ask_for(scopes, folder / "README.md")
        others, hardware = (there or set()) - {KEPT}, ZERO_GPU if zero_gpu else None
        return plan_files(folder, names, repo_id, "space", account, private, obsolete=others, hardware=hardware)


def _space(repo_id: str, account: Account) -> "SpaceInfo | None":
    """Return what the Hub knows of a Space, None where there is none of this name. Raises UserError."""
    from huggingface_hub.errors import RepositoryNotFoundError

    with errors_explained(repo_id):
        try:
            return client(account.token).space_info(repo_id, files_metadata=True)
        except RepositoryNotFoundError:
            return None


def _scopes_there(repo_id: str, info: "SpaceInfo | None", account: Account) -> list[str]:
    """Return the rights that the card of a Space asks for, in its order. Raises UserError when it can't be read."""
    if info is None or info.sha is None:
        return []
    card = next((file for file in info.siblings or [] if file.rfilename == "README.md"), None)
    if card is None or (card.size or 0) > MAX_CONFIG_BYTES:
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = fetch(repo_id, card, info.sha, Path(folder), account.token, repo_type="space")
        text = path.read_text("utf-8", "replace")
    found = SCOPES.search(text)
    return re.findall(r"^- (.+)$", found[0], re.MULTILINE) if found else []


def _write_commit(source: Path, folder: Path) -> list[str]:
    """Write the files of the last commit of `source` that a Space needs into `folder`; return their names. Raises UserError."""
    command = ["git", "-C", str(source), "archive", "--format=tar", "HEAD"]
    try:
        archive = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        words = _("The files of the app are not in a git repository, or git is missing.")
        raise UserError(words, _("Clone the repository with git, then try again.")) from error
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = [one for one in tar.getmembers() if one.isfile() and one.name.split("/")[0] not in NOT_NEEDED]
        tar.extractall(folder, members, filter="data")
    return sorted(one.name for one in members)


def _uncommitted() -> int:
    """Return how many files that git knows were changed since the last commit."""
    command = ["git", "-C", str(REPOSITORY), "status", "--porcelain", "--untracked-files=no"]
    return len(subprocess.run(command, capture_output=True, check=True).stdout.splitlines())


def _ask_for(scopes: list[str], card: Path) -> None:
    """Let who signs in be asked for these rights, too. Raises UserError for a card without scopes."""
    text = card.read_text(encoding="utf-8")
    found = SCOPES.search(text)
    if found is None:
        raise UserError(_("README.md has no hf_oauth_scopes."), NOTHING_SENT)
    added = "".join(line for scope in scopes if (line := f"- {scope}\n") not in found[0])
    card.write_text(text[: found.end()] + added + text[found.end() :], encoding="utf-8")


def _check_no_secret(folder: Path, names: list[str], account: Account) -> None:
    """Raise UserError that names a file with a token or a key, or one that is there for them."""
    patterns = {words: re.compile(pattern.encode()) for words, pattern in SECRETS.items()}
    for name in names:
        content = (folder / name).read_bytes()
        found = next((words for words, pattern in patterns.items() if _any(pattern, content)), None)
        if account.token.encode() in content:
            found = _("your Hugging Face token")
        if any(fnmatch(name.rsplit("/", 1)[-1].lower(), pattern) for pattern in NEVER):
            found = _("secrets, by its name")
        if found:
            hint = _("Remove it from the repository.")
            raise UserError(_("{file} contains {found}.", file=name, found=found), joined([NOTHING_SENT, hint]))


def _any(pattern: re.Pattern[bytes], content: bytes) -> bool:
    """Return whether a secret is in `content`: words like hf_oauth_expiration_minutes are none."""
    return any(not re.fullmatch(rb"hf_[a-z_]+", match[0]) for match in pattern.finditer(content))


if __name__ == "__main__":
    sys.exit(main())
