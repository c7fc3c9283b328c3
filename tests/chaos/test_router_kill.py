"""The router killed, stopped, and with a sink that hangs: small; `make chaos-router` is the whole of it."""

import pytest

from tests.chaos.router_chaos import kill_nine, one_hangs, told_to_stop

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("topics")]


def test_kill_9_loses_nothing_and_doubles_only_what_was_under_way(bootstrap: str, prefix: str) -> None:
    outcome = kill_nine(bootstrap, prefix, kills=5, alerts=300)
    assert outcome.faults == [], outcome


def test_a_stop_by_signal_drains_in_time_and_doubles_nothing(bootstrap: str, prefix: str) -> None:
    outcome = told_to_stop(bootstrap, prefix, stops=2, alerts=200)
    assert outcome.faults == [], outcome


def test_a_sink_of_ten_that_hangs_slows_nobody_down(bootstrap: str, prefix: str) -> None:
    outcome = one_hangs(bootstrap, prefix, baseline_seconds=10, hang_seconds=15, rate=10)
    assert outcome.faults == [], outcome
