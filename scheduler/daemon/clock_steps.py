"""Two clocks: the wall clock, which people and NTP set, and the monotonic one, which shows when somebody did."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

STEP_SECONDS = 1.0
"""A wall clock that moves by more than this against the monotonic one was set; NTP otherwise slews by 0.5 ms/s."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A clock that was set, by ``seconds`` (below 0: back), before ``now``.

    ``suspended`` is for how many of these seconds the machine was suspended: the monotonic clock stands still then.
    ``unseen`` is how many seconds before ``now`` the clock was last known to be right.
    """

    seconds: float
    suspended: float
    unseen: float
    now: datetime


def boottime() -> float:
    """Return the seconds since the machine started, those in suspension included; where unknown, without those."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)  # Linux has it
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class StepWatch:
    """Notices that a clock was set (by a person, by NTP, or because the machine was suspended).

    The two clocks cannot be read at the same instant, and on a busy machine seconds may pass between the two readings.
    So what is known after each look is a range that the difference of the clocks is in, and only a range that is
    apart from the one before shows a step.
    """

    def __init__(
        self, *, monotonic: Callable[[], float] = time.monotonic, boottime: Callable[[], float] = boottime
    ) -> None:
        self._monotonic = monotonic
        self._boottime = boottime
        self._range: tuple[float, float] | None = None
        self._looked_at = self._asleep = 0.0
        self._stepped_at: float | None = None

    def look(self, clock: Callable[[], datetime]) -> Step | None:
        """Read ``clock``; return by how much it was set since the last look, None if it was not."""
        begin = self._monotonic()
        now = clock()
        end = self._monotonic()
        asleep = self._boottime() - end
        low, high = now.timestamp() - end, now.timestamp() - begin
        before, slept, unseen = self._range, asleep - self._asleep, end - self._looked_at
        self._range, self._asleep, self._looked_at = (low, high), asleep, end
        if before is None:
            return None
        if low - before[1] <= STEP_SECONDS and before[0] - high <= STEP_SECONDS:
            narrowed = max(low, before[0]), min(high, before[1])
            if narrowed[0] <= narrowed[1]:
                self._range = narrowed  # a look that took long must not widen what is known
            return None
        self._stepped_at = end
        seconds = (low + high - before[0] - before[1]) / 2
        return Step(seconds=seconds, suspended=slept if slept > STEP_SECONDS else 0.0, unseen=unseen, now=now)

    def is_steady_for(self, seconds: float) -> bool:
        """Whether no look within the last ``seconds`` found that the clock was set."""
        return self._stepped_at is None or self._monotonic() - self._stepped_at >= seconds
