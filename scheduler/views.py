"""Jobs as people look at them. Pure, and made without the models that check a definition: `list` has 1,000 of them."""

from dataclasses import dataclass
from datetime import datetime

from scheduler.schedule import SCHEDULE_KEYS, FireTime, Schedule, make_schedule
from storage.values import StoredJob, StoredRun


@dataclass(frozen=True, kw_only=True, slots=True)
class JobLine:
    """A job with its state and the run that ended last: what a line of `list` tells."""

    stored: StoredJob
    last_run: StoredRun | None = None

    @property
    def name(self) -> str:
        """The job's name."""
        return self.stored.name

    @property
    def cron(self) -> str:
        """The job's cron expression, empty if it has none."""
        return str(self.stored.definition.get("cron") or "")

    @property
    def is_scheduled(self) -> bool:
        """Whether it runs by itself: it has a cron, or a time to run once."""
        return bool(self.cron or self._text("starts_at"))

    @property
    def timezone(self) -> str:
        """The zone of its schedule."""
        return str(self.stored.definition.get("timezone", "UTC"))

    @property
    def delay(self) -> int:
        """How many seconds after its slot it runs."""
        return int(self.stored.definition.get("delay", 0))

    @property
    def schedule(self) -> Schedule | None:
        """When it runs; None for a job without one. Raises ValueError for what another version stored."""
        if not self.is_scheduled:
            return None
        given = self.stored.definition
        others = {key: given[key] for key in SCHEDULE_KEYS[1:] if given.get(key) is not None}
        return make_schedule(self.cron, **others)

    @property
    def state(self) -> str:
        """``enabled``, ``disabled`` (by a person), ``auto_disabled`` (by the daemon) or ``unscheduled``."""
        if self.stored.disabled_at is not None:
            return "auto_disabled" if self.stored.disabled_by == "daemon" else "disabled"
        return "enabled" if self.is_scheduled else "unscheduled"

    @property
    def words(self) -> str:
        """When it runs, in words, such as ``at 03:00 from Monday to Friday``."""
        schedule = self.schedule
        if schedule is None:
            return "only when asked to"
        if not self.cron:
            return f"once, at {self._text('starts_at')}"
        begin, end = self._text("starts_at"), self._text("ends_on")
        return schedule.cron.in_words() + (f", from {begin}" if begin else "") + (f", until {end}" if end else "")

    @property
    def failing(self) -> bool:
        """Whether its last run failed, or its failures disabled it."""
        last = self.last_run.outcome if self.last_run is not None else None
        return last in ("failed", "interrupted") or self.state == "auto_disabled" or self.stored.failure_streak > 0

    def settled_until(self, now: datetime) -> datetime:
        """Return the instant up to which no slot will fire any more."""
        return max(filter(None, (self.stored.high_water, self.stored.anchored_at, now)))

    def _text(self, key: str) -> str:
        """Return a time of the definition as people read it, empty if it has none."""
        return str(self.stored.definition.get(key) or "").replace("T", " ")

    def next_fire(self, now: datetime) -> FireTime | None:
        """Return the next slot that will fire; None for a job without a schedule, without a future, or disabled."""
        if self.stored.disabled_at is not None:
            return None
        schedule = self.schedule
        return None if schedule is None else schedule.next_after(self.settled_until(now))
