"""What follows from the end of an attempt: another try, the streak, and the disabling of a hopeless job. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from exporter.failures import FailureKind
from scheduler.outcomes.outcome import Conclusion, Outcome

MAX_RETRY_DELAY = timedelta(hours=1)
"""A retry waits no longer than this, however many came before it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policies:
    """A job's answers to failure: how often to try again, how long to wait first, when to give the job up."""

    retry_limit: int = 3
    initial_retry_delay: timedelta = timedelta(seconds=60)
    disable_after: int = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Decisions:
    """What follows. ``retry_at`` set means that the run is not over; ``disable`` is the reason in words, or None."""

    retry_at: datetime | None = None
    streak: int = 0
    disable: str | None = None


def decide(
    conclusion: Conclusion, *, attempt: int, streak: int, policies: Policies, now: datetime, jitter: float
) -> Decisions:
    """Decide what follows from ``conclusion`` of the ``attempt``-th try (from 1) of a job with that failure streak.

    Only transient failures are tried again. Only configuration failures count towards disabling; a run that got
    rows accepted, or had none to send, resets the streak; all other ends leave it as it is. ``jitter`` is a random
    number from 0 to 1: a retry waits between half and all of the doubled delay, so that jobs that failed together
    do not come back together.
    """
    failure = conclusion.failure
    if conclusion.outcome in (Outcome.SUCCEEDED, Outcome.PARTIAL):
        return Decisions(streak=0)
    if conclusion.outcome is not Outcome.FAILED or failure is None:
        return Decisions(streak=streak)
    if failure.kind is FailureKind.TRANSIENT and not conclusion.final and attempt <= policies.retry_limit:
        full = min(policies.initial_retry_delay * 2 ** min(attempt - 1, 20), MAX_RETRY_DELAY)
        return Decisions(retry_at=now + full * (0.5 + jitter / 2), streak=streak)
    if failure.kind is not FailureKind.CONFIGURATION:
        return Decisions(streak=streak)
    streak += 1
    disable = None
    if policies.disable_after and streak >= policies.disable_after:
        times = "1 configuration failure" if streak == 1 else f"{streak} configuration failures in a row"
        disable = f"{times}, the last one: {failure.code}: {failure.message}"
    return Decisions(streak=streak, disable=disable)
