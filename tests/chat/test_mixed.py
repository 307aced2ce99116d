"""Base and adapters are written in one batch; what cannot be mixed takes turns with the rest."""

import itertools
import os
import shutil
from collections import Counter

import pytest

from chat.batch import JoinedCaches
from chat.engine import Engine, Model, Sampling
from chat.turns import TURN_TOKENS
from common.errors import UserError
from common.files import read_json, write_json
from tests.chat.asking import alone, say, started, together


@pytest.fixture
def steps(monkeypatch):
    """What was written in each step: the keys of the models, in the order of the rows."""
    noted, step = [], JoinedCaches.step

    def note(self, caches, tokens):
        noted.append([cache.model[-1] for cache in caches])
        return step(self, caches, tokens)

    monkeypatch.setattr(JoinedCaches, "step", note)
    return noted


def test_a_comparison_of_base_and_adapters_is_written_in_one_step(tiny_base, adapters, steps):
    models = [Model(tiny_base, adapter_folder=folder) for folder in (adapters[0], None, adapters[1], adapters[0])]
    wanted = alone(models)
    streams = started(Engine(), models)
    steps.clear()
    assert [list(stream)[-1].text for stream in streams] == wanted
    rows = [len(step) for step in steps]
    assert rows.count(4) > 30 and rows == sorted(rows, reverse=True), "none waits for another, whoever has ended"
    assert all(len(list(itertools.groupby(step))) == len(set(step)) for step in steps), "an adapter's rows are apart"


def test_what_cannot_be_mixed_takes_turns_with_the_rest(tiny_base, kinds, steps):
    folders = [kinds["all"], kinds["dora"], None, kinds["bias"], kinds["some"]]
    models = [Model(tiny_base, adapter_folder=folder) for folder in folders]
    wanted = alone(models)
    streams = started(Engine(most_adapters=5), models)
    steps.clear()
    assert [list(stream)[-1].text for stream in streams] == wanted
    assert {len(step) for step in steps} >= {1, 3}, "the plain ones together, DoRA and bias alone"
    longest = max(len(list(same)) for _, same in itertools.groupby(steps[: 9 * TURN_TOKENS]))
    assert longest <= TURN_TOKENS, "one model kept the others waiting"


def test_more_adapters_than_memory_holds_are_answered_at_once(tiny_base, adapters, tmp_path):
    copies = [shutil.copytree(adapters[number % 2], tmp_path / f"copy-{number}") for number in range(5)]
    models = [Model(tiny_base, adapter_folder=folder) for folder in (None, *copies)]
    wanted = alone(models)
    for most in (1, 2, 4):
        engine = Engine(most_adapters=most)
        assert together(engine, models) == wanted, most
        assert engine.resident.bases_loaded == 1 and len(engine.resident.network.peft_config) <= most + 1


@pytest.mark.parametrize("fate", ["gone", "replaced"])
def test_an_adapter_that_changes_in_mid_answer_takes_nobody_with_it(tiny_base, adapters, tmp_path, fate):
    mine = shutil.copytree(adapters[0], tmp_path / "mine")
    models = [Model(tiny_base, adapter_folder=folder) for folder in (None, mine, adapters[1])]
    wanted, engine = alone(models), Engine()
    streams = started(engine, models)
    if fate == "gone":
        shutil.rmtree(mine)
    else:
        os.utime(mine / "adapter_model.safetensors", ns=(1, 1))
    with pytest.raises(UserError, match=r"changed during its answer|is gone"):
        list(streams[1])
    assert [list(streams[person])[-1].text for person in (0, 2)] == [wanted[0], wanted[2]]
    assert engine.resident.bases_loaded == 1


@pytest.mark.parametrize("start", ["pissa", "olora", "orthogonal"])
def test_an_adapter_that_would_change_the_base_is_refused(tiny_base, adapters, tmp_path, start):
    """PEFT would take a part out of the base's weights as it loads such a one; everybody's rows are computed with them."""
    odd = shutil.copytree(adapters[0], tmp_path / "odd")
    write_json(odd / "adapter_config.json", {**read_json(odd / "adapter_config.json"), "init_lora_weights": start})
    engine, base = Engine(), say(Engine(), Model(tiny_base))
    say(engine, Model(tiny_base))
    with pytest.raises(UserError, match="'odd' is not a LoRA adapter"):
        say(engine, Model(tiny_base, adapter_folder=odd))
    assert say(engine, Model(tiny_base)) == base and engine.resident.bases_loaded == 1


def test_with_more_adapters_than_memory_holds_everybody_writes_equally_often(tiny_base, adapters, tmp_path, steps):
    copies = [shutil.copytree(adapters[0], tmp_path / f"copy-{number}") for number in range(5)]
    models = [Model(tiny_base, adapter_folder=folder) for folder in copies]
    streams = started(Engine(most_adapters=3), models, Sampling(max_new_tokens=150))
    steps.clear()
    for stream in streams:
        list(stream)
    first_half = Counter(name for step in steps[: len(steps) // 2] for name in step)
    assert len(first_half) == 5 and max(first_half.values()) < 2 * min(first_half.values()), first_half
