"""A cure changes how a run trains, never on what, nor where: its words may come from a job on another machine."""

import pytest

from common.errors import UserError
from runs.config import TrainConfig
from runs.failures import TABLE
from ui.train.run_events import checked_changes

FORGED = [None, [], {"nobody": 1}, {"data": "/etc/passwd"}, {"base": "/etc"}, {"accelerate_config": "/etc/passwd"}]
FORGED += [{"main_process_ip": "203.0.113.9"}, {"init_adapter": "x"}, {"max_length": 128, "text_data": "/etc/passwd"}]


@pytest.mark.parametrize("changes", FORGED)
def test_a_forged_cure_is_refused(changes):
    with pytest.raises(UserError, match="not known"):
        checked_changes(changes)


def test_every_cure_of_a_known_failure_is_taken():
    cures = [row.cure(TrainConfig(per_device_train_batch_size=8)) for row in TABLE.values()]
    changes = [cure["changes"] for cure in cures if cure]
    assert changes and all(checked_changes(change) == change for change in changes)
