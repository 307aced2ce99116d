"""The Dockerfile and compose.yaml as far as they can be read: what goes in, in which order, and what they set."""

import re

import pytest
import yaml

from common.paths import REPOSITORY
from tests.test_architecture import FILES, FOLDERS
from ui.on_term import TERM_SECONDS

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
STUDIO, VLLM = COMPOSE["services"]["studio"], COMPOSE["services"]["vllm"]
CODE = "".join(file.read_text(encoding="utf-8") for file in [*FILES, REPOSITORY / "app.py"])


def test_an_image_has_all_of_the_source_and_nothing_else():
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    taken = {line[1:] for line in lines if line.startswith("!")}
    assert {*FOLDERS} - taken == set()
    files = {"app.py", "requirements.txt", "constraints.txt", "pyproject.toml", "LICENSE"}
    assert taken - {*FOLDERS} == files
    assert {"**/.env*", "**/__pycache__"} <= {*lines}


def test_a_change_of_the_code_installs_nothing_again():
    order = [
        "COPY requirements.txt constraints.txt",
        'pip install "$torch"',
        "pip install -r requirements.txt",
        "COPY . .",
    ]
    places = [DOCKERFILE.index(line) for line in order]
    assert places == sorted(places)
    assert DOCKERFILE.count("-c constraints.txt") == DOCKERFILE.count("pip install "), "each in its tested version"


def test_the_app_runs_as_nobody_special_and_is_looked_after():
    assert re.search(r"^USER 1000$", DOCKERFILE, re.MULTILINE)
    assert "/healthz" in DOCKERFILE and 'ENTRYPOINT ["tini", "--"]' in DOCKERFILE and 'VOLUME ["/data"' in DOCKERFILE
    assert DOCKERFILE.index("USER 1000") > DOCKERFILE.rindex("RUN "), "its own files are not its own to change"


def test_no_secret_is_in_the_image_or_in_a_file():
    given = re.findall(r"^(?:ARG|ENV|    )\s*(\w+)=", DOCKERFILE, re.MULTILINE)
    assert given and not [name for name in given if re.search("TOKEN|KEY|SECRET|PASS", name)]
    for service in (STUDIO, VLLM):
        secrets = {name: value for name, value in service["environment"].items() if re.search("TOKEN|KEY", name)}
        assert secrets and all(value in (None, "${CHAT_SERVER_TOKEN:-}") for value in secrets.values())


@pytest.mark.parametrize("name", ["STUDIO_HOME", "STUDIO_ON_TERM", "STUDIO_HOSTS", *STUDIO["environment"]])
def test_the_app_reads_what_is_set(name):
    assert name == "HF_TOKEN" or f'"{name}"' in CODE


def test_whoever_reaches_the_port_is_on_this_machine():
    assert all(port.startswith("127.0.0.1:") for port in STUDIO["ports"]) and "ports" not in VLLM
    assert "STUDIO_HOSTS=localhost:7860" in DOCKERFILE, "else a page of the web could point its own name to it"


def test_a_training_has_time_to_save_before_it_is_killed():
    minutes = re.fullmatch(r"(\d+)m", STUDIO["stop_grace_period"])[1]
    assert TERM_SECONDS <= int(STUDIO["environment"]["STUDIO_TERM_SECONDS"]) < 60 * int(minutes)


def test_vllm_sees_the_adapters_and_changes_none():
    (adapters,) = [one for one in VLLM["volumes"] if isinstance(one, dict)]
    assert adapters["read_only"] and adapters["volume"]["subpath"] == "adapters"
    assert adapters["target"] == STUDIO["environment"]["CHAT_SERVER_ADAPTERS"]
    assert VLLM["environment"]["VLLM_RUNTIME_LORA_ALLOWED_PATH_PREFIXES"] == adapters["target"]
    assert "--enable-lora" in VLLM["command"] and VLLM["environment"]["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert f"{adapters['source']}:/data" in STUDIO["volumes"] and "STUDIO_HOME=/data" in DOCKERFILE
