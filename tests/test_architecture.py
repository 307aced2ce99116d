"""The imports point one way, the page starts without torch, and the documents tell the truth."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from runs.limits import ON_A_SPACE

REPOSITORY = Path(__file__).resolve().parents[1]
# each may import those before it
LAYERS = ("common", "models", "adapters", "data", "runs", "trainer", "jobs", "evaluation", "making", "serving", "ui")
FOLDERS = (*LAYERS, "chat", "studio", "examples")
EDGES = ("chat/__main__.py", "data/__main__.py")  # a command line may put engines together, as the page does
ALLOWED = {folder: {*LAYERS[: place + 1]} for place, folder in enumerate(LAYERS)}
ALLOWED["chat"] = {"chat", "models", "common"}
ALLOWED["ui"] |= {"chat"}
ALLOWED["evaluation"] |= {"chat"}
ALLOWED["making"] |= {"chat"}
ALLOWED["serving"] |= {"chat"}
ALLOWED["studio"] = {"studio", "chat", *LAYERS}  # beside the app: it draws as the page does, without Gradio
ALLOWED["examples"] = {"examples", "chat", *LAYERS[:6]}
DOCS = sorted(str(file.relative_to(REPOSITORY)) for file in (REPOSITORY / "docs").glob("*.md"))
HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "accelerate", "bitsandbytes"}
FILES = [file for folder in FOLDERS for file in sorted((REPOSITORY / folder).rglob("*.py"))]


def imports(file: Path) -> set[str]:
    """The modules that a file imports anywhere in it."""
    return {module for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) for module in modules_of(node)}


def modules_of(node) -> set[str]:
    """The modules that a statement imports."""
    if isinstance(node, ast.Import):
        return {name.name for name in node.names}
    return {node.module} if isinstance(node, ast.ImportFrom) and node.level == 0 else set()


def imports_at_once(module: str) -> set[str]:
    """The packages that one of our modules imports when it is imported itself."""
    file = REPOSITORY / f"{module.replace('.', '/')}.py"
    body = ast.parse(file.read_text(encoding="utf-8")).body if file.exists() else []
    names = {name.name for node in body if isinstance(node, ast.Import) for name in node.names}
    names |= {node.module for node in body if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_imports_point_one_way(file):
    name = str(file.relative_to(REPOSITORY))
    folder = name.split("/")[0]
    ours = {module for module in imports(file) if module.split(".")[0] in FOLDERS}
    allowed = {*LAYERS[:-1], "chat"} if name in EDGES else ALLOWED[folder]
    assert {module.split(".")[0] for module in ours} <= allowed
    if folder == "ui":
        assert not [module for module in ours if imports_at_once(module) & HEAVY]
    else:
        assert "gradio" not in {module.split(".")[0] for module in imports(file)}
    if folder == "common":
        assert {module.split(".")[0] for module in imports(file)} <= {*sys.stdlib_module_names, "common"}


def test_no_thread_of_the_app_imports_transformers_while_another_does():
    """It would meet a half-made module now and then. Exempt: processes of their own, and what the chat's thread calls later."""
    own_process = re.compile(r"trainer/.*\.py")
    after_others = re.compile(r"chat/(patches/.*|batch|sampling)\.py")
    bare, checked = [], 0
    for file in FILES:
        name = str(file.relative_to(REPOSITORY))
        if own_process.fullmatch(name) or after_others.fullmatch(name):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        locked = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.With) and "import_lock" in {ast.unparse(item.context_expr) for item in node.items}
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if {module.split(".")[0] for module in modules_of(node)} & {"transformers", "peft", "accelerate", "trl"}:
                checked += 1
                bare += [f"{name}:{node.lineno}"] if id(node) not in locked else []
    assert checked > 10 and not bare, f"import these within `with import_lock`: {bare}"


def test_the_type_checker_looks_at_every_room():
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        looked_at = tomllib.load(file)["tool"]["ty"]["src"]["include"]
    assert {*looked_at} == {*FOLDERS, "app.py"}


def test_only_the_app_opens_a_port():
    assert [file.name for file in [*FILES, REPOSITORY / "app.py"] if ".launch(" in file.read_text()] == ["app.py"]


def test_building_the_page_imports_no_torch():
    code = "import sys, app; app.build(); sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


def test_no_code_runs_what_it_downloads():
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert "trust_remote_code=True" not in text and "pickle.load" not in text
        assert "weights_only=False" not in text


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md", *DOCS])
def test_a_document_names_only_files_that_are_there(document):
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./-]+\.(?:py|md|txt|yaml|jsonl|jinja|toml|png))`", text))
    named |= set(re.findall(r"\]\((?!https?:)([^)#]+)\)", text))
    made = {"config.yaml", "events.jsonl", "train.log", "metrics.json", "adapter_config.json", "training_config.yaml"}
    folder = (REPOSITORY / document).parent
    missing = [name for name in named - made if not (folder / name).exists() and not (REPOSITORY / name).exists()]
    assert not missing, f"{document} names {missing}"


def test_every_test_that_the_list_of_attacks_names_is_there():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (REPOSITORY / "docs/attacks.md").read_text(encoding="utf-8"))
    missing = [name for file, name in named if f"def {name}(" not in (REPOSITORY / file).read_text(encoding="utf-8")]
    assert len(named) > 40 and not missing


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md"])
def test_a_tree_names_what_is_there_and_the_whole_one_every_file(document):
    tree = (REPOSITORY / document).read_text(encoding="utf-8").split("```text", 1)[1].split("```", 1)[0]
    named: set[Path] = set()
    parts: list[str] = []
    for line in filter(str.strip, tree.splitlines()):
        parts[(len(line) - len(line.lstrip())) // 2 :] = [line.split()[0].strip("/")]
        found = set(REPOSITORY.glob("/".join(parts)))
        assert found, f"{document} names {'/'.join(parts)}, which is not there"
        named |= found
    if document != "README.md":
        needed = {file.parent for file in FILES} | {file for file in FILES if not file.name.startswith("__")}
        assert needed <= named, f"{document} lacks {needed - named}"


def test_every_variable_that_is_read_is_in_the_list():
    read = r"""(?:limit|switch|environ\.get)\(\s*"((?:STUDIO|CHAT)_\w+)\""""
    source = "\n".join(file.read_text(encoding="utf-8") for file in FILES)
    found = set(re.findall(read, source)) | {f"STUDIO_MAX_{name}" for name in ON_A_SPACE}
    own = {"STUDIO_JOB_BEGAN"}  # what the app tells its own processes
    listed = set(re.findall(r"`((?:STUDIO|CHAT)_\w+)`", (REPOSITORY / "docs/variables.md").read_text(encoding="utf-8")))
    assert len(found) > 20 and listed == (found - own) | {"STUDIO_HOME"}


def test_contributing_is_short():
    assert len((REPOSITORY / "CONTRIBUTING.md").read_text().splitlines()) < 60


def test_the_space_uses_the_gradio_that_is_pinned():
    readme, requirements = ((REPOSITORY / name).read_text() for name in ("README.md", "requirements.txt"))
    pinned = re.search(r"^gradio==(\S+)", requirements, re.MULTILINE)[1]
    assert re.search(rf"^sdk_version: {re.escape(pinned)}$", readme, re.MULTILINE)


def test_every_dependency_says_what_it_is_for():
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (REPOSITORY / name).read_text().splitlines():
            assert line.startswith("-r ") or re.fullmatch(r"[\w.-]+==\S+ +# .+", line), line
