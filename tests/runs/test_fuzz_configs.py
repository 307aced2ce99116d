"""300 bad configurations through the real way in: a UserError each, no traceback, nothing left behind, memory bounded."""

import random
import time
from dataclasses import fields

import psutil
import pytest
import yaml

from common.errors import UserError
from common.paths import home, runs_folder
from runs.config import TrainConfig
from runs.launcher import create_run

SEED = 20261125
CASES = 300
MAX_MEMORY_BYTES = 100_000_000
MAX_SECONDS = 5  # for any one of them, on a busy machine
MAX_MESSAGE = 20_000  # a field's limits, for every field at once
NUMBERS = [item.name for item in fields(TrainConfig) if isinstance(item.default, (int, float))]
CHOSEN = [item.name for item in fields(TrainConfig) if item.metadata["choices"]]
STEPS = list(zip("abcdefgh", "bcdefghi", strict=True))
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n"
BOMB += "".join(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in STEPS)
MERGE_BOMB = "a: &a {k: v}\n"
MERGE_BOMB += "".join(f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n" for before, name in STEPS)
NO_VALUES = [
    *(float("nan"), float("inf"), -float("inf"), -1, -(10**30), 10**30, 10**5000, 1e308, "ten", "1e999", "", "0x"),
    *([1], [], {}, {"a": 1}, b"1", (1, 2), "NaN", "١٢x", "1;2", "\x00", "9" * 6000, [[[]]] * 50, object),
]
NO_NAMES = ["\x00", "a\x1b[2J", "\ud800", "x" * 1_000_000, "x" * 1001, "line\nbreak", "\x7f", "   ", "", "\u0085"]
NO_PATHS = ["../../../etc/passwd/x", "data/../../x/data/y.csv", "/dev/null/x/..", "x/" * 400 + "..", "a/../../b"]
NO_CHOICES = ["zigzag", 3, "", "AUTO", "x" * 10_000, "on\n", None]
NO_SETTINGS = ["lerning_rate", "", "__class__", "x" * 100_000, 3, None, (1, 2), "from_dict"]
NO_COLUMNS = ["[", "[]", "{}", "7", '{"a": 1}', '{"a": null}', '{"a":' * 5000, "nul\x00"]
NO_PROMPTS = ["a\nb\nc\nd", "x" * 1_000_000, "\x00", "\ud800", "\n".join("abcde")]
NO_ADAPTERS = ["../x", "/etc", "none", "a/b", "\x00", "x" * 500, "é", ".."]
# settings, and values of which none can be used for any of them
BAD = [(NUMBERS, NO_VALUES), (["name", "data"], NO_NAMES), (CHOSEN, NO_CHOICES), (NO_SETTINGS, [1])]
BAD += [(["data", "text_data", "eval_data"], NO_PATHS), (["columns"], NO_COLUMNS), (["sample_prompts"], NO_PROMPTS)]
BAD += [(["init_adapter"], NO_ADAPTERS), (["test_sets"], [*NO_ADAPTERS, "general, ../x", "a,b,c,d,e,f"])]
NO_FILES = [
    *("", "[]", "- a", "42", "null", "just words", "a: b: c", "{", "}", "\t", "%", "@", "!!python/object:os.system {}"),
    *("!!python/name:os.system", "!!int ''", "lora_r: !!int ''", "packing: !!bool maybe", "seed: !!timestamp x"),
    *("name: 2001-99-99", "lora_r: " + "9" * 5000, "? [1]\n: 2", "? {a: b}\n: c", "- " * 3000, "[" * 90_000),
    *("{a: " * 3000, "name: !!binary x", "lora_r: 1:99:99:9x", "1: 2\nname: x", "~: x", "name: &a x\nbase: *a"),
    *("a: 1\n---\nb: 2", "\ufeff[", BOMB, MERGE_BOMB, "name: " + "x" * 1_000_000, "# " + "x" * 2_000_000),
    *("x: 1\n" * 100_000, "name: \x01", "!<x> y", "lora_r: !!float abc", "lora_r: !!set {1}", "name: !!omap [a: 1]"),
    *("lora_r: {<<: 1}", "<<: 7", "lora_r: 1_0x"),
]
NO_BYTES = [b"\xff\xfe\x00", b"name: \xff", b"\x00" * 500, b"\x80" * 100, b"\xef\xbb\xbf[", b"\x1f\x8b\x08rubbish"]


def bad_settings(generator: random.Random) -> dict:
    """Settings with one that cannot be used, or with several."""
    if generator.random() < 0.1:
        return {name: generator.choice(NO_VALUES) for name in generator.sample(NUMBERS, 5)} | {"lora_r": 0}
    names, values = generator.choice(BAD)
    return {generator.choice(names): generator.choice(values)}


def cases() -> list[tuple[str, object]]:
    """('settings', values), ('yaml', text) and ('bytes', content), the same ones each time."""
    generator = random.Random(SEED)
    found = [("yaml", text) for text in NO_FILES] + [("bytes", content) for content in NO_BYTES]
    while len(found) < CASES:
        values = bad_settings(generator)
        found.append(("settings", values))
        if len(found) < CASES and generator.random() < 0.4:
            try:
                found.append(("yaml", yaml.safe_dump(values, allow_unicode=True)))
            except (yaml.YAMLError, UnicodeError, ValueError):  # what no YAML file can hold
                continue
    return found


def take_in(kind: str, content: object, folder) -> None:
    """What the page and the command line do with settings that come from outside."""
    if kind == "settings":
        config = TrainConfig.from_dict({"base": "embedded", **content})
    else:
        file = folder / "config.yaml"
        file.write_bytes(content if kind == "bytes" else content.encode("utf-8", "surrogatepass"))
        config = TrainConfig.from_dict({"base": "embedded", **TrainConfig.from_yaml(file).to_dict()})
    config.problems()
    create_run(config)


def test_no_bad_configuration_brings_more_than_a_sentence(tmp_path):
    """Counts too: each of the 300 is refused, and nothing is anywhere in the data folder afterwards."""
    refused, inputs = 0, cases()
    before = psutil.Process().memory_info().rss
    for number, (kind, content) in enumerate(inputs):
        began = time.monotonic()
        with pytest.raises(UserError) as error:
            take_in(kind, content, tmp_path)
            pytest.fail(f"case {number} was taken: {kind} {str(content)[:200]!r}")
        assert 0 < len(str(error.value)) < MAX_MESSAGE and "Traceback" not in str(error.value)
        assert time.monotonic() - began < MAX_SECONDS, f"case {number}: {kind} {str(content)[:200]!r}"
        assert psutil.Process().memory_info().rss - before < MAX_MEMORY_BYTES, f"case {number}"
        refused += 1
    assert refused == CASES
    assert not list(runs_folder().glob("*")) and {path.name for path in home().iterdir()} <= {"runs"}


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "한국어", "CON", "a/b/c", ". .", "-rf", "x" * 100, "<b>", "%2e%2e"]
)
def test_an_odd_name_becomes_a_plain_folder(name):
    run = create_run(TrainConfig(name=name, base="embedded"))
    assert run.folder.parent == runs_folder() and run.config().name == run.id and len(run.id) <= 80
