"""The daemon's recurring chores, which APScheduler runs, whatever becomes of the wall clock. Home of APScheduler."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from scheduler.daemon.clock_steps import Step

THREADS = 5
"""Chores that run at the same time; each of them runs once at a time."""

logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)  # it warns when a wake-up meets a tick that goes on


class Every(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """Fires each ``seconds``, counted from the last time it fired.

    APScheduler asks a trigger for every time from the last one up to now, one by one, before it runs the newest: its
    own interval trigger is asked 2.6 million times for a one-second chore after the clock went forward by 30 days. This
    one only has times in the future, so that it fires once after a step of any size.
    """

    def __init__(self, seconds: float) -> None:
        self.interval = timedelta(seconds=seconds)

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """Return the next time, strictly after ``now``."""
        return now + self.interval


class Chores:
    """Runs the chores in threads of its own, from :meth:`start` on."""

    def __init__(self) -> None:
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(THREADS)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone=UTC,
        )

    def add(self, name: str, chore: Callable[[], None], trigger: BaseTrigger, *, at_start: bool = False) -> None:
        """Add a chore; ``at_start``: it runs at once for the first time. Its trigger must never name a past time."""
        at = {"next_run_time": datetime.now(UTC)} if at_start else {}
        self._scheduler.add_job(chore, trigger, id=name, **at)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    @property
    def running(self) -> bool:
        """Whether chores are run: from :meth:`start` until :meth:`stop`."""
        return bool(self._scheduler.running)

    def wake(self, name: str, *, seconds: float = 0.0) -> None:
        """Run a chore in so many seconds, at once by default, and not at the time that was set for it."""
        self._scheduler.modify_job(name, next_run_time=datetime.now(UTC) + timedelta(seconds=seconds))

    def after_step(self, step: Step) -> None:
        """Run at once each chore that has not run since the clock was set.

        After a step forward, APScheduler may have been faster: it wakes up once a second. After one back, it would
        sleep until the time of the old clock.
        """
        since = step.now - timedelta(seconds=step.unseen)
        for chore in self._scheduler.get_jobs():
            now = datetime.now(UTC)
            has_run = isinstance(chore.trigger, Every) and since <= chore.next_run_time - chore.trigger.interval <= now
            if not has_run:
                self._scheduler.modify_job(chore.id, next_run_time=now)

    def drop(self, *names: str) -> None:
        """Run these chores no more."""
        for name in names:
            self._scheduler.remove_job(name)

    def stop(self) -> None:
        """Run nothing more; does not wait for what runs."""
        self._scheduler.shutdown(wait=False)
