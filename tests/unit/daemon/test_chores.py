"""The daemon's chores under a clock that is set: each runs at once and once, and no time that has passed is counted."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest

from scheduler.daemon.chores import Chores, Every
from scheduler.daemon.clock_steps import Step

TEN_YEARS = timedelta(days=3653)


class Counted(Every):
    """A chore's trigger that counts how often it is asked."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.asked = 0

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        self.asked += 1
        return super().get_next_fire_time(previous, now)


class Turns:
    """A chore that counts how often it ran."""

    def __init__(self) -> None:
        self.count = 0
        self._ran = threading.Condition()

    def __call__(self) -> None:
        with self._ran:
            self.count += 1
            self._ran.notify_all()

    def reach(self, count: int) -> bool:
        with self._ran:
            return self._ran.wait_for(lambda: self.count >= count, timeout=30)


class MovedClock:
    """The wall clock that APScheduler and the chores go by."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def now(self, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) + self.offset

    def set(self, by: timedelta) -> Step:
        self.offset += by
        return Step(seconds=by.total_seconds(), suspended=0, unseen=0.5, now=self.now(UTC))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    moved = MovedClock()
    for module in ("apscheduler.schedulers.base", "scheduler.daemon.chores"):
        monkeypatch.setattr(f"{module}.datetime", moved)
    return moved


@pytest.fixture
def started() -> Iterator[Callable[..., Chores]]:
    running: list[Chores] = []

    def start(**named: tuple[Callable[[], None], Any]) -> Chores:
        chores = Chores()
        for name, (chore, trigger) in named.items():
            chores.add(name, chore, trigger)
        chores.start()
        running.append(chores)
        return chores

    yield start
    for chores in running:
        chores.stop()


def test_a_trigger_names_times_to_come_only() -> None:
    now = datetime(2026, 5, 4, tzinfo=UTC)
    for previous in (None, now, now - TEN_YEARS, now + TEN_YEARS):
        assert Every(2).get_next_fire_time(previous, now) == now + timedelta(seconds=2)


def test_a_step_of_ten_years_asks_the_trigger_of_a_chore_twice_and_runs_it_once(
    clock: MovedClock, started: Callable[..., Chores]
) -> None:
    fast, slow = Turns(), Turns()
    often, rarely = Counted(0.2), Counted(3600)
    chores = started(fast=(fast, often), slow=(slow, rarely))
    assert fast.reach(1)
    before = fast.count
    step = clock.set(TEN_YEARS)
    assert slow.reach(1)  # APScheduler wakes up for the fast one, and finds the slow one due too
    chores.after_step(step)
    assert fast.reach(before + 3)
    assert slow.count == 1
    assert rarely.asked <= 3  # when it was added, and twice for the time that it ran
    assert often.asked <= 2 * fast.count + 2


@pytest.mark.parametrize("back", [timedelta(hours=1), TEN_YEARS])
def test_after_a_step_back_each_chore_runs_at_once_and_goes_on(
    clock: MovedClock, started: Callable[..., Chores], back: timedelta
) -> None:
    fast, slow = Turns(), Turns()
    chores = started(fast=(fast, Every(0.1)), slow=(slow, Every(3600)))
    assert fast.reach(1)
    chores.after_step(clock.set(-back))
    assert slow.reach(1)
    assert fast.reach(fast.count + 3)
    assert slow.count == 1


def test_after_a_small_step_forward_a_chore_whose_time_is_still_to_come_runs_too(
    clock: MovedClock, started: Callable[..., Chores]
) -> None:
    slow = Turns()
    chores = started(slow=(slow, Every(3600)))
    chores.after_step(clock.set(timedelta(minutes=5)))
    assert slow.reach(1)


def test_a_chore_that_is_woken_runs_at_once_and_one_that_is_dropped_no_more(started: Callable[..., Chores]) -> None:
    kept, dropped = Turns(), Turns()
    chores = started(kept=(kept, Every(3600)), dropped=(dropped, Every(0.05)))
    chores.wake("kept")
    assert kept.reach(1)
    assert dropped.reach(1)
    chores.drop("dropped")
    count = dropped.count
    time.sleep(0.3)
    assert dropped.count <= count + 1
    assert chores.running
