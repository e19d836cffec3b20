"""Two clocks: the wall clock, which people and NTP set, and the monotonic one, which tells when somebody did."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

STEP_SECONDS = 1.0
"""A wall clock that moves by more than this against the monotonic one was set; NTP otherwise slews by 0.5 ms/s."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A clock that was set, by ``seconds`` (below 0: back), before ``now``."""

    seconds: float
    now: datetime


class StepWatch:
    """Notices that a clock was set (by a person, by NTP, or because the machine was suspended)."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._offset: float | None = None
        self._stepped_at: float | None = None

    def look(self, now: datetime) -> Step | None:
        """Return by how much the clock that reads ``now`` was set since the last look; None if it was not."""
        monotonic = self._monotonic()
        offset, before = now.timestamp() - monotonic, self._offset
        self._offset = offset
        if before is None or abs(offset - before) <= STEP_SECONDS:
            return None
        self._stepped_at = monotonic
        return Step(seconds=offset - before, now=now)

    def is_steady_for(self, seconds: float) -> bool:
        """Whether no look within the last ``seconds`` found that the clock was set."""
        return self._stepped_at is None or self._monotonic() - self._stepped_at >= seconds
