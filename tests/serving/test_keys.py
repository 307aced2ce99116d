"""API keys: shown once, kept as a hash, and their owner's alone."""

import pytest

from common.errors import UserError
from common.paths import data_folders, home, keys_folder
from common.secret_patterns import SECRETS
from serving.__main__ import main
from serving.api import is_on
from serving.keys import MAX_KEYS, list_keys, new_key, owner_of, revoke

ADA, BOB = "user-ada", "user-bob"


def test_a_key_says_whose_it_is_and_is_nowhere(isolated_home):
    key = new_key(ADA, "notebook")
    assert owner_of(key) == ADA and owner_of(key[:-1]) is None and owner_of(f"{key} ") is None
    (file,) = keys_folder().iterdir()
    assert file.stat().st_mode & 0o777 == 0o600 and keys_folder().stat().st_mode & 0o777 == 0o700
    kept = b"".join(path.read_bytes() for path in home().rglob("*") if path.is_file())
    assert key.encode() not in kept and key.removeprefix("sk-studio-").encode() not in kept
    assert keys_folder() in data_folders(), "the page may not serve it"


def test_a_key_looks_like_one_to_what_looks_for_secrets(isolated_home):
    import re

    assert re.search(SECRETS["an API key"], f"my key is {new_key(ADA)}.")


def test_a_key_is_listed_and_revoked_by_its_owner_alone(isolated_home):
    key, other = new_key(ADA, "notebook\x1b[31m"), new_key(BOB)
    (listed,) = list_keys(ADA)
    assert listed.name == "notebook [31m" and listed.id not in key and key not in repr(listed)
    for owner, id in ((BOB, listed.id), (ADA, "*"), (ADA, ""), (ADA, "../x"), (ADA, listed.id[:4])):
        with pytest.raises(UserError, match="no key"):
            revoke(owner, id)
    assert owner_of(key) == ADA
    revoke(ADA, listed.id)
    assert owner_of(key) is None and list_keys(ADA) == [] and owner_of(other) == BOB


def test_nobody_has_keys_without_end(isolated_home):
    for _number in range(MAX_KEYS):
        new_key(ADA)
    with pytest.raises(UserError, match="20 keys"):
        new_key(ADA)
    assert new_key(BOB)


@pytest.mark.parametrize("content", ["", "[]", '{"owner": 1}', '{"owner": "../up"}', '{"name": "x"}', "x" * 5000])
def test_a_damaged_file_opens_nothing(isolated_home, content):
    key = new_key(ADA)
    next(keys_folder().iterdir()).write_text(content)
    assert owner_of(key) is None and list_keys(ADA) == []


def test_the_command_line_makes_lists_and_revokes(isolated_home, capsys):
    assert main(["keys", "new", "--name", "lm-eval"]) == 0
    said = capsys.readouterr()
    assert owner_of(said.out.strip()) == "local" and "not shown again" in said.err
    assert main(["keys", "list"]) == 0
    line = capsys.readouterr().out
    assert line.rstrip().endswith("lm-eval")
    assert main(["keys", "revoke", "nothing"]) == 1
    assert main(["keys", "revoke", line.split()[0]]) == 0
    assert owner_of(said.out.strip()) is None


@pytest.mark.parametrize(("value", "expected"), [(None, False), ("", False), ("0", False), ("1", True), (" 1 ", True)])
def test_it_is_off_unless_it_was_switched_on(monkeypatch, value, expected):
    monkeypatch.delenv("STUDIO_API", raising=False)
    if value is not None:
        monkeypatch.setenv("STUDIO_API", value)
    assert is_on() is expected


def test_a_switch_that_is_neither_is_a_sentence(monkeypatch):
    monkeypatch.setenv("STUDIO_API", "yes please")
    with pytest.raises(UserError, match="STUDIO_API is set to 'yes please'"):
        is_on()
