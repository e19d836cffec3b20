"""A clock that was set is noticed; one that drifts, or is looked at late or slowly, is not taken for it."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.daemon.clock_steps import StepWatch
from scheduler.runs.cancellation import RunControl, RunStopped, StopReason

NOON = datetime(2026, 3, 8, 12, 0, tzinfo=UTC)


class Hands:
    """A wall clock, a monotonic one and one that goes on in suspension, which a test moves."""

    def __init__(self) -> None:
        self.wall, self.monotonic, self.boottime = NOON, 1000.0, 1000.0
        self.held_up = 0.0
        """How long whoever reads the wall clock has to wait before and after."""

    def pass_by(self, seconds: float, *, drift: float = 0.0) -> None:
        self.wall += timedelta(seconds=seconds + drift)
        self.monotonic += seconds
        self.boottime += seconds

    def suspend(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.boottime += seconds

    def read(self) -> datetime:
        self.pass_by(self.held_up)
        now = self.wall
        self.pass_by(self.held_up)
        return now

    def watch(self) -> StepWatch:
        return StepWatch(monotonic=lambda: self.monotonic, boottime=lambda: self.boottime)


@pytest.mark.parametrize("seconds", [3600.0, -3600.0, 1.5, -1.5])
def test_a_step_is_noticed_once_with_its_size(seconds: float) -> None:
    hands = Hands()
    watch = hands.watch()
    assert watch.look(hands.read) is None
    hands.pass_by(1, drift=seconds)
    step = watch.look(hands.read)
    assert step is not None
    assert step.seconds == pytest.approx(seconds)
    assert (step.suspended, step.unseen) == (0, 1)
    hands.pass_by(1)
    assert watch.look(hands.read) is None


@pytest.mark.parametrize(("seconds", "drift"), [(1, 0.0005), (1, -0.0005), (86_400, 0), (600, 0.3)])
def test_time_that_passes_is_no_step_however_long_and_though_ntp_slews(seconds: float, drift: float) -> None:
    hands = Hands()
    watch = hands.watch()
    watch.look(hands.read)
    for _ in range(100):
        hands.pass_by(seconds, drift=drift)
        assert watch.look(hands.read) is None
    assert watch.is_steady_for(10**9)


def test_a_look_that_is_held_up_between_the_two_clocks_is_no_step() -> None:
    hands = Hands()
    watch = hands.watch()
    for held_up in (0, 30, 0, 2, 500, 0):
        hands.held_up = held_up
        assert watch.look(hands.read) is None
        hands.pass_by(1)
    assert watch.is_steady_for(10**9)


def test_a_step_during_a_look_that_is_held_up_is_noticed_by_the_next_one() -> None:
    hands = Hands()
    watch = hands.watch()
    watch.look(hands.read)
    hands.held_up = 30
    hands.pass_by(1, drift=10)
    watch.look(hands.read)
    hands.held_up = 0
    step = watch.look(hands.read)
    assert step is not None
    assert step.seconds == pytest.approx(10)


def test_a_suspended_machine_is_a_step_that_says_so() -> None:
    hands = Hands()
    watch = hands.watch()
    watch.look(hands.read)
    hands.suspend(3600)
    hands.pass_by(1)
    step = watch.look(hands.read)
    assert step is not None
    assert (step.seconds, step.suspended) == (3600, 3600)


def test_the_clock_is_steady_again_some_time_after_a_step() -> None:
    hands = Hands()
    watch = hands.watch()
    watch.look(hands.read)
    hands.pass_by(1, drift=-60)
    watch.look(hands.read)
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
