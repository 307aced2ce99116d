"""A training on a base that bitsandbytes quantised before: in its own precision, from the config to chat, merge and card."""

import pytest

from adapters.card import CardFacts, write_card
from adapters.export.merge import merge_adapter
from adapters.history import read_history
from adapters.library import find_adapter
from chat.engine import Engine, Model, Sampling
from common.files import read_object
from runs.config import TrainConfig
from runs.launcher import create_run
from runs.run import read_state
from tests.running import losses, run_main, small_settings
from tests.tiny import make_tiny_quantised


@pytest.mark.parametrize("precision", ["4bit", "8bit"])
def test_it_trains_answers_and_merges_in_its_own_precision(tiny_base, tmp_path, precision):
    base = make_tiny_quantised(tmp_path / f"tiny-bnb-{precision}", tiny_base, precision)
    run = create_run(TrainConfig(name="mine", **small_settings(base, tmp_path) | {"precision": "auto", "max_steps": 3}))
    assert run_main(run) == 0 and len(losses(run)) == 3
    state, adapter = read_state(run), find_adapter("mine")
    assert (run.config().precision, state.precision, adapter.metrics["precision"]) == (precision,) * 3
    assert f"{precision[0]}-bit already" in run.config().base_reason
    assert f"| precision of the base | {precision} |" in write_card(
        adapter, read_history(adapter), CardFacts("a/mine", "other")
    )
    said = [{"role": "user", "content": "Hi"}]
    model = Model(base, "8bit", adapter.folder)  # the page's habit: the base has a precision of its own
    engine = Engine()
    assert list(engine.reply(model, said, Sampling(max_new_tokens=4)))[-1].text is not None
    merged = merge_adapter(adapter, base, tmp_path / "merged", "fp32")
    assert merged.agreement >= 0.9 and "quantization_config" not in read_object(merged.folder / "config.json")
