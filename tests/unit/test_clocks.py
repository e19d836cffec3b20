"""A clock that was set is noticed; one that drifts, or is looked at late, is not taken for it."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.clocks import StepWatch
from scheduler.control import RunControl, RunStopped, StopReason

NOON = datetime(2026, 3, 8, 12, 0, tzinfo=UTC)


class Hands:
    """A wall clock and a monotonic one that a test moves."""

    def __init__(self) -> None:
        self.wall, self.monotonic = NOON, 1000.0

    def pass_by(self, seconds: float, *, drift: float = 0.0) -> None:
        self.wall += timedelta(seconds=seconds + drift)
        self.monotonic += seconds


@pytest.mark.parametrize("seconds", [3600.0, -3600.0, 1.5, -1.5])
def test_a_step_is_noticed_once_with_its_size(seconds: float) -> None:
    hands = Hands()
    watch = StepWatch(monotonic=lambda: hands.monotonic)
    assert watch.look(hands.wall) is None
    hands.pass_by(1, drift=seconds)
    step = watch.look(hands.wall)
    assert step is not None
    assert step.seconds == pytest.approx(seconds)
    hands.pass_by(1)
    assert watch.look(hands.wall) is None


@pytest.mark.parametrize(("seconds", "drift"), [(1, 0.0005), (1, -0.0005), (86_400, 0), (600, 0.3)])
def test_time_that_passes_is_no_step_however_long_and_though_ntp_slews(seconds: float, drift: float) -> None:
    hands = Hands()
    watch = StepWatch(monotonic=lambda: hands.monotonic)
    watch.look(hands.wall)
    for _ in range(100):
        hands.pass_by(seconds, drift=drift)
        assert watch.look(hands.wall) is None
    assert watch.is_steady_for(10**9)


def test_the_clock_is_steady_again_some_time_after_a_step() -> None:
    hands = Hands()
    watch = StepWatch(monotonic=lambda: hands.monotonic)
    watch.look(hands.wall)
    hands.pass_by(1, drift=-60)
    watch.look(hands.wall)
    hands.pass_by(29)
    assert not watch.is_steady_for(30)
    hands.pass_by(1)
    assert watch.is_steady_for(30)


def test_a_runs_time_is_over_by_the_clock_that_nobody_sets() -> None:
    hands = Hands()
    control = RunControl(timeout=60, clock=lambda: hands.monotonic)
    hands.pass_by(59, drift=10**6)
    control.check()
    hands.pass_by(1)
    with pytest.raises(RunStopped) as stopped:
        control.check()
    assert stopped.value.reason is StopReason.TIMED_OUT


def test_a_wait_ends_with_the_time_of_the_run() -> None:
    with pytest.raises(RunStopped) as stopped:
        RunControl(timeout=0.01).wait(3600)
    assert stopped.value.reason is StopReason.TIMED_OUT
