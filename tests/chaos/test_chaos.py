"""A sample of `python -m tests.chaos`, which attacks the app for as long as one likes."""

import pytest

from tests.chaos.world import chaos


@pytest.mark.slow
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")  # an attacker who gave up
def test_nobody_notices_an_attack_of_twenty_seconds(tmp_path, capsys):
    report = chaos(seconds=20, seed=5, folder=tmp_path, max_runs=1)
    with capsys.disabled():
        print(f"\n{report}")
    assert not report.failures
    assert sum(report.attacks.values()) > 5 and report.waits["chat"][2] > 5, "hardly anything was tried"
