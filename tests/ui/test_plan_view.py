"""What a plan says before the start."""

import re

from models.family import TINYLLAMA_SHAPE
from models.hardware import Hardware
from runs.config import TrainConfig
from runs.forecast.estimate import EXAMPLE_FACTS, estimate
from tests.runs.test_estimate import FAST
from ui.train.plan_view import plan_html


def test_on_a_priced_space_the_plan_tells_the_cost_as_a_sentence():
    space = Hardware((), 8, 30 * 2**30, "no GPU, 8 CPU cores", "t4-small")
    shown = plan_html(estimate(TrainConfig(), TINYLLAMA_SHAPE, EXAMPLE_FACTS, space, FAST))
    wanted = r"<p><b>Cost:</b> about \$0\.\d\d on this Space \(t4-small, \$0\.40 an hour\)\.</p>"
    assert re.search(wanted, shown), shown
