"""The app on a Space by one command: which files, as one commit, private, never a secret; no other app is replaced."""

import os
import re
import subprocess
import sys

import pytest
import yaml

from common.errors import UserError
from common.paths import REPOSITORY
from jobs import space
from jobs.space import main, plan_space
from models.hub.client import account_of
from tests.hub_server import HubServer, point_client_at

README = """---
title: An app
sdk: gradio
app_file: app.py
hf_oauth: true
hf_oauth_scopes:
- read-repos
- inference-api
hf_oauth_expiration_minutes: 480
---
# An app
"""
FILES = {
    "README.md": README,
    "app.py": "print('hello')\n",
    "ui/page.py": "",
    "tests/test_app.py": "token = 'hf_" + "Aa1" * 12 + "'\n",
    "benchmarks/speed.py": "",
    ".github/workflows/space.yml": "",
}
SENT = {"README.md", "app.py", "ui/page.py"}


@pytest.fixture
def hub(monkeypatch):
    with HubServer() as server:
        point_client_at(server, monkeypatch)
        server.alice = server.add_user("alice", orgs=("lab",))
        yield server


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A repository with the files of a small app, committed; and beside them what nobody committed."""
    folder = tmp_path / "source"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q")
    commit(folder)
    (folder / ".env").write_text("HF_TOKEN=hf_" + "Bb2" * 12)
    (folder / "notes.txt").write_text("mine alone")
    monkeypatch.setattr(space, "REPOSITORY", folder)
    return folder


def git(folder, *words) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


def commit(folder) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "app")


def plan(hub, source, name="alice/studio", **wishes):
    return plan_space(name, account_of(hub.alice), source, **wishes)


def test_a_new_space_is_private_and_has_the_committed_files_and_no_others(hub, source):
    (source / "app.py").write_text("print('not committed')")
    found = plan(hub, source)
    assert "Creates alice/studio (private) with 3 files" in found.sentence() and not hub.created
    pushed = found.push()
    repository = hub.repositories["spaces/alice/studio"]
    assert set(repository.files) == SENT and repository.files["app.py"] == b"print('hello')\n"
    assert hub.created == [
        {"name": "studio", "organization": "alice", "visibility": "private", "type": "space", "sdk": "gradio"}
    ]
    assert pushed.url == f"{hub.url}/spaces/alice/studio" and len(hub.sent("POST", "/commit/")) == 1
    assert len(hub.sent("POST", "/preupload/")) == 1, "small files are announced together"


def test_an_update_is_one_commit_that_removes_what_is_gone_and_touches_no_setting(hub, source):
    plan(hub, source).push()
    repository = hub.repositories["spaces/alice/studio"]
    repository.files |= {"old/module.py": b"", ".gitattributes": b""}
    repository.record()
    (source / "app.py").write_text("print('newer')")
    (source / "more.py").write_text("")
    (source / ".env").unlink()
    (source / "notes.txt").unlink()
    commit(source)
    found = plan(hub, source)
    assert {file.path: file.change for file in found.changes} == {
        "app.py": "changed",
        "more.py": "new",
        "old/module.py": "removed",
    }
    asked = len(hub.requests)
    found.push()
    assert set(repository.files) == {*SENT, "more.py", ".gitattributes"} and len(hub.bodies) == 2
    paths = {path.split("?")[0] for _method, path, _token in hub.requests[asked:]}
    assert not [path for path in paths if any(word in path for word in ("hardware", "secret", "variable", "create"))]
    assert not plan(hub, source).changes, "the same again changes nothing"


def test_a_new_space_gets_zero_gpu_only_when_asked_for_and_an_old_one_keeps_its_hardware(hub, source):
    plan(hub, source, zero_gpu=True).push()
    assert hub.created[0]["hardware"] == "zero-a10g"
    with pytest.raises(UserError, match="its hardware stays as it is"):
        plan(hub, source, zero_gpu=True)


def test_jobs_and_the_quota_are_asked_for_at_the_sign_in_only_when_wished_and_from_then_on(hub, source):
    for name, wishes, scopes in (
        ("alice/studio", {}, []),
        ("alice/studio", {"jobs": True}, ["jobs"]),
        ("alice/studio", {}, ["jobs"]),
        ("alice/free", {"jobs": True, "zero_gpu": True}, ["jobs", "read-billing"]),
        ("alice/free", {}, ["jobs", "read-billing"]),
    ):
        plan(hub, source, name, **wishes).push()
        card = hub.repositories[f"spaces/{name}"].files["README.md"].decode()
        front = yaml.safe_load(card.split("---")[1])
        assert front["hf_oauth_scopes"] == ["read-repos", "inference-api", *scopes] and front["sdk"] == "gradio"
        assert front["hf_oauth_expiration_minutes"] == 480


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("notes.md", "my token is hf_" + "Cc3" * 12, "notes.md contains a Hugging Face token"),
        ("key.txt", "sk-" + "a1" * 20, "key.txt contains an API key"),
        (".env", "A=1", ".env contains secrets, by its name"),
        ("deploy/server.pem", "", "server.pem contains secrets, by its name"),
    ],
)
def test_nothing_is_sent_with_a_secret_in_a_committed_file(hub, source, name, text, words):
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_text(text)
    git(source, "add", name)
    git(source, "commit", "-qm", "oh")
    with pytest.raises(UserError, match=words):
        plan(hub, source)
    assert not hub.created and not hub.bodies


def test_the_token_of_who_pushes_is_in_no_file(hub, source):
    (source / "app.py").write_text(f"key = '{hub.alice}'")
    git(source, "commit", "-qam", "oh")
    with pytest.raises(UserError, match=r"app\.py contains"):
        plan(hub, source)


def test_another_app_is_never_replaced_and_a_public_space_only_by_agreeing(hub, source):
    hub.add("spaces/alice/other", {"README.md": b"", "app.py": b"mine"}, private=True)
    with pytest.raises(UserError, match="is another app"):
        plan(hub, source, "alice/other")
    hub.add("spaces/alice/fresh", {"README.md": b"", ".gitattributes": b""}, private=False)
    with pytest.raises(UserError, match="is public: everybody would see the app"):
        plan(hub, source, "alice/fresh")
    assert not plan(hub, source, "alice/fresh", private=False).push().private
    with pytest.raises(UserError, match="alice cannot push to bob"):
        plan(hub, source, "bob/studio")


def test_the_command_shows_the_plan_and_asks_first(hub, source, monkeypatch, capsys):
    monkeypatch.setattr(space, "token_of", lambda visitors: hub.alice)
    monkeypatch.setattr("builtins.input", lambda words: "no")
    (source / "app.py").write_text("print('newer')")
    assert main(["lab/studio"]) == 1 and not hub.created
    shown = capsys.readouterr()
    assert (
        "1 change is not committed" in shown.out
        and "new        app.py" in shown.out
        and "Nothing was sent" in shown.err
    )
    assert main(["lab/studio", "--yes"]) == 0
    assert capsys.readouterr().out.endswith("/spaces/lab/studio\n")


def test_a_space_that_an_account_may_not_have_is_told_of_the_free_way(hub, source, monkeypatch, capsys):
    monkeypatch.setattr(space, "token_of", lambda visitors: hub.alice)
    hub.fail("POST", "/api/repos/create", 402)
    assert main(["alice/studio", "--yes"]) == 1
    assert "needs a PRO account; with --zero-gpu it does not" in capsys.readouterr().err


def test_without_git_it_says_so(hub, tmp_path):
    with pytest.raises(UserError, match="not in a git repository"):
        plan(hub, tmp_path)


def test_this_repository_can_be_pushed_as_it_is(hub):
    """Its front matter, no secret in it, and everything that a Space needs; in some MB."""
    found = plan_space("alice/studio", account_of(hub.alice), REPOSITORY, jobs=True)
    names = {file.path for file in found.files}
    assert {"app.py", "requirements.txt", "ui/words/ko.mo", "jobs/inside.py", "examples/study_coach.jsonl"} <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", ".github/", ".ci/"))]
    assert sum(file.size for file in found.files) < 8e6
    front = yaml.safe_load((found.folder / "README.md").read_text().split("---")[1])
    assert front["sdk"] == "gradio" and front["app_file"] in names and front["hf_oauth_scopes"][-1] == "jobs"
    assert len(front["short_description"]) <= 60


def test_the_line_of_the_workflow_pushes_with_no_package_but_the_hubs_client(hub):
    """Gigabytes of torch for a push would be a waste."""
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/space.yml").read_text())
    line = workflow["jobs"]["push"]["steps"][-1]["run"]
    refused = {"torch", "gradio", "transformers", "pandas", "psutil", "numpy", "peft", "trl", "datasets", "pyarrow"}
    code = f"""
import os, sys
class Refusing:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in {refused}:
            raise ImportError(name)
sys.meta_path.insert(0, Refusing())
from jobs.space import main
sys.exit(main(sys.argv[1:]))
"""
    line = line.replace("python -m jobs.space", '"$0" -c "$1"')
    variables = {"SPACE": "alice/studio", "OPTIONS": "--public --jobs", "HF_TOKEN": hub.alice, "HF_ENDPOINT": hub.url}
    variables |= {"HF_HUB_DISABLE_XET": "1"} | {name: os.environ[name] for name in ("PATH", "HOME")}
    command = ["bash", "-c", line, sys.executable, code]
    done = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    repository = hub.repositories["spaces/alice/studio"]
    assert not repository.private and "app.py" in repository.files and b"- jobs\n" in repository.files["README.md"]
    assert hub.alice not in done.stdout + done.stderr


def test_the_workflow_has_no_more_rights_than_it_needs_and_runs_only_what_it_names():
    text = (REPOSITORY / ".github/workflows/space.yml").read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {} and workflow["jobs"]["push"]["permissions"] == {"contents": "read"}
    assert set(workflow[True]) == {"push", "workflow_dispatch"}, "nothing of a stranger starts it"
    assert workflow[True]["push"] == {"branches": ["main"]}
    steps = workflow["jobs"]["push"]["steps"]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", one) for one in used)
    assert [step for step in steps if "secrets." in str(step)] == steps[-1:], "only the push has the token"
    assert "${{" not in " ".join(step.get("run", "") for step in steps), "no value becomes a part of a script"
    assert "constraints.txt" in steps[-2]["run"] and steps[0]["with"]["persist-credentials"] is False
